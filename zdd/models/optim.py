"""Any torch.optim optimizer and any torch.optim.lr_scheduler, from their sections."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from zdd.errors import ZddError
from zdd.models import keywords
from zdd.settings import Section

Groups = Callable[[float], list[dict[str, Any]]]  # learning rate -> parameter groups, each with its own rate

# Lengths that follow from the number of epochs, where they are not given. PolynomialLR's own default would end at
# rate 0 after 5 epochs; a warm-up (LinearLR, ConstantLR) keeps torch's 5.
LENGTHS = {
    "CosineAnnealingLR": "T_max",
    "CosineAnnealingWarmRestarts": "T_0",
    "OneCycleLR": "total_steps",
    "PolynomialLR": "total_iters",
}
FUNCTIONS = ("LambdaLR", "MultiplicativeLR")  # they take a function, which JSON can't hold
OF_SCHEDULERS = ("SequentialLR", "ChainedScheduler")


def configure(
    groups: Groups, optimizer: Section, scheduler: Section | None, epochs: int, monitor: str = "val/loss"
) -> dict[str, Any]:
    """What Lightning's `configure_optimizers` returns: the optimizer, and a schedule that is stepped once an epoch.

    Args:
        groups: Parameter groups for a learning rate; the optimizer's `lr` is handed to it.
        optimizer: A class of torch.optim with its keywords.
        scheduler: A class of torch.optim.lr_scheduler with its keywords; None: the rate stays as it is.
        epochs: Epochs that the schedule spans.
        monitor: The figure that ReduceLROnPlateau looks at.

    Raises:
        ZddError: If torch does not take the keywords.
    """
    made = _optimizer(groups, optimizer)
    schedule = _scheduler(scheduler or Section(name="ConstantLR", options={"factor": 1.0}), made, epochs, monitor)
    entry = {"scheduler": schedule, "interval": "epoch", "frequency": 1, "monitor": monitor}
    return {"optimizer": made, "lr_scheduler": entry}


def check(
    groups: Groups, optimizer: Section, scheduler: Section | None, epochs: int, monitor: str = "val/loss"
) -> list[str]:
    """Every mistake in the two sections, a line each, found by signatures and by a dry run on dummy parameters."""
    lines = _check_optimizer(optimizer)
    if scheduler is not None:
        lines += _check_scheduler(scheduler, "scheduler", epochs, monitor)
    if lines:
        return lines
    try:
        made = configure(lambda lr: _dummies(groups(lr)), optimizer, scheduler, epochs, monitor)
        return _dry_run(made["optimizer"], made["lr_scheduler"]["scheduler"], epochs)
    except ZddError as error:
        return list(error.lines)


def _optimizer(groups: Groups, section: Section) -> Optimizer:
    made = keywords.torch_class(torch.optim, Optimizer, section.name, "optimizer")
    options = dict(section.options)
    lr = options.pop("lr", None)
    lr = keywords.default(made, "lr") if lr is None else lr
    try:
        optimizer: Optimizer = made(groups(lr), lr=lr, **options)
        return optimizer
    except (TypeError, ValueError, RuntimeError) as error:
        raise ZddError(f"optimizer ({section.name}): {keywords.first_line(error)}") from None


def _scheduler(section: Section, optimizer: Optimizer, epochs: int, monitor: str) -> Any:
    made = keywords.torch_class(lr_scheduler, lr_scheduler.LRScheduler, section.name, "scheduler")
    options = _filled(section, epochs, monitor, [group["lr"] for group in optimizer.param_groups])
    try:
        if section.name in OF_SCHEDULERS:
            spans = _spans(section, epochs)
            parts = [keywords.section(part, "scheduler.schedulers") for part in options["schedulers"]]
            options["schedulers"] = [
                _scheduler(part, optimizer, span, monitor) for part, span in zip(parts, spans, strict=True)
            ]
        return made(optimizer=optimizer, **options)
    except (TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise ZddError(f"scheduler ({section.name}): {keywords.first_line(error)}") from None


def _filled(section: Section, epochs: int, monitor: str, rates: list[float]) -> dict[str, Any]:
    """The options, and what follows from the number of epochs, the monitor and the optimizer."""
    options = dict(section.options)
    length = LENGTHS.get(section.name)
    if length is not None and not {length, "epochs"} & set(options):
        options[length] = epochs
    if section.name == "ReduceLROnPlateau":
        options.setdefault("mode", _mode(monitor))
    if section.name == "OneCycleLR":
        largest = options.get("max_lr", max(rates))
        if not isinstance(largest, list):  # each group keeps its share of the rate
            options["max_lr"] = [largest * rate / max(rates) for rate in rates]
    return options


def _mode(monitor: str) -> str:
    return "min" if monitor == "val/loss" else "max"


def _spans(section: Section, epochs: int) -> list[int]:
    """Epochs of each scheduler in a list of them."""
    n = len(section.options["schedulers"])
    if section.name == "ChainedScheduler":
        return [epochs] * n
    ends = [*section.options["milestones"], epochs]
    return [max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def _check_optimizer(section: Section) -> list[str]:
    try:
        made = keywords.torch_class(torch.optim, Optimizer, section.name, "optimizer")
    except ZddError as error:
        return list(error.lines)
    lines = keywords.mistakes("optimizer", made, section.options)
    return lines or keywords.refused("optimizer", lambda **options: made([_dummy()], **options), section.options)


def _check_scheduler(section: Section, where: str, epochs: int, monitor: str) -> list[str]:
    if section.name in FUNCTIONS:
        return [f"{where}.name = '{section.name}': takes a function, which a configuration can't hold"]
    try:
        made = keywords.torch_class(lr_scheduler, lr_scheduler.LRScheduler, section.name, where)
    except ZddError as error:
        return list(error.lines)
    options = _filled(section, epochs, monitor, [0.1])
    lines = keywords.mistakes(where, made, options)
    if section.name == "ReduceLROnPlateau" and not lines and options["mode"] != _mode(monitor):
        lines.append(f"{where}.mode = '{options['mode']}': monitor = {monitor} wants '{_mode(monitor)}'")
    if section.name in OF_SCHEDULERS and not lines:
        for number, part in enumerate(options["schedulers"]):
            inside = f"{where}.schedulers[{number}]"
            try:
                lines += _check_scheduler(keywords.section(part, inside), inside, epochs, monitor)
            except ZddError as error:
                lines += error.lines
        if section.name == "SequentialLR" and len(options["milestones"]) != len(options["schedulers"]) - 1:
            lines.append(f"{where}.milestones = {options['milestones']}: wants one fewer than schedulers")
    return lines


def _dummy(n_dimensions: int = 2) -> nn.Parameter:
    return nn.Parameter(torch.zeros([1] * n_dimensions))


def _dummies(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups with tiny parameters of as many dimensions: some optimizers take matrices only."""
    return [{**group, "params": [_dummy(p.ndim) for p in group["params"]]} for group in groups]


def _dry_run(optimizer: Optimizer, scheduler: Any, epochs: int) -> list[str]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer.step(lambda: 0.0)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        return [f"optimizer: can't make a step ({keywords.first_line(error)})"]
    optimizer.zero_grad()
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        return []
    for epoch in range(epochs):
        for rate in (group["lr"] for group in optimizer.param_groups):
            if not math.isfinite(rate) or rate < 0:
                return [f"scheduler: the learning rate of epoch {epoch} would be {rate:g}"]
        try:
            optimizer.step(lambda: 0.0)
            scheduler.step()
        except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
            return [f"scheduler: fails after epoch {epoch} of {epochs} ({keywords.first_line(error)})"]
    return []

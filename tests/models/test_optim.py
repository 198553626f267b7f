"""torch's optimizers and schedulers: what is refused, what is filled in, and the rates that come out."""

import math
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from zdd.errors import ZddError
from zdd.models import optim
from zdd.settings import Section


def section(name: str, **options: Any) -> Section:
    return Section(name=name, options=options)


def groups(lr: float) -> list[dict[str, Any]]:
    return [
        {"params": [torch.nn.Parameter(torch.ones(2, 3))], "lr": lr},
        {"params": [torch.nn.Parameter(torch.ones(4, 3, 3, 3)), torch.nn.Parameter(torch.ones(4))], "lr": lr / 10},
    ]


def check(optimizer: Section, scheduler: Section | None = None, epochs: int = 10, monitor: str = "val/loss"):
    return optim.check(groups, optimizer, scheduler, epochs, monitor)


def rates(scheduler: Section | None, epochs: int, optimizer: Section | None = None) -> list[float]:
    made = optim.configure(groups, optimizer or section("SGD", lr=1.0, momentum=0.9), scheduler, epochs)
    found = []
    for _ in range(epochs):
        found.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    return found


SGD = section("SGD", lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("optimizer", "lines"),
    [
        (section("SDG"), ["optimizer.name = 'SDG': torch.optim has no such class; did you mean 'SGD'?"]),
        (section("SGD", momentun=0.9), ["optimizer.momentun: SGD has no such setting; did you mean 'momentum'?"]),
        (section("SGD", params=1), ["optimizer.params: SGD has no such setting; it takes lr, momentum"]),
        (section("SGD", lr="fast"), ['optimizer.lr = "fast": must be a valid number']),
        (section("SGD", nesterov="yes"), ['optimizer.nesterov = "yes": must be a valid boolean']),
        (section("SGD", lr=-1), ["optimizer.lr = -1: Invalid learning rate"]),
        (
            section("SGD", lr=-1, momentum=0.9, nesterov=True, weight_decay=-0.5),  # nesterov is right beside momentum
            ["optimizer.lr = -1: ", "optimizer.weight_decay = -0.5: "],
        ),
        (section("SGD", nesterov=True), ["optimizer.nesterov = true: Nesterov momentum requires"]),
        (section("Adam", betas=[0.9, 1.2]), ["optimizer.betas = [0.9, 1.2]: Invalid beta parameter"]),
        (section("Adam", betas=[0.9]), ["optimizer.betas = [0.9]: "]),
        (section("Muon"), ["optimizer (Muon): Muon only supports 2D parameters"]),
        (section("SparseAdam"), ["optimizer: can't make a step (SparseAdam does not support dense gradients"]),
        (section("LBFGS"), ["optimizer (LBFGS): LBFGS doesn't support per-parameter options"]),
    ],
)
def test_a_mistake_in_the_optimizer_is_a_line(optimizer: Section, lines: list[str]) -> None:
    found = check(optimizer)
    assert len(found) == len(lines)
    for got, expected in zip(found, lines, strict=True):
        assert got.startswith(expected)


@pytest.mark.parametrize(
    ("scheduler", "lines"),
    [
        (
            section("CosineAnnealing"),
            ["scheduler.name = 'CosineAnnealing': torch.optim.lr_scheduler has no such class"],
        ),
        (
            section("CosineAnnealingLR", Tmax=3),
            ["scheduler.Tmax: CosineAnnealingLR has no such setting; did you mean 'T_max'?"],
        ),
        (section("CosineAnnealingLR", T_max="3"), ['scheduler.T_max = "3": must be a valid integer']),
        (section("CosineAnnealingLR", T_max=0), ["scheduler: fails after epoch 0 of 10"]),
        (section("StepLR"), ["scheduler.step_size: StepLR needs it"]),
        (section("MultiStepLR", milestones=[3, "x"]), ["scheduler.milestones = "]),
        (section("ExponentialLR", gamma=-0.5), ["scheduler: the learning rate of epoch 1 would be -"]),
        (section("LambdaLR", lr_lambda="e"), ["scheduler.name = 'LambdaLR': takes a function"]),
        (section("CyclicLR", base_lr=0.1, max_lr=0.2, scale_fn="f"), ['scheduler.scale_fn = "f": must be callable']),
        (section("OneCycleLR", total_steps=4), ["scheduler: fails after epoch 4 of 10"]),
        (section("OneCycleLR", pct_start=1.5), ["scheduler (OneCycleLR): "]),
        (section("ReduceLROnPlateau", mode="max"), ["scheduler.mode = 'max': monitor = val/loss wants 'min'"]),
        (section("ReduceLROnPlateau", factor=2.0), ["scheduler (ReduceLROnPlateau): Factor should be < 1.0."]),
        (section("StepLR", step_size=2, last_epoch=4), ["scheduler.last_epoch: StepLR has no such setting"]),
        (
            section("SequentialLR", schedulers=["LinearLR", {"name": "StepLR"}], milestones=[2]),
            ["scheduler.schedulers[1].step_size: StepLR needs it"],
        ),
        (
            section("SequentialLR", schedulers=["LinearLR", "CosineAnnealingLR"], milestones=[2, 4]),
            ["scheduler.milestones = [2, 4]: wants one fewer than schedulers"],
        ),
    ],
)
def test_a_mistake_in_the_scheduler_is_a_line(scheduler: Section, lines: list[str]) -> None:
    found = check(SGD, scheduler)
    assert len(found) == len(lines)
    for got, expected in zip(found, lines, strict=True):
        assert got.startswith(expected)


def test_all_mistakes_come_at_once() -> None:
    assert len(check(section("SGD", lr="a", momentun=1), section("StepLR", gama=2))) == 4


ONE_GROUP = {"LBFGS"}  # takes no second group
DENSE = {"SparseAdam", "Muon"}  # wants sparse gradients, or matrices only


@pytest.mark.parametrize(
    "name", sorted(n for n, o in vars(torch.optim).items() if isinstance(o, type) and n not in {"Optimizer", *DENSE})
)
def test_every_optimizer_of_torchs_steps(name: str) -> None:
    some = groups if name not in ONE_GROUP else lambda lr: groups(lr)[:1]
    assert optim.check(some, section(name), section("CosineAnnealingLR"), 5) == []
    made = optim.configure(some, section(name), None, 5)["optimizer"]
    parameter = made.param_groups[0]["params"][0]
    before = parameter.detach().clone()

    def closure() -> torch.Tensor:
        made.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    made.step(closure)
    assert not torch.equal(before, parameter)


SCHEDULERS = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.9},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "SequentialLR": {"schedulers": [{"name": "LinearLR", "total_iters": 2}, "CosineAnnealingLR"], "milestones": [2]},
    "ChainedScheduler": {"schedulers": ["LinearLR", {"name": "ExponentialLR", "gamma": 0.9}]},
}


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, made in vars(lr_scheduler).items()
        if isinstance(made, type) and issubclass(made, lr_scheduler.LRScheduler) and "_LR" not in name
    ),
)
def test_every_scheduler_of_torchs_runs_through_a_training(name: str) -> None:
    if name in {"LRScheduler", *optim.FUNCTIONS}:
        return
    scheduler = section(name, **SCHEDULERS.get(name, {}))
    for epochs in (2, 5, 12):
        assert check(SGD, scheduler, epochs) == [], (name, epochs)


def test_lengths_follow_from_the_epochs() -> None:
    assert rates(section("CosineAnnealingLR"), 4) == pytest.approx(
        [(1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    )
    assert rates(section("CosineAnnealingLR", T_max=8), 4)[2] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert rates(section("PolynomialLR"), 4) == pytest.approx([1, 0.75, 0.5, 0.25])
    assert rates(section("CosineAnnealingWarmRestarts"), 4) == pytest.approx(rates(section("CosineAnnealingLR"), 4))
    cycle = rates(section("OneCycleLR"), 10)  # up to the optimizer's rate in the first 30 %, then down
    assert max(cycle) == pytest.approx(1.0) == cycle[2]
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[-1] == pytest.approx(1 / 25 / 10_000)


def test_a_warm_up_and_then_the_rest_of_the_epochs() -> None:
    warm = {"name": "LinearLR", "start_factor": 0.5, "total_iters": 2}
    got = rates(section("SequentialLR", schedulers=[warm, "CosineAnnealingLR"], milestones=[2]), 6)
    assert got == pytest.approx([0.5, 0.75, *[(1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]])


def test_one_cycle_keeps_the_groups_shares() -> None:
    made = optim.configure(groups, SGD, section("OneCycleLR", max_lr=0.5), 10)
    assert [group["max_lr"] for group in made["optimizer"].param_groups] == pytest.approx([0.5, 0.05])


def test_no_scheduler_keeps_the_rates_and_no_lr_is_torchs() -> None:
    assert rates(None, 8) == [1.0] * 8
    assert optim.configure(groups, section("Adadelta"), None, 3)["optimizer"].param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize(("monitor", "mode"), [("val/loss", "min"), ("val/accuracy", "max"), ("val/auroc", "max")])
def test_a_plateau_is_of_the_monitor(monitor: str, mode: str) -> None:
    made = optim.configure(groups, SGD, section("ReduceLROnPlateau", patience=0), 5, monitor)["lr_scheduler"]
    assert made["monitor"] == monitor
    assert made["scheduler"].mode == mode


def test_configure_refuses_in_one_line_what_nobody_checked() -> None:
    with pytest.raises(ZddError, match=r"optimizer \(SGD\): Invalid learning rate: -1"):
        optim.configure(groups, section("SGD", lr=-1), None, 3)
    with pytest.raises(ZddError, match=r"scheduler \(StepLR\)"):
        optim.configure(groups, SGD, section("StepLR"), 3)

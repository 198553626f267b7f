"""A model from its section, how it is trained, and what is wrong with either, before any data is read."""

from typing import cast

import torch

from zdd import plugins
from zdd.errors import ZddError
from zdd.models import idle, optim
from zdd.models.base import Recipe, ZddModel
from zdd.models.criteria.base import Criterion
from zdd.records import Task
from zdd.settings import Config, Section

CLASS_FIGURES = ("loss", "accuracy", "balanced_accuracy", "f1", "auroc")


def build(section: Section, task: Task, *, trained: bool = False) -> ZddModel:
    """The model that the section names, freshly initialised or with the pretrained weights that it asks for.

    Args:
        section: Name and settings of a file in zdd/models.
        task: Classes and image size.
        trained: No pretrained weights are looked up: the caller loads its own.

    Raises:
        ZddError: If a setting can't be fulfilled: no such weights, an image size that the network can't take, ...
    """
    options = {**section.options, "weights": "none"} if trained and "weights" in section.options else section.options
    return cast(ZddModel, plugins.load("model", section.name)(task, **options))


def method(section: Section) -> type[ZddModel]:
    """The class of the model that the section names, for what it says of itself: `one_class`, `masks`, ..."""
    return cast(type[ZddModel], plugins.load("model", section.name))


def criterion(section: Section, task: Task) -> Criterion:
    """The criterion that the section names.

    Raises:
        ZddError: If its settings don't fit the classes.
    """
    return cast(Criterion, plugins.load("criterion", section.name)(task, **section.options))


def recipe(config: Config, task: Task) -> Recipe:
    """How the configuration trains a model; `model.recipe` is set to it also to read a trained model's output.

    Raises:
        ZddError: If the criterion's settings don't fit the classes.
    """
    return Recipe(
        criterion=criterion(config.criterion, task),
        optimizer=config.optimizer,
        scheduler=config.scheduler,
        epochs=config.epochs,
        monitor=config.monitor,
    )


def check(config: Config) -> list[str]:
    """Every mistake in model, criterion, optimizer and scheduler that can be told without data, a line each.

    The model is built on the meta device: no memory, no random numbers; but a weights file is looked up and compared.
    """
    classes = tuple(config.dataset.classes or ("good", "defective"))
    has_good = config.dataset.good_class is not None
    task = Task(classes, has_good=has_good, image_size=config.image_size, class_counts=(1,) * len(classes))
    lines = _method_mistakes(config) + idle.find(config, method(config.model))
    if config.dataset.classes is not None or not any(isinstance(v, list) for v in config.criterion.options.values()):
        try:
            criterion(config.criterion, task)
        except ZddError as error:
            lines += error.lines
    try:
        with torch.device("meta"):
            model = build(config.model, task)
    except ZddError as error:
        # Without a model, optimizer and scheduler are looked at with a parameter of no account.
        model = None
        lines += error.lines
    groups = (
        model.groups
        if model is not None and not model.one_pass
        else lambda lr: [{"params": [torch.zeros(1, 1)], "lr": lr}]
    )
    epochs = model.scheduled_epochs(config.epochs) if model is not None else config.epochs
    if epochs < 1:
        lines.append(
            f"epochs = {config.epochs}: the stages before the schedule take {config.epochs - epochs}; give more"
        )
        epochs = config.epochs
    return lines + optim.check(groups, config.optimizer, config.scheduler, epochs, config.monitor)


def _method_mistakes(config: Config) -> list[str]:
    """Settings that the method can't follow: they would do nothing, or break a training off at its end."""
    made, name = method(config.model), config.model.name
    lines = []
    known = {"val/loss", "val/auroc"} if made.one_class else {f"val/{figure}" for figure in CLASS_FIGURES}
    known |= {"val/iou", "val/dice"} if made.masks else set()
    known = {"val/loss"} if made.generative else known
    if config.monitor not in known:
        lines.append(f"monitor = '{config.monitor}': the model '{name}' has no such figure; {', '.join(sorted(known))}")
    if config.dataset.contamination and not made.one_class:
        lines.append(f"dataset.contamination: the model '{name}' learns from defects, too; take it out")
    if made.generative and config.scheduler is not None and config.scheduler.name == "ReduceLROnPlateau":
        lines.append(f"scheduler.name = 'ReduceLROnPlateau': no figure falls as a '{name}' draws better; take null")
    if (made.one_pass or made.generative) and config.trainer.devices > 1:
        lines.append(f"trainer.devices = {config.trainer.devices}: the model '{name}' learns on one device; set 1")
    for option, off in (("accumulate", 1), ("gradient_clip", 0)):
        if made.one_pass and getattr(config.trainer, option) != off:
            lines.append(f"trainer.{option}: the model '{name}' has no gradients; set {off}")
    return lines

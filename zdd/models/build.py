"""A model from its section, how it is trained, and what is wrong with either, before any data is read."""

from typing import cast

import torch

from zdd import plugins
from zdd.errors import ZddError
from zdd.models import optim
from zdd.models.base import Recipe, ZddModel
from zdd.models.criteria.base import Criterion
from zdd.records import Task
from zdd.settings import Config, Section


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
    lines: list[str] = []
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
    groups = model.groups if model is not None else lambda lr: [{"params": [torch.zeros(1, 1)], "lr": lr}]
    epochs = model.scheduled_epochs(config.epochs) if model is not None else config.epochs
    if epochs < 1:
        lines.append(
            f"epochs = {config.epochs}: the stages before the schedule take {config.epochs - epochs}; give more"
        )
        epochs = config.epochs
    return lines + optim.check(groups, config.optimizer, config.scheduler, epochs, config.monitor)

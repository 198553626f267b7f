"""What the tests of models share: a task, a batch, and a classifier that is ready to be trained."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from zdd.models import build
from zdd.models.base import Recipe
from zdd.models.classifier import Classifier
from zdd.records import Batch, Task
from zdd.settings import Section

# Small, but large enough for batch norms to have more than one place to look at.
SIZES = {"vit_b_16": 32, "dino_vits8": 32, "luna": 32, "convnext_tiny": 64, "alexnet": 64, "vgg16": 32, "swin_t": 64}


def section(name: str, **options: Any) -> Section:
    return Section(name=name, options=options)


def make_task(size: int | tuple[int, int] = 32, n: int = 3, *, has_good: bool = True) -> Task:
    both = (size, size) if isinstance(size, int) else size
    return Task(("good", "crack", "dent mark", "scratch")[:n], has_good, both, (8, 4, 2, 1)[:n])


def build_filled(wanted: Section, task: Task) -> Classifier:
    """A model with random values in every parameter: zeros (ViT's head, biases, layer scales) make tests vacuous."""
    with torch.device("meta"):
        model = build.build(wanted, task)
    if any(True for _ in model.buffers()):
        model = build.build(wanted, task)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.02 * torch.empty_like(parameter).uniform_(-1, 1)
    else:  # VGG's own initialisation takes 2 s
        model.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in model.parameters():
                bound = (6 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1
                parameter.uniform_(-bound, bound)
    assert isinstance(model, Classifier)
    return model


@pytest.fixture(scope="session")
def make_classifier() -> Callable[..., Classifier]:
    """Classifier(backbone, n classes, settings ...) with a recipe, every parameter off its initial value."""

    def make(
        backbone: str, n: int = 3, *, size: Any = None, criterion: Section | None = None, **options: Any
    ) -> Classifier:
        torch.manual_seed(0)
        task = make_task(size or SIZES.get(backbone, 64), n)
        model = build_filled(section("classifier", backbone=backbone, **options), task)
        made = build.criterion(criterion or section("cross_entropy"), task)
        model.recipe = Recipe(made, section("SGD", lr=0.1), None, epochs=4)
        return model

    return make


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """A batch of noise for a model, labels 0, 1, 2, 0, ..."""

    def make(model: Classifier, n: int = 4) -> Batch:
        image = torch.randn(n, 3, *model.task.image_size, generator=torch.Generator().manual_seed(2))
        return {"image": image, "label": torch.arange(n) % model.task.n_classes, "index": torch.arange(n)}

    return make

"""Cross-entropy."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zdd.errors import ZddError
from zdd.models.criteria.base import Criterion, in_full
from zdd.records import Task
from zdd.settings import Share


class CrossEntropy(Criterion):
    """Cross-entropy of the softmax.

    Args:
        task: Classes, and how many training images each has.
        label_smoothing: Share of the target that is spread evenly over all classes.
        class_weights: "none"; "balanced": n / (K n_k), so that every class weighs the same in all; or one a class, in
            the order of the classes.

    Raises:
        ZddError: If the weights don't fit the classes.
    """

    def __init__(
        self,
        task: Task,
        *,
        label_smoothing: Share = 0.0,
        class_weights: Literal["none", "balanced"] | list[float] = "none",
    ) -> None:
        super().__init__(task)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights == "none" else torch.tensor(_weights(task, class_weights))

    def forward(self, raw: Tensor, label: Tensor) -> Tensor:
        """(B, K) logits, (B,) int64 -> (B,) loss of each image, times its class's weight."""
        raw = in_full(raw)
        weights = None if self.class_weights is None else self.class_weights.to(raw)
        return F.cross_entropy(raw, label, weights, reduction="none", label_smoothing=self.label_smoothing)

    def weight(self, label: Tensor) -> Tensor | None:
        """(B,) weight of each image's class."""
        return None if self.class_weights is None else self.class_weights.to(label.device)[label]


def _weights(task: Task, given: str | list[float]) -> list[float]:
    where = f"criterion.class_weights = {given!r}"
    if isinstance(given, str):
        empty = [name for name, count in zip(task.classes, task.class_counts, strict=False) if count == 0]
        if empty or len(task.class_counts) != task.n_classes:
            raise ZddError(f"{where}: no training image of {', '.join(empty) or 'any class'} to balance")
        return [sum(task.class_counts) / (task.n_classes * count) for count in task.class_counts]
    if len(given) != task.n_classes:
        raise ZddError(f"{where}: {len(given)} weights for {task.n_classes} classes ({', '.join(task.classes)})")
    if min(given) < 0 or max(given) == 0:
        raise ZddError(f"{where}: weights must not be negative, nor all 0")
    return [float(weight) for weight in given]

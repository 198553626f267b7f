"""Focal loss (Lin et al., Focal Loss for Dense Object Detection, arXiv:1708.02002)."""

import torch
from torch import Tensor

from zdd.errors import ZddError
from zdd.models.criteria.base import Criterion, in_full
from zdd.records import Task
from zdd.settings import Amount


class Focal(Criterion):
    """-alpha (1 - p)^gamma log p of the true class, p by softmax: images that are easily right count less.

    Args:
        task: Classes; class 0 is the good one if there is one.
        gamma: How much less; 0 is cross-entropy.
        alpha: Weight of every defect class, where the good class weighs 1 - alpha (the paper's foreground and
            background); or one weight a class, in the order of the classes; null: all weigh 1.

    Raises:
        ZddError: If gamma is negative, or alpha does not fit the classes.
    """

    def __init__(self, task: Task, *, gamma: Amount = 2.0, alpha: float | list[float] | None = None) -> None:
        super().__init__(task)
        if gamma < 0:
            raise ZddError(f"criterion.gamma = {gamma}: must be 0 or greater")
        self.gamma = gamma
        self.alpha = None if alpha is None else torch.tensor(_alpha(task, alpha))

    def forward(self, raw: Tensor, label: Tensor) -> Tensor:
        """(B, K) logits, (B,) int64 -> (B,) loss of each image."""
        log_p = in_full(raw).log_softmax(1).gather(1, label[:, None])[:, 0]
        # 1 - p by expm1, never below the smallest number: the gradient of 0^gamma is not finite for gamma < 1.
        miss = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
        loss = -(miss**self.gamma) * log_p
        return loss if self.alpha is None else loss * self.alpha.to(loss)[label]


def _alpha(task: Task, alpha: float | list[float]) -> list[float]:
    where = f"criterion.alpha = {alpha}"
    if isinstance(alpha, list):
        if len(alpha) != task.n_classes or min(alpha) < 0:
            raise ZddError(
                f"{where}: wants {task.n_classes} weights of 0 or more, one a class ({', '.join(task.classes)})"
            )
        return [float(weight) for weight in alpha]
    if not task.has_good:
        raise ZddError(f"{where}: one number divides good from defective, and there is no good class; give a list")
    if not 0 <= alpha <= 1:
        raise ZddError(f"{where}: must lie in [0, 1]")
    return [1 - alpha] + [alpha] * (task.n_classes - 1)

"""What a criterion is: a loss of each image, and how its logits are read as probabilities."""

import torch
from torch import Tensor, nn

from zdd.records import Task


class Criterion(nn.Module):
    """A loss on logits. A subclass writes `forward`; its keyword-only arguments are its settings.

    It has no state, so that a model's weights are the same whatever it was trained with.

    Args:
        task: Classes, and how many training images each has.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, raw: Tensor, label: Tensor) -> Tensor:
        """(B, K) logits, (B,) int64 -> (B,) loss of each image, times its weight."""
        raise NotImplementedError

    def weight(self, label: Tensor) -> Tensor | None:
        """(B,) weight of each image in a batch's mean, or None where all weigh the same."""
        return None

    def probability(self, raw: Tensor) -> Tensor:
        """(B, K) logits -> (B, K), rows sum to 1."""
        return in_full(raw).softmax(1)


def in_full(raw: Tensor) -> Tensor:
    """`raw` in at least float32: losses and probabilities of half-precision logits are rounded too coarsely."""
    return raw.to(torch.promote_types(raw.dtype, torch.float32))

"""Binary cross-entropy on one-hot targets."""

from torch import Tensor
from torch.nn import functional as F

from zdd.models.criteria.base import Criterion, in_full


class BCE(Criterion):
    """Each class against all others by a sigmoid of its own; the mean over classes."""

    def forward(self, raw: Tensor, label: Tensor) -> Tensor:
        """(B, K) logits, (B,) int64 -> (B,) loss of each image."""
        raw = in_full(raw)
        target = F.one_hot(label, raw.shape[1]).to(raw)
        return F.binary_cross_entropy_with_logits(raw, target, reduction="none").mean(1)

    def probability(self, raw: Tensor) -> Tensor:
        """Sigmoids divided by their sum, (B, K); by logarithms, so that rows of tiny sigmoids are no 0 / 0."""
        return F.logsigmoid(in_full(raw)).softmax(1)

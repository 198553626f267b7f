"""The nearer to the input, the slower (Howard and Ruder, arXiv:1801.06146; Clark et al., arXiv:2003.10555)."""

from zdd.errors import ZddError
from zdd.models.transfer.base import Transfer
from zdd.settings import Factor


class LayerWise(Transfer):
    """Everything moves, each layer slower than the next one: learning rate x decay^depth, depth 0 being the head.

    Args:
        decay: Factor from one layer to the one before it, above 0 and up to 1.

    Raises:
        ZddError: If it lies outside.
    """

    def __init__(self, *, decay: Factor = 0.9) -> None:
        if not 0 < decay <= 1:
            raise ZddError(f"model.transfer.decay = {decay}: must be greater than 0 and at most 1")
        self.decay = decay

    def rate(self, lr: float, depth: int) -> float:
        """lr x decay^depth."""
        return lr * float(self.decay**depth)

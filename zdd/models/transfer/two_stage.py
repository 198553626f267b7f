"""The head first, then everything."""

from zdd.errors import ZddError
from zdd.models.backbones import Layout
from zdd.models.transfer.base import Transfer, body
from zdd.settings import Positive, Rate


class TwoStage(Transfer):
    """The head alone for some epochs, so that its first large gradients don't spoil the body; then everything.

    Args:
        stage_epochs: Epochs in which the head alone moves.
        stage_lr: Learning rate of those epochs; then the optimizer's own holds, and its schedule begins.

    Raises:
        ZddError: If the learning rate is not above 0.
    """

    def __init__(self, *, stage_epochs: Positive = 5, stage_lr: Rate = 0.01) -> None:
        if stage_lr <= 0:
            raise ZddError(f"model.transfer.stage_lr = {stage_lr}: must be greater than 0")
        self.stage_epochs = stage_epochs
        self.stage_lr = stage_lr

    def frozen(self, layout: Layout, epoch: int) -> frozenset[str]:
        """The body, in the first stage."""
        return body(layout) if epoch < self.stage_epochs else frozenset()

    def own_lr(self, epoch: int) -> float | None:
        """`stage_lr` in the first stage."""
        return self.stage_lr if epoch < self.stage_epochs else None

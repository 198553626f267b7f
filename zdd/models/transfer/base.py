"""What a transfer strategy says of a network: which parameters rest in an epoch, and how fast the others move."""

from zdd.models.backbones import Layout


class Transfer:
    """A strategy. It holds settings only: what it says depends on the layout and the epoch alone, so resuming is free.

    A new one writes `frozen`, `rate`, or both; its keyword-only arguments are its settings.
    """

    stage_epochs = 0  # epochs at the start with a learning rate of the strategy's own; the schedule begins after them

    def frozen(self, layout: Layout, epoch: int) -> frozenset[str]:
        """Names of the parameters that must not move in this epoch (0, 1, ...). What moves once never rests again."""
        return frozenset()

    def rate(self, lr: float, depth: int) -> float:
        """Learning rate of the stage `depth` before the head (0: the head itself), where the optimizer's is `lr`."""
        return lr

    def own_lr(self, epoch: int) -> float | None:
        """Learning rate of all that moves in this epoch, or None for the optimizer's and its schedule's."""
        return None


def body(layout: Layout) -> frozenset[str]:
    """Every parameter but the head's."""
    return frozenset(name for stage in layout.stages for name in stage)

"""The first layers rest."""

from zdd.models.backbones import Layout
from zdd.models.transfer.base import Transfer
from zdd.settings import Share


class Partial(Transfer):
    """The first layers, which see edges and textures, rest; the later ones and the head move.

    Args:
        share: Share of the layers before the head, counted from the input, that rest.
    """

    def __init__(self, *, share: Share = 0.5) -> None:
        self.share = share

    def frozen(self, layout: Layout, epoch: int) -> frozenset[str]:
        """The first `share` of the stages, in every epoch."""
        n_frozen = round(self.share * len(layout.stages))
        return frozenset(name for stage in layout.stages[:n_frozen] for name in stage)

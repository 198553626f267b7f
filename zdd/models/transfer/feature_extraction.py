"""The head alone moves."""

from zdd.models.backbones import Layout
from zdd.models.transfer.base import Transfer, body


class FeatureExtraction(Transfer):
    """Only the new head moves; the pretrained network gives the features."""

    def frozen(self, layout: Layout, epoch: int) -> frozenset[str]:
        """The body, in every epoch."""
        return body(layout)

"""Everything moves."""

from zdd.models.transfer.base import Transfer


class Full(Transfer):
    """Every parameter moves with the optimizer's learning rate; choose a small one for pretrained weights."""

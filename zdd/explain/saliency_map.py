"""Another name of `saliency`: the one that the label study's command line had."""

from torch import Tensor

from zdd.explain import saliency
from zdd.explain.base import Attribution, Subject

SIGNED = saliency.SIGNED


def attribute(subject: Subject, image: Tensor, target: Tensor) -> Attribution:
    """The same as `saliency`.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
    """
    return saliency.attribute(subject, image, target)

"""The gradient's size (Simonyan, Vedaldi and Zisserman 2013, arXiv 1312.6034)."""

from captum.attr import Saliency
from torch import Tensor

from zdd.explain.base import Attribution, Subject
from zdd.explain.chunks import in_chunks

SIGNED = False


def attribute(subject: Subject, image: Tensor, target: Tensor) -> Attribution:
    """How much a small change of a pixel changes the score: the largest absolute gradient over the channels.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
    """
    return in_chunks(lambda part, aim: _explain(subject, part, aim), image, target)


def _explain(subject: Subject, image: Tensor, target: Tensor) -> Attribution:
    gradient = Saliency(subject.module()).attribute(image, target=target)
    return Attribution(gradient.amax(1, keepdim=True))

"""The method's own map: what an autoencoder can't draw again, where a U-Net sees a defect."""

import torch
from torch import Tensor
from torch.nn import functional as F

from zdd.explain.base import BATCH, Attribution, Subject, Unfit

SIGNED = False


def attribute(subject: Subject, image: Tensor, target: Tensor) -> Attribution:  # noqa: ARG001
    """The map that comes with the verdict. It is no attribution: it says what was found there, not what it weighed.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64; the map is that of any defect, whatever the target.

    Raises:
        Unfit: If the method has no map.
    """
    if subject.own is None:
        raise Unfit("own_map: this method has no map of its own; take integrated_gradients")
    with torch.no_grad():
        maps = [subject.own(part).float() for part in torch.split(image, BATCH)]
    found = [F.interpolate(each, image.shape[-2:], mode="bilinear", align_corners=False) for each in maps]
    return Attribution(torch.cat(found).clamp_min(0))

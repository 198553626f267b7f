"""Grad-CAM: where the features lie that speak for a target (Selvaraju et al., ICCV 2017, arXiv 1610.02391)."""

import torch
from torch import Tensor

from zdd.explain import layers
from zdd.explain.base import Attribution, Subject
from zdd.explain.chunks import in_chunks
from zdd.explain.places import Spot

SIGNED = False


def attribute(subject: Subject, image: Tensor, target: Tensor, *, layer: str = "auto") -> Attribution:
    """The places of a late layer that speak for the target: its channels, weighed by their mean gradient, added up.

    Of a network for pixels it is Seg-Grad-CAM (Vinogradova et al. 2020, arXiv 2002.11434) of all pixels.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
        layer: A module's name, such as "layer4", or "auto": the last of the layers with the fewest places, but more
            than one (of a transformer: what the last block's attention is given).

    Raises:
        ZddError: If the layer is not there, or has no places on which the score depends.
        Unfit: If no layer has more than one place.
    """
    spot = layers.find(subject, (image.shape[-2], image.shape[-1]), layer)
    return in_chunks(lambda part, aim: Attribution(_map(subject, spot, part, aim)), image, target)


def _map(subject: Subject, spot: Spot, image: Tensor, target: Tensor) -> Tensor:
    seen = layers.activations(subject, image, target, spot)
    weight = torch.stack([slope.mean((2, 3)) for _, slope in seen]).mean(0)[:, :, None, None]
    return spot.spread([(weight * activation).sum(1, keepdim=True).relu().float() for activation, _ in seen])

"""The image without information that an image is compared with."""

import torch
from torch import Tensor
from torch.nn import functional as F

from zdd.errors import ZddError
from zdd.explain.base import Subject
from zdd.settings import Baseline

BLUR = 1 / 16  # standard deviation as a share of the shorter side: 14 pixels of 224, more than most defects' width


def reference(subject: Subject, image: Tensor, kind: Baseline) -> Tensor:
    """(B, 3, H, W) -> the same shape: black; the mean colour that images are normalised by, which is 0; or blurred.

    No choice is neutral (Sturmfels, Lundberg and Lee 2020, distill.pub/2020/attribution-baselines): what has the
    baseline's colour gets no attribution, so that black hides dark defects, and blur hides wide ones.

    Raises:
        ZddError: If black is wanted and the subject doesn't say which normalised value that is.
    """
    if kind == "mean":
        return torch.zeros_like(image)
    if kind == "blur":
        return blurred(image, BLUR * min(image.shape[-2:]))
    # One number a channel, what a normalised image has where a picture is black.
    black = subject.black
    if black is None:
        raise ZddError("baseline = 'black': not known for this network, since its normalisation is not; take 'mean'")
    colour = torch.as_tensor(black, dtype=image.dtype, device=image.device)
    return colour.view(1, -1, 1, 1).expand_as(image).clone()


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, C, H, W), `sigma` in pixels, cut off at 3 of them; beyond the edge its colour."""
    if sigma <= 0:
        return image.clone()
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    weight = torch.exp(-0.5 * (steps / sigma) ** 2)
    weight = (weight / weight.sum()).expand(image.shape[1], 1, -1)
    wide = F.pad(image, (reach, reach, 0, 0), mode="replicate")
    wide = F.conv2d(wide, weight[:, :, None, :], groups=image.shape[1])
    high = F.pad(wide, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(high, weight[:, :, :, None], groups=image.shape[1])

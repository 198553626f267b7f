"""Structural similarity of each pixel (Wang et al., 2004), by operations that every exporter can draw.

The figures are those of torchmetrics, whose own graph holds a split into as many parts as the batch has images.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5  # pixels, of the Gaussian
C1, C2 = 0.01**2, 0.03**2  # for values in [0, 1]; they keep flat parts from dividing by nothing


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """(B, C, H, W) each, values in [0, 1] -> (B, C, H, W), at most 1; sides of `WINDOW` // 2 + 1 pixels at least.

    Args:
        one: A picture; the gradient flows to both.
        other: What it is compared with.
    """
    channels = one.shape[1]
    at = torch.arange(WINDOW, dtype=one.dtype, device=one.device) - WINDOW // 2
    line = torch.exp(-((at / SIGMA) ** 2) / 2)
    line = line / line.sum()
    window = torch.outer(line, line).expand(5 * channels, 1, WINDOW, WINDOW)
    one, other = (F.pad(each, [WINDOW // 2] * 4, mode="reflect") for each in (one, other))
    # Variances don't change with a constant; without it float32 would lose three digits on bright, flat parts.
    level = other.detach().mean((2, 3), keepdim=True)
    x, y = one - level, other - level
    five = F.conv2d(torch.cat((x, y, x * x, y * y, x * y), dim=1), window, groups=5 * channels)
    mean_x, mean_y, square_x, square_y, product = five.chunk(5, dim=1)
    mean_one, mean_other = mean_x + level, mean_y + level
    variance = (square_x - mean_x**2).clamp_min(0) + (square_y - mean_y**2).clamp_min(0)
    brightness = (2 * mean_one * mean_other + C1) / (mean_one**2 + mean_other**2 + C1)
    return brightness * (2 * (product - mean_x * mean_y) + C2) / (variance + C2)

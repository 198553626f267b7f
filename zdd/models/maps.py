"""From a map of errors to an image's score, and the map's blur: the same for every anomaly method."""

import math

from torch import Tensor
from torchvision.transforms.functional import gaussian_blur


def score(errors: Tensor, by: str, top_share: float) -> Tensor:
    """(B, 1, H, W) -> (B,): the mean, the largest, or the mean of the share `top_share` of the largest values."""
    flat = errors.flatten(1)
    if by == "top_k":
        return flat.topk(max(1, round(top_share * flat.shape[1])), dim=1).values.mean(1)
    return flat.amax(1) if by == "maximum" else flat.mean(1)


def blurred(errors: Tensor, sigma: float) -> Tensor:
    """(B, 1, H, W) -> the same, by a Gaussian of `sigma` pixels that ends at 3 sigma or the image's side; 0: not."""
    if sigma <= 0:
        return errors
    # Reflection reaches no farther than one pixel less than the image's side.
    kernel = [min(2 * math.ceil(3 * sigma) + 1, side - 1 + side % 2) for side in (errors.shape[-1], errors.shape[-2])]
    smooth: Tensor = gaussian_blur(errors, kernel, [sigma, sigma])
    return smooth

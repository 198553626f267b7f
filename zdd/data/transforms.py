"""Transforms that torchvision lacks: the corruptions of Hendrycks and Dietterich, and a way through Pillow.

The corruptions are those of the package imagecorruptions at severity 1 (github.com/bethgelab/imagecorruptions, after
Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
arXiv:1903.12261), written for (3, H, W) uint8 tensors and torch's random numbers. They change images, never masks.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as VF


class OnPillow(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Runs a transform on a Pillow image: RandAugment takes a third of the time that it takes on a tensor."""

    def __init__(self, inner: v2.Transform) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        changed: Tensor = VF.pil_to_tensor(self.inner(VF.to_pil_image(image)))
        return changed


class _Corruption(v2.Transform):  # type: ignore[misc]
    _transformed_types = (tv_tensors.Image, v2.functional._utils.is_pure_tensor)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ARG002 (torchvision's signature)
        """torchvision's hook: an image, tagged or plain."""
        changed = self.corrupt(inpt.as_subclass(Tensor).float() / 255)
        pixels = changed.clamp(0, 1).mul(255).round().to(torch.uint8)
        return tv_tensors.wrap(pixels, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else pixels

    def corrupt(self, image: Tensor) -> Tensor:
        """(3, H, W) in [0, 1] -> the same, not yet clamped."""
        raise NotImplementedError


class ShotNoise(_Corruption):
    """Photons that are few: Poisson noise of `photons` for a white pixel."""

    def __init__(self, photons: float = 60) -> None:
        super().__init__()
        self.photons = photons

    def corrupt(self, image: Tensor) -> Tensor:
        """See the class."""
        return torch.poisson(image * self.photons) / self.photons


class ImpulseNoise(_Corruption):
    """Salt and pepper on a share of all values."""

    def __init__(self, share: float = 0.03) -> None:
        super().__init__()
        self.share = share

    def corrupt(self, image: Tensor) -> Tensor:
        """See the class."""
        hit, white = torch.rand(image.shape) < self.share, torch.rand(image.shape) < 0.5
        return torch.where(hit, white.to(image.dtype), image)


class MotionBlur(_Corruption):
    """A movement of the camera: a Gaussian line of `radius` and `sigma` pixels, at up to 45 degrees from level."""

    def __init__(self, radius: int = 10, sigma: float = 3.0) -> None:
        super().__init__()
        self.radius = radius
        self.sigma = sigma

    def corrupt(self, image: Tensor) -> Tensor:
        """See the class."""
        angle = float(torch.empty(()).uniform_(-math.pi / 4, math.pi / 4))
        side = 2 * self.radius + 1
        offset = torch.arange(side) - self.radius
        weight = torch.exp(-(offset.float() ** 2) / (2 * self.sigma**2))
        kernel = torch.zeros(side, side)
        rows = (offset * math.sin(angle)).round().long() + self.radius
        columns = (offset * math.cos(angle)).round().long() + self.radius
        kernel.index_put_((rows, columns), weight, accumulate=True)
        kernel = (kernel / kernel.sum()).expand(3, 1, side, side)
        reach = min(self.radius, image.shape[-1] - 1, image.shape[-2] - 1)  # a mirror is no wider than the image
        mirrored = F.pad(image[None], (reach,) * 4, mode="reflect")
        padded = F.pad(mirrored, (self.radius - reach,) * 4, mode="replicate")
        return F.conv2d(padded, kernel, groups=3)[0]


class ZoomBlur(_Corruption):
    """A zoom during the exposure: the mean of the image at scales from 1 to `most`."""

    def __init__(self, most: float = 1.1, step: float = 0.01) -> None:
        super().__init__()
        self.scales = [1 + step * i for i in range(1, round((most - 1) / step) + 1)]

    def corrupt(self, image: Tensor) -> Tensor:
        """See the class."""
        theta = torch.stack([torch.tensor([[1 / s, 0, 0], [0, 1 / s, 0]]) for s in self.scales])
        batch = image[None].expand(len(self.scales), -1, -1, -1)
        grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
        zoomed = F.grid_sample(batch, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return (image + zoomed.sum(0)) / (len(self.scales) + 1)


class Pixelate(_Corruption):
    """Too few pixels: scaled to `share` of each side and back."""

    def __init__(self, share: float = 0.6) -> None:
        super().__init__()
        self.share = share

    def corrupt(self, image: Tensor) -> Tensor:
        """See the class."""
        small = [max(1, int(side * self.share)) for side in image.shape[-2:]]
        coarse = F.interpolate(image[None], small, mode="area")
        return F.interpolate(coarse, image.shape[-2:], mode="nearest")[0]


def corruptions() -> list[v2.Transform]:
    """The seven of the fourth phase, severity 1."""
    return [
        v2.GaussianBlur(kernel_size=9, sigma=1.0),
        ShotNoise(),
        ImpulseNoise(),
        MotionBlur(),
        ZoomBlur(),
        Pixelate(),
        v2.JPEG(quality=25),
    ]

"""The two networks of the GAN: one draws images from random numbers, one judges whether an image was drawn.

Architecture after eriklindernoren/PyTorch-GAN (implementations/lsgan), for any number of latent numbers, any image
size and any widths.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 0.8  # of batch norm, as in the source; it keeps weak channels weak
SLOPE = 0.2  # of LeakyReLU
DROPOUT = 0.25  # of whole channels in the discriminator


class Generator(nn.Module):
    """Latent numbers (B, L) and classes (B,) -> images (B, 3, H, W) in [-1, 1].

    Args:
        latent_size: L.
        n_classes: Classes that it is told of; 1: it is told none.
        image_size: Height and width, any.
        channels: Of the start map and after each doubling of the sides; the last convolution makes 3 of the last.
    """

    def __init__(self, latent_size: int, n_classes: int, image_size: tuple[int, int], channels: list[int]) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.sizes = [tuple(math.ceil(side / 2**k) for side in image_size) for k in reversed(range(len(channels)))]
        self.start = (channels[0], *self.sizes[0])
        self.first = nn.Linear(latent_size + (n_classes if n_classes > 1 else 0), math.prod(self.start))
        self.norm = nn.BatchNorm2d(channels[0])
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b, EPS), nn.LeakyReLU(SLOPE))
            for a, b in itertools.pairwise(channels)
        )
        self.last = nn.Conv2d(channels[-1], 3, 3, padding=1)
        self.apply(_start)

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        """See the class."""
        if self.training and len(latent) == 1:
            return _as_two(self, latent, label)
        if self.n_classes > 1:
            latent = torch.cat((latent, F.one_hot(label, self.n_classes).to(latent.dtype)), dim=1)
        x = self.norm(self.first(latent).reshape(-1, *self.start))
        for size, block in zip(self.sizes[1:], self.blocks, strict=True):
            x = block(F.interpolate(x, size=size))  # nearest; to the size itself, so that no side need divide by 4
        drawn: Tensor = self.last(x).tanh()
        return drawn


class Discriminator(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] and classes (B,) -> (B,), near 1 for real ones of that class.

    Args:
        n_classes: Outputs, of which the image's class takes its own (Miyato and Koyama, ICLR 2018, without its bias).
        image_size: Height and width, any.
        channels: Of each convolution, which halves the sides.
    """

    def __init__(self, n_classes: int, image_size: tuple[int, int], channels: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise((3, *channels)):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(SLOPE), nn.Dropout2d(DROPOUT)]
            layers += [nn.BatchNorm2d(b, EPS)] if a != 3 else []
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        sides = [math.ceil(side / 2 ** len(channels)) for side in image_size]
        self.head = nn.Linear(channels[-1] * math.prod(sides), n_classes)
        self.apply(_start)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """See the class."""
        if self.training and len(image) == 1:
            return _as_two(self, image, label)
        said: Tensor = self.head(self.trunk(image)).gather(1, label[:, None])[:, 0]
        return said


class PerClass(nn.Module):
    """A network for each class, none of which learns from another's images.

    Args:
        networks: One a class, of one class each.
    """

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Each row by its class's network, in the rows' order."""
        rows = [torch.nonzero(label == k)[:, 0] for k in range(len(self.networks))]
        one = torch.zeros_like(label)  # the only class that each of them knows
        parts = [net(x[row], one[row]) for net, row in zip(self.networks, rows, strict=True) if len(row)]
        back = torch.cat(rows).argsort()
        return torch.cat(parts)[back]


def _start(module: nn.Module) -> None:
    """Convolutions from N(0, 0.02), batch norms from N(1, 0.02)."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def _as_two(net: nn.Module, x: Tensor, label: Tensor) -> Tensor:
    """A row alone: batch norm can't learn from one image whose map is one pixel, so it is shown twice."""
    said: Tensor = net(x.expand(2, *x.shape[1:]), label.expand(2))
    return said[:1]

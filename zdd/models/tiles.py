"""A network on overlapping tiles of a large image, blended: part of the net, so that it is the same everywhere."""

from typing import cast

import torch
from torch import Tensor, nn


class Tiled(nn.Module):
    """Runs `net` on each tile and blends what it says; what is larger than a tile need not fit into memory at once.

    Args:
        net: (B, 3, h, w) -> (B, K, h, w).
        size: Side of a tile, pixels; sides that are shorter than it are one tile.
        overlap: Pixels that neighbours share, at least; fewer than `size`.
    """

    def __init__(self, net: nn.Module, size: int, overlap: int) -> None:
        super().__init__()
        self.net, self.size, self.overlap = net, size, overlap

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W): in an overlap a tile counts the more, the farther its own border is."""
        total: Tensor | None = None
        weight = torch.zeros(image.shape[-2:], device=image.device)
        for window in self.windows(image.shape[-2], image.shape[-1]):
            said = cast(Tensor, self.net(image[(..., *window)])).float()
            fade = _fade(said.shape[-2], said.shape[-1], said.device)
            if total is None:
                total = said.new_zeros(*said.shape[:2], *image.shape[-2:])
            total[(..., *window)] += said * fade
            weight[window] += fade
        assert total is not None
        return total / weight

    def windows(self, height: int, width: int) -> list[tuple[slice, slice]]:
        """The tiles of an image, row by row."""
        return [(y, x) for y in self._starts(height) for x in self._starts(width)]

    def _starts(self, side: int) -> list[slice]:
        if side <= self.size:
            return [slice(0, side)]
        step = self.size - self.overlap
        n = -(-(side - self.size) // step) + 1
        # Spread evenly, the last one flush with the border.
        return [slice(s, s + self.size) for s in (round(i * (side - self.size) / (n - 1)) for i in range(n))]


def _fade(height: int, width: int, device: torch.device) -> Tensor:
    """(h, w) weights, falling linearly to the border, never 0."""
    sides = [torch.arange(1, side + 1, device=device, dtype=torch.float32) for side in (height, width)]
    y, x = (torch.minimum(side, side.flip(0)) / side.max() for side in sides)
    return y[:, None] * x[None, :]

"""How much each token of a transformer takes from each other, and shares of its answer handed back layer by layer."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import PatchMerging, ShiftedWindowAttention

Heads = Literal["mean", "max", "min"]

APART = -100.0  # added where a roll alone makes neighbours, as torchvision has it


def back(layer: nn.Module, x: Tensor, share: Tensor, heads: Heads) -> Tensor:
    """Shares of the result for each token after a layer -> for each before it, the same sum.

    A residual block hands on half of what it was given and half of what attention mixed (Abnar and Zuidema 2020).

    Args:
        layer: An attention of torch, timm or torchvision's Swin, or Swin's merging.
        x: (B, N, C) or (B, H, W, C), what it was given.
        share: (B, N), or (B, h, w).
        heads: How heads are put together.
    """
    if isinstance(layer, PatchMerging):
        return merged_back(share, (x.shape[1], x.shape[2]))
    if isinstance(layer, ShiftedWindowAttention):
        grid = Windows(layer, x.shape[1], x.shape[2])
        there = grid.cut(torch.ones_like(x[:1, ..., :1])).mT  # (1, windows, 1, n), 0 in the padding
        kept = normalised(together(window_weights(layer, x), heads) * there)
        mixed = kept.mT @ grid.cut(share[..., None])
        return (share + grid.join(mixed)[..., 0]) / 2
    # One image at a time: the weights of 16 with 4,096 tokens each would be 6 GB.
    mixed = torch.cat([one[:, None] @ together(weights(layer, tokens), heads) for one, tokens in _each(share, x)])
    return (share + mixed[:, 0]) / 2


def together(shares: Tensor, heads: Heads) -> Tensor:
    """(..., heads, N, N) -> (..., N, N), rows add up to 1."""
    if heads == "mean":
        return shares.mean(-3)
    return normalised(shares.amax(-3) if heads == "max" else shares.amin(-3))


def normalised(shares: Tensor) -> Tensor:
    """(..., N, N) not negative -> rows that add up to 1; those of zeros stay as they are."""
    return shares / shares.sum(-1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)


def weights(layer: nn.Module, x: Tensor) -> Tensor:
    """(B, N, C) -> (B, heads, N, N), what each token (row) takes from each (column); rows add up to 1.

    Args:
        layer: torch's MultiheadAttention, or timm's Attention.
        x: What it was given.
    """
    given: Any = layer
    if isinstance(layer, nn.MultiheadAttention):
        q, k, _ = F.linear(x, given.in_proj_weight, layer.in_proj_bias).chunk(3, dim=-1)
        q, k = (part.reshape(*x.shape[:2], layer.num_heads, -1).transpose(1, 2) for part in (q, k))
        return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    q, k, _ = given.qkv(x).reshape(*x.shape[:2], 3, given.num_heads, -1).permute(2, 0, 3, 1, 4)
    shares: Tensor = (given.q_norm(q) * given.scale @ given.k_norm(k).mT).softmax(-1)
    return shares


def window_weights(layer: ShiftedWindowAttention, x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, windows, heads, n, n), what each place of a window takes from each, padding among them.

    Args:
        layer: One of Swin's.
        x: What it was given.
    """
    grid = Windows(layer, x.shape[1], x.shape[2])
    tokens = grid.cut(x)
    q, k, _ = layer.qkv(tokens).reshape(*tokens.shape[:3], 3, layer.num_heads, -1).permute(3, 0, 1, 4, 2, 5)
    logits = q @ k.mT / math.sqrt(q.shape[-1]) + layer.get_relative_position_bias()
    # What the roll brought over from the opposite border is no neighbour.
    down, across = (torch.arange(side, device=x.device) < by for side, by in zip(grid.padded, grid.shift, strict=True))
    region = grid.cut((2 * down[:, None] + across)[None, ..., None])[..., 0]
    apart = region[..., :, None] != region[..., None, :]
    shares: Tensor = (logits + APART * apart[:, :, None]).softmax(-1)
    return shares


class Windows:
    """The windows that a layer of Swin cuts a grid into: padded to whole windows, rolled by the shift, then cut.

    Args:
        layer: The layer.
        height: Rows of the grid.
        width: Columns.
    """

    def __init__(self, layer: ShiftedWindowAttention, height: int, width: int) -> None:
        self.size, self.window = (height, width), layer.window_size
        self.padded = [-(-side // window) * window for side, window in zip(self.size, self.window, strict=True)]
        sides = zip(layer.shift_size, self.window, self.padded, strict=True)
        self.shift = [0 if window >= side else shift for shift, window, side in sides]

    def cut(self, x: Tensor) -> Tensor:
        """(B, H, W, C), padded already or not -> (B, windows, n, C), 0 in the padding."""
        below, right = (to - side for to, side in zip(self.padded, x.shape[1:3], strict=True))
        x = F.pad(x, (0, 0, 0, right, 0, below)).roll([-shift for shift in self.shift], dims=(1, 2))
        (height, width), (rows, columns) = self.padded, self.window
        x = x.reshape(len(x), height // rows, rows, width // columns, columns, -1).transpose(2, 3)
        return x.reshape(len(x), -1, rows * columns, x.shape[-1])

    def join(self, x: Tensor) -> Tensor:
        """(B, windows, n, C) -> (B, H, W, C), the way back."""
        (height, width), (rows, columns) = self.padded, self.window
        x = x.reshape(len(x), height // rows, width // columns, rows, columns, -1).transpose(2, 3)
        x = x.reshape(len(x), height, width, -1).roll(self.shift, dims=(1, 2))
        return x[:, : self.size[0], : self.size[1]]


def merged_back(share: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) after Swin's merging of 2 x 2 places -> (B, H, W) before, each of those merged the same.

    Args:
        share: For each place after it.
        size: H, W; where they are odd, the last are merged with padding.
    """
    wide = share.repeat_interleave(2, 1).repeat_interleave(2, 2)
    there = F.pad(wide.new_ones(1, 1, *size), (0, size[1] % 2, 0, size[0] % 2))
    merged = F.avg_pool2d(there, 2, divisor_override=1)[0]
    return (wide / merged.repeat_interleave(2, 1).repeat_interleave(2, 2))[:, : size[0], : size[1]]


def _each(share: Tensor, x: Tensor) -> Any:
    return zip(torch.split(share, 1), torch.split(x, 1), strict=True)

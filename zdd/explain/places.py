"""Which activations of a network have places, and where these lie in the image: seen while it runs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torchvision.ops import Permute

from zdd.explain.base import Subject

Size = tuple[int, int]  # height, width
Window = tuple[slice, slice]
Side = Literal["in", "out"]
Order = Literal["channels first", "channels last", "tokens"]
Key = tuple[str, Side]

PREFIX = 16  # tokens before the patches' (class, registers), at most
EVEN = 0.05  # two ways to read an activation whose strides down and across differ alike
CHANNELS_FIRST = (_ConvNd, _BatchNorm, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Spot:
    """An activation with places.

    Args:
        name: Of the module, in the network explained.
        side: What the module is given, or what it gives.
        grid: Rows and columns of places.
        order: (B, C, h, w), (B, h, w, C), or (B, prefix + h * w, C).
        prefix: Tokens that are no place.
        canvas: Pixels that the grid spans; more than the image's where the network pads it, to the right and below.
        windows: Parts of the image that the network runs on, one after the other; mostly one, the whole.
    """

    name: str
    side: Side
    grid: Size
    order: Order
    prefix: int
    canvas: Size
    windows: tuple[Window, ...]

    @property
    def n_places(self) -> int:
        """Places of the grid."""
        return math.prod(self.grid)

    def places(self, activation: Tensor) -> Tensor:
        """The activation as (B, C, h, w)."""
        if self.order == "channels first":
            return activation
        if self.order == "tokens":
            activation = activation[:, self.prefix :].reshape(len(activation), *self.grid, -1)
        return activation.permute(0, 3, 1, 2)

    def spread(self, cells: list[Tensor]) -> Tensor:
        """Maps of the grid, (B, 1, h, w) for each window -> (B, 1, H, W): each place on the pixels it stands for."""
        bottom, right = self.windows[-1]
        total = cells[0].new_zeros(len(cells[0]), 1, bottom.stop, right.stop)
        times = torch.zeros_like(total[:1])
        for window, cell in zip(self.windows, cells, strict=True):
            wide = F.interpolate(cell, self.canvas, mode="bilinear", align_corners=False)
            rows, columns = (part.stop - part.start for part in window)
            total[(..., *window)] += wide[..., :rows, :columns]
            times[(..., *window)] += 1
        return total / times


class Seen:
    """What every module was given and gave while one image of noise ran through the network, in that order.

    Args:
        subject: What is explained.
        size: Height and width of its images.
    """

    def __init__(self, subject: Subject, size: Size) -> None:
        self.net, self.size = subject.net, size
        self.found: dict[Key, Spot] = {}
        self._canvas: Size | None = None
        self._last = False  # the channels, for all that the layers so far say
        self._tensors: dict[Key, Tensor] = {}
        self._slopes: dict[Key, Tensor] = {}
        tiled = next((part.windows for part in self.net.modules() if hasattr(part, "windows")), None)
        whole = ((slice(0, size[0]), slice(0, size[1])),)
        self._windows = whole if tiled is None else tuple(cast(Callable[..., Any], tiled)(*size))
        self._run(subject)
        self._tensors.clear()

    def reached(self, spot: Spot) -> bool:
        """Whether the score depends on its places; a transformer's last block hands on the class token alone."""
        slope = self._slopes.get((spot.name, spot.side))
        return slope is None or bool(spot.places(slope).any())

    def _run(self, subject: Subject) -> None:
        hooks = []
        for name, module in self.net.named_modules():
            if name:
                hooks.append(module.register_forward_pre_hook(self._given(name)))
                hooks.append(module.register_forward_hook(self._made(name)))
        try:
            with torch.inference_mode(False), torch.enable_grad():
                noise = torch.randn(1, 3, *self.size, generator=torch.Generator().manual_seed(0))
                noise = noise.to(next(self.net.parameters())).requires_grad_()
                self._differentiate(subject.evidence(self.net(noise), noise))
        finally:
            for hook in hooks:
                hook.remove()

    def _differentiate(self, evidence: Tensor) -> None:
        keys = [key for key, spot in self.found.items() if spot.order == "tokens"]
        if not keys:
            return
        score = (evidence * torch.arange(1, evidence.shape[1] + 1, device=evidence.device)).sum()
        tokens = [self._tensors[key] for key in keys]
        slopes = torch.autograd.grad(score, tokens, allow_unused=True, materialize_grads=True)
        if any(bool(slope.any()) for slope in slopes):  # else the head is all zeros, and says nothing
            self._slopes = dict(zip(keys, slopes, strict=True))

    def _given(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(module: nn.Module, given: tuple[Any, ...]) -> None:
            x = given[0] if given else None
            if not isinstance(x, Tensor):
                return
            if self._canvas is None:  # up to the first layer with weights it is the image
                if x.ndim == 4 and any(True for _ in module.parameters(recurse=False)):
                    self._canvas = (x.shape[2], x.shape[3])
                return
            # Known already where a module gave it; what is left comes from functions, such as a functional ReLU.
            if not any(x is other for other in self._tensors.values()):
                self._note((name, "in"), x)

        return note

    def _made(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(module: nn.Module, _given: tuple[Any, ...], made: Any) -> None:
            if not isinstance(made, Tensor):
                return
            if isinstance(module, Permute):
                self._last = list(module.dims) == [0, 2, 3, 1]
            elif isinstance(module, CHANNELS_FIRST):
                self._last = False
            elif type(module) in (nn.Linear, nn.LayerNorm) and made.ndim == 4:
                self._last = True
            self._note((name, "out"), made)

        return note

    def _note(self, key: Key, x: Tensor) -> None:
        if self._canvas is None or len(x) != 1:
            return
        layout = self._grid(x) if x.ndim == 4 else self._tokens(x) if x.ndim == 3 else None
        if layout is None:
            return
        grid, order, prefix = layout
        for kept in (self._tensors, self.found):
            kept.pop(key, None)  # of several calls the last counts, in its place
        self._tensors[key] = x
        self.found[key] = Spot(*key, grid, order, prefix, self._canvas, self._windows)

    def _grid(self, x: Tensor) -> tuple[Size, Order, int]:
        _, *sides = x.shape
        first, last = self._skew(sides[1], sides[2]), self._skew(sides[0], sides[1])
        if self._last if abs(first - last) < EVEN else last < first:
            return (sides[0], sides[1]), "channels last", 0
        return (sides[1], sides[2]), "channels first", 0

    def _tokens(self, x: Tensor) -> tuple[Size, Order, int] | None:
        n = x.shape[1]
        grids = [spot.grid for spot in self.found.values() if n - PREFIX <= spot.n_places <= n]
        if not grids:
            return None
        grid = max(grids, key=math.prod)
        return grid, "tokens", n - math.prod(grid)

    def _skew(self, rows: int, columns: int) -> float:
        """How far the strides down and across differ: the size of their ratio's logarithm."""
        assert self._canvas is not None
        return abs(math.log(self._canvas[0] * columns / (self._canvas[1] * rows)))

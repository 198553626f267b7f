"""What each backbone costs: parameters, and arithmetic an image."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zdd.errors import ZddError
from zdd.models import backbones
from zdd.settings import BACKBONES


def rows(
    names: Iterable[str] = BACKBONES, *, image_size: tuple[int, int] = (224, 224), n_classes: int = 2
) -> list[dict[str, Any]]:
    """One row a backbone, on the meta device, so without memory for weights.

    Args:
        names: Backbones.
        image_size: Height and width in pixels.
        n_classes: Outputs of the head, which count.

    Returns:
        `backbone`; `image_size` [h, w]; `parameters`; `gflops` an image, in 10^9 operations, a multiplication
        with its addition being two; `error` instead of the last two where the network can't take the size, or timm is
        not installed.
    """
    return [_row(name, image_size, n_classes) for name in names]


def cost(net: nn.Module, image_size: tuple[int, int], device: str = "cpu") -> tuple[int, float]:
    """Parameters of a net in eval mode, and its arithmetic for one image in 10^9 operations (2 x multiply-add)."""
    with _without_fast_path(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, *image_size, device=device))
    return sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() / 1e9


def _row(name: str, image_size: tuple[int, int], n_classes: int) -> dict[str, Any]:
    row: dict[str, Any] = {"backbone": name, "image_size": list(image_size)}
    try:
        with torch.device("meta"):
            net = backbones.build(name, n_classes, image_size).eval()
        parameters, gflops = cost(net, image_size, "meta")
    except ZddError as error:
        return {**row, "error": "; ".join(error.lines)}
    return {**row, "parameters": parameters, "gflops": gflops}


@contextmanager
def _without_fast_path() -> Iterator[None]:
    # The fused transformer layer hides its attention from the counter.
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

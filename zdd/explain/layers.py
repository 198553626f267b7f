"""Which activation Grad-CAM takes, and what moves there."""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.explain.base import Subject, Unfit
from zdd.explain.places import Seen, Size, Spot

AUTO = "auto"
NO_STAGE = (nn.Linear, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)  # what these give repeats the layer before


def find(subject: Subject, size: Size, layer: str = AUTO) -> Spot:
    """The activation to look at.

    Args:
        subject: What is explained.
        size: Height and width of the images.
        layer: "auto": of the activations with more than one place those with the fewest, and of these the last on which
            the score depends; or a module's name, whose output is taken.

    Raises:
        ZddError: If there is no such module, or its output has no places, or none that the score depends on.
        Unfit: If no activation has more than one place.
    """
    seen = Seen(subject, size)
    stages = [
        spot for spot in seen.found.values() if spot.n_places > 1 and seen.reached(spot) and _is_stage(spot, seen)
    ]
    if not stages:
        raise Unfit(
            f"grad_cam: no layer of this network has more than one place at {size[0]} x {size[1]}; take saliency"
        )
    if layer != AUTO:
        return _named(layer, seen, stages)
    fewest = min(spot.n_places for spot in stages)
    return [spot for spot in stages if spot.n_places == fewest][-1]


def activations(subject: Subject, image: Tensor, target: Tensor, spot: Spot) -> list[tuple[Tensor, Tensor]]:
    """The activation and the gradient of the score there, each (B, C, h, w), for each window.

    Args:
        subject: What is explained.
        image: (B, 3, H, W).
        target: (B,) int64.
        spot: As `find` gives it for images of that size.
    """
    leaves: list[Tensor] = []

    def cut(activation: Tensor) -> Tensor:
        # What lies before needs no gradient; the second clone is the network's, which may change it in place.
        leaves.append(activation.detach().clone().requires_grad_())
        return leaves[-1].clone()

    def given(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return cut(inputs[0]), *inputs[1:]

    def made(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return cut(output)

    module = subject.net.get_submodule(spot.name)
    hook = module.register_forward_pre_hook(given) if spot.side == "in" else module.register_forward_hook(made)
    with hook, torch.enable_grad():
        score = subject.score(image, target).sum()
    calls = len(leaves) // len(spot.windows)
    leaves = leaves[calls - 1 :: calls]  # of several calls the last
    slopes = torch.autograd.grad(score, leaves, allow_unused=True, materialize_grads=True)
    return [(spot.places(leaf.detach()), spot.places(slope)) for leaf, slope in zip(leaves, slopes, strict=True)]


def _is_stage(spot: Spot, seen: Seen) -> bool:
    """Whether all goes through it: it is no part of a block that ends with fewer places, besides which others lie."""
    if spot.side == "out" and isinstance(seen.net.get_submodule(spot.name), NO_STAGE):
        return False
    parts = spot.name.split(".")
    for above in (".".join(parts[:depth]) for depth in range(1, len(parts))):
        end = seen.found.get((above, "out"))
        is_chain = isinstance(seen.net.get_submodule(above), nn.Sequential)
        if end is not None and not is_chain and end.n_places < spot.n_places:
            return False
    return True


def _named(layer: str, seen: Seen, stages: list[Spot]) -> Spot:
    ends = {spot.grid: spot.name for spot in stages if spot.side == "out"}  # the last of each size
    instead = f"take {', '.join([AUTO, *ends.values()])}"
    spot = seen.found.get((layer, "out"))
    if spot is None:
        near = difflib.get_close_matches(layer, [name for name, side in seen.found if side == "out"], n=1)
        hint = f"did you mean '{near[0]}'? Or " if near else ""
        raise ZddError(f"grad_cam: layer = '{layer}': no layer of that name has places; {hint}{instead}")
    if spot.n_places == 1:
        raise ZddError(f"grad_cam: layer = '{layer}': has a single place at this image size; {instead}")
    if not seen.reached(spot):
        raise ZddError(f"grad_cam: layer = '{layer}': the score does not depend on its places; {instead}")
    return spot

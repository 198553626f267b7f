"""The one place that builds any backbone, at any image size, and that knows its layers by depth."""

import importlib
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torchvision.models import get_model
from torchvision.models.vision_transformer import Encoder
from torchvision.ops import StochasticDepth

from zdd.errors import ZddError
from zdd.models.luna import LunaNet
from zdd.plugins import nearest

TIMM = {"xception": "legacy_xception", "dino_vits8": "vit_small_patch8_224.dino"}
PATCH = {"vit_b_16": 16, "dino_vits8": 8}  # sides must be multiples of it
LARGEST_SEARCHED = 512  # px; every network of the zoo takes this

# Modules that only hold others, so that what they hold are the stages.
CONTAINERS = (nn.Sequential, nn.ModuleList, Encoder)


@dataclass(frozen=True)
class Layout:
    """A network's parameters by name: the stages before the head from the input on, and the head."""

    stages: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]


def build(name: str, n_classes: int, image_size: tuple[int, int], *, dropout: float | None = None) -> nn.Module:
    """A freshly initialised network, (B, 3, H, W) normalised -> (B, n_classes) logits.

    Args:
        name: One of `zdd.settings.BACKBONES`, or timm/<name>.
        n_classes: Number of outputs.
        image_size: Height and width of the images in pixels.
        dropout: Probability of every dropout layer, 0 switches stochastic depth off, too; None: the architecture's own.

    Raises:
        ZddError: If timm is needed and not there, does not know the name, or the network can't take the image size or
            has no dropout.
    """
    problem = size_problem(name, image_size)
    if problem:
        raise ZddError(f"image_size = {list(image_size)}: {problem}")
    net = _construct(name, n_classes, image_size)
    if dropout is not None:
        _set_dropout(net, name, dropout)
    return net


@cache
def size_problem(name: str, image_size: tuple[int, int]) -> str | None:
    """Why the network can't take images of this height and width, or None; costs no memory and no random numbers."""
    patch = PATCH.get(name, 1)
    if any(side % patch for side in image_size):
        fits = [max(patch, round(side / patch) * patch) for side in image_size]
        return f"{name} takes sides that are multiples of {patch}, such as {fits}"
    if name == "vit_b_16" and image_size[0] != image_size[1]:
        return f"{name} takes square images only, such as {[max(image_size)] * 2}; dino_vits8 takes others"
    reason = _forward_problem(name, image_size)
    if reason is None:
        return None
    sides = range(8, LARGEST_SEARCHED)
    fits_at = 8 + bisect_left(sides, True, key=lambda side: _forward_problem(name, (side, side)) is None)
    if fits_at <= max(image_size) or _forward_problem(name, (fits_at, fits_at)):
        return f"{name} can't take such images ({reason})"
    return f"{name} can't take such images; it takes square ones from {fits_at} x {fits_at} pixels"


def _forward_problem(name: str, image_size: tuple[int, int]) -> str | None:
    try:
        with torch.device("meta"), torch.no_grad():
            _construct(name, 2, image_size).eval()(torch.empty(1, 3, *image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        return str(error).partition("\n")[0]
    return None


def layout(net: nn.Module) -> Layout:
    """Which parameters lie where, by depth.

    A stage is a module that is no mere container: a convolution of AlexNet, a residual block of ResNet, a transformer
    block. A norm outside a block belongs to what comes before it; tokens and position embeddings to the patches' layer.
    """
    names = [name for name, _ in net.named_parameters()]
    heads = _heads(net, names)
    head = tuple(name for name in names if name.startswith(heads))
    stages: list[list[str]] = []
    waiting: list[str] = []  # loose parameters before the first stage
    unit_before = ""
    for name in names:
        if name in head:
            continue
        unit, module = _unit(net, name)
        if not isinstance(module, nn.Module) or _is_norm(module):
            (stages[-1] if stages else waiting).append(name)
            continue
        if unit != unit_before:
            stages.append(waiting)
            waiting, unit_before = [], unit
        stages[-1].append(name)
    return Layout(tuple(map(tuple, stages)), head)


def timm_name(name: str) -> str | None:
    """What timm calls the backbone, or None where it is not timm's."""
    return name.removeprefix("timm/") if name.startswith("timm/") else TIMM.get(name)


def timm(name: str) -> Any:
    """The module timm, for the backbone `name`.

    Raises:
        ZddError: If it is not installed.
    """
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise ZddError(f"model.backbone = '{name}' needs timm, which is not here: pip install 'zdd[timm]'") from None


def _construct(name: str, n_classes: int, image_size: tuple[int, int]) -> nn.Module:
    if name == "luna":
        return LunaNet(n_classes, image_size)
    if timm_name(name):
        return _construct_timm(name, n_classes, image_size)
    options = {"image_size": image_size[0]} if name == "vit_b_16" else {}
    return cast(nn.Module, get_model(name, weights=None, num_classes=n_classes, **options))


def _construct_timm(name: str, n_classes: int, image_size: tuple[int, int]) -> nn.Module:
    library, its_name = timm(name), timm_name(name)
    if not library.is_model(its_name):
        near = nearest(str(its_name), library.list_models())
        hint = f"; did you mean 'timm/{near}'?" if near else ""
        raise ZddError(f"model.backbone = '{name}': timm {library.__version__} has no such model{hint}")
    known = library.get_pretrained_cfg(its_name)
    options = {"img_size": image_size} if known is not None and known.fixed_input_size else {}
    try:
        return cast(nn.Module, library.create_model(its_name, num_classes=n_classes, **options))
    except (
        TypeError
    ):  # it has a fixed size and no way to ask for another: its own, or the forward pass says what is wrong
        return cast(nn.Module, library.create_model(its_name, num_classes=n_classes))


def _heads(net: nn.Module, names: list[str]) -> tuple[str, ...]:
    """Prefixes of the parameters' names of the layers that make the logits."""
    known = getattr(net, "pretrained_cfg", None) or {}
    classifier = known.get("classifier") or ()
    prefixes = tuple(f"{part}." for part in ((classifier,) if isinstance(classifier, str) else classifier))
    if prefixes and any(name.startswith(prefixes) for name in names):
        return prefixes
    return (names[-1].rpartition(".")[0] + ".",)


def _unit(net: nn.Module, name: str) -> tuple[str, Any]:
    """The outermost module on the way to a parameter that is no container; the parameter itself if there is none."""
    path: list[str] = []
    found: Any = net
    for part in name.split("."):
        if found is not net and type(found) not in CONTAINERS:
            break
        path.append(part)
        found = getattr(found, part)
    return ".".join(path), found


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NormBase | nn.LayerNorm | nn.GroupNorm) or "norm" in type(module).__name__.lower()[-6:]


def _set_dropout(net: nn.Module, name: str, p: float) -> None:
    layers = [module for module in net.modules() if isinstance(module, nn.Dropout)]
    if p > 0 and not layers and not hasattr(net, "drop_rate"):
        raise ZddError(f"model.dropout = {p}: {name} has no dropout; leave it null")
    for layer in layers:
        layer.p = p
    if hasattr(net, "drop_rate"):  # timm's, where dropout is a function
        net.drop_rate = p  # type: ignore[assignment]
    for module in net.modules():
        if p == 0 and isinstance(module, StochasticDepth):
            module.p = 0.0
        elif p == 0 and type(module).__name__ == "DropPath":  # timm's stochastic depth
            module.drop_prob = 0.0  # type: ignore[assignment]

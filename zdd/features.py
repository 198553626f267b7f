"""What a stated network sees in image files: a row of numbers for each, and what that network is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from zdd import files
from zdd.data.look import side_by_side
from zdd.errors import ZddError
from zdd.evaluate import bar
from zdd.models import backbones, surgery, weights
from zdd.pixels import LYING, open_image, reason, turn_of
from zdd.plugins import nearest
from zdd.preprocess import Preprocess
from zdd.settings import BACKBONES

PIXELS = "pixels"  # in place of a network: the image itself, very small
SIDE = 128  # of the network's input, pixels: pooled features need no 224, and a third of the time is enough
SMALL = 32  # of the image that copies are told by, pixels
BATCH = 32
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what ImageNet's networks were trained with


@dataclass(frozen=True)
class Eye:
    """A network with its head left out, and the size at which it is shown images.

    Args:
        name: A backbone, or `pixels`: no network, the image as 32 x 32 pixels.
        size: Height and width, in pixels, to which every image is made first, so that sharp ones and coarse ones are
            compared at one sharpness; the network then gets it enlarged to 128 x 128.
        net: (B, 3, 128, 128) normalised -> (B, F).
        about: What the figures must be quoted with.
    """

    name: str
    size: tuple[int, int]
    net: nn.Module | None
    about: str


@dataclass(frozen=True)
class Sight:
    """What is seen of N images."""

    features: Tensor  # (N, F) float32
    small: NDArray[np.uint8]  # (N, 32, 32, 3)


def open_eye(name: str, size: tuple[int, int], *, weights_name: str = "imagenet") -> Eye:
    """The network by its name.

    Args:
        name: A backbone, or `pixels`.
        size: See `Eye`; at most 128 a side is kept.
        weights_name: "imagenet" or a file.

    Raises:
        ZddError: If there is no such network, or its weights are not there.
    """
    if name not in (PIXELS, *BACKBONES) and not name.startswith("timm/"):
        near = nearest(name, (PIXELS, *BACKBONES))
        hint = f"did you mean '{near}'?" if near else f"one of {', '.join((PIXELS, *BACKBONES))}, or timm/<name>"
        raise ZddError(f"network '{name}': there is no such backbone; {hint}")
    size = (min(SIDE, size[0]), min(SIDE, size[1]))
    seen = f"images made to {size[0]} x {size[1]} pixels"
    if name == PIXELS:
        return Eye(name, size, None, f"no network: pixels of {seen}, then {SMALL} x {SMALL}")
    net = backbones.build(name, 2, (SIDE, SIDE))
    weights.load(net, name, weights_name, backbones.layout(net))
    path = weights.find(name, weights_name)
    n_features = surgery.behead(net)
    origin = f"{path.name}, SHA-256 {files.sha256(path)[:12]}" if path else weights_name
    about = f"{name} ({origin}), {n_features} pooled features; {seen}, then {SIDE} x {SIDE}"
    return Eye(name, size, net.eval().requires_grad_(False), about)


def look(eye: Eye, paths: Sequence[str], *, device: str = "cpu", title: str = "looking") -> Sight:
    """Show image files to a network, decoded in threads.

    Raises:
        OSError: If one can't be read.
    """
    preprocess = Preprocess(eye.size, "squeeze", "rgb", "bilinear", _MEAN, _STD)
    net = eye.net.to(device) if eye.net is not None else None
    features, small = [], []
    with torch.no_grad(), bar() as progress:
        task = progress.add_task(title, total=len(paths))
        for start in range(0, len(paths), BATCH):
            part = paths[start : start + BATCH]
            pixels = np.stack(list(side_by_side(preprocess.load, part, title)))
            image = torch.from_numpy(preprocess.normalise(pixels))
            tiny = F.interpolate(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), (SMALL, SMALL), mode="area")
            small.append(tiny.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
            features.append(_features(net, image.to(device)).cpu() if net is not None else tiny.flatten(1) / 255)
            progress.advance(task, len(part))
    return Sight(torch.cat(features), np.concatenate(small))


def common_size(paths: Sequence[str]) -> tuple[int, int]:
    """Height and width that no image of these is larger than, each side by itself: the coarsest of them, in pixels."""
    sizes = [upright_size(path) for path in paths]
    return min(high for _, high in sizes), min(wide for wide, _ in sizes)


def upright_size(path: str) -> tuple[int, int]:
    """Width and height of an image that is held upright; its header alone is read.

    Raises:
        ZddError: If it can't be read.
    """
    try:
        with open_image(path) as image:
            return (image.height, image.width) if turn_of(image) in LYING else image.size
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise ZddError(f"{path}: {reason(error)}") from None


def _features(net: nn.Module, image: Tensor) -> Tensor:
    wide = F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False)
    said: Tensor = net(wide)
    return said.float()

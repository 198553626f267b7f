"""Are synthetic images like the real ones? `zdd data likeness FOLDER`.

FID (Heusel et al., NeurIPS 2017) and KID (Binkowski et al., ICLR 2018) of each class against its training images, with
what real images that were held out score against them: no synthetic image need do better. Both by torchmetrics, on the
features of a stated network; figures of another network, or at another size, are not to be compared with them.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from zdd import features, files, memorised
from zdd.data.found import Found
from zdd.data.parents import LIST, all_parents
from zdd.data.sources import csv as table
from zdd.data.synthesis import folder as folders
from zdd.errors import ZddError
from zdd.features import Sight
from zdd.report.pictures import upright

FIGURES, PICTURE = "likeness.json", "nearest.png"
ALL = "all"
SUBSETS = 50  # that KID is the mean of
FEWEST = 10  # held-out images; with fewer, training images are left out one by one instead
SHOWN, THUMB, GAP = 12, 128, 6  # pairs in the picture; their side and what lies between, pixels


@dataclass(frozen=True)
class _Images:
    """The images of a folder by what they are there for."""

    train: list[Found]
    held: list[Found]
    made: list[Found]


def judge(folder: Path, *, network: str = "mobilenet_v2", device: str = "cpu") -> dict[str, Any]:
    """Compare the synthetic images of a folder with its real ones; likeness.json and nearest.png are written into it.

    Args:
        folder: As `zdd data synthesise` and `zdd data gan` make them; or any CSV set whose synthetic images name a
            parent, and whose real ones stand in the splits train and val.
        network: A backbone with ImageNet's weights, or `pixels`, which gives distances and no FID or KID.
        device: Where the network runs.

    Returns:
        What likeness.json holds: the network, each class's figures, those of memorisation, `alarms`, and `failed`,
        which is not empty where there is an alarm.

    Raises:
        ZddError: If there are no synthetic or no training images, or the network's weights are not there.
    """
    if not folder.is_dir():
        raise ZddError(f"{folder}: there is no such folder; name one that zdd data gan or zdd data synthesise made")
    images = _images(folder)
    eye = features.open_eye(network, features.common_size([one.path for one in images.made]))
    seen = [_look(eye, part, device, f"looking at {name}") for name, part in vars(images).items()]
    train, held, made = seen
    kin, kin_held = _kin(images.made, images.train), np.zeros((len(images.held), len(images.train)), bool)
    part = _part(images.train)
    if len(images.held) < FEWEST:
        held, kin_held = train, part[:, None] == part[None]
    found = memorised.memory(train, held, made, kin, kin_held, part)
    result = {
        "network": eye.about,
        "held_out": "training images, left out part by part" if held is train else "validation images",
        "classes": _classes(images, seen) if eye.net is not None else {},
        "memorisation": found.figures,
        "alarms": list(found.alarms),
    }
    files.write_json(folder / FIGURES, result)
    with files.replacing(folder / PICTURE) as temporary:
        _pairs(images, found).save(temporary, format="PNG")
    failed = {str(folder): list(found.alarms)} if found.alarms else {}
    return {**result, "picture": str(folder / PICTURE), "failed": failed}


class _Through(nn.Module):
    """What torchmetrics calls on images: they have been looked at already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """(N, F) -> the same."""
        return features


def fid(one: Tensor, other: Tensor) -> float | None:
    """Frechet distance between two sets of features, (N, F) and (M, F); None for fewer than two rows of either."""
    if min(len(one), len(other)) < 2:
        return None
    metric = FrechetInceptionDistance(_Through(one.shape[1])).set_dtype(torch.float64)
    metric.update(one.double(), real=True)
    metric.update(other.double(), real=False)
    return float(metric.compute())


def kid(one: Tensor, other: Tensor) -> float | None:
    """Squared maximum mean discrepancy with the kernel (x . y / F + 1)^3, unbiased: as often below 0 as above for equal
    distributions. None for fewer than two rows of either.
    """
    n = min(len(one), len(other))
    if n < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all features in memory
        metric = KernelInceptionDistance(_Through(one.shape[1]), subsets=SUBSETS, subset_size=n)
    metric.update(one.double(), real=True)
    metric.update(other.double(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        value, _ = metric.compute()
    return float(value)


def likeness(train: Tensor, held: Tensor, made: Tensor) -> dict[str, Any]:
    """FID and KID of synthetic and of held-out features (N, F) against those of training images."""
    return {
        "n_synthetic": len(made),
        "n_train": len(train),
        "n_held_out": len(held),
        "fid": fid(train, made),
        "kid": kid(train, made),
        "fid_held_out": fid(train, held),
        "kid_held_out": kid(train, held),
    }


def _images(folder: Path) -> _Images:
    there = folder / folders.TABLE
    found = [replace(one, path=_plain(one.path)) for one in table.index(there if there.is_file() else folder)]
    made = [one for one in found if one.parent]
    real = [one for one in found if not one.parent]
    train = [one for one in real if one.split in ("train", None)]
    known = {one.path for one in real}
    # Where only synthetic images are trained on, what they were made from stands in no row.
    gone = {path: one for one in made for path in _named(one) if path not in known}
    train += [Found(path, one.class_name) for path, one in sorted(gone.items())]
    if not made:
        raise ZddError(f"{folder}: no image there names a parent, so that none is synthetic")
    if not train:
        raise ZddError(f"{folder}: there is no training image to compare with")
    return _Images(train, [one for one in real if one.split == "val"], made)


def _named(one: Found) -> tuple[str, ...]:
    return tuple(_plain(path) for path in all_parents([one.parent])[one.parent])


def _plain(path: str) -> str:
    """One spelling for each file."""
    return os.path.realpath(path)


def _look(eye: features.Eye, images: Sequence[Found], device: str, title: str) -> Sight:
    if not images:
        return Sight(torch.zeros(0, 1), np.zeros((0, features.SMALL, features.SMALL, 3), np.uint8))
    try:
        return features.look(eye, [one.path for one in images], device=device, title=title)
    except OSError as error:
        raise ZddError(str(error)) from None


def _kin(made: Sequence[Found], train: Sequence[Found]) -> memorised.Bools:
    """(M, N) which training images a synthetic one was made from by its own word, or show the same part as those.

    Not where a whole list was learnt from: what is drawn after a class is not to be like any one of its images.
    """
    row = {one.path: i for i, one in enumerate(train)}
    part = _part(train)
    kin = np.zeros((len(made), len(train)), bool)
    for i, one in enumerate(made):
        for path in () if one.parent.endswith(LIST) else _named(one):
            if path in row:
                kin[i] |= part == part[row[path]]
    return kin


def _part(train: Sequence[Found]) -> NDArray[np.int64]:
    """(N,) the number of the part that each training image shows."""
    return np.unique([one.group or f"image {i}" for i, one in enumerate(train)], return_inverse=True)[1]


def _classes(images: _Images, seen: Sequence[Sight]) -> dict[str, Any]:
    """The figures of each class, and of all together where there are several."""
    labels = [np.array([one.class_name for one in part]) for part in vars(images).values()]
    names = sorted(set(labels[2]))
    found = {}
    for name in [*names, *([ALL] if len(names) > 1 else [])]:
        rows = [np.isin(label, names if name == ALL else [name]) for label in labels]
        found[name] = likeness(*(sight.features[torch.from_numpy(row)] for sight, row in zip(seen, rows, strict=True)))
    return found


def _pairs(images: _Images, found: memorised.Memory) -> Image.Image:
    """The synthetic images that are most like a training image, each above the one that it is most like."""
    order = np.lexsort((found.distance, ~found.near, ~found.same))[:SHOWN]
    sheet = Image.new("RGB", (GAP + len(order) * (THUMB + GAP), 2 * (THUMB + GAP) + GAP), "white")
    for column, row in enumerate(order):
        for line, one in enumerate((images.made[row], images.train[found.nearest[row]])):
            picture = upright(one.path).resize((THUMB, THUMB))
            sheet.paste(picture, (GAP + column * (THUMB + GAP), GAP + line * (THUMB + GAP)))
    return sheet

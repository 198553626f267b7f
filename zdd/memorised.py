"""Are synthetic images more than copies of the training images?

Each synthetic image's distance to its nearest training image is held against the distances of real images that were
held out: whoever learnt what parts look like, and not the pictures, comes no nearer to these than new parts do (after
Meehan, Chaudhuri and Dasgupta, AISTATS 2020).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor

from zdd.features import Sight

# Whoever lies nearer to a training image than this is a near copy. Of the median distance of held-out images:
NEAR = 0.5
# Or, where real images all lie at about one distance, of the least, but not above NEAREST medians: an image that is
# merely smooth, the mean of all, lies at 0.71 medians from images that differ by noise. Training images of other parts
# count as well there: few held-out ones can't tell that no two parts look alike.
LEAST, NEAREST = 0.8, 0.65
# Of the distance between images that were turned, mirrored and brought to one brightness and contrast: a copy is hardly
# anything away then, so that less than NEAR keeps apart parts that look alike.
TURNED = 0.25
NEARER = 0.9  # share of (synthetic, held-out) pairs of which the synthetic one lies nearer: as a whole too near
FAINT = 2.0  # grey levels of deviation below which an image shows nothing
SAME = 1  # grey levels by which small pictures of one and the same image may differ
MANY = 1000  # training images that are held against the others, one in so many of a large set: distances take memory
SURE = 0.01  # of the binomial test, where held-out images have near copies, too
FEWEST = 20  # images of either sort before they are compared as a whole

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Memory:
    """Which synthetic images repeat training images.

    Args:
        nearest: (N,) row of the nearest training image.
        near: (N,) whether it is a near copy of it.
        same: (N,) whether it is a copy of any training image, pixel by pixel.
        distance: (N,) to the nearest training image by the network, in medians of the held-out images' distances.
        figures: For JSON.
        alarms: A line for each reason to distrust the images; none: none.
    """

    nearest: NDArray[np.int64]
    near: Bools
    same: Bools
    distance: NDArray[np.float64]
    figures: dict[str, Any]
    alarms: tuple[str, ...]


def memory(train: Sight, held: Sight, made: Sight, kin: Bools, kin_held: Bools, part: NDArray[np.int64]) -> Memory:
    """Look for training images among the synthetic ones.

    Three distances are taken, since each is blind to something: between the network's features (noise looks far, a
    shift near), between the images made very small (the other way round), and between these in grey, turned, mirrored
    and in one light, whichever way is nearest. An image that is near by any of them is near.

    Args:
        train: Training images, N.
        held: Real images that were not trained on, H.
        made: Synthetic images, M.
        kin: (M, N) whether a synthetic image says itself that it was made from that training image, or from one of
            the same part: it may lie near then, but not be a copy.
        kin_held: (H, N) whether a held-out image shows the same part; those pairs say nothing.
        part: (N,) which part each training image shows.
    """
    pairs = [
        (_distances(made.features, train.features), _distances(held.features, train.features)),
        (_distances(_flat(made), _flat(train)), _distances(_flat(held), _flat(train))),
        (_turned(made, train), _turned(held, train)),
    ]
    near, expected = np.zeros(len(made.small), bool), np.zeros(len(held.small), bool)
    all_kin = np.all(kin, axis=1, keepdims=True)
    nearest = np.where(kin & ~all_kin, np.inf, pairs[0][0]).argmin(axis=1)
    for (own, others), among in zip(pairs, (*_among(train, part), None), strict=True):
        least = _least(others, kin_held)
        limit = _limit_turned(least) if among is None else _limit(least, among)
        fresh = (_least(own, kin) < limit) & ~near
        nearest = np.where(fresh, np.where(kin, np.inf, own).argmin(axis=1), nearest)
        near |= fresh
        expected |= _least(others, kin_held) < limit
    own, others = _least(pairs[0][0], kin), _least(pairs[0][1], kin_held)
    same = np.array([_same(one, train.small) for one in made.small], bool)
    unit = _middle(others) or 1.0
    judged, others = (each[np.isfinite(each)] / unit for each in (own, others))  # not what is kin of all
    figures = {
        "n_same": int(same.sum()),
        "n_near": int(near.sum()),
        "n_held_out": len(others),
        "n_held_out_near": int(expected.sum()),
        "nearer_share": float((judged[:, None] < others[None]).mean()) if len(judged) and len(others) else None,
        "distance_median": float(np.median(judged)) if len(judged) else None,
        "distance_least": float(judged.min()) if len(judged) else None,
        "distance_least_held_out": float(others.min()) if len(others) else None,
    }
    return Memory(nearest, near, same, own / unit, figures, tuple(_alarms(figures, len(own))))


def _alarms(figures: dict[str, Any], n: int) -> list[str]:
    lines, n_held = [], figures["n_held_out"]
    if figures["n_same"]:
        lines.append(f"{figures['n_same']} of {n} synthetic images are training images, pixel by pixel")
    near, expected = figures["n_near"], figures["n_held_out_near"]
    if not n_held:
        lines.append("no real image can be held out, so that nothing tells how near is too near")
    # Where no held-out image lies so near, one synthetic one is enough: by chance 0 there is none.
    if near and (not n_held or binomtest(near, n, expected / n_held, "greater").pvalue < SURE):
        lines.append(
            f"{near} of {n} synthetic images are near copies of training images (of {n_held} real ones that were held "
            f"out, {expected} lie so near)"
        )
    if (figures["nearer_share"] or 0) >= NEARER and min(n, n_held) >= FEWEST:
        lines.append(
            f"the synthetic images lie nearer to training images than held-out real ones do, in "
            f"{figures['nearer_share']:.0%} of all pairs; 50 % would be right"
        )
    return lines


def _distances(one: Tensor, other: Tensor) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = torch.cdist(one.double(), other.double()).numpy()
    return distances


def _flat(seen: Sight) -> Tensor:
    return torch.from_numpy(seen.small.reshape(len(seen.small), math.prod(seen.small.shape[1:]))).float() / 255


def _turned(one: Sight, other: Sight) -> NDArray[np.float64]:
    """(N, M), between grey images in one light, of eight ways to turn and mirror the first by the nearest."""
    from_, to = _in_one_light(one), torch.from_numpy(_in_one_light(other)).flatten(1)
    ways = (np.rot90(side, k, (1, 2)).copy() for k in range(4) for side in (from_, from_[:, :, ::-1]))
    nearest: NDArray[np.float64] = np.minimum.reduce([_distances(torch.from_numpy(way).flatten(1), to) for way in ways])
    return nearest


def _in_one_light(seen: Sight) -> NDArray[np.float64]:
    """(N, h, w), grey, with mean 0 and deviation 1; what is all of one grey stays about 0."""
    grey = seen.small.mean(axis=3)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    lit: NDArray[np.float64] = grey / np.maximum(grey.std(axis=(1, 2), keepdims=True), FAINT)
    return lit


def _among(train: Sight, part: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Of training images, to the nearest of another part: by the network, and by what is very small."""
    some = np.linspace(0, len(part) - 1, min(len(part), MANY)).astype(int)
    same = part[some, None] == part[None]
    return [_least(_distances(each[some], each), same) for each in (train.features, _flat(train))]


def _limit_turned(least: NDArray[np.float64]) -> float:
    """As `_limit`; no held-out image lies below it."""
    return min(TURNED * _middle(least), LEAST * float(least.min()))


def _limit(least: NDArray[np.float64], among: NDArray[np.float64]) -> float:
    """The distance below which an image is a near copy, by those of held-out images; 0 where there are none.

    Args:
        least: (H,) of held-out images to the nearest training image.
        among: (N,) of training images to the nearest of another part.
    """
    middle = _middle(least)
    nearest = float(min(least.min(), among.min()))
    return max(NEAR * middle, min(LEAST * nearest, NEAREST * middle)) if middle else 0.0


def _middle(least: NDArray[np.float64]) -> float:
    """Median of those that are finite; 0 where none is."""
    finite = least[np.isfinite(least)]
    return float(np.median(finite)) if len(finite) else 0.0


def _least(distance: NDArray[np.float64], kin: Bools) -> NDArray[np.float64]:
    """(M,) distance to the nearest that is no kin; infinite where all are."""
    least: NDArray[np.float64] = np.where(kin, np.inf, distance).min(axis=1)
    return least


def _same(one: NDArray[np.uint8], others: NDArray[np.uint8]) -> bool:
    differences = np.abs(others.astype(np.int16) - one.astype(np.int16))
    return bool((differences.reshape(len(others), -1).max(axis=1) <= SAME).any())

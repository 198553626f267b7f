"""How well a map finds a defect whose mask is known. Pure functions of one image's map and mask.

A map may be signed. What speaks for the defect is its positive part, and that is what is measured; only the pixel AUC,
a matter of order, takes the values as they are. A map without a positive value says nothing and counts as a uniform
one: leaving such images out would favour explainers that give up where it is hard.

With `a` the mask's share of the picture, the oracle (the mask itself) scores 1 throughout, a uniform map `a` (its AUC
0.5), a random map `a` by chance (AUC 0.5; the IoU of `s` random pixels is near s a / (s + a - s a)).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Map = NDArray[np.floating]  # (H, W)
Mask = NDArray[np.bool_]  # (H, W), true where the defect is

SHARES = tuple(round(float(share), 4) for share in np.geomspace(0.001, 0.5, 28))  # of the pixels; validation chooses
METRICS = ("pointing_game", "energy_inside", "iou", "iop", "pixel_auc")


def measure(values: Map, mask: Mask, share: float) -> dict[str, float]:
    """Every figure of one map: `METRICS`, all in [0, 1], higher is better.

    Args:
        values: (H, W), signed or not.
        mask: (H, W), with at least one pixel of defect.
        share: Of the pixels that IoU and IoP take for found, in (0, 1]: `choose` finds it on validation images.

    Raises:
        ValueError: If the shapes differ, the mask is empty or the map holds a value that is no number.
    """
    iou, iop = overlap(values, mask, share)
    return {
        "pointing_game": pointing_game(values, mask),
        "energy_inside": energy_inside(values, mask),
        "iou": iou,
        "iop": iop,
        "pixel_auc": pixel_auc(values, mask),
    }


def pointing_game(values: Map, mask: Mask) -> float:
    """Whether the map's peak lies in the mask (Zhang et al. 2016, arXiv 1608.00507), here without any tolerance.

    Of several equal peaks, the share that does: the chance that one of them taken at random hits.
    """
    positive = _positive(values, mask)
    return float(mask[positive == positive.max()].mean())


def energy_inside(values: Map, mask: Mask) -> float:
    """The share of the positive values' sum that lies in the mask (Score-CAM, Wang et al. 2020, arXiv 1910.01279)."""
    positive = _positive(values, mask)
    return float(positive[mask].sum() / positive.sum())


def overlap(values: Map, mask: Mask, share: float) -> tuple[float, float]:
    """IoU, and IoP: the intersection over the found pixels. Found are the `share` highest that are positive.

    Pixels as high as the lowest of them are found too, so that neither depends on the order of equals.
    """
    found = _found(_positive(values, mask), share)
    both = float(np.count_nonzero(found & mask))
    return both / np.count_nonzero(found | mask), both / np.count_nonzero(found)


def pixel_auc(values: Map, mask: Mask) -> float:
    """The chance that a pixel of the defect lies above one of the rest, ties half; NaN if the mask is full."""
    _positive(values, mask)
    n, m = int(np.count_nonzero(mask)), int(np.count_nonzero(~mask))
    if not m:
        return float("nan")
    ranks = stats.rankdata(values.ravel())
    return float((ranks[mask.ravel()].sum() - n * (n + 1) / 2) / (n * m))


def choose(maps: Sequence[Map], masks: Sequence[Mask]) -> tuple[float, float]:
    """The share of `SHARES` with the best mean IoU over validation images, and that IoU.

    Chosen by eye, on a test image and for each network, it would flatter: that is what this replaces.

    Raises:
        ValueError: If there are no images, or not a mask for each map.
    """
    if not len(maps):
        raise ValueError("no validation image has a mask, so that no threshold can be chosen")
    iou = np.array([[overlap(v, m, share)[0] for share in SHARES] for v, m in zip(maps, masks, strict=True)])
    best = int(iou.mean(0).argmax())
    return SHARES[best], float(iou.mean(0)[best])


def size_class(mask: Mask, sizes: Mapping[str, float]) -> str:
    """Which size the defect of a picture has, by its share of the picture.

    Args:
        mask: (H, W), all of the picture's defect.
        sizes: Names and their upper ends, ascending, the last infinite: zdd/regions.py's `SIZES`.
    """
    area = float(mask.mean())
    return next(name for name, end in sizes.items() if area < end)


def _positive(values: Map, mask: Mask) -> NDArray[np.float64]:
    """The positive part; a uniform map where there is none."""
    if values.shape != mask.shape or values.ndim != 2:
        raise ValueError(f"a map {values.shape} and a mask {mask.shape}: both must be (H, W)")
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to find")
    if not np.isfinite(values).all():
        raise ValueError("the map holds values that are no numbers")
    positive = np.maximum(values.astype(np.float64), 0)
    return positive if positive.any() else np.ones_like(positive)


def _found(positive: NDArray[np.float64], share: float) -> Mask:
    n = max(1, round(share * positive.size))
    lowest = np.partition(positive.ravel(), -n)[-n]
    found: Mask = (positive >= lowest) & (positive > 0)
    return found

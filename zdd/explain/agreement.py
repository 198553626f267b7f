"""Whether networks that differ by their seed alone look at the same place. Pure functions of one image's maps."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Map = NDArray[np.floating]  # (H, W)

TOP = 0.05  # share of the pixels that are compared as places; by chance two such sets have an IoU of 0.026


def measure(maps: Sequence[Map], share: float = TOP, seed: int = 0) -> dict[str, float]:
    """Means over every pair of seeds: `spearman`, of all pixels, in [-1, 1], and `top_iou`, of the highest, in [0, 1].

    Signed maps are taken as they are: what speaks against is low. By chance `spearman` is 0 and `top_iou` is
    share / (2 - share).

    Args:
        maps: Of each seed, (H, W), two or more.
        share: Of the pixels that count as highest.
        seed: Of the choice among equal pixels, another for each map, so that maps don't agree by an order of rows.

    Raises:
        ValueError: If there are fewer than two maps, or they differ in size.
    """
    if len(maps) < 2 or len({each.shape for each in maps}) > 1:
        raise ValueError(f"maps {[each.shape for each in maps]}: two or more of one size can be compared")
    rng = np.random.default_rng(seed)
    top = [_top(each, share, rng) for each in maps]
    pairs = list(combinations(range(len(maps)), 2))
    shared = [np.count_nonzero(top[i] & top[j]) / np.count_nonzero(top[i] | top[j]) for i, j in pairs]
    return {
        "spearman": float(np.mean([spearman(maps[i], maps[j]) for i, j in pairs])),
        "top_iou": float(np.mean(shared)),
    }


def spearman(one: Map, other: Map) -> float:
    """The rank correlation of two maps' pixels (Spearman 1904), ties at their mean rank; 0 where one is constant."""
    a, b = (stats.rankdata(each.ravel()) - (each.size + 1) / 2 for each in (one, other))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _top(values: Map, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    chosen = np.lexsort((rng.permutation(values.size), -values.ravel()))[: max(1, round(share * values.size))]
    top = np.zeros(values.size, dtype=bool)
    top[chosen] = True
    return top

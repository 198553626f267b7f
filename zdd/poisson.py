"""Intervals of what is summed over images while they stream by: the Poisson bootstrap (Chamandy et al. 2012).

In each resample every part counts Poisson(1) times, whatever the others do. So sums can be resampled in one pass,
without knowing how many parts will come; pictures of one part count alike.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zdd.stats import CONFIDENCE, Figure

Floats = NDArray[np.float64]

RESAMPLES = 500
CHUNK = 1024  # images whose draws are in memory at a time
METHOD = f"Poisson bootstrap of parts, {RESAMPLES} times, percentiles"


def draws(unit: str, seed: int) -> NDArray[np.float32]:
    """(RESAMPLES,) how often a part counts in each resample: the same for all its pictures, in whatever order."""
    return np.random.default_rng([seed, zlib.crc32(unit.encode())]).poisson(1, RESAMPLES).astype(np.float32)


@dataclass(frozen=True)
class Ratio:
    """A figure that is a sum over images by another sum; a mean is one, with 1 below for each image that counts.

    Args:
        above: (N,).
        below: (N,), 0 where an image does not count.
        n: Images that the figure comes from.
        empty: Why there is no figure where the sum below is 0.
    """

    above: Floats
    below: Floats
    n: int
    empty: str

    @classmethod
    def mean(cls, values: Floats, chosen: NDArray[np.bool_], empty: str) -> "Ratio":
        """The mean of `values` (N,) over the images that are `chosen` (N,)."""
        return cls(np.where(chosen, values, 0.0), chosen.astype(np.float64), int(chosen.sum()), empty)


def figures(ratios: Mapping[str, Ratio], units: Sequence[str], seed: int) -> dict[str, Figure]:
    """Each ratio with its interval; `units` (N,) names the part that each image shows."""
    sums = np.array([[ratio.above, ratio.below] for ratio in ratios.values()], dtype=np.float64)  # (F, 2, N)
    again = np.zeros((len(ratios), 2, RESAMPLES))
    for start in range(0, len(units), CHUNK):
        times = np.stack([draws(unit, seed) for unit in units[start : start + CHUNK]])
        again += sums[..., start : start + CHUNK] @ times
    whole = sums.sum(-1)
    return {
        name: figure(float(divided(*whole[i])), divided(*again[i]), ratio.n, ratio.empty)
        for i, (name, ratio) in enumerate(ratios.items())
    }


def figure(value: float, again: Floats, n: int, empty: str) -> Figure:
    """A value with the middle 95 % of the resampled ones; a value that is not finite is missing because of `empty`."""
    if not np.isfinite(value):
        return Figure.missing(empty, n)
    again = again[np.isfinite(again)]
    if len(again) < RESAMPLES // 2 or np.ptp(again) < 1e-12:
        return Figure(value, None, None, f"{METHOD}: no interval, the resamples do not differ", n)
    low, high = np.quantile(again, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(value, min(float(low), value), max(float(high), value), METHOD, n)


def divided(above: Floats, below: Floats) -> Floats:
    """Entry by entry; NaN where there is nothing below."""
    ratio: Floats = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
    return ratio

"""Curves over every pixel of a test in bounded memory: AUROC, average precision, per-region overlap.

Pixels are counted by their value in bins that keep its order. A bin is a 16-bit float: of the value itself, but between
0.5 and 1, where probabilities crowd, of its distance to 1. So values are told apart to 0.05 % of themselves or of what
they lack to 1, from 6e-8 to 65504, and the curves are exact but for that, whatever the number of images.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import integrate

from zdd.poisson import RESAMPLES, Floats, divided

LARGEST = 65504  # of 16-bit floats
HALF, ONE = 0x3800, 0x3C00  # the bits of 0.5 and of 1
BINS = 2 * HALF + (0x7BFF - ONE) + 1
COARSE = BINS // 16  # bins of the resamples
WAITING = 32  # images that are put into the resamples at a time
FALSE_POSITIVES = 0.3  # where MVTec's curve of per-region overlap ends


def bins(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each value, 0 to BINS - 1; what is above 65504 falls into that value's bin."""
    values = np.clip(values, 0, LARGEST)
    upper = (values > 0.5) & (values <= 1)
    bits = np.where(upper, 1 - values, values).astype(np.float16).view(np.uint16).astype(np.int64)
    return np.where(upper, 2 * HALF - bits, np.where(values > 1, bits + 2 * HALF - ONE, bits))


@dataclass
class Histograms:
    """Counts of pixels by the map's value.

    The first axis is: pixels without a defect; with one; the same, each region weighing 1 in all.
    """

    whole: Floats = field(default_factory=lambda: np.zeros((3, BINS)))
    resampled: NDArray[np.float32] = field(default_factory=lambda: np.zeros((RESAMPLES, 3 * COARSE), np.float32))
    waiting: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=list)

    def add(self, values: NDArray[np.float32], weight: Floats, times: NDArray[np.float32]) -> None:
        """Count an image's pixels.

        Args:
            values: (P,) the map.
            weight: (P,) 0 where there is no defect, else 1 / number of pixels of the region.
            times: (RESAMPLES,) how often the image counts in each resample.
        """
        where, defect = bins(values), weight > 0
        counts = np.zeros((3, BINS))
        counts[0] = np.bincount(where, minlength=BINS)
        if defect.any():
            counts[1] = np.bincount(where[defect], minlength=BINS)
            counts[2] = np.bincount(where[defect], weight[defect], BINS)
            counts[0] -= counts[1]
        self.whole += counts
        self.waiting.append((_coarse(counts).ravel().astype(np.float32), times))
        if len(self.waiting) == WAITING:
            self._draw()

    def curves(self) -> dict[str, tuple[float, Floats]]:
        """`pixel_average_precision`, `pixel_auroc`, `aupro`: the value, and those of the resamples, (RESAMPLES,).

        The resamples' bins are 16 times as wide; what that does to the value is taken off theirs.
        """
        self._draw()
        exact, wide = self.whole[:, None], _coarse(self.whole)[:, None]
        again = self.resampled.reshape(RESAMPLES, 3, COARSE).transpose(1, 0, 2).astype(np.float64)
        found = {}
        for name, of in (("pixel_average_precision", average_precision), ("pixel_auroc", auroc), ("aupro", aupro)):
            value = float(of(*exact)[0])
            found[name] = value, np.clip(of(*again) + (value - of(*wide)[0]), 0, 1)
        return found

    def _draw(self) -> None:
        if self.waiting:
            counts, times = (np.stack(column) for column in zip(*self.waiting, strict=True))
            self.resampled += times.T @ counts
            self.waiting.clear()


def auroc(good: Floats, defect: Floats, _: Floats) -> Floats:
    """(R, bins) counts -> (R,) the chance that a defective pixel lies above a good one, ties half."""
    below = np.cumsum(good, axis=1) - good / 2
    return divided((defect * below).sum(1), defect.sum(1) * good.sum(1))


def average_precision(good: Floats, defect: Floats, _: Floats) -> Floats:
    """(R, bins) counts -> (R,) sum over thresholds of the gain in recall times the precision there."""
    hits, stopped = _from_above(defect), _from_above(defect + good)
    precision = np.divide(hits, stopped, out=np.zeros_like(hits), where=stopped > 0)
    return divided((defect[:, ::-1] * precision).sum(1), defect.sum(1))


def aupro(good: Floats, _: Floats, region: Floats) -> Floats:
    """(R, bins) counts -> (R,) area under the per-region overlap up to a false-positive rate of 0.3, over 0.3.

    Bergmann et al., IJCV 2021: for each threshold the share of every region that is found, mean over regions, against
    the share of all good pixels that is taken for defective; straight lines between thresholds.
    """
    total, regions = good.sum(1, keepdims=True), region.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, overlap = _from_above(good) / total, _from_above(region) / regions
    rate, overlap = (np.concatenate([np.zeros((len(x), 1)), x], axis=1) for x in (rate, overlap))
    return np.array([_area(x, y) for x, y in zip(rate, overlap, strict=True)])


def _area(rate: Floats, overlap: Floats) -> float:
    if not np.isfinite(rate[-1]) or not np.isfinite(overlap[-1]):
        return float("nan")
    end = int(np.searchsorted(rate, FALSE_POSITIVES, side="right"))
    # Where the curve stands upright, the last of its points is the one to go on from.
    at_end = float(np.interp(FALSE_POSITIVES, rate[max(0, end - 1) : end + 1], overlap[max(0, end - 1) : end + 1]))
    x, y = np.append(rate[:end], FALSE_POSITIVES), np.append(overlap[:end], at_end)
    return float(integrate.trapezoid(y, x)) / FALSE_POSITIVES


def _from_above(counts: Floats) -> Floats:
    return np.cumsum(counts[:, ::-1], axis=1)


def _coarse(counts: Floats) -> Floats:
    wide: Floats = counts.reshape(*counts.shape[:-1], COARSE, -1).sum(-1)
    return wide

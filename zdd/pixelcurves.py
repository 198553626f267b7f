"""Curves over every pixel of a test in bounded memory: AUROC, average precision, per-region overlap.

A map's value is rounded to a 16-bit float, whose bit pattern, for values that are not negative, rises with the value:
32768 bins keep their order exactly, from 6e-8 to 65504, whatever the number of images. Intervals come from a Poisson
bootstrap (Chamandy et al. 2012): every part counts Poisson(1) times in each resample, which needs no second pass.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import integrate

Floats = NDArray[np.float64]

BINS = 1 << 15
COARSE = 1 << 12  # bins of the resamples
RESAMPLES = 500
FALSE_POSITIVES = 0.3  # where MVTec's curve of per-region overlap ends
KINDS = ("good", "defect", "region")  # pixels without a defect; with one; the same, each region weighing 1 in all


def bins(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each value, 0 to 32767; what is above 65504 falls into that value's bin."""
    half = np.clip(values, 0, 65504).astype(np.float16)
    return half.view(np.uint16).astype(np.int64)


def draws(unit: str, seed: int) -> NDArray[np.float32]:
    """(RESAMPLES,) how often a part counts in each resample: the same for all its pictures, in whatever order."""
    return np.random.default_rng([seed, zlib.crc32(unit.encode())]).poisson(1, RESAMPLES).astype(np.float32)


@dataclass
class Histograms:
    """Counts of pixels by the map's value: (BINS,) each, and coarser ones of the resamples."""

    whole: dict[str, Floats] = field(default_factory=lambda: {kind: np.zeros(BINS) for kind in KINDS})
    resampled: dict[str, NDArray[np.float32]] = field(
        default_factory=lambda: {kind: np.zeros((RESAMPLES, COARSE), np.float32) for kind in KINDS}
    )
    images: int = 0

    def add(self, values: NDArray[np.float32], weight_of_region: Floats, times: NDArray[np.float32]) -> None:
        """Count an image's pixels.

        Args:
            values: (P,) the map.
            weight_of_region: (P,) 0 where there is no defect, else 1 / number of pixels of the region.
            times: (RESAMPLES,) how often the image counts in each resample.
        """
        where, defect = bins(values), weight_of_region > 0
        self.images += 1
        for kind, chosen, weights in (
            ("good", ~defect, None),
            ("defect", defect, None),
            ("region", defect, weight_of_region[defect]),
        ):
            counts = np.bincount(where[chosen], weights, BINS)
            self.whole[kind] += counts
            coarse = counts.reshape(COARSE, -1).sum(1)
            used = np.flatnonzero(coarse)
            self.resampled[kind][:, used] += times[:, None] * coarse[used].astype(np.float32)

    def curves(self) -> dict[str, tuple[float, Floats]]:
        """`pixel_auroc`, `pixel_average_precision`, `aupro`: the value, and those of the resamples."""
        exact = [self.whole[kind][None] for kind in KINDS]
        again = [self.resampled[kind].astype(np.float64) for kind in KINDS]
        return {
            name: (float(of(*exact)[0]), of(*again))
            for name, of in (("pixel_auroc", auroc), ("pixel_average_precision", average_precision), ("aupro", aupro))
        }


def auroc(good: Floats, defect: Floats, _: Floats) -> Floats:
    """(R, bins) counts -> (R,) the chance that a defective pixel lies above a good one, ties half."""
    below = np.cumsum(good, axis=1) - good / 2
    return _ratio((defect * below).sum(1), defect.sum(1) * good.sum(1))


def average_precision(good: Floats, defect: Floats, _: Floats) -> Floats:
    """(R, bins) counts -> (R,) sum over thresholds of the gain in recall times the precision there."""
    hits, stopped = _from_above(defect), _from_above(defect + good)
    precision = np.divide(hits, stopped, out=np.zeros_like(hits), where=stopped > 0)
    return _ratio((defect[:, ::-1] * precision).sum(1), defect.sum(1))


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


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio

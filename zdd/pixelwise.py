"""How well maps find defects pixel by pixel, region by region, and by area; in bounded memory. docs/testing.md defines.

A pixel is taken for defective where the map reaches the pixel threshold. Padding is no pixel. Images whose truth is not
known (defective ones without a mask) count nowhere here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from zdd import stats
from zdd.pixelcurves import RESAMPLES, Histograms, draws
from zdd.pixels import LYING, open_image, turn_of
from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Batch, Prediction, Record, Task
from zdd.stats import Figure

NEIGHBOURS = np.ones((3, 3))  # pixels that touch by a corner are of one region, as in MVTec's evaluation
FOUND = 0.1  # a region counts as found if this share of its pixels is
SIZES = {"small": 0.1, "medium": 1.0, "large": 100.0}  # upper ends, % of the picture's area


@dataclass
class Seen:
    """What is kept of an image."""

    unit: str  # the part that it shows
    area: float  # share of the picture that was taken for defective
    true_area: float | None  # None: not known
    counts: NDArray[np.int64] | None  # (K, 3): found, invented, missed pixels; of all defects, then of each class
    regions: list[tuple[float, float]] = field(default_factory=list)  # share of the picture, share of it found
    false_regions: int = 0


class Tally:
    """Watches an evaluation.

    Args:
        task: Classes.
        pixel_threshold: A pixel whose map reaches it is defective; None: curves alone are drawn.
        images: The images by the batches' index.
        preprocess: Of the images: where the picture lies in the network's input.
        seed: Of the resamples.
    """

    def __init__(
        self,
        task: Task,
        *,
        pixel_threshold: float | None,
        images: Sequence[Record],
        preprocess: Preprocess,
        seed: int = 0,
    ) -> None:
        self.task, self.threshold = task, pixel_threshold
        self.images, self.preprocess, self.seed = images, preprocess, seed
        self.seen: dict[int, Seen] = {}
        self.histograms = Histograms()

    def __call__(self, batch: Batch, prediction: Prediction) -> None:
        """Count a batch; an image that was counted already is passed over."""
        if prediction.map is None:
            return
        for row, index in enumerate(batch["index"].tolist()):
            if index not in self.seen:
                truth = batch["mask"][row, 0].numpy() if "mask" in batch else None
                kinds = None if prediction.pixels is None else prediction.pixels[row].numpy()
                self.seen[index] = self._look(index, prediction.map[row, 0].float().numpy(), truth, kinds)

    def _look(
        self,
        index: int,
        values: NDArray[np.float32],
        truth: NDArray[np.uint8] | None,
        kinds: NDArray[np.uint8] | None,
    ) -> Seen:
        record = self.images[index]
        inside = picture(record.path, self.preprocess)
        values = values[inside]
        found = values >= (np.inf if self.threshold is None else self.threshold)
        unit = record.group or record.path
        if truth is None or (truth == UNKNOWN).any():
            return Seen(unit, float(found.mean()), None, None)
        truth = truth[inside]
        labelled, n = ndimage.label(truth > 0, NEIGHBOURS)
        size = np.bincount(labelled.ravel(), minlength=n + 1)
        weight = np.where(labelled > 0, 1 / size[labelled], 0.0)
        self.histograms.add(values.ravel(), weight.ravel(), draws(unit, self.seed))
        hit = np.bincount(labelled.ravel(), found.ravel(), n + 1)
        return Seen(
            unit,
            float(found.mean()),
            float((truth > 0).mean()),
            self._counts(found, truth, None if kinds is None else kinds[inside]),
            [(size[k] / truth.size, hit[k] / size[k]) for k in range(1, n + 1)],
            int(ndimage.label(found, NEIGHBOURS)[1]) if n == 0 else 0,
        )

    def _counts(
        self, found: NDArray[np.bool_], truth: NDArray[np.uint8], kinds: NDArray[np.uint8] | None
    ) -> NDArray[np.int64]:
        rows = [(found, truth > 0)]
        if kinds is not None and self.task.n_classes > 2:
            rows += [(found & (kinds == k), truth == k) for k in range(1, self.task.n_classes)]
        counts = [[np.sum(said & real), np.sum(said & ~real), np.sum(~said & real)] for said, real in rows]
        return np.array(counts, dtype=np.int64)

    def figures(self) -> dict[str, Figure]:
        """Every figure of the images whose truth is known; those that do not exist say why."""
        known = [self.seen[index] for index in sorted(self.seen) if self.seen[index].counts is not None]
        if not known:
            names = ("iou", "dice", "pixel_average_precision", "pixel_auroc", "aupro", "region_recall")
            return {name: Figure.missing("no masks") for name in names}
        found = self._curves(known)
        if self.threshold is not None:
            found = self._overlaps(known) | found | _regions(known) | _areas(known, self.seed)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One an image, in order: area_percent, true_area_percent (None: not known), iou, regions, regions_found."""
        return [_row(self.seen[index]) for index in sorted(self.seen)]

    def _curves(self, known: list[Seen]) -> dict[str, Figure]:
        n = len(known)
        return {name: _figure(value, again, n) for name, (value, again) in self.histograms.curves().items()}

    def _overlaps(self, known: list[Seen]) -> dict[str, Figure]:
        counts = np.stack([one.counts for one in known if one.counts is not None]).astype(np.float64)  # (N, K, 3)
        times = np.stack([draws(one.unit, self.seed) for one in known]).astype(np.float64)  # (N, R)
        whole, again = counts.sum(0), np.einsum("nr,nkc->rkc", times, counts)
        figures = {
            "iou": _figure(float(_iou(whole[0])), _iou(again[:, 0]), len(known)),
            "dice": _figure(float(_dice(whole[0])), _dice(again[:, 0]), len(known)),
        }
        defective = counts[:, 0, 0] + counts[:, 0, 2] > 0
        for name, of in (("iou_per_image", _iou), ("dice_per_image", _dice)):
            figures[name] = _mean(of(counts[defective, 0]), times[defective])
        clean = counts[~defective, 0, 1] == 0
        parts = np.unique([one.unit for one in known], return_inverse=True)[1]
        figures["clean_good_images"] = (
            stats.share(clean, parts[~defective]) if len(clean) else Figure.missing("no good images")
        )
        for k in range(1, counts.shape[1]):
            n = int((counts[:, k, 0] + counts[:, k, 2] > 0).sum())
            name = f"iou/{self.task.classes[k]}"
            figures[name] = (
                _figure(float(_iou(whole[k])), _iou(again[:, k]), n) if n else Figure.missing("no mask of it")
            )
        return figures


def picture(path: str, preprocess: Preprocess) -> tuple[slice, slice]:
    """Where the picture lies in the network's input, without the padding."""
    with open_image(path) as image:
        size = image.size[::-1] if turn_of(image) in LYING else image.size
    box = preprocess.box(*size)
    wide, high = box.fitted
    left, top = max(0, int(box.left)), max(0, int(box.top))
    return slice(top, min(preprocess.size[0], top + high)), slice(left, min(preprocess.size[1], left + wide))


def _row(seen: Seen) -> dict[str, Any]:
    row: dict[str, Any] = {"area_percent": 100 * seen.area}
    if seen.counts is None or seen.true_area is None:
        return {**row, "true_area_percent": None, "iou": None, "regions": None, "regions_found": None}
    iou = float(_iou(seen.counts[0].astype(np.float64)))
    found = sum(share >= FOUND for _, share in seen.regions)
    row |= {"true_area_percent": 100 * seen.true_area, "iou": iou if np.isfinite(iou) else None}
    return row | {"regions": len(seen.regions), "regions_found": found}


def _regions(known: list[Seen]) -> dict[str, Figure]:
    units = np.unique([one.unit for one in known], return_inverse=True)[1]
    rows = [(size, share >= FOUND, unit) for one, unit in zip(known, units, strict=True) for size, share in one.regions]
    if not rows:
        return {"region_recall": Figure.missing("no defects")}
    size, hit, unit = (np.array(column) for column in zip(*rows, strict=True))
    figures, low = {"region_recall": stats.share(hit, unit)}, 0.0
    for name, high in SIZES.items():
        chosen = (100 * size >= low) & (100 * size < high)
        figures[f"region_recall/{name}"] = (
            stats.share(hit[chosen], unit[chosen]) if chosen.any() else Figure.missing("no defects of this size")
        )
        low = high
    return figures


def _areas(known: list[Seen], seed: int) -> dict[str, Figure]:
    times = np.stack([draws(one.unit, seed) for one in known]).astype(np.float64)
    error = np.array([100 * abs(one.area - (one.true_area or 0.0)) for one in known])
    good = np.array([not one.regions for one in known])
    false = np.array([one.false_regions for one in known], dtype=np.float64)
    figures = {"area_error_percent": _mean(error, times)}
    figures["false_regions_per_good_image"] = (
        _mean(false[good], times[good]) if good.any() else Figure.missing("no good images")
    )
    return figures


def _mean(values: NDArray[np.float64], times: NDArray[np.float64]) -> Figure:
    if not len(values):
        return Figure.missing("no defective images")
    drawn = times.sum(0)
    again = np.divide(values @ times, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
    return _figure(float(values.mean()), again, len(values))


def _figure(value: float, again: NDArray[np.float64], n: int) -> Figure:
    if not np.isfinite(value):
        return Figure.missing("no defective pixel, true or found", n)
    again, method = again[np.isfinite(again)], f"Poisson bootstrap of parts, {RESAMPLES} times, percentiles"
    if len(again) < RESAMPLES // 2 or np.ptp(again) < 1e-12:
        return Figure(value, None, None, f"{method}: no interval, the resamples do not differ", n)
    low, high = np.quantile(again, [(1 - stats.CONFIDENCE) / 2, (1 + stats.CONFIDENCE) / 2])
    return Figure(value, min(float(low), value), max(float(high), value), method, n)


def _iou(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) found, invented, missed -> (...); NaN where there is nothing to find and nothing was found."""
    return _ratio(counts[..., 0], counts.sum(-1))


def _dice(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return _ratio(2 * counts[..., 0], counts.sum(-1) + counts[..., 0])


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
    return ratio

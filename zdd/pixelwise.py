"""How well maps find defects pixel by pixel, region by region and by area, in bounded memory; docs/testing.md defines.

A pixel is taken for defective where the map reaches the pixel threshold. Padding is no pixel. Images whose truth is not
known (defective ones without a mask) count nowhere here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd import area, grades, poisson, regions, stats
from zdd.area import Place, Scale
from zdd.pixelcurves import Histograms
from zdd.poisson import Floats, Ratio
from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Batch, Prediction, Record, Task
from zdd.regions import Region
from zdd.stats import Figure

CURVES = ("pixel_average_precision", "pixel_auroc", "aupro")
NOTHING = "no defective pixel, true or found"
NO_GOOD = "no good images with known truth"


@dataclass(frozen=True)
class Truth:
    """What is kept of an image whose truth is known."""

    good: bool  # by its label and its mask
    area: float  # share of the picture
    regions: list[Region]
    counts: NDArray[np.int64] | None  # (K, 3): found, invented, missed pixels; of all defects, then of each class
    false_regions: int  # of a good image


@dataclass(frozen=True)
class Seen:
    """What is kept of an image."""

    unit: str  # the part that it shows
    pixels: float  # of the original
    area: float | None  # share of the picture that was taken for defective; None: there is no threshold
    truth: Truth | None


class Tally:
    """Watches an evaluation.

    Args:
        task: Classes.
        pixel_threshold: A pixel whose map reaches it is defective; None: there are curves, but no areas.
        images: The images by the batches' index.
        preprocess: Of the images: where the picture lies in the network's input.
        seed: Of the resamples.
        scale: Of mm2 and grades.
    """

    def __init__(
        self,
        task: Task,
        *,
        pixel_threshold: float | None,
        images: Sequence[Record],
        preprocess: Preprocess,
        seed: int = 0,
        scale: Scale | None = None,
    ) -> None:
        self.task, self.threshold = task, pixel_threshold
        self.images, self.preprocess, self.seed = images, preprocess, seed
        self.scale = scale or Scale()
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
        self, index: int, values: NDArray[np.float32], truth: NDArray[np.uint8] | None, kinds: NDArray[np.uint8] | None
    ) -> Seen:
        record = self.images[index]
        unit = record.group or f"image {index}"
        where = area.place(record.path, self.preprocess)
        values = where.cut(values)
        found = None if self.threshold is None else values >= self.threshold
        share = None if found is None else float(found.mean())
        if truth is None or (truth == UNKNOWN).any():
            return Seen(unit, where.pixels, share, None)
        truth = where.cut(truth)
        defects, weight = regions.regions(truth > 0, found)
        self.histograms.add(values.ravel(), weight.ravel(), poisson.draws(unit, self.seed))
        good = record.label == 0 and not defects
        counts = None if found is None else self._counts(found, truth, kinds, where)
        invented = regions.count(found) if good and found is not None else 0
        return Seen(unit, where.pixels, share, Truth(good, float((truth > 0).mean()), defects, counts, invented))

    def _counts(
        self, found: NDArray[np.bool_], truth: NDArray[np.uint8], kinds: NDArray[np.uint8] | None, where: Place
    ) -> NDArray[np.int64]:
        rows = [(found, truth > 0)]
        if kinds is not None and self.task.n_classes > 2:
            kinds = where.cut(kinds)
            rows += [(found & (kinds == k), truth == k) for k in range(1, self.task.n_classes)]
        counts = [[np.sum(said & real), np.sum(said & ~real), np.sum(~said & real)] for said, real in rows]
        return np.array(counts, dtype=np.int64)

    def figures(self) -> dict[str, Figure]:
        """Every figure of the images whose truth is known; those that do not exist say why."""
        known = self._known()
        if not known or self.threshold is None:
            missing = Figure.missing("no image whose truth is known" if not known else "no pixel threshold")
            found = dict.fromkeys(("iou", "dice", "iou_per_image", "dice_per_image", "region_recall"), missing)
            return found | (self._curves() if known else dict.fromkeys(CURVES, missing))
        units = [one.unit for one, _ in known]
        parts = np.unique(units, return_inverse=True)[1].astype(np.int64)
        truths = [truth for _, truth in known]
        ratios = self._overlaps(truths) | self._areas(known)
        defects = [(int(part), region) for part, truth in zip(parts, truths, strict=True) for region in truth.regions]
        found = poisson.figures(ratios, units, self.seed) | _clean(truths, parts)
        found |= self._curves() | regions.recall(defects)
        if self.scale.grades:
            found["grade_accuracy"] = grades.accuracy(*self._percents(known), parts, self.scale.grades)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """What predictions.csv says of each image, in order; None: not known.

        `area_percent`, `area_mm2` (where there is a scale), `grade` (where there is a price table),
        `true_area_percent`, `true_grade` (the same), `iou` (None also where there is no defect and none was found),
        `regions`, `regions_found`.
        """
        return [self._row(self.seen[index]) for index in sorted(self.seen)]

    def grade_confusion(self) -> NDArray[np.int64]:
        """Counts (G + 1, G + 1) of images in the order of `grades.names`: a row is the true grade, a column the given.

        All 0 where nothing was graded.
        """
        return grades.confusion(*self._percents(self._known()), self.scale.grades)

    def _known(self) -> list[tuple[Seen, Truth]]:
        every = (self.seen[index] for index in sorted(self.seen))
        return [(one, one.truth) for one in every if one.truth is not None]

    def _percents(self, known: list[tuple[Seen, Truth]]) -> tuple[Floats, Floats]:
        """True and measured areas, (N,) each."""
        measured = [(one.area, truth.area) for one, truth in known if one.area is not None]
        return np.array([100 * true for _, true in measured]), np.array([100 * given for given, _ in measured])

    def _curves(self) -> dict[str, Figure]:
        n = sum(one.truth is not None for one in self.seen.values())
        reason = "of pixels with a defect and pixels without there must be both"
        return {name: poisson.figure(*found, n, reason) for name, found in self.histograms.curves().items()}

    def _overlaps(self, truths: list[Truth]) -> dict[str, Ratio]:
        counts = np.array([truth.counts for truth in truths], dtype=np.float64)  # (N, K, 3)
        n, defective = len(counts), counts[:, 0, 0] + counts[:, 0, 2] > 0
        iou, dice = _iou(counts), _dice(counts)
        ratios = {
            "iou": Ratio(iou[0][:, 0], iou[1][:, 0], n, NOTHING),
            "dice": Ratio(dice[0][:, 0], dice[1][:, 0], n, NOTHING),
        }
        for name, (above, below) in (("iou_per_image", iou), ("dice_per_image", dice)):
            ratios[name] = Ratio.mean(poisson.divided(above[:, 0], below[:, 0]), defective, "no defective images")
        for k in range(1, counts.shape[1]):
            there = int((counts[:, k, 0] + counts[:, k, 2] > 0).sum())
            above, below = (part[:, k] * (there > 0) for part in iou)
            ratios[f"iou/{self.task.classes[k]}"] = Ratio(above, below, there, "no mask of this class")
        return ratios

    def _areas(self, known: list[tuple[Seen, Truth]]) -> dict[str, Ratio]:
        true, measured = self._percents(known)
        good = np.array([truth.good for _, truth in known], dtype=np.bool_)
        false = np.array([truth.false_regions for _, truth in known], dtype=np.float64)
        ratios = {
            "false_regions_per_good_image": Ratio.mean(false, good, NO_GOOD),
            "area_error_percent": Ratio.mean(np.abs(measured - true), np.ones_like(good), "no images"),
        }
        return ratios | (grades.money(true, measured, self.scale.grades) if self.scale.grades else {})

    def _row(self, seen: Seen) -> dict[str, Any]:
        row, truth = self.scale.row(seen.area, seen.pixels), seen.truth
        true = self.scale.row(None if truth is None else truth.area, seen.pixels)
        row |= {f"true_{name}": value for name, value in true.items() if name != "area_mm2"}
        row |= {"iou": None, "regions": None, "regions_found": None}
        if truth is not None:
            row["regions"] = len(truth.regions)
        if truth is not None and truth.counts is not None:
            row["regions_found"] = sum(region.is_found for region in truth.regions)
            above, below = _iou(truth.counts[0].astype(np.float64))
            row["iou"] = float(above / below) if below > 0 else None
        return row


def _clean(truths: list[Truth], parts: NDArray[np.int64]) -> dict[str, Figure]:
    good = np.array([truth.good for truth in truths], dtype=np.bool_)
    clean = np.array([truth.false_regions == 0 for truth in truths], dtype=np.bool_)
    return {"clean_good_images": stats.share(clean[good], parts[good]) if good.any() else Figure.missing(NO_GOOD)}


def _iou(counts: Floats) -> tuple[Floats, Floats]:
    """(..., 3) found, invented, missed -> what stands above and what below the line, (...) each."""
    return counts[..., 0], counts.sum(-1)


def _dice(counts: Floats) -> tuple[Floats, Floats]:
    return 2 * counts[..., 0], counts.sum(-1) + counts[..., 0]

"""Connected regions of defect: how large each is, how much of it was found, and how many there are that are none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from zdd.poisson import Floats
from zdd.stats import Figure, share

NEIGHBOURS = np.ones((3, 3))  # pixels that touch by a corner are of one region, as in MVTec's evaluation
FOUND = 0.1  # a region counts as found from this share of its pixels on (Commowick et al. 2018)
VGA = 640 * 480
SIZES = {"small": 32**2 / VGA, "medium": 96**2 / VGA, "large": np.inf}  # upper ends, share of the picture: COCO's sizes


@dataclass(frozen=True)
class Region:
    """A connected region of true defect."""

    size: float  # share of the picture
    found: float  # share of its pixels that was taken for defective

    @property
    def is_found(self) -> bool:
        """Whether enough of it was."""
        return self.found >= FOUND


def regions(truth: NDArray[np.bool_], found: NDArray[np.bool_] | None) -> tuple[list[Region], Floats]:
    """The regions of a mask (H, W), and the weight of each pixel, (H, W): 1 / pixels of its region, 0 outside.

    Without `found`, the pixels that were taken for defective, nothing was found.
    """
    if not truth.any():
        return [], np.zeros(truth.shape)
    labelled, n = ndimage.label(truth, NEIGHBOURS)
    size = np.bincount(labelled.ravel(), minlength=n + 1)
    hit = np.zeros(n + 1) if found is None else np.bincount(labelled.ravel(), found.ravel(), n + 1)
    weight = np.append(0.0, 1 / size[1:])[labelled]
    return [Region(float(size[k] / truth.size), float(hit[k] / size[k])) for k in range(1, n + 1)], weight


def count(found: NDArray[np.bool_]) -> int:
    """How many regions there are in a mask (H, W)."""
    return int(ndimage.label(found, NEIGHBOURS)[1])


def recall(seen: Sequence[tuple[int, Region]]) -> dict[str, Figure]:
    """`region_recall`, the share of regions that were found, and that of each size; `seen` has each with its part."""
    part = np.array([part for part, _ in seen], dtype=np.int64)
    hit = np.array([region.is_found for _, region in seen], dtype=np.bool_)
    size = np.array([region.size for _, region in seen])
    figures, low = {"region_recall": share(hit, part) if seen else Figure.missing("no defects")}, 0.0
    for name, high in SIZES.items():
        chosen = (size >= low) & (size < high)
        missing = Figure.missing("no defects of this size")
        figures[f"region_recall/{name}"] = share(hit[chosen], part[chosen]) if chosen.any() else missing
        low = high
    return figures

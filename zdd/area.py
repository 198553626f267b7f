"""How large a defect is: where an image's picture lies in the network's input, its area in % and mm2, and its grade.

Standard library, numpy and Pillow alone: engines measure, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zdd import grades
from zdd.errors import ZddError
from zdd.grades import Grade
from zdd.pixels import LYING, open_image, reason, turn_of
from zdd.preprocess import Preprocess

if TYPE_CHECKING:
    from zdd.settings import Config

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Place:
    """Where the network sees an image's picture.

    Args:
        rows: Of the network's input, without the padding.
        columns: The same.
        pixels: Of the original that are seen; all of them unless the preprocessing cuts something off.
    """

    rows: slice
    columns: slice
    pixels: float

    def cut(self, plane: NDArray[T]) -> NDArray[T]:
        """(..., H, W) of the network's input -> the part of it that shows the picture."""
        return plane[..., self.rows, self.columns]


def place(path: str | Path, preprocess: Preprocess) -> Place:
    """Where the picture in this file lies; reads no more than its header.

    Raises:
        ZddError: If the file can't be read.
    """
    try:
        with open_image(path) as image:
            size = image.size[::-1] if turn_of(image) in LYING else image.size
    except (OSError, ValueError) as error:
        raise ZddError(f"{path}: {reason(error)}") from error
    box = preprocess.box(*size)
    high, wide = preprocess.size
    left, top = max(0, int(box.left)), max(0, int(box.top))
    right, bottom = min(wide, left + box.fitted[0]), min(high, top + box.fitted[1])
    seen = min(1.0, wide / box.fitted[0]) * min(1.0, high / box.fitted[1])
    return Place(slice(top, bottom), slice(left, right), seen * size[0] * size[1])


@dataclass(frozen=True)
class Scale:
    """What an area is worth.

    Args:
        mm_per_pixel: Of the original pictures; None: areas are not given in mm2.
        grades: The price table; empty: parts are not graded.
    """

    mm_per_pixel: float | None = None
    grades: Sequence[Grade] = ()

    @classmethod
    def of(cls, config: Config) -> Scale:
        """As it is configured."""
        return cls(config.mm_per_pixel, tuple(config.grades))

    def row(self, share: float | None, pixels: float) -> dict[str, Any]:
        """An area in words: `area_percent`, with a scale `area_mm2`, with a price table `grade`.

        Args:
            share: Of the picture, in [0, 1]; None: not known, and so is all that follows from it.
            pixels: Of the original that the picture consists of.
        """
        percent = None if share is None else 100 * share
        row: dict[str, Any] = {"area_percent": percent}
        if self.mm_per_pixel is not None:
            row["area_mm2"] = None if share is None else share * pixels * self.mm_per_pixel**2
        if self.grades:
            row["grade"] = None if percent is None else grades.grade(percent, self.grades)
        return row


def measure(plane: NDArray[np.float32], where: Place, threshold: float) -> float:
    """The share of the picture whose map (H, W) reaches the pixel threshold."""
    return float((where.cut(plane) >= threshold).mean())


@dataclass(frozen=True)
class Areas:
    """What a map says of the defect's size, for the row of an image; a `zdd.rows.See`.

    Args:
        preprocess: Of the images.
        threshold: A pixel whose map reaches it is defective; None: areas are not known.
        scale: Of mm2 and grades.
    """

    preprocess: Preprocess
    threshold: float | None
    scale: Scale

    @property
    def blank(self) -> dict[str, Any]:
        """The row's part of an image that could not be judged."""
        return self.scale.row(None, 0.0)

    def __call__(
        self,
        path: Path,
        row: dict[str, Any],  # noqa: ARG002 (a See's)
        values: NDArray[np.float32],
        kinds: NDArray[np.uint8] | None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The row's part of an image, by its map (H, W)."""
        where = place(path, self.preprocess)
        share = None if self.threshold is None else measure(values, where, self.threshold)
        return self.scale.row(share, where.pixels)

"""The class of each pixel of an image, from its mask file, or from its label where it has none."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Record


class Masks:
    """Masks with the geometry of the network's input.

    Args:
        preprocess: Of the images.
        values: The pixel value of each class in index masks; None: in masks every pixel that is not black is of the
            image's class.
    """

    def __init__(self, preprocess: Preprocess, values: Sequence[int] | None) -> None:
        self.preprocess = preprocess
        self.values = values

    def of(self, record: Record) -> NDArray[np.uint8]:
        """(H, W) uint8, the class of each pixel; 0 (good) wherever a good image, UNKNOWN wherever another, has none."""
        if not record.mask:
            return np.full(self.preprocess.size, 0 if record.label == 0 else UNKNOWN, np.uint8)
        mask = self.preprocess.load_mask(record.mask, self.values)
        return mask if self.values is not None else mask * np.uint8(max(0, record.label))

"""Finding a printed label by an example of it: normalised cross-correlation (Lewis, Vision Interface 1995)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from zdd.data.synthesis.picture import Floats, read
from zdd.errors import ZddError

FLAT = 1e-4  # deviation (of values in [0, 1]) below which a patch shows nothing that could be compared
SMALLEST = 8  # side of a template, pixels


@dataclass(frozen=True)
class Box:
    """Where something lies in a picture."""

    row: int
    column: int
    height: int
    width: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)


def load(path: Path) -> Floats:
    """A template as brightness, (h, w) in [0, 1].

    Raises:
        ZddError: If it can't be read, is tiny, or shows nothing.
    """
    grey = read(str(path)).channels(1)[..., 0]
    if min(grey.shape) < SMALLEST:
        size = f"{grey.shape[1]} x {grey.shape[0]}"
        raise ZddError(f"--template {path}: has {size} pixels; at least {SMALLEST} x {SMALLEST} are needed")
    if grey.std() < FLAT:
        raise ZddError(f"--template {path}: is of one colour, so that it would be found everywhere and nowhere")
    return grey


def correlation(picture: Floats, template: Floats) -> NDArray[np.float64]:
    """How much each patch of a picture looks like the template, whatever its brightness and contrast.

    Args:
        picture: (H, W).
        template: (h, w), not larger.

    Returns:
        (H - h + 1, W - w + 1) in [-1, 1], by the patch's upper left corner; 0 where a patch is of one colour.
    """
    from scipy import signal  # takes a second to import, and few sets need a template

    values = picture.astype(np.float64) - float(picture.mean())
    pattern = template.astype(np.float64) - float(template.mean())
    high, wide = pattern.shape
    rows, columns = values.shape[0] - high + 1, values.shape[1] - wide + 1
    first = high // 2, wide // 2  # the middle of the first patch
    window = tuple(slice(at, at + n) for at, n in zip(first, (rows, columns), strict=True))
    mean = ndimage.uniform_filter(values, pattern.shape)[window]
    square = ndimage.uniform_filter(values**2, pattern.shape)[window]
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    product = signal.fftconvolve(values, pattern[::-1, ::-1], mode="valid")
    scale = spread * float(pattern.std()) * pattern.size
    alike = np.divide(product, scale, out=np.zeros_like(product), where=spread > FLAT)
    return np.asarray(np.clip(alike, -1, 1))


def find(picture: Floats, template: Floats) -> tuple[Box, float] | None:
    """Where the template lies best in a picture (H, W), and how well; None if it is larger than the picture."""
    if template.shape[0] > picture.shape[0] or template.shape[1] > picture.shape[1]:
        return None
    alike = correlation(picture, template)
    row, column = (int(at) for at in np.unravel_index(int(alike.argmax()), alike.shape))
    return Box(row, column, *template.shape), float(alike[row, column])

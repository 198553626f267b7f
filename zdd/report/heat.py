"""What lies where, in colours: maps and masks brought back from the network's input onto the original picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from zdd import marks
from zdd.preprocess import Geometry

CAUGHT, MISSED, FALSE, OTHER = "#009E73", "#D55E00", "#1F78C8", "#CC79A7"  # Okabe and Ito 2008, blue lightened
FOUND = "#F0E442"  # where the truth is not known
KINDS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#2A7FC9")  # in turn, defect classes
DIFFERENCE = {"caught": CAUGHT, "missed": MISSED, "false": FALSE, "caught, as another kind": OTHER}
OPAQUE, LIGHT, DIM = 0.95, 0.3, 0.75  # of a colour: outlines, fillings; brightness of the picture below them
UNSEEN = 0.35  # brightness of what the preprocessing cut off

Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Span:
    """The one scale of all heat maps of a method, from 0, or symmetric about 0.

    Args:
        high: The end; what is above looks like it.
        threshold: From which a pixel counts as defective; infinite: there is none.
        signed: It starts at `-high`, and 0 lies in the middle.
    """

    high: float
    threshold: float = math.inf
    signed: bool = False

    @classmethod
    def of(cls, threshold: float | None, peaks: NDArray[np.float64] | None = None) -> "Span":
        """Twice the threshold, so that it lies in the middle; without one the highest of the images' peaks."""
        if threshold is not None and threshold > 0:
            return cls(2 * threshold, threshold)
        high = float(peaks.max()) if peaks is not None and len(peaks) else 0.0
        return cls(high if high > 0 else 1.0, math.inf if threshold is None else threshold)

    @property
    def low(self) -> float:
        """Where it starts."""
        return -self.high if self.signed else 0.0

    def colours(self, values: NDArray[np.float32]) -> Bytes:
        """(H, W) of a map -> (H, W, 3): from black to yellow and white; a signed one from blue over white to red."""
        share = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        return np.asarray(mpl.colormaps["RdBu_r" if self.signed else "inferno"](share, bytes=True))[..., :3]


@dataclass(frozen=True)
class Frame:
    """How the network's input lies on the original picture, shown `width` x `height` large.

    Args:
        geometry: Of the picture as it is shown: its scales are input pixels a shown pixel.
        size: Height and width of the network's input.
    """

    geometry: Geometry
    size: tuple[int, int]

    @classmethod
    def of(cls, geometry: Geometry, size: tuple[int, int], shown: tuple[int, int]) -> "Frame":
        """For a picture shown `shown` (width, height) large."""
        x, y = geometry.width / shown[0], geometry.height / shown[1]
        scaled = replace(geometry, width=shown[0], height=shown[1])
        return cls(replace(scaled, scale_x=geometry.scale_x * x, scale_y=geometry.scale_y * y), size)

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what the network sees of the shown picture: all, unless it was cut off."""
        g, (high, wide) = self.geometry, self.size
        left, right = _whole(g.left, g.scale_x, wide, g.width)
        top, bottom = _whole(g.top, g.scale_y, high, g.height)
        return left, top, right, bottom

    def picture(self, image: Image.Image, filter_: Image.Resampling) -> Image.Image:
        """An image of the input's size, brought onto the picture; 0 where the network saw nothing."""
        g, (left, top, right, bottom) = self.geometry, self.seen
        box = (*g.to_input(left, top), *g.to_input(right, bottom))
        inside = (max(0.0, box[0]), max(0.0, box[1]), min(image.width, box[2]), min(image.height, box[3]))
        canvas = Image.new(image.mode, (g.width, g.height))
        canvas.paste(image.resize((right - left, bottom - top), filter_, box=inside), (left, top))
        return canvas

    def values(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map (H, W) of the input as (h, w) of the shown picture, smoothly."""
        return np.asarray(self.picture(Image.fromarray(plane.astype(np.float32)), Image.Resampling.BILINEAR))

    def classes(self, plane: Bytes) -> Bytes:
        """Class numbers (H, W) of the input as (h, w) of the shown picture; none is lost by being made smaller."""
        return marks.fit(plane, lambda each: self.picture(each, Image.Resampling.BOX))

    def dimmed(self, picture: Bytes) -> Bytes:
        """The shown picture (h, w, 3), darker where the network saw nothing of it."""
        left, top, right, bottom = self.seen
        dark = (picture * UNSEEN).astype(np.uint8)
        dark[top:bottom, left:right] = picture[top:bottom, left:right]
        return dark


def compared(found: Mask, truth: Bytes, kinds: Bytes | None = None) -> Bytes:
    """(H, W): 0 nothing, then 1 caught, 2 missed, 3 false, 4 caught though taken for another kind, as in `DIFFERENCE`.

    Args:
        found: What was taken for defective.
        truth: The true classes.
        kinds: The class that a defective pixel is taken for.
    """
    real = truth > 0
    said = np.select([found & real, ~found & real, found & ~real], [1, 2, 3], 0).astype(np.uint8)
    if kinds is not None:
        said[(said == 1) & (kinds != truth)] = 4
    return said


def painted(picture: Bytes, classes: Bytes, colours: Sequence[str]) -> Bytes:
    """The picture (h, w, 3) in dark grey; class 1, 2, ... of each pixel (h, w) is outlined and lightly filled."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None].repeat(3, axis=2)
    table = np.array([rgb(colours[k % len(colours)]) for k in range(int(classes.max(initial=0)))], np.float64)
    out = DIM * grey.astype(np.float64)
    if len(table):
        reach = 2 * max(1, round(max(classes.shape) / 400)) + 1
        edge = ndimage.maximum_filter(classes, reach) != ndimage.minimum_filter(classes, reach)
        for marked, share in ((classes > 0) & edge, OPAQUE), ((classes > 0) & ~edge, LIGHT):
            out[marked] = (1 - share) * out[marked] + share * table[classes[marked].astype(np.int64) - 1]
    return np.rint(out).astype(np.uint8)


def rgb(colour: str) -> tuple[int, int, int]:
    """#009E73 -> (0, 158, 115)."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _whole(start: float, scale: float, end: int, length: int) -> tuple[int, int]:
    """The first and the last edge of the shown picture's pixels that lie in the input, from 0 to `end`."""
    first, last = math.ceil(-start / scale - 1e-6), math.floor((end - start) / scale + 1e-6)
    return max(0, first), min(length, last)

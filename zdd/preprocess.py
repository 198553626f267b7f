"""From an image file to the network's input, with Pillow and numpy alone.

Training, validation, test, prediction and, later, engines and the service all run this and nothing else.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zdd import marks
from zdd.errors import ZddError
from zdd.pixels import LYING, draft, open_image, reason, to_rgb, turn_of

VERSION = 1  # goes up when the same settings give other pixels, so that no cache or model is read with the wrong ones
FITS = ("letterbox", "squeeze", "crop")
CHANNELS = ("rgb", "gray")
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

Number = TypeVar("Number", int, float)


class PreprocessSettings(Protocol):
    """What `from_settings` reads; `zdd.settings.PreprocessSettings` fits."""

    @property
    def fit(self) -> Literal["letterbox", "squeeze", "crop"]: ...
    @property
    def channels(self) -> Literal["rgb", "gray"]: ...
    @property
    def interpolation(self) -> Literal["nearest", "bilinear", "bicubic", "lanczos"]: ...
    @property
    def mean(self) -> list[float]: ...
    @property
    def std(self) -> list[float]: ...


@dataclass(frozen=True)
class Geometry:
    """Where an upright original of `width` x `height` pixels lies in the network's input.

    A point (x, y) of the original lies at (left + x * scale_x, top + y * scale_y) of the input.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: float
    top: float

    @property
    def fitted(self) -> tuple[int, int]:
        """Width and height of the whole original, scaled, in input pixels."""
        return max(1, round(self.width * self.scale_x)), max(1, round(self.height * self.scale_y))

    def to_input(self, x: float, y: float) -> tuple[float, float]:
        """A point of the original, in input pixels."""
        return self.left + x * self.scale_x, self.top + y * self.scale_y

    def to_original(self, x: float, y: float) -> tuple[float, float]:
        """A point of the input, in the original's pixels (outside of it where the input is padding)."""
        return (x - self.left) / self.scale_x, (y - self.top) / self.scale_y


@dataclass(frozen=True)
class Preprocess:
    """The one way from a file to the network's input; it is stored with the model.

    Args:
        size: Height and width of the input, pixels.
        fit: `letterbox` keeps the shape and pads with the mean colour, `squeeze` stretches, `crop` keeps the shape and
            cuts off what hangs over (a defect there is lost).
        channels: `rgb`, or `gray`: one brightness repeated three times.
        interpolation: Pillow's antialiased filter.
        mean: Of each channel, for values in [0, 1].
        std: Of each channel, for values in [0, 1].
    """

    size: tuple[int, int]
    fit: Literal["letterbox", "squeeze", "crop"]
    channels: Literal["rgb", "gray"]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        for name, value, known in (
            ("fit", self.fit, FITS),
            ("channels", self.channels, CHANNELS),
            ("interpolation", self.interpolation, tuple(INTERPOLATIONS)),
        ):
            if value not in known:
                raise ValueError(f"preprocess.{name} = {value!r}: must be one of {', '.join(known)}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("preprocess.mean and .std must have 3 numbers each, std above 0")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` reads it back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Preprocess":
        """Read what `as_dict` wrote.

        Raises:
            TypeError, ValueError: If a key is missing or unknown, or a value is out of range.
        """
        lists: dict[str, Any] = {key: tuple(value[key]) for key in ("size", "mean", "std") if key in value}
        return cls(**{**value, **lists})

    def hash(self) -> str:
        """Changes whenever the same file would give another input."""
        return hashlib.sha256(json.dumps([VERSION, self.as_dict()], sort_keys=True).encode()).hexdigest()

    def load(self, path: str | Path) -> NDArray[np.uint8]:
        """Read an image file: (H, W, 3) uint8, upright, fitted, not yet normalised.

        Raises:
            OSError: If there is no such file or Pillow can't read it whole; the text says why.
        """
        try:
            with open_image(path) as image:
                return self.fit_image(image)
        except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
            raise OSError(f"{path}: {reason(error)}") from error

    def load_mask(
        self, path: str | Path, values: Sequence[int] | None = None, *, image: str | Path | None = None
    ) -> NDArray[np.uint8]:
        """Read a mask with the image's geometry: (H, W) uint8; padding is 0.

        No defect is lost by being made smaller: see `zdd.marks.settle`.

        Args:
            path: The mask's file.
            values: Of index masks: which pixel value means 0, 1, ...; None: 1 is what is marked (`zdd.marks.marked`).
            image: The image's file: a mask that was drawn on it as stored is turned as it is.

        Raises:
            OSError: If a file is not there, Pillow can't read it whole, or the mask has another shape than the image.
        """
        try:
            with open_image(path) as mask:
                classes, turn = marks.read(mask, values), marks.turn_like(mask, image)
            box = Image.Resampling.BOX
            fitted = marks.fit(classes, lambda plane: self._place(plane, plane.size, turn, box, 0))
        except ZddError as error:  # it can be read, but is no mask of this image
            raise OSError(f"{path}: {error}") from error
        except Exception as error:  # as above
            raise OSError(f"{path}: {reason(error)}") from error
        return fitted

    def fit_image(self, image: Image.Image) -> NDArray[np.uint8]:
        """Make an opened image upright, 8-bit and of the input's size: (H, W, 3) uint8."""
        turn = turn_of(image)
        wide, high = self.box(*_swapped(image.size, turn)).fitted
        # A JPEG is decoded smaller, as long as twice the wanted size is left for the antialiased resize.
        extent = draft(image, image.mode, _swapped((2 * wide, 2 * high), turn))
        # Grey is resized as one channel, and repeated then: a third of the work for the same numbers.
        ready = image.mode in ("RGB", "L") and not image.has_transparency_data
        plain = image if ready else to_rgb(image, self._padding)
        if self.channels == "gray" and plain.mode != "L":
            plain = plain.convert("L")
        return np.array(self._place(plain, extent, turn, INTERPOLATIONS[self.interpolation], self._padding))

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(..., H, W, 3) uint8 -> (..., 3, H, W) float32, less the mean and divided by the deviation."""
        out = np.empty((*pixels.shape[:-3], 3, *pixels.shape[-3:-1]), np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            plane = out[..., channel, :, :]
            np.multiply(pixels[..., channel], np.float32(1 / (255 * std)), out=plane)
            plane -= np.float32(mean / std)
        return out

    def box(self, width: int, height: int) -> Geometry:
        """Where an upright original of this size lies in the input."""
        high, wide = self.size
        x, y = wide / width, high / height
        if self.fit == "letterbox":
            x = y = min(x, y)
        elif self.fit == "crop":
            x = y = max(x, y)
        fitted = max(1, round(width * x)), max(1, round(height * y))
        x, y = fitted[0] / width, fitted[1] / height  # whole pixels, so that drawing back is exact
        left, top = (wide - fitted[0]) / 2, (high - fitted[1]) / 2
        return Geometry(
            width, height, x, y, left=math.floor(left) if left > 0 else left, top=math.floor(top) if top > 0 else top
        )

    @property
    def _padding(self) -> tuple[int, int, int]:
        return cast(tuple[int, int, int], tuple(min(255, max(0, round(255 * mean))) for mean in self.mean))

    def _place(
        self,
        image: Image.Image,
        extent: tuple[float, float],
        turn: Image.Transpose | None,
        filter_: Image.Resampling,
        padding: int | tuple[int, int, int],
    ) -> Image.Image:
        """Resize what will be seen of an image that fills `extent` of its pixels, turn it, and pad it."""
        width, height = extent
        geometry = self.box(*_swapped((max(1, round(width)), max(1, round(height))), turn))
        shown = min(geometry.fitted[0], self.size[1]), min(geometry.fitted[1], self.size[0])
        x, y = _swapped((shown[0] / geometry.fitted[0], shown[1] / geometry.fitted[1]), turn)
        box = (width * (1 - x) / 2, height * (1 - y) / 2, width * (1 + x) / 2, height * (1 + y) / 2)
        fitted = image.resize(_swapped(shown, turn), filter_, box=box)
        if isinstance(padding, tuple) and fitted.mode != "RGB":
            fitted = fitted.convert("RGB")
        upright = fitted.transpose(turn) if turn is not None else fitted
        if upright.size == (self.size[1], self.size[0]):
            return upright
        canvas = Image.new(upright.mode, (self.size[1], self.size[0]), padding)
        canvas.paste(upright, (int(geometry.left), int(geometry.top)))
        return canvas


def from_settings(size: tuple[int, int], settings: PreprocessSettings) -> Preprocess:
    """The preprocessing of a configuration; `size` is height and width."""
    mean, std = (cast(tuple[float, float, float], tuple(values)) for values in (settings.mean, settings.std))
    return Preprocess(size, settings.fit, settings.channels, settings.interpolation, mean, std)


def _swapped(pair: tuple[Number, Number], turn: Image.Transpose | None) -> tuple[Number, Number]:
    """Width and height, the other way round where the turn swaps them."""
    return (pair[1], pair[0]) if turn in LYING else pair

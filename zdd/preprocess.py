"""From an image file to the network's input, with Pillow and numpy alone.

Training, validation, test, prediction and, later, engines and the service all run this and nothing else.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

VERSION = 1  # goes up when the same settings give other pixels, so that no cache or model is read with the wrong ones
FITS = ("letterbox", "squeeze", "crop")
CHANNELS = ("rgb", "gray")
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 swap width and height


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
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: there is no such file") from None
        except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
            raise OSError(f"{path}: {reason(error)}") from error

    def load_mask(self, path: str | Path) -> NDArray[np.uint8]:
        """Read a mask with the image's geometry: (H, W) uint8, 1 where it is not black; padding is 0.

        Raises:
            OSError: If there is no such file or Pillow can't read it whole.
        """
        try:
            with open_image(path) as image:
                grey = np.asarray(ImageOps.exif_transpose(image).convert("L"))
        except Exception as error:  # as above
            raise OSError(f"{path}: {reason(error)}") from error
        mask = Image.fromarray(np.where(grey > 0, np.uint8(1), np.uint8(0)))
        return np.array(self._place(mask, self.box(*mask.size), Image.Resampling.NEAREST, 0))

    def fit_image(self, image: Image.Image) -> NDArray[np.uint8]:
        """Make an opened image upright, 8-bit and of the input's size: (H, W, 3) uint8."""
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        geometry = self.box(*(reversed(image.size) if turned else image.size))
        wanted = tuple(2 * side for side in (reversed(geometry.fitted) if turned else geometry.fitted))
        # A JPEG may be decoded at 1/2, 1/4 or 1/8, as long as twice the wanted size is left for the antialiased resize.
        image.draft(image.mode, cast(tuple[int, int], wanted))
        upright = ImageOps.exif_transpose(image)
        colour = to_rgb(upright, self._padding)
        if self.channels == "gray":
            colour = colour.convert("L").convert("RGB")
        return np.array(self._place(colour, geometry, INTERPOLATIONS[self.interpolation], self._padding))

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
        return Geometry(width, height, x, y, left=(wide - fitted[0]) // 2, top=(high - fitted[1]) // 2)

    @property
    def _padding(self) -> tuple[int, int, int]:
        return cast(tuple[int, int, int], tuple(min(255, max(0, round(255 * mean))) for mean in self.mean))

    def _place(
        self,
        image: Image.Image,
        geometry: Geometry,
        filter_: Image.Resampling,
        padding: int | tuple[int, int, int],
    ) -> Image.Image:
        high, wide = self.size
        if self.fit != "letterbox":  # only what will be seen is resized: a crop of a long, thin image stays cheap
            x, y = geometry.fitted[0] / image.width, geometry.fitted[1] / image.height
            left, top = -geometry.left / x, -geometry.top / y
            box = (left, top, min(image.width, left + wide / x), min(image.height, top + high / y))
            return image.resize((wide, high), filter_, box=box)
        fitted = image.resize(geometry.fitted, filter_)
        if fitted.size == (wide, high):
            return fitted
        canvas = Image.new(fitted.mode, (wide, high), padding)
        canvas.paste(fitted, (int(geometry.left), int(geometry.top)))
        return canvas


def from_settings(size: tuple[int, int], settings: PreprocessSettings) -> Preprocess:
    """The preprocessing of a configuration; `size` is height and width."""
    mean, std = (cast(tuple[float, float, float], tuple(values)) for values in (settings.mean, settings.std))
    return Preprocess(size, settings.fit, settings.channels, settings.interpolation, mean, std)


def open_image(source: str | Path | IO[bytes]) -> Image.Image:
    """Open an image without decoding it.

    Raises:
        OSError: If Pillow knows no such format.
        ValueError: If it would decode to more pixels than Pillow holds safe (a decompression bomb).
    """
    image = Image.open(source)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        size = f"{image.width} x {image.height}"
        image.close()
        raise ValueError(f"{size} pixels are more than {limit} (a decompression bomb?)")
    return image


def reason(error: Exception) -> str:
    """Why an image can't be read, in one short line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a format that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error).split("\n")[0].strip() or type(error).__name__
    return f"not readable as an image: {text}"


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Any mode of Pillow's to 8-bit RGB.

    16-bit grey (and Pillow's 32-bit integers, as which it opens some 16-bit files) is divided by 257, so that 65535
    becomes 255. Floats are taken as 0 to 1 if none is above 1, else as 0 to 255. Transparency shows `background`.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(((np.clip(wide, 0, 65535) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), nan=0.0)
        bright = values * 255 if values.max() <= 1 else values
        return Image.fromarray(np.clip(np.rint(bright), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (*background, 255)), layer).convert("RGB")
    return image.convert("RGB")

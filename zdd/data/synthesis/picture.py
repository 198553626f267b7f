"""Pictures as numbers and back to files that look as if the same camera had written them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin

from zdd import marks
from zdd.data.found import Found
from zdd.errors import ZddError
from zdd.pixels import open_image, reason, to_rgb, turn_of

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

DEEP, FLAT = 65535, 255  # white of a picture with 16 and with 8 bits
_PAPER = (128, 128, 128)  # what transparent pixels show
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True)
class Picture:
    """An upright picture.

    Args:
        values: (H, W, C) in [0, 1]; one channel of a grey one, else three.
        white: 255, or 65535 of a grey one with 16 bits.
        jpeg: How its file was compressed, if it was: keywords of Pillow's `save`.
    """

    values: Floats
    white: int = FLAT
    jpeg: dict[str, Any] | None = None

    @property
    def ending(self) -> str:
        """Of its file's name."""
        return ".png" if self.jpeg is None else ".jpg"

    def channels(self, n: int) -> Floats:
        """(H, W, n): grey for one channel, repeated for three."""
        if self.values.shape[2] == n:
            return self.values
        return np.repeat(self.values, n, axis=2) if n > 1 else (self.values @ _LUMA)[..., None]


def read(path: str) -> Picture:
    """Read an image file; grey stays grey, and 16 bits stay 16 bits.

    Raises:
        ZddError: If it can't be read.
    """
    pixels, jpeg = _read(path)
    white = DEEP if pixels.dtype == np.uint16 else FLAT
    return Picture(pixels.astype(np.float32) / np.float32(white), white, jpeg)


def read_mask(one: Found) -> Bools:
    """(H, W), the defective pixels of an upright image by its mask.

    Raises:
        ZddError: If the mask can't be read or has another shape than its image.
    """
    try:
        with open_image(one.mask) as mask:
            found = marks.marked(mask) if one.value is None else marks.indices(mask) > 0
            upright = _turned(found, marks.turn_like(mask, one.path))
        high, wide = read(one.path).values.shape[:2]
        if upright.shape == (high, wide):
            return upright
        return np.asarray(Image.fromarray(upright).resize((wide, high), Image.Resampling.NEAREST))
    except ZddError as error:
        raise ZddError(f"{one.mask}: {error}") from None
    except Exception as error:  # as above
        raise ZddError(f"{one.mask}: {reason(error)}") from None


def save(picture: Picture, path: Path) -> None:
    """Write a picture as its camera would: the same depth, and of a JPEG the same compression."""
    pixels = np.rint(np.clip(picture.values, 0, 1) * picture.white)
    pixels = pixels.astype(np.uint16 if picture.white == DEEP else np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path, **(picture.jpeg or {}))


def save_mask(mask: Bools, path: Path) -> None:
    """Write a mask: 255 where it is marked."""
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(path)


def thumbnail(path: Path, side: int) -> Image.Image:
    """A small RGB picture of a file, at most `side` pixels high and wide."""
    with open_image(path) as image:
        return ImageOps.contain(to_rgb(image, _PAPER), (side, side))


@lru_cache(maxsize=24)  # the same few are asked for again and again; as they are stored, since that takes least room
def _read(path: str) -> tuple[NDArray[Any], dict[str, Any] | None]:
    """(H, W, C) uint8 or uint16, and how the file was compressed."""
    try:
        with open_image(path) as image:
            jpeg, turn = _compression(image), turn_of(image)
            if image.mode.startswith("I"):
                pixels = np.clip(np.asarray(image).astype(np.int64), 0, DEEP).astype(np.uint16)
            else:
                plain = image if image.mode == "L" and not image.has_transparency_data else to_rgb(image, _PAPER)
                pixels = np.asarray(plain)
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise ZddError(f"{path}: {reason(error)}") from None
    return _turned(pixels if pixels.ndim == 3 else pixels[..., None], turn), jpeg


def _compression(image: Image.Image) -> dict[str, Any] | None:
    if image.format not in ("JPEG", "MPO"):
        return None
    found: dict[str, Any] = {"qtables": image.quantization}  # type: ignore[attr-defined]  # a JPEG has them
    sampling = JpegImagePlugin.get_sampling(image)
    if image.mode == "RGB" and sampling >= 0:
        found["subsampling"] = sampling
    return found


def _turned(values: NDArray[Any], turn: Image.Transpose | None) -> NDArray[Any]:
    """(H, W, ...) turned as Pillow would turn it."""
    match turn:
        case None:
            return values
        case Image.Transpose.FLIP_LEFT_RIGHT:
            return values[:, ::-1].copy()
        case Image.Transpose.FLIP_TOP_BOTTOM:
            return values[::-1].copy()
        case Image.Transpose.TRANSPOSE:
            return np.swapaxes(values, 0, 1).copy()
        case Image.Transpose.TRANSVERSE:
            return np.swapaxes(values[::-1, ::-1], 0, 1).copy()
    quarters = {Image.Transpose.ROTATE_90: 1, Image.Transpose.ROTATE_180: 2, Image.Transpose.ROTATE_270: 3}
    return np.rot90(values, quarters[turn]).copy()

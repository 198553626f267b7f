"""Opening image files of any kind with Pillow: what is safe, which way is up, and 8-bit colours."""

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = (  # turns that swap width and height
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


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
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a format that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error).split("\n")[0].strip() or type(error).__name__
    return f"not readable as an image: {text}"


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright by its EXIF data, or None where it is."""
    return _TURNS.get(image.getexif().get(_ORIENTATION, 1))


def draft(image: Image.Image, mode: str, size: tuple[int, int]) -> tuple[float, float]:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 of its size, as long as `size` is left of it; no other format changes.

    Returns:
        Width and height of the original in decoded pixels: up to one less than was decoded, since that is rounded up.
    """
    width, height = image.size
    image.draft(mode, size)
    scale = max(1, round(width / image.width))
    return min(image.width, width / scale), min(image.height, height / scale)


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Any mode of Pillow's to 8-bit RGB.

    16-bit grey (and Pillow's 32-bit integers, as which it opens some 16-bit files) is divided by 257, so that 65535
    becomes 255. Floats are taken as 0 to 1 if none is above 1, else as 0 to 255. Transparency shows `background`.
    """
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

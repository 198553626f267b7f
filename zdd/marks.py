"""What a mask file says of each pixel, and how that is made smaller without losing a defect; Pillow and numpy alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from zdd.errors import ZddError
from zdd.pixels import LYING, open_image, turn_of
from zdd.records import UNKNOWN

ANY = -1  # among pixel values: whatever has no class of its own is of this one
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")  # there, dark pixels may be noise
HALF = 0.5  # of a pixel, or of what is covered of the best covered beside it
_TOUCHED = 1e-6  # less is the rounding of a sum

Values = NDArray[np.int64]
Classes = NDArray[np.uint8]


def marked(mask: Image.Image) -> NDArray[np.bool_]:
    """(h, w), which pixels a binary mask marks, as stored.

    What is not black; where a mask without colours has pixels at least half as bright as white, those alone, for then
    the darker ones are an edge that was drawn smooth. Of a lossy format always those alone.
    """
    bright, white, coloured = _brightness(mask)
    if mask.format not in LOSSY and (coloured or bright.max(initial=0) < white / 2):
        return np.asarray(bright > 0)
    return np.asarray(bright >= white / 2)


def indices(mask: Image.Image) -> Values:
    """(h, w), the pixel values of an index mask, as stored: of a palette the number, not the colour.

    Raises:
        ZddError: If it has colours.
    """
    if mask.mode in ("PA", "LA"):
        mask = mask.getchannel(0)
    pixels = np.asarray(mask if mask.mode in ("1", "L", "P") or mask.mode[0] in "IF" else mask.convert("RGB"))
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise ZddError("has colours; a mask of class numbers has one channel, or a palette")
        pixels = pixels[..., 0]
    return np.rint(pixels).astype(np.int64) if pixels.dtype.kind == "f" else pixels.astype(np.int64)


def read(mask: Image.Image, values: Sequence[int] | None) -> Classes:
    """(h, w), the class of each pixel as stored.

    Args:
        mask: An opened mask.
        values: Of index masks: the pixel value of class 0, 1, ..., where `ANY` stands for all that have none; None: 1
            is what is `marked`.

    Returns:
        Classes; UNKNOWN throughout where a pixel is of no class.
    """
    if values is None:
        return marked(mask).astype(np.uint8)
    found = indices(mask)
    classes = np.full(found.shape, values.index(ANY) if ANY in values else UNKNOWN, np.uint8)
    for number, value in [(0, 0), *enumerate(values)]:
        classes[found == value] = number
    return np.full_like(classes, UNKNOWN) if (classes == UNKNOWN).any() else classes


def turn_like(mask: Image.Image, image: str | Path | None) -> Image.Transpose | None:
    """What makes a mask lie as its upright image lies: its own EXIF data, or the image's where it was drawn on that
    image as stored.

    Raises:
        ZddError: If the mask has another shape than the image, both ways.
    """
    own = turn_of(mask) if mask.format != "PNG" or "exif" in mask.info else None
    if image is None:
        return own
    with open_image(image) as opened:
        # Of a PNG, asking for EXIF data that is not there decodes the whole image.
        turn = turn_of(opened) if opened.format != "PNG" or "exif" in opened.info else None
        stored = opened.size
    upright = (stored[1], stored[0]) if turn in LYING else stored
    size = (mask.height, mask.width) if own in LYING else mask.size
    if alike(size, upright):
        return own
    if own is None and turn in LYING and alike(size, stored):
        return turn
    raise ZddError(unlike(size, upright))


def alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have one shape, but for rounding."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(other)


def unlike(mask: tuple[int, int], image: tuple[int, int]) -> str:
    """What to say of a mask that does not fit on its image."""
    return f"has {mask[0]} x {mask[1]} pixels and its image {image[0]} x {image[1]}: it must have the same shape"


def fit(classes: Classes, place: Callable[[Image.Image], Image.Image]) -> Classes:
    """Bring classes to the size of the input; see `settle` for the rule.

    Args:
        classes: (h, w).
        place: Puts an image of mode F where it lies in the input, averaging over areas, with 0 around it.
    """
    kinds = [int(kind) for kind in np.flatnonzero(np.bincount(classes.ravel(), minlength=1)) if kind]
    covers = [np.asarray(place(Image.fromarray((classes == kind).astype(np.float32)))) for kind in kinds]
    if not kinds:
        return np.zeros_like(np.asarray(place(Image.new("F", (classes.shape[1], classes.shape[0])))), np.uint8)
    return settle(kinds, np.stack(covers))


def settle(kinds: Sequence[int], covers: NDArray[np.float32]) -> Classes:
    """The class of each pixel by the share of it that each kind of defect covers.

    At least half covered by defects, it is of the kind that covers most of it: that keeps the area of what is large and
    would lose what is thin. So a pixel that would be good is of a kind that covers it at least half as much as the best
    covered of its eight neighbours: outside the edge of something large no pixel is, along a scratch all are. And where
    a kind has still no pixel beside its traces, they win over what lies around them. Every spot of a kind so keeps a
    pixel (unless others are as small in the same place), and what is thinner than a pixel grows to one or two.

    Args:
        kinds: (K,) class numbers.
        covers: (K, H, W) in [0, 1].

    Returns:
        (H, W) class numbers, 0 elsewhere.
    """
    numbers = np.array(kinds, np.uint8)
    crests = [(cover > _TOUCHED) & (cover >= HALF * _greatest(cover)) for cover in covers]
    half = np.where(covers.sum(0) >= HALF, numbers[covers.argmax(0)], np.uint8(0))
    settled = _lay(half, numbers, [crest & (half == 0) for crest in crests], covers)
    beside = [_greatest((settled == number).astype(np.float32)) > 0 for number in numbers]
    return _lay(settled, numbers, [crest & ~near for crest, near in zip(crests, beside, strict=True)], covers)


def _lay(under: Classes, numbers: Classes, places: Sequence[NDArray[np.bool_]], covers: NDArray[np.float32]) -> Classes:
    """Put kinds in their places; where several are, the one that covers most."""
    result, best = under.copy(), np.zeros(under.shape, np.float32)
    for number, place, cover in zip(numbers, places, covers, strict=True):
        wins = place & (cover > best)
        result[wins], best[wins] = number, cover[wins]
    return result


def _greatest(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each pixel and its eight neighbours."""
    return np.asarray(Image.fromarray(values).filter(ImageFilter.MaxFilter(3)))


def _brightness(mask: Image.Image) -> tuple[NDArray[Any], float, bool]:
    """(h, w) brightness as stored, that of white, and whether there are colours (a palette counts as such)."""
    if mask.mode == "1":
        return np.asarray(mask), 1, False
    if mask.mode == "L":
        return np.asarray(mask), 255, False
    if mask.mode[0] in "IF":
        pixels = np.asarray(mask)
        top = pixels.max(initial=0)
        return pixels, (1 if top <= 1 and mask.mode == "F" else 255 if top <= 255 else 65535), False
    layers = np.asarray(mask.convert("RGBA"))
    colours = layers[..., :3]
    coloured = mask.mode in ("P", "PA") or bool((colours != colours[..., :1]).any())
    return colours.max(2) * (layers[..., 3] / 255), 255, coloured

"""The class of each pixel of an image, from its mask file, or from its label where it has none."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zdd import marks
from zdd.data.found import Found
from zdd.data.look import Seen, side_by_side
from zdd.pixels import open_image, reason
from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Record

KEPT_BYTES = 256_000_000  # of packed masks that a process keeps


class Masks:
    """Masks with the geometry of the network's input, each read once a process and then kept packed.

    Args:
        preprocess: Of the images.
        values: The pixel value of each class in index masks (`zdd.marks.ANY`: every other); None: in masks what is
            marked is of the image's class.
    """

    def __init__(self, preprocess: Preprocess, values: Sequence[int] | None) -> None:
        self.preprocess = preprocess
        self.values = values
        self._packed: dict[str, bytes] = {}
        self._room = KEPT_BYTES

    def of(self, record: Record) -> NDArray[np.uint8]:
        """(H, W) uint8, the class of each pixel; 0 (good) wherever a good image, UNKNOWN wherever another, has none."""
        if not record.mask:
            return np.full(self.preprocess.size, 0 if record.label == 0 else UNKNOWN, np.uint8)
        mask = self._read(record)
        return mask if self.values is not None else mask * np.uint8(max(0, record.label))

    def _read(self, record: Record) -> NDArray[np.uint8]:
        kept = self._packed.get(record.mask)
        if kept is not None:
            unpacked = np.frombuffer(bytearray(zlib.decompress(kept)), np.uint8)
            return unpacked.reshape(self.preprocess.size)
        mask = self.preprocess.load_mask(record.mask, self.values, image=record.path)
        packed = zlib.compress(mask.tobytes(), 1)
        if len(packed) <= self._room:
            self._packed[record.mask] = packed
            self._room -= len(packed)
        return mask


def misfits(found: Sequence[Found], seen: Sequence[Seen]) -> list[str]:
    """Which masks are not there, are no images or have another shape than their image, a line each.

    The headers alone are read: 0.1 ms a mask.
    """
    masked = [(one, look) for one, look in zip(found, seen, strict=True) if one.mask]
    sizes = side_by_side(_size, [one.mask for one, _ in masked], "looking at the masks")
    lines = []
    for (one, look), size in zip(masked, sizes, strict=True):
        image = look.width, look.height
        if isinstance(size, str):
            lines.append(f"{one.mask}: {size} (of {one.path})")
        elif not (marks.alike(size, image) or marks.alike(size, image[::-1])):  # turned by EXIF data, one or the other
            lines.append(f"{one.mask}: {marks.unlike(size, image)}")
    return lines


def _size(path: str) -> tuple[int, int] | str:
    try:
        with open_image(path) as mask:
            return mask.size
    except FileNotFoundError:
        return "there is no such mask"
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        return reason(error)

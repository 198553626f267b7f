"""Synthetic images from real ones: the defect region, or the printed label, of one pasted into another.

The region is known by the image's mask, or found by a template. The picture that it is pasted into is a good one, or
one whose own region was removed. Of several pictures and places that one is taken that agrees best with what surrounded
the region.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from zdd.data.found import Found
from zdd.data.synthesis import template
from zdd.data.synthesis.blend import Fit, Piece, cut, fit, heal, paste
from zdd.data.synthesis.finish import finish
from zdd.data.synthesis.job import Job, Made, Style
from zdd.data.synthesis.picture import Bools, Floats, Picture, read, read_mask
from zdd.errors import ZddError

PLACES = 12  # tried in each picture
# Misfit from which on the region is rather moved in its own picture. Less gives cleaner pictures, which teach less, and
# so do pictures of its own class: docs/experiments.md, 1d.
POOR = 0.3
WIDER = 2  # pixels around a mask that go with it: masks are drawn tight
WHOLE = 0.8  # share of a picture from which on a region is no region of it


def make(job: Job, style: Style) -> Made:
    """Make one image; a good one without a label is a good one in another light.

    Raises:
        ZddError: If an image can't be read or the region fits into no picture.
    """
    rng = job.rng()
    picture = read(job.source.path)
    if job.is_good and style.template(job.class_name) is None:
        values, mask = finish(picture.values, np.zeros(picture.values.shape[:2], bool), rng, style)
        return Made(Picture(values, picture.white, picture.jpeg), mask, (job.source.path,))
    piece = _piece(job, style, rng)
    clean, at, fitted = _place(job, style, piece, rng)
    background = read(clean.path)
    hole = _region(clean, style, job.class_name)
    values = heal(background.values, hole, rng) if hole is not None else background.values
    if hole is not None:  # its new surroundings are known only now
        at = fit(values, fitted, at.row, at.column) or at
    pasted, mask = paste(values, fitted, at)
    pasted, mask = finish(pasted, mask, rng, style)
    known = mask if job.is_good or job.source.mask else None
    parents = tuple(dict.fromkeys((job.source.path, clean.path)))
    return Made(Picture(pasted, background.white, background.jpeg), known, parents)


def unusable(one: Found, style: Style, *, is_good: bool) -> str:
    """Why nothing can be cut out of an image; empty if it can.

    Raises:
        ZddError: If the image or its mask can't be read.
    """
    if is_good and style.template(one.class_name) is None:
        return ""
    if style.template(one.class_name) is None and not one.mask:
        return "has no mask"
    region = _region(one, style, one.class_name)
    if region is None:
        return "its mask marks nothing" if style.template(one.class_name) is None else "the template is not found in it"
    share = float(region.mean())
    return f"its region is {100 * share:.0f} % of it, so there is nothing to paste it into" if share > WHOLE else ""


def _region(one: Found, style: Style, class_name: str) -> Bools | None:
    """(H, W), what is to be cut out of an image, or removed from it; None: there is nothing."""
    path = style.template(class_name)
    if path is not None:
        return _labelled(one.path, str(path), style.match)
    mask = read_mask(one) if one.mask else np.zeros(1, bool)
    return np.asarray(ndimage.binary_dilation(mask, iterations=WIDER)) if mask.any() else None


@lru_cache(maxsize=512)  # the same few images are asked about again and again
def _box(path: str, pattern: str, match: float) -> template.Box | None:
    picture = read(path).channels(1)[..., 0]
    found = template.find(picture, _template(pattern))
    return found[0] if found and found[1] >= match else None


@lru_cache(maxsize=16)
def _template(path: str) -> Floats:
    return template.load(Path(path))


def _labelled(path: str, pattern: str, match: float) -> Bools | None:
    box = _box(path, pattern, match)
    if box is None:
        return None
    region = np.zeros(read(path).values.shape[:2], bool)
    region[box.window] = True
    return region


def _piece(job: Job, style: Style, rng: np.random.Generator) -> Piece:
    """The region of the source, turned."""
    source, region = job.source, _region(job.source, style, job.class_name)
    if region is None:
        raise ZddError(f"{source.path}: {unusable(source, style, is_good=job.is_good)}")
    mark = read_mask(source) if source.mask else np.zeros_like(region)
    piece = cut(read(source.path).values, region, mark & region)
    angle = float(rng.uniform(-style.turn, style.turn)) if rng.random() < 0.5 else 0.0
    if style.mirror and rng.random() < 0.5:
        piece = piece.mirrored()
    return piece.turned(angle)


def _place(job: Job, style: Style, piece: Piece, rng: np.random.Generator) -> tuple[Found, Fit, Piece]:
    """The picture and the place where the piece fits best, and the piece with that picture's scale and channels.

    Where it fits badly into all others, that is the picture that it comes from.
    """
    others = [one for clean in job.clean if clean is not job.source for one in _places(job, style, piece, clean, rng)]
    if not others or min(one[1].misfit for one in others) > POOR:
        others += _places(job, style, piece, job.source, rng)
    if not others:
        raise ZddError(f"{job.source.path}: its region fits into none of {', '.join(one.path for one in job.clean)}")
    return min(others, key=lambda one: one[1].misfit)


def _places(
    job: Job, style: Style, piece: Piece, clean: Found, rng: np.random.Generator
) -> list[tuple[Found, Fit, Piece]]:
    """Where the piece may lie in a picture: where the region lay in its own, or where that picture's label is."""
    home, picture = read(job.source.path).values.shape[:2], read(clean.path)
    high, wide, channels = picture.values.shape
    scale = ((high * wide) / (home[0] * home[1])) ** 0.5
    values = Picture(piece.values).channels(channels)
    sized = Piece(values, piece.shape, piece.valid, piece.mark).turned(0, scale if abs(scale - 1) > 0.02 else 1)
    row, column = _centre(job.source, style, job.class_name, home)
    middle = row * high / home[0], column * wide / home[1]
    if style.template(job.class_name) is not None:
        middle = _centre(clean, style, job.class_name, (high, wide))
    found = []
    for off in rng.uniform(-style.shift, style.shift, (PLACES, 2)):
        y, x = (round(m + o * max(high, wide) - s / 2) for m, o, s in zip(middle, off, sized.size, strict=True))
        if at := fit(picture.values, sized, y, x):
            found.append((clean, at, sized))
    return found


def _centre(one: Found, style: Style, class_name: str, size: tuple[int, int]) -> tuple[float, float]:
    """Where the region of an image lies, (row, column); the middle of the picture if it has none."""
    region = _region(one, style, class_name)
    if region is None:
        return size[0] / 2, size[1] / 2
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return (float(rows[0]) + float(rows[-1]) + 1) / 2, (float(columns[0]) + float(columns[-1]) + 1) / 2

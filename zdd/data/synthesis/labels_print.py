"""The printed label in its own plane: a sticker, the ink on it, and what went wrong in the printer."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Plane = NDArray[np.floating[Any]]
Fault = Literal["no_fail", "crooked_print", "half_printed", "not_fully_printed", "wrong_date"]
FAULTS: tuple[Fault, ...] = ("no_fail", "crooked_print", "half_printed", "not_fully_printed", "wrong_date")

MADE_IN = 2026  # every part is made in this year: a date of use before it is wrong
TOLERANCE_DEGREES = 1.5  # a print turned by no more than this on its sticker is good
CROOKED_DEGREES = (12.0, 22.0)
_STICKERS = (  # sticker, ink
    ((240, 240, 236), (28, 28, 32)),
    ((236, 228, 204), (44, 34, 30)),
    ((232, 198, 70), (30, 28, 24)),
    ((188, 192, 198), (22, 26, 40)),
    ((150, 190, 160), (20, 36, 26)),
    ((42, 44, 50), (226, 226, 222)),
    ((30, 58, 110), (232, 234, 240)),
    ((140, 34, 34), (238, 232, 226)),
)
_NAMES = ("OIL FILTER", "PUMP UNIT", "VALVE KIT", "FUEL FILTER", "GEAR SEAL", "BEARING", "COOLER", "SENSOR")


@dataclass(frozen=True)
class Label:
    """A label as it came out of the printer."""

    colour: Plane  # (H, W, 3) in [0, 1]
    fault: Plane  # (H, W) 1 in the faulty region
    date: str  # month.year of use, as printed


def fractal(rng: np.random.Generator, height: int, width: int, *, cell: float = 0.25, octaves: int = 4) -> Plane:
    """Smooth noise of several scales, (height, width), mean 0, standard deviation 1.

    Args:
        rng: Where the randomness comes from.
        height: Rows.
        width: Columns.
        cell: Largest blob as a share of the longer side.
        octaves: How many halvings of it are added, each half as strong.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(2.0, cell * max(height, width) / 2**octave)
        coarse = rng.standard_normal((int(height / step) + 3, int(width / step) + 3), dtype=np.float32)
        fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(fine) / 2**octave
    return np.asarray((total - total.mean()) / (total.std() + 1e-6))


def print_label(rng: np.random.Generator, fault: Fault, *, width: int, height: int) -> Label:
    """Print one label, (height, width) pixels, with the `fault`."""
    sticker, ink = _STICKERS[rng.integers(len(_STICKERS))]
    paper = np.array(sticker, np.float32) / 255 + 0.012 * fractal(rng, height, width, cell=0.1)[..., None]
    date = _date(rng, wrong=fault == "wrong_date")
    cover, dated = _text(rng, date, width, height)
    keep = _ink_left(rng, fault, height, width)
    angle = rng.uniform(-TOLERANCE_DEGREES, TOLERANCE_DEGREES)
    if fault == "crooked_print":
        angle = rng.choice((-1.0, 1.0)) * rng.uniform(*CROOKED_DEGREES)
    printed = _box(_print_box(width, height), width, height)
    shift = (int(rng.uniform(-0.02, 0.02) * width), int(rng.uniform(-0.02, 0.02) * height))
    region = {"no_fail": 0 * printed, "crooked_print": printed, "wrong_date": dated}.get(fault, printed * (keep < 0.5))
    alpha = _turn(np.asarray(cover, np.float32) / 255 * keep, angle, shift)[..., None]
    colour = paper * (1 - alpha) + np.array(ink, np.float32) / 255 * alpha
    return Label(np.clip(colour, 0, 1), (_turn(region, angle, shift) > 0.5).astype(np.float32), date)


def _date(rng: np.random.Generator, *, wrong: bool) -> str:
    year = rng.integers(2000, 2020) if wrong else rng.integers(MADE_IN, MADE_IN + 4)
    return f"{rng.integers(1, 13):02d}.{year % 100:02d}"


def _print_box(width: int, height: int) -> tuple[int, int, int, int]:
    return int(0.07 * width), int(0.10 * height), int(0.93 * width), int(0.90 * height)


def _box(box: tuple[int, int, int, int], width: int, height: int) -> Plane:
    region = np.zeros((height, width), np.float32)
    region[box[1] : box[3], box[0] : box[2]] = 1
    return region


def _text(rng: np.random.Generator, date: str, width: int, height: int) -> tuple[Image.Image, Plane]:
    """The ink as it should be, an "L" image, and the region of the date."""
    cover = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(cover)
    left, top, right, bottom = _print_box(width, height)
    tall = bottom - top
    line = [
        (left, int(top + first * tall), right, int(top + last * tall))
        for first, last in ((0.0, 0.18), (0.22, 0.72), (0.76, 1.0))
    ]
    _write(pen, _NAMES[rng.integers(len(_NAMES))], line[0])
    region = _box(_write(pen, date, line[1]), width, height)
    _code(rng, pen, line[2])
    if rng.random() < 0.4:
        pen.rectangle((left - 4, top - 4, right + 4, bottom + 4), outline=255, width=max(2, width // 120))
    return cover, region


def _write(pen: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Write `text` as large as it fits into `box`, at its left; give back where it stands."""
    left, top, right, bottom = box
    stroke = max(1, (bottom - top) // 24)  # bold
    size = float(2 * (bottom - top))
    for _ in range(2):  # the second time with the measured size, since hinting is not quite linear
        drawn = pen.textbbox((0, 0), text, font=ImageFont.load_default(size), stroke_width=stroke)
        size *= min((right - left) / (drawn[2] - drawn[0]), (bottom - top) / (drawn[3] - drawn[1]))
    font = ImageFont.load_default(size)
    drawn = pen.textbbox((0, 0), text, font=font, stroke_width=stroke)
    at = (left - drawn[0], top - drawn[1] + (bottom - top - drawn[3] + drawn[1]) / 2)
    pen.text(at, text, fill=255, font=font, stroke_width=stroke)
    end = pen.textbbox(at, text, font=font, stroke_width=stroke)
    return int(end[0]), int(end[1]), int(end[2]) + 1, int(end[3]) + 1


def _code(rng: np.random.Generator, pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """A bar code with the lot number beside it."""
    left, top, right, bottom = box
    unit = (right - left) / 100
    split = left + 52 * unit
    x = float(left)
    while x < split - 4 * unit:
        bar = unit * rng.integers(1, 4)
        pen.rectangle((x, top, max(x, x + bar - 1), bottom), fill=255)
        x += bar + unit * rng.integers(1, 3)
    _write(pen, f"L{rng.integers(100, 1000)}", (int(split + 4 * unit), top, right, bottom))


def _ink_left(rng: np.random.Generator, fault: Fault, height: int, width: int) -> Plane:
    """How much of the ink reached the sticker, (height, width) in [0, 1]."""
    keep = 0.92 + 0.05 * fractal(rng, height, width, cell=0.08)
    if fault == "half_printed":
        across = np.linspace(0, 1, width, dtype=np.float32)
        edge = rng.uniform(0.4, 0.6) + 0.01 * fractal(rng, height, width, cell=0.1)
        gone = across > edge if rng.random() < 0.5 else across < edge
        keep = keep * np.where(gone, 0.03, 1)
    elif fault == "not_fully_printed":
        keep = keep * (_dead_nozzles(rng, height, width) if rng.random() < 0.5 else _dry_patches(rng, height, width))
    return np.asarray(np.clip(keep, 0, 1))


def _dead_nozzles(rng: np.random.Generator, height: int, width: int) -> Plane:
    """Rows of the print head that gave no ink: two or three bands that cross the print."""
    keep = np.ones((height, width), np.float32)
    count = int(rng.integers(2, 4))
    for place in (np.arange(count) + rng.uniform(0.25, 0.75, count)) / count:
        half = rng.uniform(0.06, 0.085)
        middle = 0.1 + 0.8 * place
        keep[int((middle - half) * height) : int((middle + half) * height)] = rng.uniform(0.0, 0.12)
    return keep


def _dry_patches(rng: np.random.Generator, height: int, width: int) -> Plane:
    """Blobs without ink over three to five tenths of the print."""
    noise = fractal(rng, height, width, cell=0.3, octaves=3)
    level = np.quantile(noise, rng.uniform(0.3, 0.5))
    return np.clip((noise - level) / 0.1, 0.04, 1).astype(np.float32)


def _turn(values: Plane, angle: float, shift: tuple[int, int]) -> Plane:
    """Turn (H, W) about its middle by `angle` degrees and move it by `shift` (x, y) pixels; 0 comes in."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.rotate(angle, Image.Resampling.BILINEAR, translate=shift), np.float32)

"""A contact sheet of synthetic images, so that a person can see whether they are any good."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from zdd.data.synthesis.picture import thumbnail

SIDE, GAP, LINE = 160, 6, 22  # of a picture, between pictures, of text; pixels
ACROSS = 8
PAPER, INK, EDGE = (255, 255, 255), (40, 40, 40), (255, 40, 40)


def draw(rows: Sequence[tuple[str, Sequence[tuple[Path, Path | None]]]]) -> Image.Image:
    """Draw a sheet.

    Args:
        rows: For each line its title and its images, each with its mask, whose edge is drawn beneath it.
    """
    high = LINE + 2 * (SIDE + GAP)
    sheet = Image.new("RGB", (GAP + ACROSS * (SIDE + GAP), len(rows) * high + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (title, images) in enumerate(rows):
        top = number * high
        pen.text((GAP, top + 3), title, fill=INK, font=ImageFont.load_default(15))
        for at, (image, mask) in enumerate(images[:ACROSS]):
            small = thumbnail(image, SIDE)
            left = GAP + at * (SIDE + GAP)
            sheet.paste(small, (left, top + LINE))
            sheet.paste(outlined(small, mask), (left, top + LINE + SIDE + GAP))
    return sheet


def outlined(picture: Image.Image, mask: Path | None) -> Image.Image:
    """A picture with the edge of its mask drawn on it."""
    if mask is None:
        return picture
    with Image.open(mask) as opened:
        small = np.asarray(opened.convert("L").resize(picture.size, Image.Resampling.BOX)) >= 64
    pixels = np.array(picture)
    pixels[ndimage.binary_dilation(small, iterations=2) & ~ndimage.binary_dilation(small)] = EDGE
    return Image.fromarray(pixels)

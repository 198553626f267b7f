"""Pictures of the images that were judged wrongly: what is true, what was said, and how sure the model was."""

import base64
import io
import re
import shutil
from functools import cache
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont, ImageOps

from zdd.pixels import open_image, to_rgb
from zdd.report.tested import Tested
from zdd.report.words import certainty

SIDE = 640  # longest side of an annotated picture, pixels
BARS = {"missed defect": "#B3420A", "false alarm": "#1B5E94", "wrong kind": "#5B4B8A"}
TEXT = "#FFFFFF"


def kind_of(tested: Tested, row: int) -> str:
    """`missed defect`, `false alarm`, or `wrong kind` (a defect taken for another, or no good class)."""
    if not tested.task.has_good:
        return "wrong kind"
    if tested.predicted[row] == 0:
        return "missed defect"
    return "false alarm" if tested.columns.label[row] == 0 else "wrong kind"


def write_mistakes(folder: Path, tested: Tested) -> dict[int, Path]:
    """Write one annotated picture for each mistake, numbered by confidence, in place of those of an earlier test.

    Returns:
        Row of each mistake -> its picture.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pictures: dict[int, Path] = {}
    for number, row in enumerate(tested.mistakes, start=1):
        stem = plain(Path(tested.records[row].path).stem)
        true, given = (tested.task.classes[k] for k in (tested.columns.label[row], tested.predicted[row]))
        name = f"{number:04d}_{plain(true)}_as_{plain(given)}_{tested.confidence[row]:.3f}_{stem}.png"
        pictures[row] = folder / name
        annotate(tested, row).save(pictures[row])
    return pictures


def upright(path: str) -> Image.Image:
    """An image of any kind as 8-bit RGB, turned as its EXIF says."""
    with open_image(path) as opened:
        return to_rgb(ImageOps.exif_transpose(opened), (255, 255, 255))


def annotate(tested: Tested, row: int) -> Image.Image:
    """The original image, upright and scaled to a readable size, below a bar that says what went wrong."""
    image = upright(tested.records[row].path)
    scale = SIDE / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    lines = describe(tested, row)
    width, line_height, pad = max(image.width, SIDE // 2), 26, 12
    bar = pad * 2 + line_height * len(lines)
    canvas = Image.new("RGB", (width, bar + image.height), "#F2F2F2")
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, width, bar), fill=BARS[kind_of(tested, row)])
    for i, line in enumerate(lines):
        write_line(draw, (pad, pad + i * line_height), line, width - 2 * pad, size=22 if i == 0 else 19)
    canvas.paste(image, ((width - image.width) // 2, bar))
    return canvas


def describe(tested: Tested, row: int) -> list[str]:
    """The kind of mistake, true and predicted class with the probability, the score, and how certain the model was."""
    classes, columns = tested.task.classes, tested.columns
    true, given = classes[columns.label[row]], classes[tested.predicted[row]]
    lines = [kind_of(tested, row), f"true: {true}   predicted: {given}"]
    if columns.probability is not None:
        p = columns.probability[row]
        lines[1] += f" (probability {p[tested.predicted[row]]:.3f}, of the true class {p[columns.label[row]]:.3f})"
    if tested.threshold is not None:
        side = "below" if columns.score[row] < tested.threshold.value else "not below"
        lines.append(f"score {columns.score[row]:.4g}, {side} the threshold {tested.threshold.value:.4g}")
    if columns.uncertainty is not None:
        lines.append(f"certainty {certainty(float(columns.uncertainty[row]))}")
    return lines


def embed(path: str, side: int = 420, high: int | None = None) -> str:
    """A JPEG of an image, at most `side` wide and `high` (or `side`), as a data URI: a page needs no other file."""
    small = upright(path)
    small.thumbnail((side, high or side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def write_line(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, width: int, *, size: int, fill: str = TEXT
) -> None:
    """Write a line in the largest size up to `size` that fits into `width` pixels."""
    while size > 11 and draw.textlength(text, font=font(size)) > width:
        size -= 1
    draw.text(at, text, font=font(size), fill=fill)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: Pillow's own font has no umlauts and no accents."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def plain(text: str) -> str:
    """Text as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text)[:60]

"""Contact sheets: many images by one explainer, or a few by several explainers or by the runs of a group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zdd.preprocess import Preprocess
from zdd.report.attribution import DOUBTED, OPEN, colour_of, seen, target
from zdd.report.heat import Bytes, Span
from zdd.report.panels import GAP, INK, LINE, PAPER, bar_height, heading, opened, ruler
from zdd.report.pictures import write_line

SIDE, WIDE = 224, 1600  # of a small picture; of a whole sheet, pixels
COLUMNS = 3  # pairs of original and overlay beside each other
MOST, FEW = 24, 8  # images on a contact sheet; in a comparison
STRIP = 6  # height of an image's coloured strip


@dataclass(frozen=True)
class Shown:
    """What one explainer said of a run's images.

    Args:
        about: Its about.json.
        rows: The lines of its explained.jsonl.
        values: Number of a row -> (H, W) of the network's input.
        truth: Number of a row -> (H, W) true classes of the input, or None.
    """

    about: dict[str, Any]
    rows: Sequence[dict[str, Any]]
    values: Callable[[int], NDArray[np.float32]]
    truth: Callable[[int], Bytes | None] = lambda _: None

    @property
    def span(self) -> Span:
        """Its colours."""
        return Span(self.about["scale"], signed=self.about["signed"])

    @property
    def doubt(self) -> str:
        """Why it is not to be believed; empty: nothing is known against it."""
        return "UNRELIABLE" if self.about["unreliable"] else ""

    def find(self, path: str) -> int | None:
        """The row of an image."""
        return next((at for at, row in enumerate(self.rows) if row["image"] == path), None)


def chosen(rows: Sequence[dict[str, Any]], most: int) -> list[int]:
    """At most `most` rows to show: mistakes first, up to half, then others, evenly from first to last."""
    wrong = [at for at, row in enumerate(rows) if row["true"] is not None and row["true"] != row["predicted"]]
    wrong = wrong[: most // 2] if len(rows) > most else wrong
    others = [at for at in range(len(rows)) if at not in set(wrong)]
    spread = np.linspace(0, len(others) - 1, min(most - len(wrong), len(others))).round().astype(int)
    return [*wrong, *(others[at] for at in spread)]


def sheet(shown: Shown, preprocess: Preprocess, *, most: int = MOST) -> Image.Image:
    """Images explained by one explainer, each with its original beside it, on one scale.

    Raises:
        ValueError: If there is no image.
        OSError: If one can't be read.
    """
    rows = chosen(shown.rows, most)
    cells = [_cell(shown.rows[row], _pictures([shown], [row], preprocess, SIDE), SIDE) for row in rows]
    if not cells:
        raise ValueError("a contact sheet of no images")
    lines = [*_head(shown, len(rows)), *([f"{shown.doubt} for this network: don't believe it"] if shown.doubt else [])]
    across, width, height = min(COLUMNS, len(cells)), cells[0].width + GAP, cells[0].height + GAP
    top, bottom = bar_height(lines), 2 * LINE + GAP
    size = (across * width + GAP, top + GAP + -(-len(cells) // across) * height + bottom)
    canvas = Image.new("RGB", size, PAPER)
    heading(canvas, lines, DOUBTED if shown.doubt else OPEN)
    for i, cell in enumerate(cells):
        canvas.paste(cell, (GAP + i % across * width, top + GAP + i // across * height))
    ruler(canvas, shown.span, (GAP, size[1] - bottom), min(2 * SIDE, size[0] - 2 * GAP))
    return canvas


def beside(title: str, shown: dict[str, Shown], preprocess: Preprocess, *, most: int = FEW) -> Image.Image:
    """The same images by several explainers, or by one explainer in several runs: a line an image, each on its scale.

    Args:
        title: Of the whole.
        shown: By the name of its column.
        preprocess: What brings the originals to the network.
        most: Images; those that are in every column.

    Raises:
        ValueError: If no image is in every column.
        OSError: If one can't be read.
    """
    columns, first = list(shown.values()), next(iter(shown.values()))
    common = [row for row in first.rows if all(each.find(row["image"]) is not None for each in columns)]
    if not common:
        raise ValueError("no image was explained by all")
    side = max(96, min(SIDE, WIDE // (len(columns) + 1) - GAP))
    cells = []
    for row in (common[at] for at in chosen(common, most)):
        numbers = [each.find(row["image"]) for each in columns]
        cells.append(_cell(row, _pictures(columns, [n for n in numbers if n is not None], preprocess, side), side))
    top, height = bar_height([title]), cells[0].height + GAP
    notes = LINE if any(each.doubt for each in columns) else 0
    start = top + LINE + notes + GAP
    canvas = Image.new("RGB", (cells[0].width + 2 * GAP, start + len(cells) * height), PAPER)
    heading(canvas, [title], OPEN)
    _titles(canvas, {"image": "", **{name: each.doubt for name, each in shown.items()}}, top, side)
    for i, cell in enumerate(cells):
        canvas.paste(cell, (GAP, start + i * height))
    return canvas


def _head(shown: Shown, n: int) -> list[str]:
    targets = sorted({row["target"] for row in shown.rows})
    of = f"of {target(targets[0])}" if len(targets) == 1 else "of each image's class"
    what = "red speaks for, blue against" if shown.about["signed"] else "the brighter, the more it matters"
    of_all = f" of {len(shown.rows)}" if n < len(shown.rows) else ""
    return [f"{shown.about['variant']}: evidence {of}", f"{n}{of_all} images; {what}; one scale"]


def _titles(canvas: Image.Image, columns: dict[str, str], top: int, side: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for k, (text, note) in enumerate(columns.items()):
        x = GAP + k * (side + GAP)
        write_line(draw, (x, top + GAP // 2), text, side, size=16, fill=INK)
        write_line(draw, (x, top + GAP // 2 + LINE), note, side, size=15, fill=DOUBTED)


def _pictures(columns: Sequence[Shown], rows: Sequence[int], preprocess: Preprocess, side: int) -> list[Bytes]:
    """The original and an overlay for each column, at most `side` long."""
    picture, frame = opened(columns[0].rows[rows[0]]["image"], preprocess, (side, side))
    each = zip(columns, rows, strict=True)
    return [picture, *(seen(picture, frame, one.values(row), one.span, one.truth(row)) for one, row in each)]


def _cell(row: dict[str, Any], pictures: Sequence[Bytes], side: int) -> Image.Image:
    """One image: a strip of colour, its pictures beside each other, and a line of text."""
    width, high = len(pictures) * (side + GAP) - GAP, pictures[0].shape[0]
    cell = Image.new("RGB", (width, STRIP + side + LINE), PAPER)
    draw = ImageDraw.Draw(cell)
    draw.rectangle((0, 0, width, STRIP - 1), fill=colour_of(row))
    for k, picture in enumerate(pictures):
        x = k * (side + GAP) + (side - picture.shape[1]) // 2
        cell.paste(Image.fromarray(picture), (x, STRIP + (side - high) // 2))
    write_line(draw, (0, STRIP + side + 2), _caption(row), width, size=15, fill=INK)
    return cell


def _caption(row: dict[str, Any]) -> str:
    name = Path(row["image"]).name
    if row["true"] is None:
        return f"judged {row['predicted']}   {name}"
    judged = row["true"] if row["true"] == row["predicted"] else f"{row['true']}, judged {row['predicted']}"
    return f"{judged}   {name}"

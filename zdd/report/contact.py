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
from zdd.report.panels import GAP, INK, LINE, PAPER, SMALLEST, bar_height, heading, opened, ruler
from zdd.report.pictures import write_line

SIDE, WIDE = 224, 1660  # longest side of a small picture; of a sheet, pixels
MOST, FEW = 24, 8  # images on a contact sheet; in a comparison
STRIP = 6  # height of an image's coloured strip
UNRELIABLE = "UNRELIABLE"


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
        return UNRELIABLE if self.about["unreliable"] else ""

    def find(self, row: dict[str, Any]) -> int | None:
        """Number of the row of the same image."""
        return next((at for at, own in enumerate(self.rows) if own["image"] == row["image"]), None)


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
    rows = [shown.rows[at] for at in chosen(shown.rows, most)]
    lines = [*_head(shown, rows), *([f"{shown.doubt} for this network: don't believe it"] if shown.doubt else [])]
    cells = _cells(rows, [_pictures({"": shown}, row, preprocess) for row in rows], [])
    canvas, end = _laid(cells, lines, DOUBTED if shown.doubt else OPEN, below=2 * LINE + GAP)
    ruler(canvas, shown.span, (GAP, end), min(2 * SIDE, canvas.width - 2 * GAP))
    return canvas


def beside(title: str, shown: dict[str, Shown], preprocess: Preprocess, *, most: int = FEW) -> Image.Image:
    """The same images by several explainers, or by one explainer in several runs; each of them on its own one scale.

    Args:
        title: Of the whole.
        shown: By the name of an explainer or a run.
        preprocess: What brings the originals to the network.
        most: Images; those that all have.

    Raises:
        ValueError: If there is no image that all have.
        OSError: If one can't be read.
    """
    first, *others = shown.values()
    common = [row for row in first.rows if all(each.find(row) is not None for each in others)]
    rows = [common[at] for at in chosen(common, most)]
    titles = ["image", *(f"{name} {each.doubt}".rstrip() for name, each in shown.items())]
    cells = _cells([_joint(row, shown) for row in rows], [_pictures(shown, row, preprocess) for row in rows], titles)
    return _laid(cells, [title, _marks(first, rows)], OPEN)[0]


def _head(shown: Shown, rows: Sequence[dict[str, Any]]) -> list[str]:
    targets = sorted({row["target"] for row in shown.rows})
    of = f"of {target(targets[0])}" if len(targets) == 1 else "of each image's class"
    what = "red speaks for it, blue against it" if shown.about["signed"] else "the brighter, the more it matters"
    n = f"{len(rows)} of {len(shown.rows)}" if len(rows) < len(shown.rows) else str(len(rows))
    return [f"{shown.about['variant']}: evidence {of}", f"{n} images; {what}; one scale. {_marks(shown, rows)}"]


def _marks(shown: Shown, rows: Sequence[dict[str, Any]]) -> str:
    """What strips and lines mean."""
    strip = "" if all(row["true"] is None for row in rows) else "Strip: green judged rightly, orange wrongly. "
    known = any(shown.truth(n) is not None for row in rows if (n := shown.find(row)) is not None)
    return f"{strip}{'Green line: the true defect.' if known else ''}".rstrip()


def _laid(cells: Sequence[Image.Image], lines: Sequence[str], colour: str, below: int = 0) -> tuple[Image.Image, int]:
    """Cells of one size in rows below a bar with text, and where the free space below them starts."""
    if not cells:
        raise ValueError("a contact sheet of no images")
    width, height = cells[0].width + GAP, cells[0].height + GAP
    across, top = min(max(1, WIDE // width), len(cells)), bar_height(lines) + GAP
    end = top + -(-len(cells) // across) * height
    canvas = Image.new("RGB", (max(across * width + GAP, 2 * SMALLEST), end + below), PAPER)
    heading(canvas, lines, colour)
    for i, cell in enumerate(cells):
        canvas.paste(cell, (GAP + i % across * width, top + i // across * height))
    return canvas, end


def _pictures(shown: dict[str, Shown], row: dict[str, Any], preprocess: Preprocess) -> list[Bytes]:
    """The original and an overlay by each."""
    picture, frame = opened(row["image"], preprocess, (SIDE, SIDE))
    there = [(each, each.find(row)) for each in shown.values()]
    return [picture, *(seen(picture, frame, e.values(n), e.span, e.truth(n)) for e, n in there if n is not None)]


def _cells(
    rows: Sequence[dict[str, Any]], pictures: Sequence[Sequence[Bytes]], titles: Sequence[str]
) -> list[Image.Image]:
    """A cell an image, all of the size that the largest pictures need."""
    if not rows:
        return []
    high, wide = np.array([each.shape[:2] for some in pictures for each in some]).max(0).tolist()
    return [
        _cell(row, some, titles, (high, max(wide, SMALLEST // 2))) for row, some in zip(rows, pictures, strict=True)
    ]


def _cell(row: dict[str, Any], pictures: Sequence[Bytes], titles: Sequence[str], size: tuple[int, int]) -> Image.Image:
    """One image: a strip of colour and a line of text, then its pictures with their titles, in rows."""
    high, wide = size
    lines = -(-len(pictures) // max(1, WIDE // (wide + GAP)))
    across, named = -(-len(pictures) // lines), LINE if titles else 0  # rows of nearly the same length
    width, height = across * (wide + GAP) - GAP, high + named + GAP // 2
    cell = Image.new("RGB", (width, STRIP + LINE + lines * height), PAPER)
    draw = ImageDraw.Draw(cell)
    draw.rectangle((0, 0, width, STRIP - 1), fill=colour_of(row))
    write_line(draw, (0, STRIP), _caption(row), width, size=15, fill=INK)
    for k, picture in enumerate(pictures):
        x, y = k % across * (wide + GAP), STRIP + LINE + k // across * height
        if titles:
            write_line(draw, (x, y), titles[k], wide, size=15, fill=DOUBTED if UNRELIABLE in titles[k] else INK)
        h, w = picture.shape[:2]
        cell.paste(Image.fromarray(picture), (x + (wide - w) // 2, y + named + (high - h) // 2))
    return cell


def _joint(row: dict[str, Any], shown: dict[str, Shown]) -> dict[str, Any]:
    """The row as all of them have it: where they judged differently, what was judged wrongly, and by which."""
    there = {name: each.find(row) for name, each in shown.items()}
    said = {name: shown[name].rows[at]["predicted"] for name, at in there.items() if at is not None}
    if len(set(said.values())) < 2:
        return row
    return row | {"predicted": ", ".join(f"{given} by {name}" for name, given in said.items() if given != row["true"])}


def _caption(row: dict[str, Any]) -> str:
    name = Path(row["image"]).name
    if row["true"] is None:
        return f"judged {row['predicted']}   {name}"
    judged = row["true"] if row["true"] == row["predicted"] else f"{row['true']}, judged {row['predicted']}"
    return f"{judged}   {name}"

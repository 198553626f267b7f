"""The review: of chosen test images one picture each of what the method saw where, on one scale for all."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zdd.preprocess import Preprocess
from zdd.records import Batch, Prediction
from zdd.report.heat import Span
from zdd.report.panels import Sight, View
from zdd.report.pictures import BARS, kind_of, plain
from zdd.report.tested import Tested
from zdd.report.words import certainty

MOST, GOOD = 24, 4  # pictures, and good parts that passed among them
RIGHT = {"caught defect": "#0A6B50", "passed good part": "#4A5A68"}  # colours of their bars

Keep = Callable[[int, Image.Image], None]


def select(tested: Tested, *, most: int = MOST) -> list[int]:
    """Rows of at most `most` images to show.

    First the mistakes, the most confident first, up to half; then defects that were caught, half of them by the least
    overlap of what was found and what is true, where that is known, the others by the highest score; then good parts
    that passed, from the one nearest to the threshold to the one farthest from it.
    """
    score, passed = tested.columns.score, tested.predicted == 0
    right = tested.predicted == tested.columns.label
    mistakes = tested.mistakes[: most // 2]
    fine = sorted(np.flatnonzero(right & passed).tolist(), key=lambda row: (-score[row], row))
    spread = np.linspace(0, len(fine) - 1, min(GOOD, most // 4, len(fine))).round()
    good = [fine[int(at)] for at in spread]
    caught = sorted(np.flatnonzero(right & ~passed).tolist(), key=lambda row: (-score[row], row))
    room = most - len(mistakes) - len(good)
    overlap = {row: facts.get("iou") for row, facts in enumerate(tested.tally.rows() if tested.tally else [])}
    known = [row for row in caught if overlap.get(row) is not None]
    least = sorted(known, key=lambda row: (overlap[row], row))[: room // 2]
    caught = [*least, *(row for row in caught if row not in least)]
    return [*mistakes, *caught[:room], *good]


class Painter:
    """Watches an evaluation of chosen images, and draws each.

    Args:
        tested: What was found, of all images.
        rows: Which of them come, in the loader's order.
        preprocess: Of the images.
        keep: What is done with the picture of a row.
    """

    def __init__(self, tested: Tested, rows: Sequence[int], preprocess: Preprocess, keep: Keep) -> None:
        self.tested, self.rows, self.keep = tested, rows, keep
        pixel = tested.threshold.pixel if tested.threshold else None
        self.view = View(preprocess, tested.task.classes, Span.of(pixel, tested.columns.peak))
        self.facts = tested.tally.rows() if tested.tally else [{}] * len(tested.records)

    def __call__(self, batch: Batch, prediction: Prediction) -> None:
        """Draw a batch; on the CPU."""
        for at, index in enumerate(batch["index"].tolist()):
            row = self.rows[index]
            sight = Sight.of(batch, prediction, at, self.view.preprocess)
            lines, colour = describe(self.tested, row, self.facts[row]), colour_of(self.tested, row)
            self.keep(row, self.view.draw(self.tested.records[row].path, sight, lines, colour))


def folder(path: Path, tested: Tested, rows: Sequence[int]) -> tuple[dict[int, Path], Keep]:
    """An empty folder for the pictures of these rows, in place of an earlier one.

    Returns:
        Row -> its file, and what saves a picture there.
    """
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    files = {row: path / name(tested, row, number) for number, row in enumerate(rows, start=1)}

    def keep(row: int, image: Image.Image) -> None:
        image.save(files[row])

    return files, keep


def name(tested: Tested, row: int, number: int) -> str:
    """0001_<verdict>_<truth>_<file>.png"""
    given, stem = tested.task.classes[tested.predicted[row]], Path(tested.records[row].path).stem
    return f"{number:04d}_{plain(given)}_{plain(truth_of(tested, row))}_{plain(stem)}.png"


def truth_of(tested: Tested, row: int) -> str:
    """The true class, and of defects that were put together the kind."""
    return tested.records[row].kind or tested.task.classes[tested.columns.label[row]]


def outcome(tested: Tested, row: int) -> str:
    """What became of an image, in two or three words."""
    if tested.predicted[row] != tested.columns.label[row]:
        return kind_of(tested, row)
    return "passed good part" if tested.predicted[row] == 0 and tested.task.has_good else "caught defect"


def colour_of(tested: Tested, row: int) -> str:
    """The colour of an image's bar."""
    return (BARS | RIGHT)[outcome(tested, row)]


def describe(tested: Tested, row: int, facts: dict[str, Any]) -> list[str]:
    """Outcome, truth and verdict, score against the threshold, and the defect's size.

    Args:
        tested: The test.
        row: Of the image.
        facts: What is known of its area (`Tally.rows`).
    """
    columns, threshold = tested.columns, tested.threshold
    given, true = tested.task.classes[tested.predicted[row]], tested.task.classes[columns.label[row]]
    kind = tested.records[row].kind
    lines = [outcome(tested, row), f"true: {true}{f' ({kind})' if kind and kind != true else ''}   judged: {given}"]
    score = f"score {columns.score[row]:.4g}"
    if threshold is not None:
        side = "below" if columns.score[row] < threshold.value else "not below"
        score += f", {side} the threshold {threshold.value:.4g}"
    if columns.uncertainty is not None:
        score += f"   certainty {certainty(float(columns.uncertainty[row]))}"
    return [*lines, score, *size_of(facts)]


def size_of(facts: dict[str, Any]) -> list[str]:
    """Found area, grade and, where they are known, the true ones; a line, or none where nothing is known."""
    parts = []
    for word, prefix in (("found area", ""), ("true area", "true_")):
        area, millimetres = facts.get(f"{prefix}area_percent"), facts.get(f"{prefix}area_mm2")
        if area is None:
            continue
        text = f"{word} {area:.3g} %" + (f" ({millimetres:.3g} mm2)" if millimetres is not None else "")
        grade = facts.get(f"{prefix}grade")
        parts.append(text + (f", grade {grade}" if grade is not None else ""))
    if facts.get("iou") is not None and facts.get("true_area_percent"):  # of a good image it says nothing
        parts.append(f"IoU {facts['iou']:.3f}")
    return ["   ".join(parts)] if parts else []

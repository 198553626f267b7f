"""Pictures of what a method found on new images: the image, the heat map, and what was taken for defective."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd.area import Areas
from zdd.errors import ZddError
from zdd.report.heat import Span
from zdd.report.panels import Sight, View
from zdd.report.pictures import plain
from zdd.report.review import size_of
from zdd.rows import See

BARS = {"good": "#4A5A68", "defective": "#8C2F0B"}  # by the verdict; white letters stand on them


def check(folder: Path) -> None:
    """See that pictures can be written to a folder.

    Raises:
        ZddError: If it is none, or holds anything.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ZddError(f"--maps {folder}: is not empty; name a new folder")


def album(folder: Path, areas: See | None, classes: tuple[str, ...], paths: Sequence[Path]) -> "Album":
    """An album in a folder that `check` was asked about.

    Raises:
        ZddError: If the method gives no maps, which `areas` would measure.
    """
    if not isinstance(areas, Areas):
        raise ZddError(f"--maps {folder}: this method gives no map; zdd explain shows where a classifier looks")
    folder.mkdir(parents=True, exist_ok=True)
    return Album(folder, areas, classes, paths)


@dataclass(frozen=True)
class Album:
    """Draws each image that is judged; a `zdd.rows.See`, which may be called by several threads.

    Args:
        folder: Where the pictures are put.
        areas: What measures them.
        classes: Names; 0 is the good one.
        paths: All images, by whose order pictures are numbered.
    """

    folder: Path
    areas: Areas
    classes: tuple[str, ...]
    paths: Sequence[Path]

    @cached_property
    def numbers(self) -> dict[Path, int]:
        """Of each image's picture."""
        return {path: number for number, path in enumerate(self.paths, start=1)}

    @cached_property
    def view(self) -> View:
        """What all pictures have in common: the heat maps' scale above all."""
        return View(self.areas.preprocess, self.classes, Span.of(self.areas.threshold))

    @property
    def blank(self) -> dict[str, Any]:
        """As `Areas`."""
        return self.areas.blank

    def __call__(
        self, path: Path, row: dict[str, Any], values: NDArray[np.float32], kinds: NDArray[np.uint8] | None
    ) -> dict[str, Any]:
        """Save `<number>_<class>_<file>.png`; what `Areas` says of the image."""
        facts = self.areas(path, row, values, kinds)
        side = "below" if row["verdict"] == "good" else "not below"
        lines = [row["predicted"], f"score {row['score']:.4g}, {side} the threshold {row['threshold']:.4g}"]
        picture = self.view.draw(str(path), Sight(values, kinds=kinds), [*lines, *size_of(facts)], BARS[row["verdict"]])
        picture.save(self.folder / f"{self.numbers[path]:04d}_{plain(row['predicted'])}_{plain(path.stem)}.png")
        return facts

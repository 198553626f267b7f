"""What the runs of a suite's cells measured, read back from disk."""

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zdd import files
from zdd.rundir import RunDir
from zdd.suite.parts import Cell
from zdd.training.board import read_epochs

Epochs = list[dict[str, float]]


@dataclass(frozen=True)
class Result:
    """A cell and what its finished runs measured.

    Args:
        cell: The cell.
        values: Split ("val", "test") -> figure -> its value in each run that has one.
        n_images: The same -> images that the figure comes from.
        images: Split -> a mark of its images, "" where runs differ: only figures of the same images are compared.
        epochs: The rows of log/metrics.csv, run by run.
        failed: Why runs or steps are lacking, if so.
        runs: The runs.
    """

    cell: Cell
    values: dict[str, dict[str, list[float]]]
    n_images: dict[str, dict[str, int]]
    images: dict[str, str]
    epochs: list[Epochs] = field(default_factory=list)
    failed: str = ""
    runs: tuple[RunDir, ...] = ()

    @property
    def name(self) -> str:
        """Of the cell."""
        return self.cell.name


@dataclass(frozen=True)
class Cost:
    """What a cell's network costs an image.

    Args:
        parameters: In millions.
        gflops: 10^9 operations an image, a multiplication with its addition being two.
        latency_ms: Median from a file to a verdict, in torch; None where it was not timed.
    """

    parameters: float
    gflops: float
    latency_ms: float | None


def read(cell: Cell, runs: Sequence[RunDir], failed: str = "") -> Result:
    """Read the finished runs of a cell."""
    measured = [files.read_json(run.metrics) for run in runs]
    values: dict[str, dict[str, list[float]]] = {"val": {}, "test": {}}
    n_images: dict[str, dict[str, int]] = {"val": {}, "test": {}}
    for split in values:
        for metrics in measured:
            for name, figure in (metrics.get(split) or {}).items():
                if _finite(figure["value"]):
                    values[split].setdefault(name, []).append(float(figure["value"]))
                    n_images[split][name] = max(int(figure["n"]), n_images[split].get(name, 0))
    marks = {split: {_mark(run, split) for run in runs} for split in values}
    images = {split: found.pop() if len(found) == 1 else "" for split, found in marks.items()}
    epochs = [read_epochs(run.epochs) for run in runs]
    return Result(cell, values, n_images, images, epochs, failed, tuple(runs))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _mark(run: RunDir, split: str) -> str:
    """The same for the same images of a split with the same labels, in whatever set they lie."""
    with run.data.open(encoding="utf-8", newline="") as lines:
        rows = sorted(f"{row['sha256']} {row['class']}" for row in csv.DictReader(lines) if row["split"] == split)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

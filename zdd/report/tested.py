"""What a test of one run found, and the rows of predictions.csv."""

import csv
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd import decide, files, metrics
from zdd.decide import Threshold
from zdd.pixelwise import Tally
from zdd.records import Columns, Record, Task
from zdd.rundir import RunDir
from zdd.stats import Figure


@dataclass(frozen=True)
class Tested:
    """One run on its test images; `records[i]` is the image of row i of the columns."""

    run: RunDir
    task: Task
    threshold: Threshold | None
    columns: Columns
    records: list[Record]
    figures: dict[str, Figure]
    looks: int = 1  # how often the test split was looked at, this time included
    tally: Tally | None = None  # of methods that give maps: areas, regions and grades, image by image
    review: dict[int, Path] = field(default_factory=dict)  # row -> its picture in review/, in the order to be shown
    unknown: "Tested | None" = None  # the same of images of no class: their label is -1, their kind what they are

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class that each image was given, (N,)."""
        return decide.verdict(self.columns, self.threshold.value if self.threshold else None)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (K, K): a row is a true class, a column what it was judged to be."""
        return metrics.confusion(self.columns.label, self.predicted, self.task.n_classes)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """How sure the model was of what it gave, (N,): the class's probability, else the distance to the threshold."""
        if self.columns.probability is not None:
            return self.columns.probability[np.arange(self.columns.n), self.predicted]
        return np.abs(self.columns.score - (self.threshold.value if self.threshold else 0.0))

    @cached_property
    def mistakes(self) -> list[int]:
        """Rows of the images that were judged wrongly, the most confident mistake first."""
        wrong = np.flatnonzero(self.predicted != self.columns.label)
        return sorted(wrong.tolist(), key=lambda i: (-self.confidence[i], i))


def write_predictions(path: Path, tested: Tested) -> None:
    """Write a row an image: image, label (of an unknown one: its kind), predicted, score, and what the method gives."""
    columns, classes = tested.columns, tested.task.classes
    head = ["image", "label", "predicted", "score"]
    table = []
    for i, record in enumerate(tested.records):
        label = classes[columns.label[i]] if columns.label[i] >= 0 else record.kind
        given = classes[tested.predicted[i]]
        table.append([record.path, label, given, repr(float(columns.score[i]))])
    if columns.argmax is not None:
        head.append("argmax")
        table = [[*row, classes[columns.argmax[i]]] for i, row in enumerate(table)]
    if columns.probability is not None:
        head += [f"probability/{name}" for name in classes]
        table = [row + [repr(p) for p in columns.probability[i].tolist()] for i, row in enumerate(table)]
    for name, value in (("uncertainty", columns.uncertainty), ("energy", columns.energy)):
        if value is not None:
            head.append(name)
            table = [[*row, repr(float(value[i]))] for i, row in enumerate(table)]
    rows = tested.tally.rows() if tested.tally else []
    if rows:
        head += list(rows[0])
        table = [[*row, *(_cell(value) for value in more.values())] for row, more in zip(table, rows, strict=True)]
    with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(table)


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)

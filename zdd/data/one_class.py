"""Data for methods that learn from good images alone: one class of defects, and none of them in training."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zdd.data.parents import parents
from zdd.errors import ZddError
from zdd.marks import ANY
from zdd.records import Record

if TYPE_CHECKING:
    from zdd.data.dataset import Dataset

DEFECT = "defect"  # the class of all defects together


def collapse(dataset: "Dataset") -> "Dataset":
    """All kinds of defect as one class; a defect's `kind` keeps the name, and its mask every pixel that is not good.

    Raises:
        ZddError: If there is no good class.
    """
    if not dataset.has_good:
        raise ZddError(
            f"dataset.good_class is null: the classes are {', '.join(dataset.classes)}; to tell good from defective "
            "one of them must be the good class"
        )
    records = tuple(replace(r, label=1, kind=dataset.classes[r.label]) if r.label else r for r in dataset.records)
    values = None if dataset.mask_values is None else (0, ANY)
    return replace(dataset, records=records, classes=(dataset.classes[0], DEFECT), mask_values=values)


def only_good(dataset: "Dataset", contamination: float, seed: int) -> tuple["Dataset", list[str]]:
    """Take the defects out of training, but for those that are wanted there as contamination.

    Args:
        dataset: With two classes, the first good.
        contamination: Defects in training, as a share of its good images; they are drawn from all defects. Neither they
            nor what shows the same part is validated or tested on.
        seed: Of the draw.

    Returns:
        The data set, in the same order, where what is used nowhere has no split; and what a person should know.

    Raises:
        ZddError: If there are not so many defects.
    """
    records = list(dataset.records)
    n_good = sum(r.split == "train" and r.label == 0 for r in records)
    defects = [i for i, r in enumerate(records) if r.label > 0]
    wanted = round(contamination * n_good)
    if wanted > len(defects):
        raise ZddError(
            f"dataset.contamination = {contamination}: of {n_good} good training images that is {wanted} defects, "
            f"and there are {len(defects)}"
        )
    order = np.random.default_rng(seed).permutation(len(defects)).tolist()
    drawn = {defects[at] for at in order[:wanted]}
    notes = [
        f"contamination: {records[i].path} ({records[i].kind}) is among the training images" for i in sorted(drawn)
    ]
    parts = {part for i in drawn for part in _parts(records[i])}
    unscored = left_out = 0
    for i, record in enumerate(records):
        if i in drawn:
            records[i] = replace(record, split="train")
        elif record.split == "train" and record.label > 0:
            records[i], left_out = replace(record, split=None), left_out + 1
        elif record.split != "train" and parts & _parts(record):
            records[i], unscored = replace(record, split=None), unscored + 1
    if unscored:
        notes.append(f"contamination: {unscored} more images of the same parts are left out, they are not scored")
    if left_out:
        notes.insert(0, f"{left_out} defective training images are left out: the method learns from good ones alone")
    return replace(dataset, records=tuple(records)), notes


def _parts(record: Record) -> set[str]:
    """What ties an image to others: its group, the images that it was made from, itself."""
    return {record.path, *parents(record.parent), f"group {record.group}" if record.group else ""} - {""}

"""Data for methods that learn from good images alone: one class of defects, and none of them in training."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zdd.errors import ZddError

if TYPE_CHECKING:
    from zdd.data.dataset import Dataset

DEFECT = "defect"  # the class of all defects together


def collapse(dataset: "Dataset") -> "Dataset":
    """All kinds of defect as one class; a record's `kind` keeps the name.

    Raises:
        ZddError: If there is no good class.
    """
    if not dataset.has_good:
        raise ZddError(
            f"dataset.good_class is null: the classes are {', '.join(dataset.classes)}; to tell good from defective "
            "one of them must be the good class"
        )
    records = tuple(replace(r, label=min(r.label, 1), kind=dataset.classes[r.label]) for r in dataset.records)
    return replace(dataset, records=records, classes=(dataset.classes[0], DEFECT), mask_values=None)


def only_good(dataset: "Dataset", contamination: float, seed: int) -> tuple["Dataset", list[str]]:
    """Take the defects out of training, but for those that are wanted there as contamination.

    Args:
        dataset: With two classes, the first good.
        contamination: Defects in training, as a share of its good images; they are drawn from all defects, and those
            that are drawn are neither validated nor tested on.
        seed: Of the draw.

    Returns:
        The data set, in the same order, where what is used nowhere has no split; and what a person should know.
    """
    records = list(dataset.records)
    n_good = sum(r.split == "train" and r.label == 0 for r in records)
    defects = [i for i, r in enumerate(records) if r.label > 0]
    wanted = round(contamination * n_good)
    if wanted > len(defects):
        raise ZddError(
            f"dataset.contamination = {contamination}: that is {wanted} defects, and there are {len(defects)}"
        )
    drawn = set(np.random.default_rng(seed).choice(len(defects), wanted, replace=False).tolist()) if wanted else set()
    left_out = 0
    for at, i in enumerate(defects):
        if at in drawn:
            records[i] = replace(records[i], split="train")
        elif records[i].split == "train":
            records[i] = replace(records[i], split=None)
            left_out += 1
    notes = [f"{left_out} defective training images are left out: the method learns from good ones alone"]
    notes = notes if left_out else []
    notes += [f"contamination: {records[i].path} ({records[i].kind}) is among the training images" for i in
              (defects[at] for at in sorted(drawn))]  # fmt: skip
    return replace(dataset, records=tuple(records)), notes

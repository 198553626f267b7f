"""A training that can't learn or can't tell its best epoch is refused before it begins."""

import pytest

from zdd.data.dataset import Dataset
from zdd.errors import ZddError
from zdd.records import Record, Split
from zdd.training import feasible


def dataset(train: str, val: str) -> Dataset:
    """`g` is a good image, `d` a defective one without a mask, `m` one with."""
    parts: list[tuple[Split, str]] = [("train", train), ("val", val)]
    records = [
        Record(f"{split}{i}.png", int(kind != "g"), "", split, "mask.png" if kind == "m" else "")
        for split, kinds in parts
        for i, kind in enumerate(kinds)
    ]
    return Dataset(tuple(records), ("good", "defect"), True)


@pytest.mark.parametrize(
    ("train", "val", "monitor", "masks", "said"),
    [
        ("ggd", "gm", "val/loss", True, "no defective training image has a mask"),
        ("ggm", "gd", "val/iou", True, "no defective validation image has a mask"),
        ("ggm", "gg", "val/dice", True, "no defective validation image has a mask"),
        ("ggm", "dd", "val/loss", True, "no validation image is good or has a mask"),
        ("ggg", "gg", "val/auroc", False, "good and defective validation images"),
        ("ggm", "mm", "val/auroc", True, "good and defective validation images"),
    ],
)
def test_refused(train: str, val: str, monitor: str, masks: bool, said: str) -> None:
    with pytest.raises(ZddError, match=said):
        feasible.check(dataset(train, val), monitor, masks=masks)


@pytest.mark.parametrize(
    ("train", "val", "monitor", "masks"),
    [
        ("gmd", "gmd", "val/iou", True),
        ("gmd", "gd", "val/loss", True),  # the good image has a loss
        ("gg", "gg", "val/loss", False),
        ("gd", "gd", "val/auroc", False),
    ],
)
def test_possible(train: str, val: str, monitor: str, masks: bool) -> None:
    feasible.check(dataset(train, val), monitor, masks=masks)

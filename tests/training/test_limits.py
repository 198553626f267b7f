"""Early stopping and replacement, epoch by epoch, by hand."""

import math
from pathlib import Path

import pytest

from zdd.training.limits import Limits


def play(values: list[float], *, monitor: str = "val/loss", early: int = 0, replace: int = 0) -> str:
    """One letter an epoch: b best, . nothing, r replaced, s stopped (and nothing after it)."""
    limits = Limits(Path("best"), monitor=monitor, early_limit=early, replacement_limit=replace)
    letters = ""
    for epoch, value in enumerate(values):
        is_best, replaced, stop = limits.count(value, epoch)
        letters += "b" if is_best else "r" if replaced else "s" if stop else "."
        if stop:
            break
    return letters


@pytest.mark.parametrize(
    ("values", "early", "replace", "expected"),
    [
        ([3, 2, 1], 1, 1, "bbb"),  # always better: nothing to stop or replace
        ([1, 2, 3, 4], 0, 0, "b..."),  # both off: it goes on
        ([1, 2, 3, 4, 5], 3, 0, "b..s"),  # the third epoch in a row without improvement stops, not the fourth
        ([1, 1, 1], 2, 0, "b.s"),  # equal is no improvement
        ([2, 3, 1, 4, 5], 2, 0, "b.b.s"),  # an improvement starts the count anew
        ([1, 2, 2, 2, 2, 2], 0, 2, "b.r.r."),  # replaced each second epoch, counted from the last replacement
        ([1, 2, 2, 2, 2, 2], 5, 2, "b.r.rs"),  # replacing does not start the early count anew
        ([1, 2, 2], 2, 2, "b.s"),  # both due: stopping wins, there is nothing left to train
        ([2, 3, 3, 1, 3, 3], 0, 2, "b.rb.r"),  # an improvement starts the replacement count anew too
        ([math.nan, 1, math.nan, math.nan], 2, 0, ".b.s"),  # NaN is never an improvement
        ([math.nan, math.nan], 2, 0, ".s"),
    ],
)
def test_loss_is_to_fall(values: list[float], early: int, replace: int, expected: str) -> None:
    assert play(values, early=early, replace=replace) == expected


def test_accuracy_is_to_rise() -> None:
    assert play([0.5, 0.7, 0.6, 0.7], monitor="val/accuracy", early=2) == "bb.s"


def test_the_count_survives_a_checkpoint() -> None:
    first = Limits(Path("best"), monitor="val/loss", early_limit=3, replacement_limit=0)
    for epoch, value in enumerate([1.0, 2.0, 2.0]):
        first.count(value, epoch)
    second = Limits(Path("best"), monitor="val/loss", early_limit=3, replacement_limit=0)
    second.load_state_dict(first.state_dict())
    assert second.count(2.0, 3) == (False, False, True)

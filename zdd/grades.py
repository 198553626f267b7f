"""Grades by defect area: a price table without gaps, and what its mistakes cost.

Engines grade, too, where there is neither scipy nor pydantic: what figures need is imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zdd.poisson import Ratio
    from zdd.stats import Figure

NONE = "none"  # the grade below the lowest bound
Floats = NDArray[np.float64]


class Grade(Protocol):
    """A line of the price table; `zdd.settings.Grade` is one."""

    @property
    def name(self) -> str: ...
    @property
    def above_percent(self) -> float: ...
    @property
    def discount_percent(self) -> float: ...


class Line(NamedTuple):
    """A line as an engine stores it."""

    name: str
    above_percent: float
    discount_percent: float


def names(grades: Sequence[Grade]) -> list[str]:
    """The grades from `none` to the worst."""
    return [NONE, *(grade.name for grade in _rising(grades))]


def grade(area_percent: float, grades: Sequence[Grade]) -> str:
    """The highest grade whose bound the area exceeds, else `none`. An area on a bound has the grade below it.

    Bounds have no upper ends, so no area falls between two grades, in whatever order they are listed.
    """
    return names(grades)[int(_rank(np.array([area_percent]), grades)[0])]


def confusion(true_percent: Floats, percent: Floats, grades: Sequence[Grade]) -> NDArray[np.int64]:
    """Counts (G + 1, G + 1) of images, in the order of `names`: a row is the true area's grade, a column the measured.

    Args:
        true_percent: (N,) true areas.
        percent: (N,) measured areas.
        grades: The price table of G grades.
    """
    counts = np.zeros((len(grades) + 1,) * 2, dtype=np.int64)
    np.add.at(counts, (_rank(true_percent, grades), _rank(percent, grades)), 1)
    return counts


def accuracy(true_percent: Floats, percent: Floats, parts: NDArray[np.int64], grades: Sequence[Grade]) -> Figure:
    """The share of images with the grade of their true area; `parts` (N,) numbers the part that each image shows."""
    from zdd.stats import share

    return share(_rank(true_percent, grades) == _rank(percent, grades), parts)


def money(true_percent: Floats, percent: Floats, grades: Sequence[Grade]) -> dict[str, Ratio]:
    """What wrong grades cost, in % of the full price of all parts.

    Returns:
        `discount_too_high_percent` (given though not due: the seller's loss), `discount_too_low_percent` (due though
        not given: the buyer's), and their sum, `discount_error_percent`.
    """
    from zdd.poisson import Ratio

    discounts = np.array([0.0, *(grade.discount_percent for grade in _rising(grades))])
    wrong = discounts[_rank(percent, grades)] - discounts[_rank(true_percent, grades)]
    every = np.ones(len(wrong), dtype=np.bool_)
    return {
        f"discount_{name}_percent": Ratio.mean(values, every, "no images")
        for name, values in (
            ("error", np.abs(wrong)),
            ("too_high", np.maximum(wrong, 0)),
            ("too_low", np.maximum(-wrong, 0)),
        )
    }


def _rising(grades: Sequence[Grade]) -> list[Grade]:
    return sorted(grades, key=lambda grade: grade.above_percent)


def _rank(percent: Floats, grades: Sequence[Grade]) -> NDArray[np.int64]:
    """The number of bounds that each area exceeds."""
    bounds = [grade.above_percent for grade in _rising(grades)]
    return np.searchsorted(bounds, percent, side="left").astype(np.int64)

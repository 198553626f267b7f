"""The price table without gaps, and what its mistakes cost."""

import numpy as np
import pytest

from zdd import grades, poisson
from zdd.settings import Grade

SAP = [  # of the earlier system, whose bands had gaps: .01-.02, .10-.11, .50-.51 and 1.00-1.01
    Grade(name="Major", above_percent=0.5, discount_percent=50.0),
    Grade(name="Waste", above_percent=1.0, discount_percent=100.0),
    Grade(name="Minor", above_percent=0.01, discount_percent=10.0),
    Grade(name="Mild", above_percent=0.1, discount_percent=20.0),
]


@pytest.mark.parametrize(
    ("percent", "name"),
    [
        (0.0, "none"),
        (0.01, "none"),  # a bound is exceeded, not reached
        (0.0101, "Minor"),
        (0.1, "Minor"),
        (0.105, "Mild"),  # in a gap of the earlier table
        (0.5, "Mild"),
        (0.505, "Major"),  # the same
        (1.0, "Major"),
        (1.005, "Waste"),  # the same
        (100.0, "Waste"),
    ],
)
def test_every_area_has_a_grade(percent: float, name: str) -> None:
    assert grades.grade(percent, SAP) == name
    assert grades.grade(percent, SAP[::-1]) == name


def test_no_table_and_a_bound_at_zero() -> None:
    assert grades.grade(50.0, []) == "none"
    strict = [Grade(name="bad", above_percent=0.0, discount_percent=100.0)]
    assert grades.grade(0.0, strict) == "none" and grades.grade(1e-9, strict) == "bad"


def test_the_confusion_and_what_it_costs() -> None:
    true = np.array([0.0, 0.05, 0.3, 2.0, 2.0])  # none, Minor, Mild, Waste, Waste: 0, 10, 20, 100, 100 % off
    given = np.array([0.05, 0.05, 0.7, 0.7, 3.0])  # Minor, Minor, Major, Major, Waste: 10, 10, 50, 50, 100 % off
    assert grades.names(SAP) == ["none", "Minor", "Mild", "Major", "Waste"]
    expected = np.zeros((5, 5), dtype=int)
    expected[0, 1] = expected[1, 1] = expected[2, 3] = expected[4, 3] = expected[4, 4] = 1
    assert (grades.confusion(true, given, SAP) == expected).all()
    assert (grades.confusion(given, true, SAP) == expected.T).all()
    figures = poisson.figures(grades.money(true, given, SAP), [str(i) for i in range(5)], seed=0)
    assert figures["discount_too_high_percent"].value == pytest.approx((10 + 30) / 5)
    assert figures["discount_too_low_percent"].value == pytest.approx(50 / 5)
    assert figures["discount_error_percent"].value == pytest.approx(90 / 5)
    accuracy = grades.accuracy(true, given, np.arange(5), SAP)
    assert accuracy.value == pytest.approx(2 / 5) and accuracy.n == 5

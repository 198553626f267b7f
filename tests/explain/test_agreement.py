"""Maps of several seeds against each other: by hand, against scipy, by chance."""

import numpy as np
import pytest
from scipy import stats

from zdd.explain import agreement
from zdd.explain.agreement import measure, spearman

RNG = np.random.default_rng(0)


def test_the_same_map_agrees_and_its_contrary_does_not() -> None:
    values = RNG.normal(size=(20, 20))
    assert measure([values, values * 3 + 1]) == {"spearman": pytest.approx(1), "top_iou": 1.0}
    assert measure([values, -values]) == {"spearman": pytest.approx(-1), "top_iou": 0.0}


def test_by_chance() -> None:
    found = measure([RNG.random((100, 100)) for _ in range(6)])
    assert found["spearman"] == pytest.approx(0, abs=0.02)
    assert found["top_iou"] == pytest.approx(agreement.TOP / (2 - agreement.TOP), abs=0.01)


def test_by_hand_of_three_seeds() -> None:
    maps = [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [4.0, 3.0]]), np.array([[4.0, 3.0], [2.0, 1.0]])]
    found = measure(maps, share=0.5)
    assert found["spearman"] == pytest.approx((0.8 - 1.0 - 0.8) / 3)  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert found["top_iou"] == pytest.approx((1 + 0 + 0) / 3)
    assert measure(maps, share=0.25)["top_iou"] == 0  # the highest of all is another in each; the lowest is not


def test_against_scipy_with_many_ties() -> None:
    one, other = RNG.integers(0, 4, (15, 15)).astype(float), RNG.integers(0, 4, (15, 15)).astype(float)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic)


def test_maps_that_say_nothing_do_not_agree() -> None:
    found = measure([np.zeros((40, 40)), np.zeros((40, 40))])
    assert found["spearman"] == 0.0 and found["top_iou"] < 0.1
    nearly = [np.zeros((40, 40)), np.zeros((40, 40))]
    for i, values in enumerate(nearly):
        values[0, i] = 1.0  # one pixel each, and another: the rest is the same nothing
    assert measure(nearly)["top_iou"] < 0.1


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        measure([np.zeros((4, 4))])
    with pytest.raises(ValueError, match="one size"):
        measure([np.zeros((4, 4)), np.zeros((4, 5))])

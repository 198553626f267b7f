"""Sums that are resampled in one pass, against resampling all at once and against the spread that theory gives."""

import numpy as np
import pytest

from zdd import poisson
from zdd.poisson import RESAMPLES, Ratio, draws, figures


def test_a_mean_s_interval_is_the_one_of_theory() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    every = np.ones(400, dtype=bool)
    figure = figures({"mean": Ratio.mean(values, every, "")}, [str(i) for i in range(400)], seed=1)["mean"]
    assert figure.value == pytest.approx(values.mean()) and figure.n == 400
    assert figure.low is not None and figure.high is not None
    half = 1.96 * values.std() / 20
    assert figure.high - figure.low == pytest.approx(2 * half, rel=0.15)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ratio = Ratio(rng.random(100), rng.random(100), 100, "")
    units = [f"part {i // 3}" for i in range(100)]
    whole = figures({"a": ratio}, units, seed=0)["a"]
    monkeypatch.setattr(poisson, "CHUNK", 7)
    chunked = figures({"a": ratio}, units, seed=0)["a"]
    assert (chunked.low, chunked.high) == pytest.approx((whole.low, whole.high), rel=1e-6)
    times = np.stack([draws(unit, 0) for unit in units])
    direct = (ratio.above @ times) / (ratio.below @ times)
    assert whole.low == pytest.approx(np.quantile(direct, 0.025), rel=1e-6)


def test_draws_are_poisson_alike_for_a_part_and_differ_between_parts_and_seeds() -> None:
    one = draws("a", 0)
    assert (one == draws("a", 0)).all()
    assert (one != draws("b", 0)).any() and (one != draws("a", 1)).any()
    every = np.stack([draws(str(i), 0) for i in range(200)])
    assert every.mean() == pytest.approx(1, abs=0.02) and every.var() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(every[0], every[1])[0, 1]) < 5 / np.sqrt(RESAMPLES)


def test_what_does_not_exist_says_why_and_what_does_not_vary_has_no_interval() -> None:
    none, every = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    ratios = {"no": Ratio.mean(np.ones(3), none, "no good images"), "same": Ratio.mean(np.ones(3), every, "")}
    found = figures(ratios, ["a", "b", "c"], seed=0)
    assert found["no"].value is None and found["no"].method == "does not exist: no good images"
    assert found["same"].value == 1.0 and found["same"].low is None and "do not differ" in found["same"].method

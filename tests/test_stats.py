"""Intervals against scipy, published tables and numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from zdd import stats


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3 (Wilson's score without correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_table(hits: int, n: int, low: float, high: float) -> None:
    assert stats.wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 400), data=st.data())
def test_wilson_is_scipys_and_holds_the_share(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = stats.wilson(hits, n)
    reference = scipy_stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=1e-12)
    assert low <= hits / n <= high


@pytest.mark.parametrize(("share", "n"), [(0.9, 60), (0.98, 90), (0.5, 30)])
def test_wilson_covers_95_percent_on_average(share: float, n: int) -> None:
    # The exact coverage, summed over every outcome; for one share it swings around 95 %.
    outcomes = np.arange(n + 1)
    inside = [low <= share <= high for low, high in (stats.wilson(int(k), n) for k in outcomes)]
    assert 0.92 <= scipy_stats.binom.pmf(outcomes, n, share)[inside].sum() <= 0.985


def test_wilson_refuses_what_is_no_share() -> None:
    for hits, n in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="hits of"):
            stats.wilson(hits, n)


@pytest.mark.parametrize(
    ("events", "n", "bound"),
    [
        (0, 90, 1 - 0.05 ** (1 / 90)),  # 0.0327: nothing missed means (1 - p)^90 = 0.05
        (0, 1, 0.95),
        (5, 5, 1.0),  # everything missed bounds nothing
        (0, 0, 1.0),  # nothing tested neither
    ],
)
def test_how_many_may_still_escape(events: int, n: int, bound: float) -> None:
    assert stats.at_most(events, n) == pytest.approx(bound)


def test_the_bound_is_the_exact_one() -> None:
    # At the bound, seeing 3 or fewer of 200 has a chance of exactly 5 %.
    assert scipy_stats.binom.cdf(3, 200, stats.at_most(3, 200)) == pytest.approx(0.05)


@pytest.mark.parametrize(("share", "n"), [(0.001, 2995), (0.01, 299), (0.05, 59), (0.5, 5)])
def test_how_many_must_be_tested_for_a_claim(share: float, n: int) -> None:
    assert stats.needed(share) == n
    assert stats.at_most(0, n) <= share < stats.at_most(0, n - 1)  # one less would not do


def test_needing_exactly_a_whole_number_needs_no_more() -> None:
    assert stats.needed(1 - 0.05 ** (1 / 90)) == 90


def test_students_interval_by_hand() -> None:
    # mean 3, deviation sqrt(2.5), t(4, 0.975) = 2.776: 3 +- 2.776 * 1.5811 / sqrt(5) = 3 +- 1.963
    mean, deviation, low, high = stats.student(np.array([1.0, 2, 3, 4, 5]))
    assert (mean, deviation) == pytest.approx((3, 1.58114), abs=1e-5)
    assert (low, high) == pytest.approx((1.03676, 4.96324), abs=1e-4)
    assert stats.student(np.array([7.0])) == (7.0, None, None, None)


def test_a_share_of_images_and_of_nothing() -> None:
    figure = stats.share(np.array([True] * 9 + [False]))
    assert (figure.value, figure.n, figure.method) == (0.9, 10, "Wilson")
    assert (figure.low, figure.high) == pytest.approx(stats.wilson(9, 10))
    gone = stats.share(np.zeros(0, dtype=bool))
    assert gone.value is None and gone.low is None and "no images" in gone.method


def test_pictures_of_one_part_count_once_when_they_agree() -> None:
    part = np.repeat(np.arange(10), 6)
    hit = np.repeat(np.arange(10) < 8, 6)  # 60 pictures, but 10 trials with 8 hits
    figure = stats.share(hit, part)
    # Kish: variance between parts 10/9 * sum((6 * residual)^2) / 60^2 against p(1-p)/60 gives 9 effective trials
    assert figure.value == 0.8 and figure.n == 60
    assert (figure.low, figure.high) == pytest.approx(stats.wilson(0.8 * 9, 9))
    every = stats.share(np.full(60, True), part)  # all agree: nothing to estimate from, so 10 parts
    assert every.low == pytest.approx(stats.wilson(10, 10)[0])
    single = stats.share(hit, np.arange(60))  # a part each: as if there were no parts
    assert single.low == pytest.approx(stats.wilson(48, 60)[0])


def test_pictures_of_one_part_that_do_not_resemble_each_other_count_each() -> None:
    part = np.repeat(np.arange(30), 2)
    hit = np.tile([True, False], 30)  # each part has one of either: no scatter between parts at all
    assert stats.share(hit, part).low == pytest.approx(stats.wilson(30, 60)[0])


def test_the_bootstrap_is_scipys_for_a_mean() -> None:
    value = np.random.default_rng(3).normal(5, 2, 80)
    draws = stats.bootstrap(lambda w: {"mean": w @ value / w.sum(axis=1)}, np.zeros(80, dtype=np.int64), None, seed=1)
    reference = scipy_stats.bootstrap((value,), np.mean, method="percentile", n_resamples=5000, rng=1)
    assert stats.interval(draws["mean"]) == pytest.approx(tuple(reference.confidence_interval), abs=0.06)
    again = stats.bootstrap(lambda w: {"mean": w @ value / w.sum(axis=1)}, np.zeros(80, dtype=np.int64), None, seed=1)
    assert np.array_equal(draws["mean"], again["mean"])


def test_resamples_keep_the_size_of_each_class_and_parts_whole() -> None:
    label = np.array([0] * 7 + [1] * 3)
    rare = stats.bootstrap(lambda w: {"rare": w[:, 7:].sum(axis=1)}, label, None, seed=0)["rare"]
    assert rare.shape == (1000,) and (rare == 3).all()
    part = np.array([4, 4, 4, 9, 9, 2, 2, 2, 2, 5])
    split = stats.bootstrap(lambda w: {"split": np.ptp(w[:, 5:9], axis=1)}, label, part, seed=0)["split"]
    assert (split == 0).all()  # pictures of part 2 are always drawn together


def test_chunks_of_resamples_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "CELLS", 70)  # 7 resamples of 10 images at a time: the last chunk is short
    label = np.zeros(10, dtype=np.int64)
    total = stats.bootstrap(lambda w: {"n": w.sum(axis=1)}, label, None, seed=0)["n"]
    assert total.shape == (1000,) and (total == 10).all()


def test_resamples_that_say_nothing_give_no_interval() -> None:
    assert stats.interval(np.ones(1000)) is None
    assert stats.interval(np.concatenate([np.full(600, np.nan), np.linspace(0, 1, 400)])) is None
    assert stats.interval(np.linspace(0, 1, 1001)) == pytest.approx((0.025, 0.975))

"""Statistics of weighted images: a resample is a row of weights, so a thousand of them are one product of matrices."""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import special

from zdd.stats import Weights

BINS = 15  # of equal width, for the calibration error (Guo et al. 2017)

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Statistic = Callable[[Weights], Floats]  # (R, N) -> (R,), NaN where it does not exist


def mean(value: Floats) -> Statistic:
    """The mean of a value of each image, (N,)."""
    return lambda weights: cast(Floats, weights @ value / weights.sum(axis=1))


def mean_of(each: list[Statistic]) -> Statistic:
    """The plain mean of several statistics."""
    return lambda weights: cast(Floats, np.mean([statistic(weights) for statistic in each], axis=0))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, and NaN where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def f1(true: Bools, predicted: Bools) -> Statistic:
    """F1 of one class: 2 TP / (2 TP + FP + FN)."""
    both, either = (true & predicted).astype(float), true.astype(float) + predicted
    return lambda weights: _ratio(2 * (weights @ both), weights @ either)


def macro(label: Ints, predicted: Ints, k: int, there: list[int]) -> dict[str, Statistic]:
    """Means over the classes that have images, each counting the same however many it has."""
    truth, judged = np.eye(k)[label][:, there], np.eye(k)[predicted][:, there]

    def mean(kind: str) -> Statistic:
        def statistic(weights: Weights) -> Floats:
            of = {"recall": truth, "precision": judged, "f1": (truth + judged) / 2}[kind]
            each = _ratio(weights @ (truth * judged), weights @ of)
            if kind == "precision":  # a class that is never predicted earns nothing, as in torchmetrics
                each = np.nan_to_num(each)
            there_now = np.isfinite(each)
            return _ratio(np.where(there_now, each, 0).sum(axis=1), there_now.sum(axis=1).astype(float))

        return statistic

    return {"balanced_accuracy": mean("recall")} | {kind: mean(kind) for kind in ("precision", "recall", "f1")}


def _by_score(score: Floats, positive: Bools) -> Callable[[Weights], tuple[Floats, Floats]]:
    """Weights of positive and negative images at each distinct score, (R, U) each, highest score first."""
    order = np.argsort(-score, kind="stable")
    start = np.flatnonzero(np.concatenate([[True], np.diff(score[order]) != 0]))
    sign = positive[order]

    def sums(weights: Weights) -> tuple[Floats, Floats]:
        sorted_ = weights[:, order]
        return np.add.reduceat(sorted_ * sign, start, axis=1), np.add.reduceat(sorted_ * ~sign, start, axis=1)

    return sums


def auroc(score: Floats, positive: Bools) -> Statistic:
    """Chance that a positive image scores higher than a negative one, a tie counting half (Mann and Whitney 1947)."""
    sums = _by_score(score, positive)

    def statistic(weights: Weights) -> Floats:
        up, down = sums(weights)
        below = down.sum(axis=1, keepdims=True) - down.cumsum(axis=1)
        return _ratio((up * (below + down / 2)).sum(axis=1), up.sum(axis=1) * down.sum(axis=1))

    return statistic


def average_precision(score: Floats, positive: Bools) -> Statistic:
    """Precision averaged over the steps of recall, without interpolation; equal scores are one step."""
    sums = _by_score(score, positive)

    def statistic(weights: Weights) -> Floats:
        up, down = sums(weights)
        hits = up.cumsum(axis=1)
        precision = np.nan_to_num(_ratio(hits, hits + down.cumsum(axis=1)))
        return _ratio((up * precision).sum(axis=1), up.sum(axis=1))

    return statistic


def ece(confidence: Floats, right: Bools) -> Statistic:
    """Expected calibration error: |confidence - accuracy| over 15 equal-width bins, weighted by the images in them."""
    bin_ = np.eye(BINS)[bins(confidence)]
    gap = (confidence - right)[:, None] * bin_
    return lambda weights: cast(Floats, np.abs(weights @ gap).sum(axis=1) / weights.sum(axis=1))


def bins(confidence: Floats) -> Ints:
    """(N,) number of the bin (0, 1/15], (1/15, 2/15], ... that each confidence lies in; 0 lies in the first."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def accepted(score: Floats, outside: Bools, share: float) -> Statistic:
    """Share of the outside images that pass at the threshold on the score that lets `share` of all others pass.

    The threshold is the smallest that at least `share` of them do not exceed; whoever has the same score passes, too.
    """
    sums = _by_score(-score, outside)

    def statistic(weights: Weights) -> Floats:
        out, inside = (each.cumsum(axis=1) for each in sums(weights))
        known = inside[:, -1:]
        first = (inside >= share * known * (1 - 1e-12)).argmax(axis=1)[:, None]
        passed = np.take_along_axis(out, first, axis=1)[:, 0]
        return _ratio(passed, np.where(known[:, 0] > 0, out[:, -1], 0.0))

    return statistic


def aurc(uncertainty: Floats, wrong: Bools) -> Statistic:
    """Mean over k = 1 .. N of the share of mistakes among the k surest images (Geifman et al. 2019).

    Images of the same uncertainty come in any order: the mean over all their orders, so that a constant uncertainty
    has the error rate. Of b mistakes among w such images after B among W surer ones, that is a sum of
    (B + i b / w) / (W + i) over i = 1 .. w, which harmonic numbers H give: H(n) = digamma(n + 1) + a constant.
    """
    sums = _by_score(-uncertainty, wrong)

    def statistic(weights: Weights) -> Floats:
        mistakes, right = sums(weights)
        size = mistakes + right
        rate, before = np.nan_to_num(_ratio(mistakes, size)), size.cumsum(axis=1) - size
        excess = mistakes.cumsum(axis=1) - mistakes - rate * before
        total = mistakes + excess * (special.digamma(before + size + 1) - special.digamma(before + 1))
        return cast(Floats, total.sum(axis=1) / size.sum(axis=1))

    return statistic


def least_aurc(wrong: Bools) -> Statistic:
    """The AURC of who knows each mistake: m of N images wrong and all of them last, the mean of j / (N - m + j)."""

    def statistic(weights: Weights) -> Floats:
        n, m = weights.sum(axis=1), weights @ wrong
        return cast(Floats, (m - (n - m) * (special.digamma(n + 1) - special.digamma(n - m + 1))) / n)

    return statistic


def accuracy_at(coverage: float, uncertainty: Floats, wrong: Bools) -> Statistic:
    """Share judged rightly among the surest images, as few as make up `coverage` of all; ties as in `aurc`."""
    sums = _by_score(-uncertainty, wrong)

    def statistic(weights: Weights) -> Floats:
        mistakes, right = sums(weights)
        size = mistakes + right
        wanted = np.ceil(coverage * size.sum(axis=1, keepdims=True) - 1e-9)
        taken = np.clip(wanted - (size.cumsum(axis=1) - size), 0, size)
        return cast(Floats, 1 - (np.nan_to_num(_ratio(mistakes, size)) * taken).sum(axis=1) / wanted[:, 0])

    return statistic

"""Shares, bounds and intervals: how sure a figure is, from how many images it comes from. Numpy and scipy alone."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
REPEATS = 1000
CELLS = 4_000_000  # weights held in memory at a time, 32 MB

Weights = NDArray[np.float64]  # (R, N): how often each of N images occurs in each of R resamples
Statistics = Callable[[Weights], dict[str, NDArray[np.float64]]]  # to (R,) each; NaN where it does not exist


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval. Where there is none, `value` is None and `method` says why."""

    value: float | None
    low: float | None
    high: float | None
    method: str
    n: int  # images that it comes from

    def as_dict(self) -> dict[str, Any]:
        """As it stands in metrics.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Read back what `as_dict` gave."""
        return cls(**value)

    @classmethod
    def missing(cls, reason: str, n: int = 0) -> Self:
        """A figure that does not exist, and why."""
        return cls(None, None, None, f"does not exist: {reason}", n)


def wilson(hits: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927; Brown, Cai, DasGupta 2001 recommend it).

    Args:
        hits: Number of hits, 0 <= hits <= n.
        n: Number of trials, > 0; an effective number need not be whole.
        confidence: Of the two-sided interval.

    Returns:
        Lower and upper limit in [0, 1].

    Raises:
        ValueError: If there are no trials, or more hits than trials.
    """
    if not 0 <= hits <= n or n <= 0:
        raise ValueError(f"{hits} hits of {n}")
    z = float(special.ndtri((1 + confidence) / 2))
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return (0.0 if hits == 0 else max(0.0, middle - half)), (1.0 if hits == n else min(1.0, middle + half))


def at_most(events: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Largest share that `events` of `n` still allow: the one-sided Clopper-Pearson bound (1934), exact.

    0 of 90 gives 0.0327: with 95 % confidence no more than 3.3 % escape. With n = 0 nothing is known, so it is 1.
    """
    return 1.0 if events >= n else float(special.betaincinv(events + 1, n - events, confidence))


def needed(share: float, confidence: float = CONFIDENCE) -> int:
    """How many must be tested, with none missed, to claim that at most `share` in (0, 1) escapes."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-share) - 1e-9)


def student(values: NDArray[np.float64]) -> tuple[float, float | None, float | None, float | None]:
    """Mean, standard deviation and Student's 95 % interval of the mean; the last three are None for a single value.

    Args:
        values: (n,) one a run, n > 0.
    """
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, None, None, None
    deviation = _deviation(values)
    half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(n)
    return mean, deviation, mean - half, mean + half


def _deviation(values: NDArray[np.float64]) -> float:
    # The mean of equal numbers is rounded: three times 0.7 have a deviation of 1e-16, and seem to scatter.
    return 0.0 if np.ptp(values) < 1e-12 else float(np.std(values, ddof=1))


def welch(values: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float | None, float | None]:
    """By how much the mean of `values` is above that of `others`, with Welch's 95 % interval (1947), which lets the
    two scatter differently. No interval where one of them is a single value, or none of them scatters at all.

    Args:
        values: (n,) one a run, n > 0.
        others: (m,) the same of what it is compared with.
    """
    difference = float(np.mean(values) - np.mean(others))
    if min(len(values), len(others)) < 2:
        return difference, None, None
    parts = [_deviation(each) ** 2 / len(each) for each in (values, others)]
    total = sum(parts)
    if total == 0:
        return difference, None, None
    freedom = total**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (values, others), strict=True))
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(total)
    return difference, difference - half, difference + half


def share(hit: NDArray[np.bool_], part: NDArray[np.int64] | None = None) -> Figure:
    """The share of hits with Wilson's interval.

    Several pictures of one part do not count as so many trials: n is divided by the design effect (Kish 1965; Dean and
    Pagano 2015), estimated from the scatter between parts, and where every picture agrees n is the number of parts.

    Args:
        hit: (N,) one an image.
        part: (N,) number of the part that each image shows, or None if every image shows its own.

    Returns:
        A figure, missing if there is no image.
    """
    n, hits = len(hit), int(np.count_nonzero(hit))
    if n == 0:
        return Figure.missing("no images")
    if part is not None and len(np.unique(part)) == n:
        part = None
    effective = float(n) if part is None else _effective(hit, part)
    low, high = wilson(hits * effective / n, effective)
    method = "Wilson" if part is None else f"Wilson, effective n {effective:.1f} (pictures of one part count together)"
    return Figure(hits / n, low, high, method, n)


def _effective(hit: NDArray[np.bool_], part: NDArray[np.int64]) -> float:
    n, p = len(hit), float(np.mean(hit))
    _, inverse = np.unique(part, return_inverse=True)
    size = np.bincount(inverse)
    parts = len(size)
    if parts == n:
        return float(n)
    if p in (0.0, 1.0) or parts < 2:
        return float(parts)
    residual = np.bincount(inverse, weights=hit - p)
    variance = parts / (parts - 1) * float(np.sum(residual**2)) / n**2
    effect = variance / (p * (1 - p) / n)
    return min(float(n), max(1.0, n / effect)) if effect > 0 else float(n)


def bootstrap(
    statistics: Statistics, label: NDArray[np.int64], part: NDArray[np.int64] | None, *, seed: int
) -> dict[str, NDArray[np.float64]]:
    """The statistics of 1000 resamples: of images within each class, or of whole parts where `part` is given.

    Args:
        statistics: From weights (R, N) to named arrays (R,).
        label: (N,) the classes that keep their sizes when images are resampled.
        part: (N,) number of the part that each image shows; pictures of one part are drawn together.
        seed: Of the resampling; the same seed gives the same intervals.

    Returns:
        (1000,) for each name.
    """
    rng = np.random.default_rng(seed)
    unit = np.arange(len(label)) if part is None else np.unique(part, return_inverse=True)[1]
    stratum = label if part is None else np.zeros(unit.max() + 1, dtype=np.int64)
    chunks = [statistics(draw[:, unit]) for draw in _draws(stratum, len(label), rng)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _draws(stratum: NDArray[np.int64], n: int, rng: np.random.Generator) -> Iterator[Weights]:
    """(R, units) counts of each unit in resamples that keep every stratum's size; REPEATS rows in all."""
    members = [np.flatnonzero(stratum == value) for value in np.unique(stratum)]
    rows = max(1, min(REPEATS, CELLS // max(n, 1)))
    for start in range(0, REPEATS, rows):
        size = min(rows, REPEATS - start)
        draw = np.zeros((size, len(stratum)))
        for member in members:
            draw[:, member] = rng.multinomial(len(member), np.full(len(member), 1 / len(member)), size=size)
        yield draw


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The middle 95 % of resampled values; None where they say nothing: all the same, or hardly one exists."""
    values = values[np.isfinite(values)]
    if len(values) < REPEATS // 2 or np.ptp(values) < 1e-12:
        return None
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)

"""Which images an engine judges otherwise than the reference, and which are worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zdd.export.differences import COUNTED, INPUT, Floats, Gathered

TIE = 1e-3  # scales: a score so close to the threshold, or two probabilities to each other, may fall either way
WORST = 10  # images that are named

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Flips:
    """Images of which the engine says something else, of those that it answered."""

    flipped: Bools  # (M,)
    tie: Bools  # (M,) the reference was undecided
    of: int

    @property
    def n(self) -> int:
        """All of them."""
        return int(self.flipped.sum())

    @property
    def n_ties(self) -> int:
        """Those of which the reference was undecided."""
        return int((self.flipped & self.tie).sum())


@dataclass(frozen=True)
class Right:
    """Whether each image that a share counts is judged rightly."""

    what: str
    reference: Bools  # (n,)
    found: Bools  # (n,) an image without an answer is a mistake
    tie: Bools  # (n,) the reference was undecided

    @property
    def drop(self) -> float:
        """Loss of the share, in [-1, 1], ties taken as the reference judged them."""
        if not len(self.reference):
            return 0.0
        return float(self.reference.mean() - np.where(self.tie, self.reference, self.found).mean())


@dataclass(frozen=True)
class Worst:
    """An image whose answers differ most."""

    row: int
    name: str  # the image's file
    verdict: str  # what became of the verdict; "" if it stayed
    output: str  # whose largest difference is the most scales
    scales: float | None  # None: not answered, or not finite
    score: tuple[float, float] | None  # the reference's and the engine's

    def line(self) -> str:
        """For people."""
        parts = [self.verdict] if self.verdict else []
        if self.score is not None:
            parts.append(f"score {self.score[0]:.4g} -> {self.score[1]:.4g}")
        if self.output == INPUT:
            parts.append("other pixels were read from the file")
        elif self.scales:
            parts.append(f"{self.output} is off by {self.scales:.2g} standard deviations")
        if self.scales is None and not self.verdict:
            parts.append("its answer is not finite")
        return f"{self.name}: {', '.join(parts)}"


def flips_of(gathered: Gathered, threshold: float | None) -> dict[str, Flips]:
    """Flips of the most probable class ("label") and of the side of the threshold ("threshold"), where there is one."""
    found: dict[str, Flips] = {}
    for name, (reference, given, tie) in _verdicts(gathered, threshold).items():
        answered = gathered.answered[: len(reference)]
        found[name] = Flips((reference != given) & answered, tie & answered, int(answered.sum()))
    return found


def right_of(gathered: Gathered, labels: Ints, threshold: float | None) -> Right | None:
    """Defects caught, or without a threshold labels that are true; None of a method that gives neither."""
    verdicts = _verdicts(gathered, threshold)
    if "threshold" in verdicts:
        reference, found, tie = verdicts["threshold"]
        bad = labels[: len(reference)] > 0
        return Right("defect recall", reference[bad] == 1, found[bad] == 1, tie[bad])
    if "label" not in verdicts:
        return None
    reference, found, tie = verdicts["label"]
    truth = labels[: len(reference)]
    return Right("accuracy", reference == truth, found == truth, tie)


def _verdicts(gathered: Gathered, threshold: float | None) -> dict[str, tuple[Ints, Ints, Bools]]:
    """Of each kind of verdict the reference's, the engine's (-1: no answer) and which of the former were undecided."""
    reference, found = gathered.reference, gathered.found
    verdicts: dict[str, tuple[Ints, Ints, Bools]] = {}
    if "label" in reference:
        tie = np.full(len(reference["label"]), False)
        if "probability" in reference:
            first, second = np.sort(reference["probability"], axis=1)[:, :-3:-1].T
            tie = first - second <= TIE * gathered.errors["probability"].scale
        verdicts["label"] = reference["label"].astype(np.int64), found["label"].astype(np.int64), tie
    if threshold is not None and "score" in reference:
        expected, given = reference["score"], found["score"]
        tie = np.abs(expected.astype(np.float64) - threshold) <= TIE * gathered.errors["score"].scale
        side = np.where(np.isnan(given), -1, given >= threshold)
        verdicts["threshold"] = (expected >= threshold).astype(np.int64), side.astype(np.int64), tie
    return verdicts


def worst_of(gathered: Gathered, flips: dict[str, Flips], names: Sequence[str] | None) -> tuple[Worst, ...]:
    """The images that a person should look at: no answer, verdict changed, largest difference, in that order."""
    n = len(gathered.answered)
    outputs, scales = _in_scales(gathered)
    changed = np.zeros(n, np.bool_)
    for each in flips.values():
        changed[: len(each.flipped)] |= each.flipped
    order = np.lexsort((np.arange(n), -scales, ~changed, gathered.answered))
    return tuple(_worst(gathered, flips, names, int(row), (outputs[row], float(scales[row]))) for row in order[:WORST])


def _in_scales(gathered: Gathered) -> tuple[list[str], Floats]:
    """Of each image the output that is farthest off, and by how many scales; counted outputs only where none is off."""
    n = len(gathered.answered)
    where, far = [""] * n, np.zeros(n)
    for name, each in gathered.errors.items():
        if name in COUNTED and name != INPUT:
            continue
        with np.errstate(invalid="ignore"):
            by = np.nan_to_num(each.largest / each.scale, nan=0.0, posinf=np.inf)
        for row in np.flatnonzero(by > far):
            where[row] = name
        far = np.maximum(far, by)
    return where, far


def _worst(
    gathered: Gathered, flips: dict[str, Flips], names: Sequence[str] | None, row: int, far: tuple[str, float]
) -> Worst:
    output, scales = far
    verdict, score = "", None
    if not gathered.answered[row]:
        verdict = "no answer"
    elif "threshold" in flips and flips["threshold"].flipped[row] and np.isfinite(_score(gathered, row)[1]):
        verdict = "defective -> good" if _score(gathered, row)[0] > _score(gathered, row)[1] else "good -> defective"
    elif "label" in flips and flips["label"].flipped[row]:
        verdict = f"class {gathered.reference['label'][row]} -> {gathered.found['label'][row]}"
    if gathered.answered[row] and "score" in gathered.reference and np.isfinite(_score(gathered, row)).all():
        score = _score(gathered, row)
    finite = scales if gathered.answered[row] and np.isfinite(scales) else None
    return Worst(row, names[row] if names else f"image {row}", verdict, output, finite, score)


def _score(gathered: Gathered, row: int) -> tuple[float, float]:
    return float(gathered.reference["score"][row]), float(gathered.found["score"][row])

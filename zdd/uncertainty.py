"""What an uncertainty is worth: does it tell the unknown from the known, and mistakes from what was judged rightly?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zdd import stats, weighted
from zdd.metrics import Wanted, bootstrapped, numbered
from zdd.records import Columns, Record
from zdd.stats import Figure

ACCEPTED = 0.95  # of the known images, for FPR95
COVERAGES = (80, 90, 95)  # percent of the images that are judged; the others are handed to a person

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def figures(
    columns: Columns,
    predicted: Ints,
    records: Sequence[Record],
    unknown: tuple[Columns, Sequence[Record]] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Figure]:
    """Every figure of what a model says of its own certainty; none of a model that says nothing of it.

    Args:
        columns: Predictions of test images.
        predicted: (N,) the class that each was given.
        records: Their N images; pictures of one part (`group`) count together.
        unknown: Predictions of images of no class, and those images.
        seed: Of the bootstrap.

    Returns:
        As `risk_figures`, mistakes being wrong verdicts, and `argmax_aurc`, where they are wrong most probable classes.
        As `ood_figures`, named ood_<figure>/<score> for each of `scores`; where there are several kinds of unknown
        images, ood_auroc and ood_fpr95 of each, too: ood_<figure>/<score>/<kind>.
    """
    found: dict[str, Figure] = {}
    label, part = columns.label, numbered([record.group for record in records])
    if columns.uncertainty is not None:
        found |= risk_figures(columns.uncertainty, predicted != label, label, part=part, seed=seed)
        if columns.argmax is not None:
            said = risk_figures(columns.uncertainty, columns.argmax != label, label, part=part, seed=seed)
            found["argmax_aurc"] = said["aurc"]
    if unknown is None:
        return found
    outside, others = unknown
    groups = [record.group for record in (*records, *others)]
    for name, score in scores(outside).items():
        for kind, rows in _kinds(others).items():
            part = numbered(groups[: columns.n] + [groups[columns.n + row] for row in rows])
            each = ood_figures(scores(columns)[name], score[rows], part=part, seed=seed)
            wanted_here = each if not kind else {key: each[key] for key in ("auroc", "fpr95")}  # aupr: not comparable
            found |= {f"ood_{key}/{name}{kind}": figure for key, figure in wanted_here.items()}
    return found


def scores(columns: Columns) -> dict[str, Floats]:
    """What a model gives by which the unknown may be told, by name, (N,) each; higher is less known.

    uncertainty, energy, and the entropy of the probabilities of three classes and more (of two it orders images as
    1 - max does).
    """
    found = {"uncertainty": columns.uncertainty, "energy": columns.energy}
    if columns.probability is not None and columns.probability.shape[1] > 2:
        found["entropy"] = entropy(columns.probability)
    return {name: score for name, score in found.items() if score is not None}


def _kinds(records: Sequence[Record]) -> dict[str, list[int]]:
    """Rows of all images, by ""; where there are several kinds, rows of each, by "/<kind>"."""
    kinds: dict[str, list[int]] = {}
    for row, record in enumerate(records):
        kinds.setdefault(f"/{record.kind}", []).append(row)
    several = dict(sorted(kinds.items())) if len(kinds) > 1 else {}
    return {"": list(range(len(records))), **several}


def ood_figures(known: Floats, unknown: Floats, *, part: Ints | None = None, seed: int = 0) -> dict[str, Figure]:
    """How well an uncertainty tells images of no class (out of distribution) from those of the known classes.

    Args:
        known: (N,) uncertainty, energy or the like of test images; higher is less known.
        unknown: (M,) the same of images of no class.
        part: (N + M,) number of the part that each image shows, or None if every image shows its own.
        seed: Of the bootstrap, which resamples within the known and within the unknown images.

    Returns:
        auroc, aupr: Of unknown against known, unknown being the positive class (Hendrycks and Gimpel 2017); ties count
            half, no interpolation. aupr depends on how many of the images are unknown: guessing gives M / (N + M).
        fpr95: Share of the unknown images that are accepted at the threshold that accepts 95 % of the known ones (Liang
            et al. 2018; Liu et al. 2020): the smallest that at least 95 % of them do not exceed. Guessing gives 0.95.
    """
    n, m = len(known), len(unknown)
    if not n or not m:
        reason = "no unknown images" if n else "no known images"
        return {name: Figure.missing(reason) for name in ("auroc", "aupr", "fpr95")}
    score, outside = np.concatenate([known, unknown]), np.repeat([False, True], [n, m])
    kind = outside.astype(np.int64)
    wanted: Wanted = {
        "auroc": (weighted.auroc(score, outside), kind),
        "aupr": (weighted.average_precision(score, outside), kind),
        "fpr95": (weighted.accepted(score, outside, ACCEPTED), kind),
    }
    found = bootstrapped(wanted, kind, part, seed=seed)
    trials = m if part is None else len(np.unique(part[n:]))
    return found | {"fpr95": _at_an_end(found["fpr95"], trials)}


def risk_figures(
    uncertainty: Floats, wrong: Bools, label: Ints, *, part: Ints | None = None, seed: int = 0
) -> dict[str, Figure]:
    """How well an uncertainty tells mistakes from what was judged rightly (El-Yaniv and Wiener 2010).

    Args:
        uncertainty: (N,) higher is less sure.
        wrong: (N,) whether the image was judged wrongly.
        label: (N,) truth; images are resampled within each class.
        part: (N,) number of the part that each image shows, or None if every image shows its own.
        seed: Of the bootstrap.

    Returns:
        aurc: Area under the risk-coverage curve (Geifman and El-Yaniv 2017; Geifman et al. 2019): the mean over
            k = 1 .. N of the error rate among the k surest images. 0 is best; guessing gives the error rate.
        aurc_excess: What of it a perfect order would not have (Geifman et al. 2019: E-AURC): the uncertainty's own
            fault, however many mistakes there are.
        accuracy_at_80, _90, _95: Accuracy where only so many percent of the images are judged, the surest.
    """
    n = len(wrong)
    names = ["aurc", "aurc_excess", *(f"accuracy_at_{percent}" for percent in COVERAGES)]
    if not n:
        return {name: Figure.missing("no images") for name in names}
    every = np.zeros(n, np.int64)
    area, least = weighted.aurc(uncertainty, wrong), weighted.least_aurc(wrong)
    wanted: Wanted = {"aurc": (area, every), "aurc_excess": (lambda weights: area(weights) - least(weights), every)}
    order = np.argsort(uncertainty, kind="stable")
    for percent in COVERAGES:
        surest = np.full(n, -1)
        surest[order[: int(np.ceil(percent * n / 100 - 1e-9))]] = 0
        wanted[f"accuracy_at_{percent}"] = (weighted.accuracy_at(percent / 100, uncertainty, wrong), surest)
    found = bootstrapped(wanted, label, part, seed=seed)
    trials = n if part is None else len(np.unique(part))
    found["aurc"] = _at_an_end(found["aurc"], trials)
    if not wrong.any():
        found["aurc_excess"] = Figure.missing("no mistake that the uncertainty could have told", n)
    return found


def risk_coverage(uncertainty: Floats, wrong: Bools) -> tuple[Floats, Floats]:
    """The risk-coverage curve: judged are only the k surest images, k = 1 .. N.

    Args:
        uncertainty: (N,) higher is less sure.
        wrong: (N,) whether the image was judged wrongly.

    Returns:
        Coverage k / N and the error rate among those k, (N,) each. Images of the same uncertainty come in any order:
        the curve is the mean over all their orders. The mean of the error rates is the AURC.
    """
    n = len(wrong)
    order = np.argsort(uncertainty, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(uncertainty[order]) != 0, True)) + 1  # images up to the end of each tie
    mistakes = np.cumsum(wrong[order])[ends - 1]
    k = np.arange(1, n + 1)
    return k / n, np.interp(k, np.append(0, ends), np.append(0, mistakes)) / k


def entropy(probability: Floats) -> Floats:
    """Predictive entropy of (N, K) probabilities, (N,) in nats; 0 log 0 is 0."""
    logs = np.log(np.where(probability > 0, probability, 1.0))
    return np.asarray(-(probability * logs).sum(axis=1))


def _at_an_end(figure: Figure, trials: int) -> Figure:
    """A share of none or of all has resamples that hardly differ, which would claim certainty: Wilson's bound instead.

    An AURC of 0 is an error rate of 0, so that its bound is that of the error rate.
    """
    if figure.value is None or 1e-12 < figure.value < 1 - 1e-12:
        return figure
    low, high = stats.wilson(trials * round(figure.value), trials)
    end = "none" if figure.value < 0.5 else "all"
    return replace(figure, low=low, high=high, method=f"Wilson, effective n {trials} ({end} of them)")

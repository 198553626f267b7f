"""How good the predictions of a split are: every figure with its 95 % interval. Pure functions of columns."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zdd import decide, stats, weighted
from zdd.records import Columns, Task
from zdd.stats import Figure, Weights
from zdd.weighted import Statistic

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Wanted = dict[str, tuple[Statistic, Ints]]  # name -> what it is; (N,) the kind of each image in it, -1 for none


def figures(
    columns: Columns, task: Task, threshold: float | None, *, parts: list[str] | None = None, seed: int = 0
) -> dict[str, Figure]:
    """Every figure of a split, at the given threshold (chosen elsewhere, on validation images).

    Shares have Wilson's interval, all others the bootstrap's. A figure that does not exist has no value and a reason.

    Args:
        columns: Predictions and truth.
        task: Classes; 0 is the good one where `has_good`.
        threshold: Of the score; None where there is no good class.
        parts: (N,) the part that each image shows, "" for a part of its own; pictures of one part count together.
        seed: Of the bootstrap.

    Returns:
        accuracy, argmax_accuracy, balanced_accuracy, precision, recall, f1 (macro), defect_recall, false_alarm_rate,
        auroc, average_precision (defective against good), auroc_macro, average_precision_macro (one class against the
        rest), brier, ece, and precision/<class>, recall/<class>, f1/<class>.
    """
    part = numbered(parts)
    predicted = decide.verdict(columns, threshold)
    found = _shares(columns, task, predicted, threshold, part) | _others(columns, task, predicted, part, seed)
    order = ["accuracy", "argmax_accuracy", "balanced_accuracy", "precision", "recall", "f1"]
    order += ["defect_recall", "false_alarm_rate", "auroc", "average_precision", "auroc_macro"]
    order += ["average_precision_macro", "brier", "ece"]
    order += [f"{kind}/{name}" for name in task.classes for kind in ("precision", "recall", "f1")]
    return {name: found[name] for name in order}


def confusion(label: Ints, predicted: Ints, n_classes: int) -> Ints:
    """Counts (K, K): a row is a true class, a column what it was judged to be."""
    return np.bincount(label * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def numbered(parts: list[str] | None) -> Ints | None:
    """Parts as numbers, an image without one as a part of its own; None if no part has two images."""
    if not parts:
        return None
    named = [name or f"\0{i}" for i, name in enumerate(parts)]
    inverse = np.unique(named, return_inverse=True)[1]
    return inverse.astype(np.int64) if len(set(named)) < len(named) else None


def _shares(
    columns: Columns, task: Task, predicted: Ints, threshold: float | None, part: Ints | None
) -> dict[str, Figure]:
    label = columns.label
    everything = np.full(columns.n, True)

    def share(hit: NDArray[np.bool_], of: NDArray[np.bool_], reason: str) -> Figure:
        if not of.any():
            return Figure.missing(reason)
        return stats.share(hit[of], None if part is None else part[of])

    found = {
        "accuracy": share(predicted == label, everything, "no images"),
        "argmax_accuracy": Figure.missing("the method tells good from defective only")
        if columns.argmax is None
        else share(columns.argmax == label, everything, "no images"),
    }
    for k, name in enumerate(task.classes):
        found[f"recall/{name}"] = share(predicted == k, label == k, "no images of this class")
        found[f"precision/{name}"] = share(label == k, predicted == k, "no image was judged to be of this class")
    if not task.has_good or threshold is None:
        reason = "no good class" if not task.has_good else "no threshold"
        return found | {name: Figure.missing(reason) for name in ("defect_recall", "false_alarm_rate")}
    stopped = columns.score >= threshold
    found["defect_recall"] = share(stopped, label > 0, "no defective images")
    found["false_alarm_rate"] = share(stopped, label == 0, "no good images")
    return found


def _others(columns: Columns, task: Task, predicted: Ints, part: Ints | None, seed: int) -> dict[str, Figure]:
    """Everything that is not a share: the value, and the bootstrap's interval."""
    wanted, missing = _statistics(columns, task, predicted)
    if not wanted or columns.n == 0:
        return missing | {name: Figure.missing("no images") for name in wanted}
    return missing | bootstrapped(wanted, columns.label, part, seed=seed)


def bootstrapped(wanted: Wanted, label: Ints, part: Ints | None, *, seed: int) -> dict[str, Figure]:
    """Statistics with their intervals by bootstrap.

    Args:
        wanted: Name -> the statistic, and the kind of each image that it rests on (-1: on others).
        label: (N,) the classes that keep their sizes when images are resampled; N > 0.
        part: (N,) number of the part that each image shows, or None if every image shows its own.
        seed: Of the resampling.
    """

    def every(weights: Weights) -> dict[str, Floats]:
        return {name: statistic(weights) for name, (statistic, _) in wanted.items()}

    values = every(np.ones((1, len(label))))
    resampled = stats.bootstrap(every, label, part, seed=seed)
    unit = "parts" if part is not None else "images within each class"
    found = {}
    for name, (_, kind) in wanted.items():
        figure = _figure(name, float(values[name][0]), resampled[name], unit, int((kind >= 0).sum()))
        found[name] = _at_the_end(name, figure, kind, part)
    return found


def _figure(name: str, value: float, resampled: Floats, unit: str, n: int) -> Figure:
    method = f"bootstrap of {unit}, {stats.REPEATS} times, percentiles"
    found = stats.interval(resampled)
    if found is None:
        return Figure(value, None, None, f"{method}: no interval, the resamples do not differ", n)
    if name == "ece":  # a resample is calibrated worse than its sample, so the percentiles are mirrored at the value
        method = method.replace("percentiles", "basic")
        found = max(0.0, 2 * value - found[1]), min(1.0, 2 * value - found[0])
    return Figure(value, min(found[0], value), max(found[1], value), method, n)


def _at_the_end(name: str, figure: Figure, kind: Ints, part: Ints | None) -> Figure:
    """Without a single mistake every resample is perfect too, which would claim certainty: Wilson's bound instead.

    The mean over K kinds of images of shares with n_k trials each varies as one share with K^2 / sum(1 / n_k) trials.
    """
    if figure.low is not None or figure.value is None or name in ("brier", "ece") or figure.value < 1 - 1e-12:
        return figure
    kinds = [kind == value for value in np.unique(kind[kind >= 0])]
    trials = [int(of.sum()) if part is None else len(np.unique(part[of])) for of in kinds]
    effective = len(trials) ** 2 / sum(1 / n for n in trials)
    low, _ = stats.wilson(effective, effective)
    return replace(figure, low=low, high=1.0, method=f"Wilson, effective n {effective:.1f} (no mistake to resample)")


def _statistics(columns: Columns, task: Task, predicted: Ints) -> tuple[Wanted, dict[str, Figure]]:
    label, k = columns.label, task.n_classes
    there = [c for c in range(k) if (label == c).any()]
    macro = weighted.macro(label, predicted, k, there)
    wanted: Wanted = {name: (macro[name], label) for name in ("balanced_accuracy", "precision", "recall", "f1")}
    missing: dict[str, Figure] = {}
    for c, name in enumerate(task.classes):
        if c in there:
            wanted[f"f1/{name}"] = (weighted.f1(label == c, predicted == c), _kind(label, c, predicted))
        else:
            missing[f"f1/{name}"] = Figure.missing("no images of this class")
    defective = label > 0
    reason = "no good class" if not task.has_good else "no defective images" if not defective.any() else ""
    reason = reason or ("no good images" if defective.all() else "")
    for name, make in (("auroc", weighted.auroc), ("average_precision", weighted.average_precision)):
        if reason:
            missing[name] = Figure.missing(reason)
        else:
            wanted[name] = (make(columns.score, defective), defective.astype(np.int64))
    _of_probability(columns, k, there, wanted, missing)
    return wanted, missing


def _kind(label: Ints, c: int, predicted: Ints) -> Ints:
    """The images that a class's F1 rests on: those of the class and those taken for it."""
    return np.where((label == c) | (predicted == c), label, -1)


def _of_probability(columns: Columns, k: int, there: list[int], wanted: Wanted, missing: dict[str, Figure]) -> None:
    p, argmax = columns.probability, columns.argmax
    names = ("auroc_macro", "average_precision_macro")
    if p is None or argmax is None:
        missing |= {name: Figure.missing("the model gives no probabilities") for name in (*names, "brier", "ece")}
        return
    truth = np.eye(k)[columns.label]
    wanted["brier"] = (weighted.mean(((p - truth) ** 2).sum(axis=1) / 2), columns.label)
    wanted["ece"] = (weighted.ece(p.max(axis=1), argmax == columns.label), columns.label)
    if len(there) < 2:
        missing |= {name: Figure.missing("fewer than two classes have images") for name in names}
        return
    for name, make in zip(names, (weighted.auroc, weighted.average_precision), strict=True):
        each = [make(p[:, c], columns.label == c) for c in there]
        wanted[name] = (weighted.mean_of(each), columns.label)

"""The report's charts as SVG: the object interface of matplotlib, no display, no state."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from zdd import weighted
from zdd.report.canvas import DEFECT, GOOD, INK, SOFT, STYLE, WIDE, counts, new_axes, svg
from zdd.report.tested import Tested

POINTS = 400  # at most, on a curve

Floats = NDArray[np.float64]


def charts(tested: Tested) -> dict[str, str]:
    """Name -> SVG: the confusions always, the score's charts only where there are good and defective images."""
    drawn = {"confusion": confusion(tested.task.classes, tested.confusion)}
    if tested.columns.probability is not None:
        drawn["reliability"] = reliability(tested)
    defective = tested.columns.label > 0
    if tested.task.has_good and defective.any() and not defective.all():
        drawn |= {"scores": scores(tested), "shares": shares(tested), "roc": roc(tested), "pr": pr(tested)}
    return drawn


def scores(tested: Tested) -> str:
    """How the scores of good and of defective images are spread, and the threshold between."""
    score, defective = tested.columns.score, tested.columns.label > 0
    with mpl.rc_context(STYLE):
        axes = new_axes()
        edges = np.linspace(score.min(), max(score.max(), score.min() + 1e-9), 41).tolist()
        for of, colour, name in ((~defective, GOOD, "good"), (defective, DEFECT, "defective")):
            axes.hist(score[of], edges, color=colour, alpha=0.35, label=f"{name} ({of.sum()})")
            axes.hist(score[of], edges, color=colour, histtype="step", linewidth=1.4)
        counts(axes)
        axes.locator_params(axis="x", nbins=6)  # numbers of five digits would overlap
        _threshold(axes, tested)
        axes.set(xlabel="score (higher: more likely defective)", ylabel="images (logarithmic)")
        return svg(axes)


def shares(tested: Tested) -> str:
    """The share of defects missed and of good parts stopped, against the threshold."""
    good, bad = _split(tested)
    with mpl.rc_context(STYLE):
        axes = new_axes()
        span = max(np.ptp(tested.columns.score), 1e-9)
        ends = [tested.columns.score.min() - 0.03 * span, tested.columns.score.max() + 0.03 * span]
        at = np.unique(np.concatenate([np.linspace(ends[0], ends[1], POINTS), _thin(good), _thin(bad)]))
        missed = np.searchsorted(bad, at) / len(bad)
        alarms = 1 - np.searchsorted(good, at) / len(good)
        axes.plot(at, 100 * missed, color=DEFECT, label="defects missed", drawstyle="steps-pre")
        axes.plot(at, 100 * alarms, color=GOOD, label="good parts stopped", drawstyle="steps-pre", linestyle="--")
        _threshold(axes, tested)
        axes.set(xlabel="threshold", ylabel="share, %", ylim=(-2, 102))
        return svg(axes)


def roc(tested: Tested) -> str:
    """Defects caught against good parts stopped, for every threshold."""
    good, bad = _split(tested)
    at = np.concatenate([[np.inf], np.unique(tested.columns.score)[::-1]])
    caught, alarms = _at_or_above(bad, at), _at_or_above(good, at)
    with mpl.rc_context(STYLE):
        axes = new_axes()
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
        keep = _corners(alarms, caught)
        axes.plot(alarms[keep], caught[keep], color=INK)
        axes.set(xlabel="share of good parts stopped", ylabel="share of defects caught")
        if tested.threshold is not None:
            point = np.array([tested.threshold.value])
            _point(axes, _at_or_above(good, point).item(), _at_or_above(bad, point).item())
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03))
        return svg(axes)


def pr(tested: Tested) -> str:
    """Share of stopped parts that are defective, against defects caught."""
    good, bad = _split(tested)
    at = np.unique(tested.columns.score)[::-1]
    caught, precision = _at_or_above(bad, at), _precision(good, bad, at)
    with mpl.rc_context(STYLE):
        axes = new_axes()
        axes.step([0, *caught], [precision[0], *precision], color=INK, where="pre")  # the area is the average precision
        if tested.threshold is not None and tested.predicted.any():
            point = np.array([tested.threshold.value])
            _point(axes, _at_or_above(bad, point).item(), _precision(good, bad, point).item())
        axes.set(xlabel="share of defects caught (recall)", ylabel="share of stopped parts that are defective")
        axes.set(xlim=(-0.02, 1.03), ylim=(-0.02, 1.03))
        return svg(axes)


def reliability(tested: Tested) -> str:
    """Is a class given with 80 % right in 80 % of the cases? The bars below count the images."""
    columns = tested.columns
    assert columns.probability is not None
    confidence, right = columns.probability.max(axis=1), columns.argmax == columns.label
    bin_ = weighted.bins(confidence)
    count = np.bincount(bin_, minlength=weighted.BINS)
    some = count > 0
    mean = np.bincount(bin_, weights=confidence, minlength=weighted.BINS)[some] / count[some]
    rate = np.bincount(bin_, weights=right, minlength=weighted.BINS)[some] / count[some]
    with mpl.rc_context(STYLE):
        axes = new_axes()
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":", label="calibrated")
        middles = (np.arange(weighted.BINS) + 0.5) / weighted.BINS
        axes.bar(middles, 0.3 * count / count.max(), 0.9 / weighted.BINS, color="#D4DDE6", label="images (relative)")
        size = 18 + 120 * np.sqrt(count[some] / count.max())
        axes.scatter(mean, rate, s=size, color=GOOD, edgecolor="white", linewidth=0.8, zorder=3, label="share right")
        axes.set(xlabel="probability of the most probable class", ylabel="share that was right")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
        return svg(axes)


def confusion(classes: Sequence[str], counts: NDArray[np.int64]) -> str:
    """Counts (K, K) of true against given classes; the colour is the share of the true class."""
    with mpl.rc_context(STYLE):
        return svg(_confusion(classes, counts))


def confusion_axes(tested: Tested) -> Axes:
    """The same for TensorBoard, which takes the figure itself."""
    return _confusion(tested.task.classes, tested.confusion)


def _confusion(classes: Sequence[str], counts: NDArray[np.int64]) -> Axes:
    k = len(classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        side = min(9.0, max(3.5, 1.6 + 0.55 * k))
        axes = new_axes(max(WIDE, side + 1.0), side)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        names = [name if len(name) <= 22 else name[:21] + "…" for name in classes]
        axes.set_xticks(range(k), names, rotation=0 if k <= 2 else 40, ha="center" if k <= 2 else "right")
        axes.set_yticks(range(k), names)
        axes.set(xlabel="judged", ylabel="true")
        for i, j in np.argwhere(counts >= 0) if k <= 20 else np.argwhere(counts * (1 - np.eye(k)) > 0):
            ink = "white" if share[i, j] > 0.55 else INK if counts[i, j] else SOFT
            weight = "bold" if i != j and counts[i, j] else "normal"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=ink, fontsize=11, weight=weight)
    return axes


def training(rows: Sequence[dict[str, float]]) -> dict[str, str]:
    """Loss and accuracy over the epochs, for the rows of log/metrics.csv; the kept epoch is marked."""
    epoch = [row["epoch"] for row in rows]
    kept = max((row["epoch"] for row in rows if row.get("best")), default=None)
    drawn = {}
    by_pixel = any(np.isfinite(row.get("val/iou", np.nan)) for row in rows)
    quality = ("val/iou", "val/dice") if by_pixel else ("val/accuracy", "val/balanced_accuracy")
    wanted = {"loss": ("train/loss", "val/loss"), "quality": (*quality, "val/auroc")}
    for name, columns in wanted.items():
        there = [column for column in columns if any(np.isfinite(row.get(column, np.nan)) for row in rows)]
        if not there:
            continue
        with mpl.rc_context(STYLE):
            axes = new_axes()
            for column, colour, dash in zip(there, (DEFECT, GOOD, INK), ("-", "--", ":"), strict=False):
                values = [row.get(column, np.nan) for row in rows]
                label = column.replace("val/", "validation ").replace("train/", "training ").replace("_", " ")
                axes.plot(epoch, values, dash, color=colour, marker="." if len(rows) < 30 else "", label=label)
            if kept is not None:
                axes.axvline(kept, color=SOFT, linestyle=":", label=f"kept: epoch {kept:g}")
            axes.set(xlabel="epoch", ylabel=name if name == "loss" else "share")
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
            drawn[name] = svg(axes)
    return drawn


def forest(points: dict[str, list[tuple[float, float, float] | None]]) -> str:
    """Figure -> value, low and high of each run: one line a run, one below the other."""
    n = max(len(row) for row in points.values())
    with mpl.rc_context(STYLE):
        axes = new_axes(9.0, 0.8 + 0.32 * len(points) * n**0.7)
        for k, row in enumerate(points.values()):
            for i, point in enumerate(row):
                at = -k - (i - (n - 1) / 2) * 0.7 / n
                if point is not None:
                    axes.plot(point[1:], [at, at], color=SOFT, linewidth=2)
                    axes.plot(point[0], at, "o", color=GOOD, markersize=5)
            axes.axhline(-k - 0.5, color="#E3E8ED", linewidth=1)
        axes.set_yticks([-k for k in range(len(points))], list(points))
        axes.set_ylim(-len(points) + 0.5, 0.5)
        axes.grid(visible=False, axis="y")
        return svg(axes)


def _threshold(axes: Axes, tested: Tested) -> None:
    if tested.threshold is not None:
        value = tested.threshold.value
        axes.axvline(value, color=INK, linewidth=1.3, linestyle="-.", label=f"threshold {value:.3g}")


def _point(axes: Axes, x: float, y: float) -> None:
    axes.plot(x, y, "o", color=DEFECT, markersize=8, label="at the stored threshold", clip_on=False)


def _split(tested: Tested) -> tuple[Floats, Floats]:
    """Sorted scores of good and of defective images."""
    score, defective = tested.columns.score, tested.columns.label > 0
    return np.sort(score[~defective]), np.sort(score[defective])


def _at_or_above(values: Floats, at: Floats) -> Floats:
    return 1 - np.searchsorted(values, at) / len(values)


def _precision(good: Floats, bad: Floats, at: Floats) -> Floats:
    caught, stopped = _at_or_above(bad, at) * len(bad), _at_or_above(good, at) * len(good)
    return np.asarray(caught / np.maximum(caught + stopped, 1e-12))


def _thin(values: Floats) -> Floats:
    return np.quantile(values, np.linspace(0, 1, POINTS)) if len(values) > POINTS else values


def _corners(x: Floats, y: Floats) -> NDArray[np.int64]:
    """Points of a staircase that turn, so that a curve of 100,000 images stays small."""
    dx, dy = np.diff(x, prepend=-1), np.diff(y, prepend=-1)
    turn = (np.roll(dx, -1) != dx) | (np.roll(dy, -1) != dy)
    turn[[0, -1]] = True
    return np.flatnonzero(turn)

"""The plots of a suite: the mean over the runs with a band of their deviation, epoch by epoch, cell beside cell."""

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from zdd import files
from zdd.report.canvas import DEFECT, GOOD, INK, SOFT, STYLE
from zdd.suite.parts import Part
from zdd.suite.results import Epochs, Result

COLOURS = (GOOD, DEFECT, "#117733", "#882255", "#999933", INK, "#44AA99", "#CC6677")  # told apart without colour vision
DASHES = ("-", "--", "-.", ":")
DOTS_PER_INCH = 150
ACROSS = 3  # panels in a row
HIGH, WIDE = 2.9, 4.3  # inches of a panel
LEGEND = 2.4  # and of the legend beside them
STEEP = 20.0  # a mean that is so many times the median of all stands on a logarithmic axis, else it flattens the others

Floats = NDArray[np.float64]


def draw(path: Path, part: Part, results: Sequence[Result], figure: str) -> bool:
    """Write a figure of the epochs as PNG: a panel for each value of the first axis, a line for each cell.

    Args:
        path: Of the file.
        part: What is drawn.
        results: Its cells, in order.
        figure: A column of log/metrics.csv, such as "val/loss".

    Returns:
        Whether there was anything to draw.
    """
    panels = _panels([result for result in results if _curves(result.epochs, figure).size])
    if not panels:
        return False
    steep = _steep([band(_curves(result.epochs, figure))[0] for shown in panels.values() for _, result in shown])
    across = len(panels) if len(panels) <= ACROSS else math.ceil(math.sqrt(len(panels)))
    down = math.ceil(len(panels) / across)
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(WIDE * across + 0.4, HIGH * down + 0.5), layout="constrained")
        grid = canvas.subplots(down, across, squeeze=False, sharey=True)
        for axes, (title, shown) in zip(grid.flat, panels.items(), strict=False):
            _panel(axes, title, shown, figure, steep=steep)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(_named(figure))
        _legends(canvas, list(grid.flat[: len(panels)]))
        what = f"{_named(figure)}, mean and standard deviation over the runs (their number)"
        canvas.suptitle("\n".join(textwrap.wrap(f"{part.name}: {what}", 52 * across)), x=0.01, ha="left")
        with files.replacing(path) as temporary:
            canvas.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return True


def band(curves: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, and mean less and plus the standard deviation, of the runs that are still there at each epoch.

    Args:
        curves: (R, E), NaN where a run has no such epoch.

    Returns:
        Three times (E,), NaN where no run is left; where one is, the band has no width.
    """
    count = np.isfinite(curves).sum(0)
    mean = np.where(count > 0, np.nansum(curves, 0) / np.maximum(count, 1), np.nan)
    squares = np.nansum((curves - mean) ** 2, 0)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1)) * (count > 1)
    return mean, mean - deviation, mean + deviation


def _curves(epochs: Sequence[Epochs], figure: str) -> Floats:
    """(R, E): the figure of each run at each epoch, NaN where a run ended before; (0, 0) where no run has it."""
    runs = [[row.get(figure, math.nan) for row in run] for run in epochs]
    whole = np.full((len(runs), max((len(run) for run in runs), default=0)), np.nan)
    for number, run in enumerate(runs):
        whole[number, : len(run)] = run
    return whole if np.isfinite(whole).any() else np.empty((0, 0))


def _panels(results: Sequence[Result]) -> dict[str, list[tuple[str, Result]]]:
    """Title of a panel -> its lines: label and cell. Where there is one axis, there is one panel."""
    panels: dict[str, list[tuple[str, Result]]] = {}
    for result in results:
        values = list(result.cell.values.values())
        first = next(iter(result.cell.values), "")
        title = "" if len(values) < 2 else values[0] if re.search("[A-Za-z]", values[0]) else f"{first} {values[0]}"
        label = ", ".join(values[1:] or values)
        panels.setdefault(title, []).append((label, result))
    return panels


def _steep(means: Sequence[Floats]) -> bool:
    """Whether one network leaves the others in a flat line, as one that diverges for an epoch does to a loss."""
    values = np.concatenate(means)
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() > 0 and values.max() > STEEP * np.median(values))


def _legends(canvas: Canvas, panels: Sequence[Axes]) -> None:
    """One legend beside the panels where all have the same lines, for inside it would cover some of them."""
    entries = [axes.get_legend_handles_labels() for axes in panels]
    if all(labels == entries[0][1] for _, labels in entries):
        canvas.set_figwidth(canvas.get_figwidth() + LEGEND)
        canvas.legend(*entries[0], loc="outside right upper", fontsize=7.5, labelcolor=INK)
        return
    for axes in panels:
        axes.legend(loc="best", fontsize=7.5, labelcolor=INK, framealpha=0.6)


def _panel(axes: Axes, title: str, shown: Sequence[tuple[str, Result]], figure: str, *, steep: bool) -> None:
    for number, (called, result) in enumerate(shown):
        curves = _curves(result.epochs, figure)
        mean, low, high = band(curves)
        low = np.maximum(low, mean / 10) if steep else low
        epoch = np.arange(1, len(mean) + 1)
        colour = COLOURS[number % len(COLOURS)]
        whole = np.isfinite(curves).all(0)
        n_runs = len(result.epochs)
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        dot = "o" if len(mean) < 2 else ""  # a line through a single epoch is not to be seen
        axes.fill_between(epoch[whole], low[whole], high[whole], color=colour, alpha=0.16, linewidth=0)
        label = f"{called} ({n_runs})"
        axes.plot(epoch[whole], mean[whole], dash, color=colour, label=label, linewidth=1.7, marker=dot)
        if not whole.all():  # runs that ended early are no longer in the mean
            axes.plot(epoch[~whole], mean[~whole], ":", color=colour, linewidth=1)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.margins(y=0.06)  # the limits are the band's own: nothing is cut off
    if steep:
        axes.set_yscale("log")
    axes.tick_params(colors=SOFT)


def _named(figure: str) -> str:
    return (
        figure.replace("val/", "validation ").replace("train/", "training ").replace("_", " ").replace("auroc", "AUROC")
    )

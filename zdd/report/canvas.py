"""What every chart of a report is drawn on: colours, style, axes without display or state, SVG."""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

GOOD, DEFECT, INK, SOFT = "#0B6FB8", "#D55E00", "#1B2733", "#8A97A5"  # told apart without colour vision too
STYLE: Any = {
    "font.size": 10, "axes.edgecolor": SOFT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#E3E8ED", "axes.axisbelow": True, "axes.titlesize": 11, "axes.titlelocation": "left",
    "legend.framealpha": 0.92, "legend.edgecolor": "none", "svg.fonttype": "path", "svg.hashsalt": "zdd",
    "font.family": "DejaVu Sans",
}  # fmt: skip
WIDE, HIGH = 5.2, 3.5  # inches
LONG = 9  # entries of a legend


def new_axes(width: float = WIDE, height: float = HIGH) -> Axes:
    """Empty axes of so many inches; call it, draw and `svg` within `rc_context(STYLE)`."""
    return Canvas(figsize=(width, height), layout="constrained").add_subplot()


def by_factors(axes: Axes) -> None:
    """Make the x-axis logarithmic, with plain numbers at 1, 2 and 5 of each power of ten: more would overlap.

    Call it last: it reaches from one of these numbers to another, so that what was drawn lies between two of them.
    """
    axes.set_xscale("log")
    _plain(axes.xaxis)
    low, high = np.array(axes.dataLim.intervalx) * (0.95, 1.05)
    if low <= high:  # something was drawn
        powers = np.arange(np.floor(np.log10(low)), np.floor(np.log10(high)) + 2)
        numbers = np.outer(10.0**powers, (1, 2, 5)).ravel()
        on = numbers[np.searchsorted(numbers, low, "right") - 1 : np.searchsorted(numbers, high) + 1]
        axes.set_xticks(on)
        axes.set_xlim(on[0], on[-1])


def counts(axes: Axes) -> None:
    """Make the y-axis that of counts from one on: logarithmic, with plain numbers at 1, 2 and 5."""
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    _plain(axes.yaxis)


def _plain(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def add_legend(axes: Axes) -> None:
    """A legend where something has a label; one that is long stands beside the drawing, which it would cover."""
    entries = len(axes.get_legend_handles_labels()[0])
    if entries > LONG:
        assert isinstance(axes.figure, Canvas)
        axes.figure.set_figwidth(axes.figure.get_figwidth() + 2.6)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    elif entries:
        axes.legend(loc="best", fontsize=9)


def svg(axes: Axes) -> str:
    """The drawing as SVG, with a legend where something has a label; the same every time."""
    add_legend(axes)
    buffer = io.StringIO()
    assert isinstance(axes.figure, Canvas)
    if (layout := axes.figure.get_layout_engine()) is not None:
        layout.execute(axes.figure)
        axes.figure.set_layout_engine(None)  # else all would be drawn twice, once for the layout alone
    axes.figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()

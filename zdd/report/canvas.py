"""What every chart of a report is drawn on: colours, style, axes without display or state, SVG."""

import io
from typing import Any, Literal

from matplotlib.axes import Axes
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


def by_factors(axes: Axes, which: Literal["x", "y"] = "x") -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 of each power of ten: more would overlap."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
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

"""Accuracy beside speed: the table and the plot of a benchmark."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from zdd import files
from zdd.bench import pareto
from zdd.report import style
from zdd.report.canvas import DEFECT, GOOD, INK, SOFT, STYLE, add_legend, by_factors, new_axes, svg
from zdd.report.words import percent
from zdd.rundir import RunDir

Row = dict[str, Any]
DOTS_PER_INCH = 150
COLOURS = (GOOD, DEFECT, "#117733", "#882255", "#999933", "#88CCEE", "#44AA99", "#CC6677")  # of the runs
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")  # of the engines
HEAD = [
    "Engine", "Judged rightly", "Median", "p99", "p99.9", "Slowest", "Model alone", "Images/s", "Cold start",
    "Memory", "File", "On the front",
]  # fmt: skip
BELOW = ["", "of all images", *["ms"] * 5, "", "s", "MiB", "MB"]  # so short that no column is out of sight


def marked(rows: list[Row]) -> list[Row]:
    """The rows with `pareto`: of the same test images, no other is at least as fast to a verdict and as accurate."""
    best = set()
    for on in _by_images(rows):
        front = pareto([_ms(row) for row in on], [_right(row) for row in on])
        best |= {row["title"] for row, beats in zip(on, front, strict=True) if beats}
    return [row | {"pareto": row["title"] in best} for row in rows]


def draw(path: Path, result: dict[str, Any]) -> None:
    """Write the plot as PNG."""
    with mpl.rc_context(STYLE):
        axes = _axes(result["rows"])
        assert isinstance(axes.figure, Canvas)
        add_legend(axes)
        with files.replacing(path) as temporary:
            axes.figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def section(run: RunDir) -> str:
    """The report's section; nothing where no benchmark was run."""
    if not run.benchmark.is_file():
        return ""
    result = files.read_json(run.benchmark)
    with mpl.rc_context(STYLE):
        plot = svg(_axes(result["rows"]))
    caption = (
        "Each engine's median time from a file on disk to a verdict, and the share of test images judged rightly (mean "
        "of the classes); a difference of a few images means nothing."
    )
    timed = [row for row in result["rows"] if not row["error"]]
    shown = None if len(timed) > 1 else -1  # columns: what is alone has nothing to beat
    if len(timed) > 1:
        caption += " On the line are the engines that no other beats in both."
    machine = result["machine"]
    where = f"{machine['processor']}, threads: {machine['threads']}, {machine['started_at'][:16].replace('T', ' ')}"
    body, numbers = [cells(row)[:shown] for row in timed], range(1, len(HEAD) - 1)
    table = style.table(HEAD[:shown], body, numbers=numbers, raw=(1,), below=BELOW[:shown])
    return (
        f"<h2>Speed</h2><p class=sub>{style.escape(where)}</p>{style.caution(result['messages'])}"
        + table
        + style.chart("Accuracy beside speed", plot, caption)
    )


def cells(row: Row) -> list[str]:
    """A row's figures as texts, as in HEAD; the second is HTML."""
    whole, cold, right = row["end_to_end"], row.get("cold") or {}, row["accuracy"]
    alone = next(iter(row["model"].values()), None)
    most = max((each["images_per_s"] for each in row["model"].values()), default=None)
    times = [whole[key] for key in ("p50_ms", "p99_ms", "p99_9_ms", "max_ms")]
    rest = [cold.get("cold_start_s"), cold.get("peak_mib")]
    return [
        row["title"],
        f"{percent(right['accuracy'])}<br><small>{' to '.join(map(percent, right['interval']))}</small>",
        *(f"{value:.2f}" for value in times),
        "" if alone is None else f"{alone['p50_ms']:.2f}",
        "" if most is None else f"{most:.0f}",
        "" if rest[0] is None else f"{rest[0]:.2f}",
        "" if rest[1] is None else f"{rest[1]:.0f}",
        f"{row['file_mb']:.1f}",
        "yes" if row["pareto"] else "",
    ]


def _axes(rows: list[Row]) -> Axes:
    axes, on = new_axes(7.2, 4.6), _shown(rows)
    runs, engines = (list(dict.fromkeys(row[key] for row in on)) for key in ("run", "engine"))
    for row in on:
        colour = COLOURS[runs.index(row["run"]) % len(COLOURS)]
        mark = MARKS[engines.index(row["engine"]) % len(MARKS)]
        front = len(on) > 1 and row.get("pareto")
        edge, above = (INK, 4) if front else ("white", 3)
        axes.scatter(
            _ms(row), 100 * _right(row), s=80, c=colour, marker=mark, edgecolors=edge, linewidths=1.4, zorder=above
        )
    _name(axes, on, runs, engines)
    if len(on) > 1:
        _fronts(axes, rows)
    if on:
        right = [100 * _right(row) for row in on]
        margin = max(1.5, 0.06 * (max(right) - min(right)))  # no mark is cut off
        low = min(right) - margin
        high = min(max(right) + margin, 100 + 0.06 * (100 - low))  # room above 100 %, no figure
        axes.set_yticks([tick for tick in MaxNLocator(steps=[1, 2, 5, 10]).tick_values(low, high) if 0 <= tick <= 100])
        axes.set_ylim(low, high)
    by_factors(axes)
    axes.set(
        xlabel="ms from file to verdict, median (logarithmic)", ylabel="test images judged rightly, mean of classes, %"
    )
    return axes


def _fronts(axes: Axes, rows: list[Row]) -> None:
    line: Any = {"color": INK, "linestyle": "--", "linewidth": 1}
    for on in _by_images(rows):
        axes.plot(*zip(*sorted((_ms(row), 100 * _right(row)) for row in on if row.get("pareto")), strict=True), **line)
    edge: Any = {"markerfacecolor": "none", "markersize": 8, "markeredgewidth": 1.4}
    axes.plot([], [], marker="o", label="front: nothing beats these", **line, **edge)


def _name(axes: Axes, on: list[Row], runs: list[str], engines: list[str]) -> None:
    """What the colours and marks stand for: each row's title, or, of many rows, runs and engines apart."""
    if len(on) <= len(runs) + len(engines):
        for row in on:
            colour = COLOURS[runs.index(row["run"]) % len(COLOURS)]
            mark = MARKS[engines.index(row["engine"]) % len(MARKS)]
            axes.plot([], [], mark, color=colour, label=row["title"])
        return
    for number, run in enumerate(runs):
        axes.plot([], [], "s", color=COLOURS[number % len(COLOURS)], label=run)
    for number, engine in enumerate(engines):
        axes.plot([], [], MARKS[number % len(MARKS)], color=SOFT, label=engine)


def _shown(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row["error"] and not row["end_to_end"]["fault"]]


def _by_images(rows: list[Row]) -> list[list[Row]]:
    shown = _shown(rows)
    hashes = dict.fromkeys(row["test_hash"] for row in shown)
    return [[row for row in shown if row["test_hash"] == one] for one in hashes]


def _ms(row: Row) -> float:
    return float(row["end_to_end"]["p50_ms"])


def _right(row: Row) -> float:
    return float(row["accuracy"]["balanced_accuracy"])

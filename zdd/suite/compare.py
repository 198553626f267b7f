"""Accuracy against what it costs: parameters, GFLOPs and latency, with the front that nothing beats."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from zdd import files, stats
from zdd.bench import pareto
from zdd.errors import ZddError
from zdd.models.table import cost
from zdd.report.canvas import INK, STYLE, by_factors
from zdd.rundir import RunDir
from zdd.suite.parts import Part
from zdd.suite.plots import COLOURS, DOTS_PER_INCH
from zdd.suite.results import Cost, Result
from zdd.suite.table import less_is_better, words
from zdd.trained import load_trained

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
FEWEST = 3  # different costs that make a comparison
APART = 1.05
TITLES = {
    "parameters": "parameters, millions",
    "gflops": "GFLOP an image (2 x multiply-add)",
    "latency_ms": "ms from file to verdict, median",
}


def costs(results: Sequence[Result]) -> dict[str, Cost]:
    """What the network of each cell costs, by the cell's name; a cell without a run is left out."""
    found = {}
    for result in results:
        if result.runs:
            try:
                found[result.name] = _cost(result.runs[0])
            except (ZddError, RuntimeError):
                continue  # what can't be counted is not compared
    return found


def _cost(run: RunDir) -> Cost:
    trained = load_trained(run)
    parameters, gflops = cost(trained.model.net, trained.task.image_size)
    return Cost(parameters / 1e6, gflops, _latency(run))


def _latency(run: RunDir) -> float | None:
    """As `zdd benchmark` measured it, of torch."""
    if not run.benchmark.is_file():
        return None
    rows = files.read_json(run.benchmark)["rows"]
    # By the last parts: a benchmark may have been run from another folder.
    here = [row for row in rows if Path(row["path"]).parts[-3:] == run.path.parts[-3:]]
    mine = [row for row in here if row["engine"] == "eager" and not row["error"]]
    return float(mine[0]["end_to_end"]["p50_ms"]) if mine else None


def front(values: Sequence[tuple[float, float]], *, lower: bool = False) -> list[bool]:
    """Which of (cost, figure) no other beats; `lower`: the smaller figure is the better one."""
    return pareto([value for value, _ in values], [-gain if lower else gain for _, gain in values])


def draw(path: Path, part: Part, results: Sequence[Result], known: dict[str, Cost]) -> bool:
    """Write the figure against each cost as PNG, the front marked; whether there was anything to compare."""
    shown = [one for one in results if one.name in known and one.values["test"].get(part.figures[0])]
    spent = {kind: {getattr(known[one.name], kind) for one in shown} for kind in TITLES}
    kinds = [kind for kind, values in spent.items() if None not in values and len(values) >= FEWEST]
    if not kinds or len({one.images["test"] for one in shown}) > 1:
        return False  # other test images: not to be compared
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(3.9 * len(kinds) + 2.4, 4.0), layout="constrained")
        panels = canvas.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
        for axes, kind in zip(panels, kinds, strict=True):
            _panel(axes, part, shown, [getattr(known[one.name], kind) for one in shown])
            axes.set_xlabel(TITLES[kind])
        panels[0].set_ylabel(f"{words(part.figures[0])} on test images, mean and sd")
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside right center", fontsize=8)
        with files.replacing(path) as temporary:
            canvas.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return True


def _panel(axes: Axes, part: Part, shown: Sequence[Result], at: list[float]) -> None:
    figure = part.figures[0]
    spread = [stats.student(np.array(one.values["test"][figure])) for one in shown]
    first = [next(iter(one.cell.values.values()), one.name) for one in shown]
    groups = list(dict.fromkeys(first))
    rest = [", ".join(list(one.cell.values.values())[1:]) for one in shown]
    kinds = list(dict.fromkeys(rest))
    best = front([(x, mean) for x, (mean, *_) in zip(at, spread, strict=True)], lower=less_is_better(figure))
    for number, (mean, sd, _, _) in enumerate(spread):
        x = at[number] * APART ** at[:number].count(at[number])  # those that cost the same stand side by side
        colour = COLOURS[groups.index(first[number]) % len(COLOURS)]
        mark = MARKS[kinds.index(rest[number]) % len(MARKS)]
        if sd is not None:
            axes.errorbar(x, mean, yerr=sd, color=colour, linewidth=1, capsize=2, zorder=2)
        edge = INK if best[number] else "white"
        label = ", ".join(shown[number].cell.values.values())
        axes.plot(x, mean, mark, color=colour, markersize=8, markeredgecolor=edge, markeredgewidth=1.4, label=label)
    points = sorted((x, mean) for x, (mean, *_), on in zip(at, spread, best, strict=True) if on)
    axes.plot(*zip(*points, strict=True), "--", color=INK, linewidth=1, zorder=1, label="front: nothing beats these")
    by_factors(axes)

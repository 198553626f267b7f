"""What people see of a command's result, on standard error: programs have the last line of standard output."""

import sys
from pathlib import Path
from typing import Any

from zdd import files

WIDTH = 160  # columns of a table that goes into a file


def summary(path: Path, section: str) -> None:
    """The means of a group's summary.json; the figures of single classes stand in summary.md and in the report."""
    figures = {name: row for name, row in files.read_json(path)[section].items() if _shown(name)}
    rows = [
        [name, str(row["n"]), f"{row['mean']:.4f}", *(("", "") if row["sd"] is None else _spread(row))]
        for name, row in figures.items()
    ]
    kind = "validation" if section == "val" else section
    show([f"{kind} figure", "runs", "mean", "sd", "95 % interval over seeds"], rows)


def _spread(row: dict[str, float]) -> tuple[str, str]:
    return f"{row['sd']:.4f}", _between(row)


def _between(row: dict[str, float]) -> str:
    return f"{row['low']:.4f} to {row['high']:.4f}"


def _shown(name: str) -> bool:
    """All but the figures of single classes and of single kinds of unknown images."""
    return "/" not in name or (name.startswith("ood_") and name.count("/") == 1)


def run(path: Path) -> None:
    """The test figures of one run, from its metrics.json."""
    figures = {name: row for name, row in files.read_json(path)["test"].items() if _shown(name)}
    known = {name: row for name, row in figures.items() if row["value"] is not None}
    rows = [
        [name, str(row["n"]), f"{row['value']:.4f}", "" if row["low"] is None else _between(row), row["method"]]
        for name, row in known.items()
    ]
    show(["test figure", "images", "value", "95 % interval", "by"], rows)


def ranking(run: str, scores: dict[str, Any]) -> None:
    """The explainers of one run's scores.json, the best first, and what to take."""
    places = {row["variant"]: row for row in scores["ranking"]}
    names = [*places, *(name for name in scores["variants"] if name not in places)]
    figures = ("pointing_game", "energy_inside", "iou", "insertion", "deletion", "infidelity")
    rows = []
    for name in names:
        place, sane = places.get(name), scores["sanity"].get(name)
        values = [scores["variants"][name].get(figure, {}).get("value") for figure in figures]
        doubt = "" if sane is None or sane["depends"] else "does not depend on the weights"
        mean = "" if place is None else f"{place['mean_rank']:.1f}"
        rows.append([name, mean, *("" if value is None else f"{value:.3f}" for value in values), doubt])
    show([run, "mean rank", *figures, ""], rows)
    for line in [*scores["messages"].values(), *((scores["shortcut"] or {}).get("flags") or [])]:
        say(line)
    say(f"take {scores['best']}: {scores['reason']}" if scores["best"] else f"take none: {scores['reason']}")


def say(line: str) -> None:
    """A line for people, on standard error."""
    print(line, file=sys.stderr)


def show(columns: list[str], rows: list[list[str]]) -> None:
    """A table for people, on standard error."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in columns), box=None)
    for row in rows:
        table.add_row(*row)
    width = None if sys.stderr.isatty() else WIDTH
    Console(stderr=True, highlight=False, markup=False, width=width).print(table)

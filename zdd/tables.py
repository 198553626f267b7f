"""What people see of a command's result, on standard error: programs have the last line of standard output."""

import sys
from pathlib import Path
from typing import Any

from zdd import files

WIDTH = 160  # columns of a table that goes into a file
FRONT = "front: no other engine is both as fast from file to verdict and judges as many images rightly"


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


def speed(result: dict[str, Any]) -> None:
    """The engines of a benchmark: from file to verdict, the model alone, what else they cost, and what to know."""
    rows = [row for row in result["rows"] if not row["error"]]
    takt = "" if result["takt_ms"] is None else f"over {result['takt_ms']:g} ms"
    head = [
        "file to verdict, ms",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "x eager",
        "images/s",
        takt,
        "judged rightly",
        "",
    ]
    several = len(rows) > 1  # what is alone has nothing to beat
    show(head, [_line(row | {"pareto": several and row["pareto"]}, row["end_to_end"], row["title"]) for row in rows])
    batches = [
        (row, batch, one) for batch in map(str, result["batches"]) for row in rows if (one := row["model"].get(batch))
    ]
    named = [_line({}, one, f"{row['title']}, batch {batch}") for row, batch, one in batches]
    show(["model alone, ms a call", *head[1:8]], [cells[:8] for cells in named])
    cost = [[row["title"], *_costs(row)] for row in rows]
    show(["", "cold start, s", "load, s", "memory, MiB", "file, MB", "parameters, millions", "GFLOP an image"], cost)
    front = [FRONT] if several and any(row["pareto"] for row in rows) else []
    for line in [*front, *result["messages"], *(f"plot: {path}" for path in result["plots"])]:
        say(line)


def _line(row: dict[str, Any], one: dict[str, Any], name: str) -> list[str]:
    if one["fault"]:
        return [name, *[""] * 9, one["fault"]]
    times = [_number(one[key]) for key in ("p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms", "times_eager")]
    right, late = row.get("accuracy", {}).get("balanced_accuracy"), one.get("late_share")
    notes = [*(["front"] if row.get("pareto") else []), *([] if one["stable"] else ["unstable"])]
    shares = ["" if share is None else f"{share:.2%}" for share in (late, right)]
    return [name, *times, f"{one['images_per_s']:.0f}", *shares, ", ".join(notes)]


def _costs(row: dict[str, Any]) -> list[str]:
    cold = row.get("cold") or {}
    fresh = [_number(cold.get(key)) for key in ("cold_start_s", "load_s", "peak_mib")]
    return [*fresh, f"{row['file_mb']:.1f}", f"{row['parameters'] / 1e6:.2f}", f"{row['gflops']:.2f}"]


def likeness(result: dict[str, Any]) -> None:
    """How like the real images synthetic ones are, class by class, and whether they repeat them."""
    say(f"by {result['network']}")
    names = ("n_synthetic", "n_train", "kid", "kid_held_out", "fid", "fid_held_out")
    rows = [[name, *(_number(row[key]) for key in names)] for name, row in result["classes"].items()]
    if rows:
        show(["class", "synthetic", "training", "KID", "of held-out", "FID", "of held-out"], rows)
    found = result["memorisation"]
    say(
        f"nearest training image, in medians of {result['held_out']}: least {_number(found['distance_least'])}, "
        f"median {_number(found['distance_median'])}; copies {found['n_same']}, near copies {found['n_near']}"
    )
    for line in result["alarms"]:
        say(f"ALARM: {line}")
    say(f"look at {result['picture']}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


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

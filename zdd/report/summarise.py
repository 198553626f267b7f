"""Every figure over the runs of a group: n, mean, standard deviation and Student's 95 % interval of the mean."""

import math
from typing import Any

import numpy as np

from zdd import files, stats
from zdd.rundir import Group, RunDir

SECTIONS = {
    "val": (0, 1),
    "test": (0, 1),
    "training": (0, math.inf),
    "threshold": (-math.inf, math.inf),
}  # possible values
LARGER = {"_percent": 100.0, "_per_good_image": math.inf}  # by a figure's last word: how large it can be, if not 1
EXPLAINED = (
    "Mean over the runs, each with another seed, with Student's 95 % interval of the mean: what another seed would "
    "change. The images are the same in every run, so this is not how sure a run's figure is of new images; that "
    "interval stands in each run's report."
)


def summarise(group: Group) -> dict[str, Any]:
    """Write summary.json and summary.md over the finished runs of a group.

    Returns:
        What summary.json holds: `n_runs`, `runs`, and for `val`, `test`, `training` and `threshold` every figure's
        n, mean, sd, low, high (the last three None for a single run) and the runs' values in order (None where a run
        has no such figure; those do not count).
    """
    runs = group.finished
    measured = [files.read_json(run.metrics) for run in runs]
    summary: dict[str, Any] = {"group": str(group.path), "n_runs": len(runs), "runs": [run.path.name for run in runs]}
    for section, limits in SECTIONS.items():
        values = [_numbers(metrics.get(section) or {}) for metrics in measured]
        names = dict.fromkeys(name for row in values for name in row if section != "threshold" or name == "value")
        summary[section] = {name: _over_runs([row.get(name) for row in values], _at(name, limits)) for name in names}
    files.write_json(group.summary, summary)
    files.write_text(group.summary_text, _text(group, runs, summary))
    return summary


def _numbers(section: dict[str, Any]) -> dict[str, float]:
    """Names to finite numbers, of figures ({"value": ...}) or of plain numbers."""
    plain = {name: value["value"] if isinstance(value, dict) else value for name, value in section.items()}
    return {name: value for name, value in plain.items() if _number(value)}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _at(name: str, limits: tuple[float, float]) -> tuple[float, float]:
    high = next((high for end, high in LARGER.items() if name.endswith(end)), limits[1])
    return limits[0], max(limits[1], high)


def _over_runs(values: list[float | None], limits: tuple[float, float]) -> dict[str, Any]:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    mean, deviation, low, high = stats.student(known)
    if low is not None and high is not None:
        low, high = max(limits[0], low), min(limits[1], high)
    return {"n": len(known), "mean": mean, "sd": deviation, "low": low, "high": high, "values": values}


def _text(group: Group, runs: list[RunDir], summary: dict[str, Any]) -> str:
    lines = [f"# {group.path.parent.name}, {group.path.name}: {len(runs)} runs", "", EXPLAINED]
    for section, title in (("test", "Test"), ("val", "Validation"), ("training", "Training")):
        if summary[section]:
            lines += ["", f"## {title}", "", f"| figure | n | mean | sd | 95 % interval | {_runs(runs)} |"]
            lines += ["|---|---|---|---|---|" + "---|" * len(runs)]
            lines += [_row(name, row) for name, row in summary[section].items()]
    return "\n".join(lines) + "\n"


def _runs(runs: list[RunDir]) -> str:
    return " | ".join(run.path.name for run in runs)


def _row(name: str, row: dict[str, Any]) -> str:
    interval = "one run, no interval" if row["low"] is None else f"{row['low']:.4g} to {row['high']:.4g}"
    deviation = "" if row["sd"] is None else f"{row['sd']:.4g}"
    values = " | ".join("" if value is None else f"{value:.4g}" for value in row["values"])
    return f"| {name.replace('|', '/')} | {row['n']} | {row['mean']:.4g} | {deviation} | {interval} | {values} |"

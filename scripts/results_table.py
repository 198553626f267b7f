"""The tables of docs/results.md from tested groups of runs, and how many images they were tested on.

python scripts/results_table.py runs/casting_mobilenet/latest runs/casting_luna/latest
"""

import json
import sys
from pathlib import Path

from zdd import files
from zdd.rundir import Group, find

FIGURES = {
    "argmax_accuracy": "accuracy (most probable class)",
    "accuracy": "accuracy (verdict)",
    "defect_recall": "defects caught",
    "false_alarm_rate": "good parts stopped",
    "auroc": "AUROC",
    "auroc_macro": "AUROC (one against the rest)",
}


def row(group: Group) -> str:
    summary = files.read_json(group.summary)
    tested = summary["test"]
    n = files.read_json(group.finished[0].metrics)["test"]["accuracy"]["n"]
    cells = [group.path.parent.name, str(summary["n_runs"]), str(n)]
    for name in FIGURES:
        figure = tested.get(name)
        if figure is None:
            cells.append("")
        elif figure["sd"] is None:
            cells.append(f"{figure['mean']:.4f}")
        else:
            cells.append(f"{figure['mean']:.4f} ± {figure['sd']:.4f} ({figure['low']:.3f} to {figure['high']:.3f})")
    minutes = summary["training"]["took_s"]["mean"] / 60
    return f"| {' | '.join([*cells, f'{minutes:.1f}'])} |"


def main() -> None:
    groups = [group for name in sys.argv[1:] if isinstance(group := find(Path(name)), Group)]
    head = ["experiment", "runs", "test images", *FIGURES.values(), "minutes a run"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for group in groups:
        print(row(group))
    print(json.dumps({"groups": [str(group.path) for group in groups]}))


if __name__ == "__main__":
    main()

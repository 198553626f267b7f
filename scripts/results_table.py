"""The tables of docs/results.md from tested groups of runs, and how many images they were tested on.

python scripts/results_table.py runs/casting_mobilenet/latest runs/casting_luna/latest
python scripts/results_table.py --figures iou,dice,auroc runs/lgp_unet/latest
"""

import json
import sys
from pathlib import Path

from zdd import files
from zdd.rundir import Group, find

FIGURES = "argmax_accuracy,accuracy,defect_recall,false_alarm_rate,auroc,auroc_macro"
TITLES = {
    "argmax_accuracy": "accuracy (most probable class)",
    "accuracy": "accuracy (verdict)",
    "defect_recall": "defects caught",
    "false_alarm_rate": "good parts stopped",
    "auroc": "AUROC",
    "auroc_macro": "AUROC (one against the rest)",
}


def row(group: Group, names: list[str]) -> str:
    summary = files.read_json(group.summary)
    n = files.read_json(group.finished[0].metrics)["test"]["accuracy"]["n"]
    cells = [group.path.parent.name, str(summary["n_runs"]), str(n)]
    for name in names:
        figure = summary["test"].get(name)
        if figure is None:
            cells.append("")
        elif figure["sd"] is None:
            cells.append(f"{figure['mean']:.4f}")
        else:
            cells.append(f"{figure['mean']:.4f} ± {figure['sd']:.4f} ({figure['low']:.3f} to {figure['high']:.3f})")
    minutes = summary["training"]["took_s"]["mean"] / 60
    return f"| {' | '.join([*cells, f'{minutes:.1f}'])} |"


def main() -> None:
    given = sys.argv[1:]
    names = (given[1] if given[:1] == ["--figures"] else FIGURES).split(",")
    paths = given[2:] if given[:1] == ["--figures"] else given
    groups = [group for name in paths if isinstance(group := find(Path(name)), Group)]
    head = ["experiment", "runs", "test images", *(TITLES.get(name, name) for name in names), "minutes a run"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for group in groups:
        print(row(group, names))
    print(json.dumps({"groups": [str(group.path) for group in groups]}))


if __name__ == "__main__":
    main()

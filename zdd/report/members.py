"""The sections of an ensemble's report that a run's does not have: its members, and how it is made again."""

from typing import Any

import numpy as np

from zdd.report import certainty, style
from zdd.report.sections import NAMES
from zdd.report.words import times

COMPARED = (
    "accuracy", "balanced_accuracy", "f1", "defect_recall", "false_alarm_rate", "auroc", "auroc_macro", "brier", "ece",
    "aurc", "accuracy_at_90", "ood_auroc/uncertainty", "ood_fpr95/uncertainty", "ood_auroc/energy", "ood_fpr95/energy",
)  # fmt: skip


def section(report: dict[str, Any]) -> str:
    """The ensemble beside its members; nothing of a single run."""
    members = report.get("members")
    if not members:
        return ""
    rows = [
        _row(name, report["test"], members)
        for name in COMPARED
        if report["test"].get(name, {}).get("value") is not None
    ]
    head = ["Figure", "Ensemble", "Mean of the members", *members]
    text = (
        f"What {len(members)} runs say of each image is averaged, and the threshold is chosen on the average of what "
        "they say of the validation images (Lakshminarayanan et al. 2017)."
    )
    untested = [name for name, test in members.items() if not test]
    note = f" Not tested by themselves yet: {', '.join(untested)}." if untested else ""
    return f"<h2>The ensemble and its members</h2><p>{style.escape(text + note)}</p>" + style.table(
        head, rows, numbers=range(1, len(head))
    )


def _row(name: str, test: dict[str, Any], members: dict[str, dict[str, float | None]]) -> list[str]:
    each = [member.get(name) for member in members.values()]
    known = [value for value in each if value is not None]
    mean = f"{np.mean(known):.4f}" if known else ""
    return [
        certainty.title(name) or NAMES[name],
        f"{test[name]['value']:.4f}",
        mean,
        *("" if value is None else f"{value:.4f}" for value in each),
    ]


def reproduce(report: dict[str, Any]) -> str:
    """The commands, and where the members are described."""
    group = report["run"].rpartition("/")[0]
    rows = [
        ["Trained with", report["environment"].get("command", "not known")],
        ["Tested with", f"python test.py {group} --ensemble"],
        ["Members", ", ".join(report["members"])],
        ["Test split looked at", f"{times(report['looks'])} by the ensemble, this one included"],
    ]
    links = " ".join(
        f'<a href="../{style.escape(name)}/report.html">{style.escape(name)}</a>' for name in report["members"]
    )
    return style.table(["What", ""], rows) + f"<p>Each member's own report: {links}</p>"

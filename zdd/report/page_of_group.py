"""The report over all runs of a group: the summary, and the runs side by side."""

from collections.abc import Callable
from typing import Any

import numpy as np

from zdd import files
from zdd.report import certainty, curves, defects, explained_group, style
from zdd.report.sections import NAMES, mistake_card
from zdd.report.summarise import EXPLAINED
from zdd.report.words import percent
from zdd.rundir import Group

SHOWN = ("accuracy", "balanced_accuracy", "f1", "defect_recall", "false_alarm_rate", "auroc", "average_precision")
HARD = 12  # images shown that several runs got wrong


def write(group: Group, summary: dict[str, Any]) -> None:
    """Write the group's report.html from its summary and its runs' report.json."""
    reports = {run.path.name: files.read_json(run.report_json) for run in group.finished if run.report_json.is_file()}
    files.write_text(group.report, page(group, summary, reports))


def refresh(group: Group) -> None:
    """Write report.html anew, with what the runs' reports hold by now; nothing where there is no summary yet."""
    if group.summary.is_file() and group.report.is_file():
        write(group, files.read_json(group.summary))


def page(group: Group, summary: dict[str, Any], reports: dict[str, dict[str, Any]]) -> str:
    """The page as HTML."""
    name = f"{group.path.parent.name} / {group.path.name}"
    return style.page(
        f"Test report: {name}",
        f"<h1>Test report over {_count(len(reports))}</h1><p class=sub>{style.escape(name)}</p>",
        _verdict(summary, reports),
        "<h2>Figures over the runs</h2>",
        f"<p>{style.escape(EXPLAINED)}</p>",
        _table(summary),
        "<h2>The runs side by side</h2>",
        _side_by_side(reports),
        explained_group.section(group, reports),
        _hard(reports),
        _runs(reports),
        _ensemble(group),
    )


def _verdict(summary: dict[str, Any], reports: dict[str, dict[str, Any]]) -> str:
    has_good = next(iter(reports.values()))["has_good"]
    wanted = (
        ("defect_recall", "false_alarm_rate", "auroc", "iou") if has_good else ("accuracy", "balanced_accuracy", "f1")
    )
    rows = {name: summary["test"][name] for name in wanted if name in summary["test"]}
    tiles = [
        (NAMES.get(name) or defects.NAMES[name], _form(name)(row["mean"]), _spread(name, row))
        for name, row in rows.items()
    ]
    mean = {name: percent(row["mean"]) for name, row in summary["test"].items()}
    if {"defect_recall", "false_alarm_rate"} <= rows.keys():
        what = f"{mean['defect_recall']} of the defects caught, {mean['false_alarm_rate']} of the good parts stopped."
    else:
        what = f"{mean['accuracy']} of the test images judged rightly."
    head = style.escape(f"On average over {_count(len(reports))}: {what}" if len(reports) > 1 else f"One run: {what}")
    said = style.paragraphs(f"{run}: {report['verdict']['headline']}" for run, report in reports.items())
    return f'<div class="verdict"><p class="head">{head}</p>{style.tiles(tiles)}{said}</div>'


def _form(name: str) -> Callable[[float], str]:
    return (lambda value: f"{value:.4f}") if name in ("auroc", "f1", "iou") else percent


def _spread(name: str, row: dict[str, Any]) -> str:
    known, form = [value for value in row["values"] if value is not None], _form(name)
    return f"from {form(min(known))} to {form(max(known))} in {row['n']} runs" if row["n"] > 1 else "one run"


def _count(n_runs: int) -> str:
    return f"{n_runs} runs" if n_runs > 1 else "one run"


def _table(summary: dict[str, Any]) -> str:
    rows = []
    for name, row in summary["test"].items():
        if name.startswith("ood_") and certainty.title(name) is None:
            continue  # of a single kind of unknown images: those stand in summary.md
        interval = "one run" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"
        values = ["" if value is None else f"{value:.4f}" for value in row["values"]]
        deviation = "" if row["sd"] is None else f"{row['sd']:.4f}"
        rows.append(
            [
                certainty.title(name) or defects.title(name) or NAMES.get(name, name),
                str(row["n"]),
                f"{row['mean']:.4f}",
                deviation,
                interval,
                *values,
            ]
        )
    head = ["Figure", "n", "Mean", "Deviation", "95 % interval (Student)", *summary["runs"]]
    return style.table(head, rows, numbers=range(1, len(head)))


def _side_by_side(reports: dict[str, dict[str, Any]]) -> str:
    points: dict[str, list[tuple[float, float, float] | None]] = {}
    for name in (*SHOWN, *defects.BRIEF):
        row = [_point(report["test"][name]) for report in reports.values() if name in report["test"]]
        if any(row):
            points[name.replace("_", " ")] = row
    caption = (
        "Each run's figure with its own 95 % interval over the test images, in the order of the runs, from the top. "
        "Where the intervals overlap widely, the runs do not differ by more than these images can show."
    )
    whole = style.chart("Figures of each run", curves.forest(points), caption)
    classes = next(iter(reports.values()))["classes"]
    drawn = (
        style.chart(f"Confusions of {run}", curves.confusion(classes, np.array(report["confusion"])), "Rows are true.")
        for run, report in reports.items()
    )
    return whole + style.charts(drawn)


def _hard(reports: dict[str, dict[str, Any]]) -> str:
    """Images that several runs got wrong: hard, or labelled wrongly."""
    wrong: dict[str, list[dict[str, Any]]] = {}
    for report in reports.values():
        for mistake in report["mistakes"]:
            wrong.setdefault(mistake["image"], []).append(mistake)
    often = sorted((m for m in wrong.values() if len(m) > 1), key=lambda m: (-len(m), -m[0]["confidence"]))
    if not often:
        return ""
    cards = (mistake_card(found[0], f"wrong in {len(found)} of {len(reports)} runs") for found in often[:HARD])
    text = f"{len(often)} images were judged wrongly by more than one run: look whether their labels are right."
    return f'<h3>Hard images</h3><p>{text}</p><div class="mistakes">{"".join(cards)}</div>'


def _point(figure: dict[str, Any]) -> tuple[float, float, float] | None:
    if figure["value"] is None:
        return None
    low, high = (figure["value"] if figure[end] is None else figure[end] for end in ("low", "high"))
    return figure["value"], low, high


def _runs(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, report in reports.items():
        link = f'<a href="{style.escape(name)}/report.html">{style.escape(name)}</a>'
        threshold = report["threshold"]["value"] if report["threshold"] else None
        shown = "none" if threshold is None else f"{threshold:.4g}"
        mistakes = f"{len(report['mistakes'])} of {sum(report['n'].values())}"
        rows.append([link, str(report["config"].get("seed", "")), shown, mistakes, str(report["looks"])])
    head = ["Full report", "Seed", "Threshold", "Mistakes", "Looks at the test images"]
    return "<h3>Each run's own report</h3>" + style.table(head, rows, numbers=(1, 2, 3, 4), raw=(0,))


def _ensemble(group: Group) -> str:
    if not group.ensemble.report.is_file():
        return ""
    link = '<a href="ensemble/report.html">the ensemble of the runs</a>'
    return f"<p>What the runs say together, averaged, was tested, too: {link}.</p>"

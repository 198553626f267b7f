"""The sections of a run's report, as HTML from what report.json holds."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from zdd.report import defects, style
from zdd.report.pictures import embed
from zdd.report.words import percent, times

SHARES = (
    "recall",
    "precision",
    "accuracy",
    "argmax_accuracy",
    "balanced_accuracy",
    "defect_recall",
    "false_alarm_rate",
)
NAMES = {
    "accuracy": "Accuracy (of the verdicts)",
    "argmax_accuracy": "Accuracy (most probable class)",
    "balanced_accuracy": "Balanced accuracy",
    "precision": "Precision, mean of classes",
    "recall": "Recall, mean of classes",
    "f1": "F1, mean of classes",
    "defect_recall": "Defect recall (defects caught)",
    "false_alarm_rate": "False-alarm rate (good parts stopped)",
    "auroc": "AUROC, defective against good",
    "average_precision": "Average precision, defective",
    "auroc_macro": "AUROC, mean of classes",
    "average_precision_macro": "Average precision, mean of classes",
    "brier": "Brier score (0 is best)",
    "ece": "Calibration error, ECE (0 is best)",
}
NEVER = ("the model gives no probabilities", "the method tells good from defective only")  # not for want of images
PAIRS = 50  # near-duplicates listed on the page


def verdict(report: dict[str, Any]) -> str:
    """The box on top, in words, and what must be known before it is believed."""
    said, test = report["verdict"], report["test"]
    if report["has_good"]:
        wanted = [("Defects caught", "defect_recall"), ("Good parts stopped", "false_alarm_rate")]
    else:
        wanted = [("Judged rightly", "accuracy"), ("Mean over classes", "balanced_accuracy")]
    tiles = [(title, percent(test[name]["value"]), _between(test[name], percent)) for title, name in wanted]
    claims = report["claims"]
    if claims and claims["missed"]["n"]:
        count = claims["missed"]
        below = f"of {count['n']} {count['unit']}, {count['events']} missed; 95 % confidence"
        tiles.append(("Defects that escape, at most", percent(count["at_most"]), below))
    tiles += defects.tiles(report)
    tiles.append(("Test images", str(sum(report["n"].values())), _counted(report["n"])))
    head = f'<p class="head">{style.escape(said["headline"])}</p>'
    box = f'<div class="verdict">{head}{style.tiles(tiles)}{style.paragraphs(said["sentences"])}</div>'
    return box + style.caution(said["cautions"])


def figures(report: dict[str, Any]) -> str:
    """Every figure with its interval, how that was found, and validation beside it."""
    # Without a threshold the verdict is the most probable class, and two classes have one AUROC.
    same = [] if report["has_good"] else ["argmax_accuracy"]
    same += ["auroc_macro", "average_precision_macro"] if len(report["classes"]) == 2 and report["has_good"] else []
    whole = [name for name in report["test"] if name in NAMES and name not in same]
    rows = [_figure_row(name, report) for name in whole if report["test"][name]["value"] is not None]
    head = ["Figure", "Test", "95 % interval", "", "Images", "Validation", "Interval by"]
    per_class = [_class_row(name, report) for name in report["classes"]]
    notes = (
        "Shares have Wilson's interval, all others that of 1000 bootstrap resamples (percentiles). Recall of a class: "
        "how many of its images were found; precision: how many of those judged to be of it are. The validation images "
        "chose weights and threshold, so their figures are a little too good."
    )
    return (
        style.table(head, rows, numbers=(1, 2, 4, 5), raw=(3,))
        + _absent(report)
        + "<h3>By class</h3>"
        + style.table(
            ["Class", "Test images", "Recall", "", "Precision", "", "F1", ""], per_class, numbers=(1, 2, 4, 6)
        )
        + f"<p class=sub>{notes}</p>"
    )


def _absent(report: dict[str, Any]) -> str:
    gone = [(name, figure) for name, figure in report["test"].items() if figure["value"] is None and name in NAMES]
    gone = [(name, figure) for name, figure in gone if not figure["method"].endswith(NEVER)]
    each = "; ".join(f"{NAMES.get(name, name)} ({figure['method'].split(': ')[1]})" for name, figure in gone)
    return f"<p class=sub>There is no such figure here: {style.escape(each)}.</p>" if gone else ""


def _figure_row(name: str, report: dict[str, Any]) -> list[str]:
    figure, before = report["test"][name], report["validation"].get(name, {}).get("value")
    bar = style.bar(figure["value"], figure["low"], figure["high"])
    method = (
        (figure["method"][0].upper() + figure["method"][1:])
        .replace(", 1000 times, percentiles", "")
        .replace(", 1000 times", "")
    )
    interval = _between(figure, _number)
    return [NAMES[name], _number(figure["value"]), interval, bar, str(figure["n"]), _number(before), method]


def _class_row(name: str, report: dict[str, Any]) -> list[str]:
    cells = [name, str(report["n"][name])]
    for kind in ("recall", "precision", "f1"):
        figure = report["test"][f"{kind}/{name}"]
        gone = figure["method"].removeprefix("does not exist: ")
        cells += [_number(figure["value"]), gone if figure["value"] is None else _between(figure, _number)]
    return cells


def mistake_card(mistake: dict[str, Any], note: str = "") -> str:
    """One image that was judged wrongly, with what is true and what was said."""
    kind, true, given, name = (
        style.escape(text)
        for text in (mistake["kind"], mistake["true"], mistake["predicted"], Path(mistake["image"]).name)
    )
    picture = f'<img src="{embed(mistake["image"])}" alt="{kind}: true {true}, judged {given}">'
    sure = style.escape(note or f"sure by {mistake['confidence']:.3f}")
    words = f"<b>{kind}</b>, {sure}<br>true: <b>{true}</b><br>judged: <b>{given}</b><br>{name}"
    return f'<figure class="{kind.split()[0]}">{picture}<figcaption>{words}</figcaption></figure>'


def data(report: dict[str, Any]) -> str:
    """What was trained and tested on, and what is odd about it."""
    audit = report["data"]
    if not audit:
        return "<p>This run has no audit of its data.</p>"
    counts = audit.get("counts", {})
    rows = [[split, *(str(counts[split].get(name, 0)) for name in report["classes"])] for split in counts]
    rows = [[*row, str(sum(map(int, row[1:]))), str(audit.get("groups", {}).get(row[0], ""))] for row in rows]
    head = ["Split", *report["classes"], "Images", "Parts"]
    parts = [style.table(head, rows, numbers=range(1, len(head))), style.table(["Fact", ""], _facts(audit))]
    parts.append(_pairs(audit))
    if audit.get("skipped"):
        skipped = [[one["image"], one["reason"]] for one in audit["skipped"][:PAIRS]]
        parts.append(f"<h3>Files left out ({len(audit['skipped'])})</h3>" + style.table(["File", "Why"], skipped))
    return "".join(parts)


def _facts(audit: dict[str, Any]) -> list[list[str]]:
    sizes = audit.get("sizes", {})
    rows = [["Where", str(audit.get("root", ""))]]
    for side in ("width", "height"):
        if side in sizes:
            low, middle, high = sizes[side]
            rows.append([f"{side.capitalize()}, pixels", f"{low} to {high}, median {middle}"])
    rows.append(["Kinds of file (Pillow's modes)", ", ".join(f"{k} {n}" for k, n in audit.get("modes", {}).items())])
    rows.append(["Smaller than the network's input", str(audit.get("n_enlarged", 0))])
    pairs = audit.get("n_pairs")
    rows.append(["Same or nearly same images in two splits", "not looked for" if pairs is None else f"{pairs} pairs"])
    rows.append(["Same file with two labels", str(len(audit.get("disagreeing", [])))])
    return rows


def _pairs(audit: dict[str, Any]) -> str:
    html = ""
    for key, title in (
        ("pairs", "Same or nearly same image in two splits"),
        ("disagreeing", "Same file with two labels"),
    ):
        found = audit.get(key) or []
        if found:
            rows = [
                [*(f"{s}: {i}" for s, i in zip(p["split"], p["image"], strict=True)), _alike(p)] for p in found[:PAIRS]
            ]
            more = f", the first {PAIRS}" if len(found) > PAIRS else ""
            html += f"<h3>{title} ({len(found)}{more})</h3>" + style.table(["Image", "Image", "Difference"], rows)
    return html


def _alike(pair: dict[str, Any]) -> str:
    return "same file" if pair.get("same") else f"{pair.get('difference', '')}"


def reproduce(report: dict[str, Any]) -> str:
    """Command, seed, versions, machine, and the whole configuration."""
    environment, config = report["environment"], report["config"]
    git = environment.get("git") or {}
    commit = f"{git.get('commit', 'not known')}{' with uncommitted changes' if git.get('dirty') else ''}"
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items() if version)
    machine = [environment.get("processor"), f"{environment.get('cores')} cores", *environment.get("gpu", [])]
    rows = [
        ["Trained with", environment.get("command", "not known")],
        ["Tested with", f"python test.py {report['run']}"],
        ["Seed", str(config.get("seed", "not known"))],
        ["Epochs", _epochs(report["training"])],
        ["Commit of zdd", commit],
        ["Python and packages", f"Python {environment.get('python', '')}; {versions}"],
        ["Machine", ", ".join(str(part) for part in machine if part)],
        ["Test split looked at", f"{times(report['looks'])}, this one included"],
    ]
    settings = style.escape(json.dumps(config, indent=2, ensure_ascii=False))
    again = (
        "data.csv holds every image with its SHA-256 and split, config.json every setting: "
        "<code>python train.py config.json</code> trains the same network again."
    )
    table = style.table(["What", ""], rows)
    return f"{table}<p>{again}</p><details><summary>All settings</summary><pre>{settings}</pre></details>"


def _epochs(training: dict[str, Any]) -> str:
    if not training:
        return "not known"
    return (
        f"{training.get('epochs')}, kept the weights of epoch {training.get('best_epoch')}; {training.get('took_s')} s"
    )


def read_epochs(path: Path) -> list[dict[str, float]]:
    """The rows of log/metrics.csv, empty cells as NaN; none where the file is not there."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(text) if text else math.nan for key, text in row.items()} for row in csv.DictReader(file)]


def _between(figure: dict[str, Any], form: Any) -> str:
    return "no interval" if figure["low"] is None else f"{form(figure['low'])} to {form(figure['high'])}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _counted(n: dict[str, int]) -> str:
    each = [f"{count} {name}" for name, count in n.items()]
    return ", ".join(each) if len(each) <= 6 else f"of {len(each)} classes"

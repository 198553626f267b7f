"""The report's section "How sure is it?": does the model know its mistakes, and what it has never seen?"""

from pathlib import Path
from typing import Any

import numpy as np

from zdd.report import style
from zdd.report.certainty_curves import WHAT
from zdd.report.pictures import embed
from zdd.report.tested import Tested
from zdd.report.words import certainty, percent
from zdd.uncertainty import COVERAGES

SHOWN = 12  # unknown images on the page
KINDS = 20  # kinds of unknown images in the table
NAMES = {
    "aurc": "Area under the risk-coverage curve (AURC, 0 is best)",
    "aurc_excess": "Of it, what a perfect order of the images would not have",
    "argmax_aurc": "AURC of the most probable class",
    **{f"accuracy_at_{n}": f"Accuracy where the surest {n} % are judged" for n in COVERAGES},
}
OOD = {"auroc": "AUROC", "aupr": "AUPR", "fpr95": "FPR95 (0 is best)"}
TITLES = {
    "risk_coverage": (
        "Fewer mistakes for fewer verdicts",
        "Where the least certain images are handed to a person, how many of the others are judged wrongly.",
    ),
    "ood/uncertainty": (
        "Uncertainty of known and unknown images",
        "Known: test images. Unknown images left of the line are accepted as if they were known.",
    ),
    "ood/energy": (
        "Energy of known and unknown images",
        "The same by the free energy of the logits (Liu et al. 2020).",
    ),
}


def gather(tested: Tested) -> dict[str, Any] | None:
    """What report.json holds of it: the most certain unknown images; None where there is nothing to be said."""
    columns, unknown = tested.columns, tested.unknown
    if unknown is None and columns.uncertainty is None:
        return None
    found: dict[str, Any] = {"n_known": columns.n, "n_unknown": 0, "kinds": {}, "most_certain": []}
    if unknown is None:
        return found
    kinds = [record.kind for record in unknown.records]
    found |= {"n_unknown": unknown.columns.n, "kinds": {kind: kinds.count(kind) for kind in sorted(set(kinds))}}
    uncertainty = unknown.columns.uncertainty
    if uncertainty is not None:
        order = np.argsort(uncertainty, kind="stable")[:SHOWN]
        found["most_certain"] = [_one(unknown, int(row), float(uncertainty[row])) for row in order]
    return found


def _one(unknown: Tested, row: int, uncertainty: float) -> dict[str, Any]:
    given = unknown.task.classes[unknown.predicted[row]]
    record = unknown.records[row]
    return {"image": record.path, "kind": record.kind, "predicted": given, "uncertainty": uncertainty}


def title(name: str) -> str | None:
    """What a figure of this section is called on a page; None of another, or of a single kind of unknown images."""
    if name in NAMES:
        return NAMES[name]
    kind, _, score = name.removeprefix("ood_").partition("/")
    known = name.startswith("ood_") and kind in OOD and score in WHAT
    return f"Unknown against known by {WHAT[score]}, {OOD[kind]}" if known else None


def section(report: dict[str, Any], svgs: dict[str, str]) -> str:
    """The section as HTML, with its title; nothing where there is nothing to be said.

    Args:
        report: What report.json holds.
        svgs: Charts by name.
    """
    found = report["certainty"]
    if found is None:
        return ""
    if not _said(report["test"]):
        text = f"This method does not say how sure it is. {found['n_unknown']} images of no class were judged, too: "
        return f"<h2>How sure is it?</h2><p>{text}see unknown.csv.</p>"
    drawn = [style.chart(heading, svgs[key], caption) for key, (heading, caption) in TITLES.items() if key in svgs]
    return "".join(
        ("<h2>How sure is it?</h2>", style.paragraphs(_words(report)), _risk_table(report),
         style.charts(drawn), _unknown(report))
    )  # fmt: skip


def _words(report: dict[str, Any]) -> list[str]:
    test = report["test"]
    said = []
    at, whole = test.get(f"accuracy_at_{COVERAGES[1]}"), test["accuracy"]
    if at is not None and at["value"] is not None and whole["value"] is not None:
        said.append(
            f"{percent(whole['value'])} of all test images are judged rightly; where the least certain "
            f"{100 - COVERAGES[1]} of 100 are handed to a person, {percent(at['value'])} of the rest."
        )
    accepted = test.get("ood_fpr95/uncertainty") or test.get("ood_fpr95/energy")
    if accepted is not None and accepted["value"] is not None:
        of = "uncertainty" if "ood_fpr95/uncertainty" in test else "energy"
        said.append(
            f"Of {report['certainty']['n_unknown']} images of nothing that it was trained on, "
            f"{percent(accepted['value'])} pass for known at the {of} that lets 95 % of the known test images pass."
        )
    return said


def _said(test: dict[str, Any]) -> bool:
    return any(name == "aurc" or name.startswith("ood_") for name in test)


def _risk_table(report: dict[str, Any]) -> str:
    test = report["test"]
    same = [] if report["has_good"] else ["argmax_aurc"]  # without a threshold the verdict is the most probable class
    there = [name for name in NAMES if test.get(name, {}).get("value") is not None and name not in same]
    rows = [_row(NAMES[name], test[name]) for name in there]
    if not rows:
        return ""
    return style.table(["Figure", "Test", "95 % interval", "", "Images"], rows, numbers=(1, 2, 4), raw=(3,))


def _unknown(report: dict[str, Any]) -> str:
    found, test = report["certainty"], report["test"]
    if not found["n_unknown"]:
        text = (
            "No image of no class was tested: <code>python test.py RUN --ood FOLDER</code> or <code>dataset.ood</code> "
            "and <code>dataset.held_out</code> show whether the unknown is told from the known."
        )
        return f"<p class=sub>{text}</p>"
    share = found["n_unknown"] / (found["n_unknown"] + found["n_known"])
    notes = (
        f"Unknown is the positive class. AUROC: guessing has 0.5. AUPR: guessing has {share:.4f}, the share of unknown "
        "images. FPR95: the share of the unknown images that pass at the threshold that lets 95 % of the known test "
        "images pass; 0 is best, guessing has 0.95."
    )
    return (
        "<h3>The unknown told from the known</h3>"
        + style.table(["By", "AUROC", "", "AUPR", "", "FPR95", ""], _scores(test), numbers=(1, 2, 3, 4, 5, 6))
        + f"<p class=sub>{notes}</p>"
        + _by_kind(found["kinds"], test)
        + _gallery(found["most_certain"])
    )


def _scores(test: dict[str, Any]) -> list[list[str]]:
    there = [name for name in WHAT if f"ood_auroc/{name}" in test]
    return [
        [WHAT[name].capitalize(), *(cell for key in ("auroc", "aupr", "fpr95") for cell in _pair(test, key, name))]
        for name in there
    ]


def _pair(test: dict[str, Any], key: str, name: str) -> list[str]:
    figure = test[f"ood_{key}/{name}"]
    return [f"{figure['value']:.4f}", _between(figure)]


def _by_kind(kinds: dict[str, int], test: dict[str, Any]) -> str:
    names = [name for name in ("uncertainty", "energy") if f"ood_auroc/{name}" in test]
    if len(kinds) < 2:
        return ""
    wanted = [f"ood_{key}/{name}" for name in names for key in ("auroc", "fpr95")]
    rows = [[kind, str(n), *(f"{test[f'{key}/{kind}']['value']:.4f}" for key in wanted)] for kind, n in kinds.items()]
    rows.sort(key=lambda row: float(row[2]))
    head = ["Kind", "Images", *(f"{key}, {name}" for name in names for key in ("AUROC", "FPR95"))]
    more = f"<p class=sub>The {KINDS} that are told least; all {len(rows)} are in metrics.json.</p>"
    return style.table(head, rows[:KINDS], numbers=range(1, len(head))) + (more if len(rows) > KINDS else "")


def _gallery(images: list[dict[str, Any]]) -> str:
    if not images:
        return ""
    cards = "".join(_card(image) for image in images)
    text = "Unknown images that the model is most certain of; all are in unknown.csv."
    return f'<h3>Taken for known</h3><p>{text}</p><div class="mistakes">{cards}</div>'


def _card(image: dict[str, Any]) -> str:
    kind, given, name = (style.escape(text) for text in (image["kind"], image["predicted"], Path(image["image"]).name))
    sure = certainty(image["uncertainty"])
    picture = f'<img src="{embed(image["image"])}" alt="{kind}, taken for {given}, certainty {sure}">'
    words = f"certainty {sure}<br>taken for: <b>{given}</b><br>is: <b>{kind}</b><br>{name}"
    return f'<figure class="wrong">{picture}<figcaption>{words}</figcaption></figure>'


def _row(title: str, figure: dict[str, Any]) -> list[str]:
    bar = style.bar(figure["value"], figure["low"], figure["high"])
    return [title, f"{figure['value']:.4f}", _between(figure), bar, str(figure["n"])]


def _between(figure: dict[str, Any]) -> str:
    return "no interval" if figure["low"] is None else f"{figure['low']:.4f} to {figure['high']:.4f}"

"""The report's table "Caught by kind of defect", where all kinds were put together into one class."""

from typing import Any

import numpy as np

from zdd import stats
from zdd.report import style
from zdd.report.tested import Tested
from zdd.report.words import percent


def gather(tested: Tested) -> list[dict[str, Any]]:
    """Of each kind of defect how many images there are and were caught; nothing where no image has a kind."""
    kinds = sorted({r.kind for r in tested.records if r.label > 0 and r.kind})
    return [_one(tested, kind) for kind in kinds] if tested.task.has_good else []


def _one(tested: Tested, kind: str) -> dict[str, Any]:
    rows = [row for row, record in enumerate(tested.records) if record.label > 0 and record.kind == kind]
    parts = np.unique([tested.records[row].group or f"\0{row}" for row in rows], return_inverse=True)[1]
    caught = tested.predicted[rows] > 0
    return {"kind": kind, "caught": int(caught.sum()), "recall": stats.share(caught, parts).as_dict()}


def section(report: dict[str, Any]) -> str:
    """The table as HTML, the hardest kind first; nothing where there are no kinds."""
    kinds = report.get("kinds") or []
    if not kinds:
        return ""
    rows = [_row(one) for one in sorted(kinds, key=lambda one: (one["recall"]["value"], one["kind"]))]
    head = ["Kind", "Test images", "Caught", "Share", "95 % interval", ""]
    text = (
        "The method tells good from defective and knows no kinds; these are the kinds by their own names, the hardest "
        "first."
    )
    table = style.table(head, rows, numbers=(1, 2, 3, 4), raw=(5,))
    return f"<h3>Caught by kind of defect</h3><p>{text}</p>{table}"


def _row(one: dict[str, Any]) -> list[str]:
    figure, n = one["recall"], one["recall"]["n"]
    low, high = figure["low"], figure["high"]
    between = "no interval" if low is None else f"{percent(low)} to {percent(high)}"
    bar = style.bar(figure["value"], low, high)
    return [one["kind"], str(n), str(one["caught"]), percent(figure["value"]), between, bar]

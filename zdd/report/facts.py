"""report.json: everything that the page of a run says, for programs."""

from datetime import datetime
from pathlib import Path
from typing import Any

from zdd import files, stats
from zdd.report import certainty, defects, explained, kinds, words
from zdd.report.pictures import kind_of
from zdd.report.tested import Tested


def gather(tested: Tested, pictures: dict[int, Path]) -> dict[str, Any]:
    """Figures, verdict, claims, confusions, mistakes, data and how to reproduce, JSON-plain.

    Args:
        tested: The test.
        pictures: Row of each mistake -> its annotated picture.
    """
    run, task = tested.run, tested.task
    stored = files.read_json(run.metrics)
    audit = files.read_json(run.audit) if run.audit.is_file() else {}
    return {
        "run": str(run.path),
        "tested_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "looks": tested.looks,
        "classes": list(task.classes),
        "has_good": task.has_good,
        "n": {name: int((tested.columns.label == k).sum()) for k, name in enumerate(task.classes)},
        "verdict": _verdict(tested, audit),
        "threshold": tested.threshold.as_dict() if tested.threshold else None,
        "test": {name: figure.as_dict() for name, figure in tested.figures.items()},
        "validation": stored.get("val", {}),
        "training": stored.get("training", {}),
        "claims": _claims(tested),
        "confusion": tested.confusion.tolist(),
        "certainty": certainty.gather(tested),
        "defects": defects.gather(tested),
        "kinds": kinds.gather(tested),
        "explained": explained.gather(run),
        "members": stored.get("members"),
        "mistakes": [_mistake(tested, row, pictures[row]) for row in tested.mistakes],
        "data": audit,
        "environment": files.read_json(run.environment) if run.environment.is_file() else {},
        "config": files.read_json(run.config) if run.config.is_file() else {},
    }


def _verdict(tested: Tested, audit: dict[str, Any]) -> dict[str, Any]:
    cautions = words.cautions(tested, audit.get("n_pairs") or 0)
    return {"headline": words.headline(tested), "sentences": words.sentences(tested), "cautions": cautions}


def _claims(tested: Tested) -> dict[str, Any] | None:
    if not tested.task.has_good:
        return None
    claims = {}
    for name, count in (("missed", words.missed(tested)), ("stopped", words.stopped(tested))):
        claims[name] = {"events": count.events, "n": count.n, "unit": count.unit, "at_most": count.at_most}
    needed = {str(share): stats.needed(share) for share in words.CLAIMS}
    return {"confidence": stats.CONFIDENCE, "method": "one-sided Clopper-Pearson", **claims, "needed_with_none": needed}


def _mistake(tested: Tested, row: int, picture: Path) -> dict[str, Any]:
    classes, columns = tested.task.classes, tested.columns
    return {
        "image": tested.records[row].path,
        "kind": kind_of(tested, row),
        "true": classes[columns.label[row]],
        "predicted": classes[tested.predicted[row]],
        "confidence": float(tested.confidence[row]),
        "score": float(columns.score[row]),
        "picture": str(picture.relative_to(tested.run.path)),
    }

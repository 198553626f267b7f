"""What is written of one explainer's attributions: a picture an image, a contact sheet, and the facts beside them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd import files
from zdd.attributions import Explained, Judged
from zdd.report import attribution, contact
from zdd.report.contact import Shown
from zdd.report.pictures import plain
from zdd.rundir import RunDir
from zdd.trained import Trained

PEAK = 0.999  # quantile of an image's pixels: single ones above it would leave the rest pale
Truth = dict[int, NDArray[np.uint8]]  # number of an image -> (H, W) true classes of the network's input


def write(run: RunDir, trained: Trained, judged: Judged, said: Explained, truth: Truth, *, raw: bool = False) -> Shown:
    """Pictures, sheet.png, explained.jsonl and about.json, in place of earlier ones; nothing is drawn of what is
    unreliable for this network, for a wrong picture convinces as a right one does.

    Args:
        run: The run.
        trained: Its model.
        judged: The images.
        said: Their attributions.
        truth: Of the images with masks; it is outlined.
        raw: Whether the values are kept, as .npy beside each picture.
    """
    for old in [*said.folder.glob("*.png"), *said.folder.glob("*.npy")]:
        old.unlink()
    good = said.message is None
    about = _about(trained, judged, said)
    rows = [_row(run, trained, judged, said, row) for row in range(len(judged.looks))] if good else []
    shown = Shown(about, rows, said.values, truth.get)
    for row, facts in enumerate(rows):
        picture = attribution.draw(
            judged.looks[row].path, said.values(row), trained.preprocess, scale=about["scale"], signed=said.signed,
            lines=attribution.describe(facts, about), colour=attribution.colour_of(facts), truth=truth.get(row),
        )  # fmt: skip
        with files.replacing(run.path / facts["picture"]) as temporary:
            picture.save(temporary, "PNG")
        if raw:
            np.save((run.path / facts["picture"]).with_suffix(".npy"), said.values(row))
    if rows:
        with files.replacing(said.folder / "sheet.png") as temporary:
            contact.sheet(shown, trained.preprocess).save(temporary, "PNG")
    files.write_lines(said.folder / "explained.jsonl", rows)
    files.write_json(said.folder / "about.json", about)
    return shown


def _about(trained: Trained, judged: Judged, said: Explained) -> dict[str, Any]:
    targets = sorted({trained.model.targets[k] for k in judged.target.tolist()})
    return {
        "variant": said.section.name,
        "options": said.section.options,
        "signed": said.signed,
        "n": len(judged.looks),
        "targets": targets,
        "scale": _scale(said, len(judged.looks)) if said.message is None else None,
        "error_median": float(np.median(said.errors)) if said.errors else None,
        "unreliable": said.unreliable,
        "message": said.message,
    }


def _scale(said: Explained, n: int) -> float:
    """The end of the colours, one for all images: what the strongest pixels reach in all but a few."""
    peaks = [float(np.quantile(np.abs(said.values(row)), PEAK)) for row in range(n)]
    return float(np.quantile(peaks, 0.95)) or max(peaks) or 1.0


def _row(run: RunDir, trained: Trained, judged: Judged, said: Explained, row: int) -> dict[str, Any]:
    look, columns, classes = judged.looks[row], judged.columns, trained.task.classes
    given = int(judged.given[row])
    score, error = said.facts(row) or (None, None)
    name = f"{row + 1:04d}_{plain(classes[given])}_{plain(look.path.rpartition('/')[2].rpartition('.')[0])}.png"
    return {
        "image": look.path,
        "true": None if look.label is None else classes[look.label],
        "predicted": classes[given],
        "target": trained.model.targets[judged.target[row]],
        "probability": None if columns.probability is None else float(columns.probability[row, given]),
        "certainty": None if columns.uncertainty is None else 1 - float(columns.uncertainty[row]),
        "score": score,
        "error": error,
        "picture": str((said.folder / name).relative_to(run.path)),
    }

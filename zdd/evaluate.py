"""Run anything that maps images to raw output over a loader, and keep what it said of each image."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from zdd.errors import ZddError
from zdd.records import Batch, Columns, Prediction

Runner = Callable[[Tensor], Tensor]
Decode = Callable[[Tensor, Tensor], Prediction]


def evaluate(
    runner: Runner, decode: Decode, loader: Iterable[Batch], *, device: str = "cpu", title: str = "test"
) -> Columns:
    """Predictions of every image of a loader.

    Args:
        runner: Normalised images (B, 3, H, W) on `device` to raw output: a net in eval mode, or an engine.
        decode: Raw output and images to a Prediction.
        loader: Batches with image, label and index; an index that occurs twice (padded batches) counts once.
        device: Where images are put.
        title: What the progress bar says.

    Returns:
        Columns in the order of the index.

    Raises:
        ZddError: If a score or a probability is not a finite number; the message names the images' indices.
    """
    rows: dict[str, list[np.ndarray[Any, Any]]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with torch.no_grad(), Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for batch in progress.track(loader, description=title):
            image = batch["image"].to(device)
            prediction = decode(runner(image), image)
            for name, value in _cells(batch, prediction).items():
                rows.setdefault(name, []).append(value.detach().cpu().numpy())
    return _columns({name: np.concatenate(parts) for name, parts in rows.items()})


def _cells(batch: Batch, prediction: Prediction) -> dict[str, Tensor]:
    cells = {"index": batch["index"], "label": batch["label"], "argmax": prediction.label}
    cells["score"] = prediction.score.double()
    if prediction.probability is not None:
        cells["probability"] = prediction.probability.double()
    if prediction.uncertainty is not None:
        cells["uncertainty"] = prediction.uncertainty.double()
    return cells


def _columns(rows: dict[str, np.ndarray[Any, Any]]) -> Columns:
    if not rows:
        nothing = np.zeros(0, dtype=np.int64)
        return Columns(index=nothing, label=nothing, score=np.zeros(0), argmax=nothing)
    _, first = np.unique(rows["index"], return_index=True)
    rows = {name: value[first] for name, value in rows.items()}
    for name in ("score", "probability"):
        if name in rows:
            finite = np.isfinite(rows[name].reshape(len(first), -1)).all(axis=1)
            _refuse(name, rows["index"][~finite])
    return Columns(**rows)


def _refuse(name: str, index: np.ndarray[Any, Any]) -> None:
    if len(index):
        named = ", ".join(str(i) for i in index[:20]) + (f" and {len(index) - 20} more" if len(index) > 20 else "")
        raise ZddError(f"the model's {name} is not a finite number for {len(index)} images (index {named})")

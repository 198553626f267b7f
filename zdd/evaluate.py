"""Run anything that maps images to raw output over a loader, and keep what it said of each image."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
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
Watch = Callable[[Batch, Prediction], None]


def evaluate(
    runner: Runner,
    decode: Decode,
    loader: Iterable[Batch],
    *,
    device: str = "cpu",
    title: str = "test",
    watch: Sequence[Watch] = (),
) -> Columns:
    """Predictions of every image of a loader.

    Args:
        runner: Normalised images (B, 3, H, W) on `device` to raw output: a net in eval mode, or an engine.
        decode: Raw output and images to a Prediction.
        loader: Batches with image, label and index; an index that occurs twice (padded batches) counts once.
        device: Where images are put.
        title: What the progress bar says.
        watch: Called with each batch and what was said of it, on the CPU: for what is too large to keep, as maps are.

    Returns:
        Columns in the order of the index.

    Raises:
        ZddError: If a score or a probability is not a finite number; the message names the images' indices.
    """

    def said(batch: Batch) -> tuple[Batch, Prediction]:
        image = batch["image"].to(device)
        prediction = decode(runner(image), image)
        if watch:
            prediction = _on_cpu(prediction)
        for look in watch:
            look(batch, prediction)
        return batch, prediction

    with torch.no_grad(), bar() as progress:
        return collect(said(batch) for batch in progress.track(loader, description=title))


def bar() -> Progress:
    """A progress bar on standard error; silent where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def collect(said: Iterable[tuple[Batch, Prediction]]) -> Columns:
    """Put what was said of each batch together, one entry an image, in the order of the index.

    Raises:
        ZddError: As `evaluate`.
    """
    rows: dict[str, list[np.ndarray[Any, Any]]] = {}
    for batch, prediction in said:
        for name, value in _cells(batch, prediction).items():
            rows.setdefault(name, []).append(value.detach().cpu().numpy())
    if not rows:
        nothing = np.zeros(0, dtype=np.int64)
        return Columns(index=nothing, label=nothing, score=np.zeros(0), argmax=nothing)
    together = {name: np.concatenate(parts) for name, parts in rows.items()}
    _, first = np.unique(together["index"], return_index=True)
    once = {name: value[first] for name, value in together.items()}
    for name in ("score", "probability", "uncertainty", "energy", "peak"):
        if name in once:
            finite = np.isfinite(once[name].reshape(len(first), -1)).all(axis=1)
            _refuse(name, once["index"][~finite])
    return Columns(**once)


def device_of(name: str) -> str:
    """The device to run on; `auto` is the first GPU, or the CPU where there is none.

    Raises:
        ZddError: If there is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        there = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        raise ZddError(f"device '{name}': there is no such device here; one of {', '.join(there)}") from None
    return name


def _cells(batch: Batch, prediction: Prediction) -> dict[str, Tensor]:
    cells = {"index": batch["index"], "label": batch["label"]}
    cells["score"] = prediction.score.double()
    if prediction.label is not None:
        cells["argmax"] = prediction.label
    for name in ("probability", "uncertainty", "energy"):
        value = getattr(prediction, name)
        if value is not None:
            cells[name] = value.double()
    if prediction.map is not None:
        cells["peak"] = prediction.map.double().amax(dim=(1, 2, 3))
    return cells


def _on_cpu(prediction: Prediction) -> Prediction:
    parts: dict[str, Any] = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    return replace(prediction, **{name: part.detach().cpu() for name, part in parts.items() if part is not None})


def _refuse(name: str, index: np.ndarray[Any, Any]) -> None:
    if len(index):
        named = ", ".join(str(i) for i in index[:20]) + (f" and {len(index) - 20} more" if len(index) > 20 else "")
        raise ZddError(f"the model's {name} is not a finite number for {len(index)} images (index {named})")

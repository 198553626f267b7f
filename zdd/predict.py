"""Verdicts on new images: a line an image, and a bad image is a line too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from zdd.evaluate import bar, collect, device_of
from zdd.models.base import predict_batch
from zdd.records import Batch, Columns
from zdd.rows import Judge, Row, check_out, find_images, write
from zdd.rundir import RunDir, finished_runs
from zdd.trained import Trained, load_trained


def predict(run: Path, images: list[Path], *, out: Path | None, device: str = "auto") -> dict[str, Any]:
    """Judge images with a finished run; of a group, its first finished run.

    Args:
        run: A run or a group.
        images: Files, and folders that are searched through for images, in sorted order.
        out: A .csv or .jsonl file, replaced when all is written; None writes JSON lines to standard output.
        device: `auto`, `cpu`, `cuda`.

    Returns:
        The run, the number of images and of errors, and how often each class was given.

    Raises:
        ZddError: If there is no finished run, no image, no such device, or another kind of file is wanted.
    """
    check_out(out)
    used = one_run(run)
    paths = find_images(images)
    trained = load_trained(used)
    trained.model.to(device_of(device))
    return {"run": str(used.path), **write(rows(trained, paths), out, trained.task.classes)}


def rows(trained: Trained, paths: list[Path]) -> Iterator[Row]:
    """The verdict of each image, in order; files are decoded in threads while the model works."""
    with bar() as progress:
        yield from progress.track(judge(trained).rows(paths), total=len(paths), description="predict")


def judge(trained: Trained) -> Judge:
    """What makes the rows, on the device where the model is."""

    def say(pixels: NDArray[np.uint8]) -> Columns:
        image = torch.from_numpy(trained.preprocess.normalise(pixels)).to(trained.model.device)
        index = torch.arange(len(pixels))
        batch: Batch = {"image": image, "label": torch.zeros_like(index), "index": index}
        return collect([(batch, predict_batch(trained.model, image))])

    value = trained.threshold.value if trained.threshold else None
    return Judge(trained.task.classes, value, trained.preprocess.load, say, trained.config.batch_size)


def one_run(path: Path) -> RunDir:
    """The run at `path`; of a group its first finished one, and what else there is is said on standard error.

    Raises:
        ZddError: If none is finished.
    """
    group, runs = finished_runs(path)
    if group is not None and len(runs) > 1:
        others = ", ".join(run.path.name for run in runs[1:])
        note = f"{group.path}: using {runs[0].path.name}; there are also {others}"
        Console(stderr=True, highlight=False, soft_wrap=True).print(note, markup=False)
    return runs[0]

"""Verdicts on new images: a line an image, and a bad image is a line too."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from zdd.area import Areas, Scale
from zdd.evaluate import bar, collect, device_of
from zdd.models.base import predict_batch
from zdd.records import Batch
from zdd.report import found
from zdd.rows import Judge, Row, Said, check_out, find_images, write
from zdd.rundir import RunDir, finished_runs
from zdd.trained import Trained, load_trained


def predict(
    run: Path, images: list[Path], *, out: Path | None, device: str = "auto", maps: Path | None = None
) -> dict[str, Any]:
    """Judge images with a finished run; of a group, its first finished run.

    Args:
        run: A run or a group.
        images: Files, and folders that are searched through for images, in sorted order.
        out: A .csv or .jsonl file, replaced when all is written; None writes JSON lines to standard output.
        device: `auto`, `cpu`, `cuda`.
        maps: A new folder for a picture of each image with what was found where; None: none are drawn.

    Returns:
        The run, the number of images and of errors, and how often each class was given.

    Raises:
        ZddError: If there is no finished run, no image, no such device, another kind of file is wanted, or pictures are
            and can't be had.
    """
    check_out(out)
    if maps is not None:
        found.check(maps)
    used = one_run(run)
    paths = find_images(images)
    trained = load_trained(used)
    trained.model.to(device_of(device))
    return {"run": str(used.path), **write(rows(trained, paths, maps=maps), out, trained.task.classes)}


def rows(trained: Trained, paths: list[Path], *, maps: Path | None = None) -> Iterator[Row]:
    """The verdict of each image, in order; files are decoded in threads while the model works.

    Args:
        trained: The model.
        paths: The images' files.
        maps: As `predict` takes it.

    Raises:
        ZddError: If there are to be pictures of what a method without maps found.
    """
    judging = judge(trained)
    if maps is not None:
        judging = replace(judging, see=found.album(maps, judging.see, trained.task.classes, paths))
    with bar() as progress:
        yield from progress.track(judging.rows(paths), total=len(paths), description="predict")


def judge(trained: Trained) -> Judge:
    """What makes the rows, on the device where the model is."""

    def say(pixels: NDArray[np.uint8]) -> Said:
        image = torch.from_numpy(trained.preprocess.normalise(pixels)).to(trained.model.device)
        index = torch.arange(len(pixels))
        batch: Batch = {"image": image, "label": torch.zeros_like(index), "index": index}
        said = predict_batch(trained.model, image)
        maps = None if said.map is None else said.map[:, 0].float().cpu().numpy()
        kinds = None if said.pixels is None else said.pixels.cpu().numpy()
        return Said(**vars(collect([(batch, said)])), map=maps, kinds=kinds)

    value, pixel = (trained.threshold.value, trained.threshold.pixel) if trained.threshold else (None, None)
    areas = Areas(trained.preprocess, pixel, Scale.of(trained.config)) if trained.model.pixelwise else None
    size = trained.config.batch_size
    return Judge(trained.task.classes, value, trained.preprocess.load, say, size, see=areas)


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

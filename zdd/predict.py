"""Verdicts on new images: a line an image, and a bad image is a line too."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from zdd import decide, files
from zdd.errors import ZddError
from zdd.evaluate import bar, collect, device_of
from zdd.models.base import predict_batch
from zdd.records import Batch, Columns
from zdd.rundir import RunDir, finished_runs
from zdd.trained import Trained, load_trained

Row = dict[str, Any]
Write = Callable[[Row], None]
KINDS = (".csv", ".jsonl")


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
    if out is not None and out.suffix.lower() not in KINDS:
        raise ZddError(f"--out {out}: must end in {' or '.join(KINDS)}")
    used = _one_run(run)
    paths = list(find_images(images))
    if not paths:
        raise ZddError(f"no image in {', '.join(str(path) for path in images)}")
    trained = load_trained(used)
    trained.model.to(device_of(device))
    given: Counter[str | None] = Counter()
    with _opened(out, trained.task.classes) as write:
        for row in rows(trained, paths):
            write(row)
            given[row["predicted"]] += 1
    counts = {name: given[name] for name in trained.task.classes}
    where = None if out is None else str(out)
    return {"run": str(used.path), "images": len(paths), "errors": given[None], "predicted": counts, "out": where}


def rows(trained: Trained, paths: list[Path]) -> Iterator[Row]:
    """The verdict of each image, in order; files are decoded in threads, one batch ahead of the model."""
    size = trained.config.batch_size
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    with ThreadPoolExecutor() as pool, bar() as progress:

        def decode(chunk: list[Path]) -> list[Future[NDArray[np.uint8]]]:
            return [pool.submit(trained.preprocess.load, path) for path in chunk]

        shown = progress.add_task("predict", total=len(paths))
        ahead = decode(chunks[0]) if chunks else []
        for i, chunk in enumerate(chunks):
            now, ahead = ahead, decode(chunks[i + 1]) if i + 1 < len(chunks) else []
            yield from _judge(trained, chunk, now)
            progress.advance(shown, len(chunk))


def find_images(images: list[Path]) -> Iterator[Path]:
    """Files as they are named; of a folder every image in it, however deep, in sorted order, hidden ones left out."""
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    for path in images:
        if not path.is_dir():
            yield path
            continue
        for found in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
            if found.suffix.lower() in known and not hidden and found.is_file():
                yield found


def _one_run(path: Path) -> RunDir:
    group, runs = finished_runs(path)
    if group is not None and len(runs) > 1:
        others = ", ".join(run.path.name for run in runs[1:])
        note = f"{group.path}: using {runs[0].path.name}; there are also {others}"
        Console(stderr=True, highlight=False, soft_wrap=True).print(note, markup=False)
    return runs[0]


def _judge(trained: Trained, paths: list[Path], decoded: list[Future[NDArray[np.uint8]]]) -> list[Row]:
    pixels: dict[int, NDArray[np.uint8]] = {}
    found: dict[int, Row] = {}
    for i, future in enumerate(decoded):
        try:
            pixels[i] = future.result()
        except (OSError, ValueError) as error:
            found[i] = _row(trained, paths[i], str(error))
    if pixels:
        columns = _columns(trained, np.stack(list(pixels.values())))
        threshold = trained.threshold.value if trained.threshold else None
        given = decide.verdict(columns, threshold)
        for at, i in enumerate(pixels):
            found[i] = _row(trained, paths[i], None) | _said(trained, columns, given, at)
    return [found[i] for i in range(len(paths))]


def _columns(trained: Trained, pixels: NDArray[np.uint8]) -> Columns:
    image = torch.from_numpy(trained.preprocess.normalise(pixels)).to(trained.model.device)
    index = torch.arange(len(pixels))
    batch: Batch = {"image": image, "label": torch.zeros_like(index), "index": index}
    return collect([(batch, predict_batch(trained.model, image))])


def _row(trained: Trained, path: Path, error: str | None) -> Row:
    threshold = trained.threshold.value if trained.threshold else None
    empty = {"image": str(path), "verdict": None, "predicted": None, "score": None, "threshold": threshold}
    return {**empty, "probability": None, "uncertainty": None, "error": error}


def _said(trained: Trained, columns: Columns, given: NDArray[np.int64], at: int) -> Row:
    classes = trained.task.classes
    said: Row = {"predicted": classes[given[at]], "score": float(columns.score[at])}
    if trained.threshold is not None:
        said["verdict"] = "good" if given[at] == 0 else "defective"
    if columns.probability is not None:
        said["probability"] = dict(zip(classes, columns.probability[at].tolist(), strict=True))
    if columns.uncertainty is not None:
        said["uncertainty"] = float(columns.uncertainty[at])
    return said


@contextmanager
def _opened(out: Path | None, classes: tuple[str, ...]) -> Iterator[Write]:
    if out is None:
        yield lambda row: _write_json(sys.stdout, row)
        return
    with files.replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield _csv(file, classes) if out.suffix.lower() == ".csv" else lambda row: _write_json(file, row)


def _write_json(file: IO[str], row: Row) -> None:
    file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _csv(file: IO[str], classes: tuple[str, ...]) -> Write:
    probabilities = [f"probability/{name}" for name in classes]
    writer = csv.writer(file)
    writer.writerow(["image", "verdict", "predicted", "score", "threshold", *probabilities, "uncertainty", "error"])

    def write(row: Row) -> None:
        each = [(row["probability"] or {}).get(name) for name in classes]
        plain = [row[name] for name in ("image", "verdict", "predicted", "score", "threshold")]
        writer.writerow([*plain, *each, row["uncertainty"], row["error"]])

    return write

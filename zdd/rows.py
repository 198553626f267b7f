"""From what is said of images to a row for each: the same for a run and for an engine without torch.

Standard library, numpy and Pillow alone.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zdd import files
from zdd.errors import ZddError
from zdd.records import Columns

Row = dict[str, Any]
Pixels = NDArray[np.uint8]
KINDS = (".csv", ".jsonl")


def verdict(columns: Columns, threshold: float | None) -> NDArray[np.int64]:
    """The class that each image is given, (N,).

    A score below the threshold makes it good (class 0), any other the most probable kind of defect; a model without
    probabilities knows one kind of defect only. Without a threshold (no good class) it is the most probable class.
    """
    if threshold is None:
        if columns.argmax is None:
            raise ValueError("a method that tells good from defective only needs a threshold")
        return columns.argmax
    if columns.probability is None:
        kind = np.ones(columns.n, np.int64) if columns.argmax is None else columns.argmax
        defect = np.maximum(kind, 1)
    else:
        defect = 1 + np.argmax(columns.probability[:, 1:], axis=1)
    return np.where(columns.score < threshold, 0, defect).astype(np.int64)


@dataclass(frozen=True)
class Judge:
    """Makes rows of images.

    Args:
        classes: Their names.
        threshold: Of the score; None: there is no good class.
        load: An image's file -> (H, W, 3).
        say: (B, H, W, 3) -> what the model says of them.
        batch: Images that the model is given at a time.
    """

    classes: tuple[str, ...]
    threshold: float | None
    load: Callable[[Path], Pixels]
    say: Callable[[Pixels], Columns]
    batch: int

    def rows(self, paths: Sequence[Path]) -> Iterator[Row]:
        """The verdict of each image, in order; files are decoded in threads, one batch ahead of the model."""
        chunks = [paths[start : start + self.batch] for start in range(0, len(paths), self.batch)]
        with ThreadPoolExecutor() as pool:
            ahead = [pool.submit(self.load, path) for path in chunks[0]] if chunks else []
            for i, chunk in enumerate(chunks):
                now, following = ahead, chunks[i + 1] if i + 1 < len(chunks) else []
                ahead = [pool.submit(self.load, path) for path in following]
                yield from self._judge(chunk, now)

    def _judge(self, paths: Sequence[Path], decoded: Sequence[Future[Pixels]]) -> list[Row]:
        pixels: dict[int, Pixels] = {}
        found: dict[int, Row] = {}
        for i, future in enumerate(decoded):
            try:
                pixels[i] = future.result()
            except (OSError, ValueError) as error:
                found[i] = self._row(paths[i], str(error))
        if pixels:
            columns = self.say(np.stack(list(pixels.values())))
            given = verdict(columns, self.threshold)
            for at, i in enumerate(pixels):
                found[i] = self._row(paths[i], None) | self._said(columns, given, at)
        return [found[i] for i in range(len(paths))]

    def _row(self, path: Path, error: str | None) -> Row:
        empty = {"image": str(path), "verdict": None, "predicted": None, "score": None, "threshold": self.threshold}
        return {**empty, "probability": None, "uncertainty": None, "error": error}

    def _said(self, columns: Columns, given: NDArray[np.int64], at: int) -> Row:
        said: Row = {"predicted": self.classes[given[at]], "score": float(columns.score[at])}
        if self.threshold is not None:
            said["verdict"] = "good" if given[at] == 0 else "defective"
        if columns.probability is not None:
            said["probability"] = dict(zip(self.classes, columns.probability[at].tolist(), strict=True))
        if columns.uncertainty is not None:
            said["uncertainty"] = float(columns.uncertainty[at])
        return said


def check_out(out: Path | None) -> None:
    """See that rows can be written to a file of that name.

    Raises:
        ZddError: If it is of another kind than KINDS.
    """
    if out is not None and out.suffix.lower() not in KINDS:
        raise ZddError(f"--out {out}: must end in {' or '.join(KINDS)}")


def find_images(images: Sequence[Path]) -> list[Path]:
    """Files as they are named; of a folder every image in it, however deep, in sorted order, hidden ones left out.

    Raises:
        ZddError: If there is none.
    """
    paths = [found for path in images for found in (_within(path) if path.is_dir() else [path])]
    if not paths:
        raise ZddError(f"no image in {', '.join(str(path) for path in images)}")
    return paths


def _within(folder: Path) -> Iterator[Path]:
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    for found in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in found.relative_to(folder).parts)
        if found.suffix.lower() in known and not hidden and found.is_file():
            yield found


def write(rows: Iterable[Row], out: Path | None, classes: tuple[str, ...]) -> dict[str, Any]:
    """Write rows to a .csv or .jsonl file that is replaced when all is written, or as JSON lines to standard output.

    Returns:
        The number of images and of errors, how often each class was given, and the file.
    """
    given: Counter[str | None] = Counter()
    with _opened(out, classes) as put:
        for row in rows:
            put(row)
            given[row["predicted"]] += 1
    counts = {name: given[name] for name in classes}
    where = None if out is None else str(out)
    return {"images": given.total(), "errors": given[None], "predicted": counts, "out": where}


@contextmanager
def _opened(out: Path | None, classes: tuple[str, ...]) -> Iterator[Callable[[Row], None]]:
    if out is None:
        yield lambda row: _write_json(sys.stdout, row)
        return
    with files.replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield _csv(file, classes) if out.suffix.lower() == ".csv" else lambda row: _write_json(file, row)


def _write_json(file: IO[str], row: Row) -> None:
    file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _csv(file: IO[str], classes: tuple[str, ...]) -> Callable[[Row], None]:
    probabilities = [f"probability/{name}" for name in classes]
    writer = csv.writer(file)
    writer.writerow(["image", "verdict", "predicted", "score", "threshold", *probabilities, "uncertainty", "error"])

    def put(row: Row) -> None:
        each = [(row["probability"] or {}).get(name) for name in classes]
        plain = [row[name] for name in ("image", "verdict", "predicted", "score", "threshold")]
        writer.writerow([*plain, *each, row["uncertainty"], row["error"]])

    return put

"""From what is said of images to a row for each: the same for a run and for an engine without torch.

Standard library, numpy and Pillow alone.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zdd import files
from zdd.ahead import CORES, ahead, chunks
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
class Said(Columns):
    """What a model says of a batch, with its maps where it gives them: they are too large to be kept for all images."""

    map: NDArray[np.float32] | None = None  # (B, H, W)
    kinds: NDArray[np.uint8] | None = None  # (B, H, W), the most probable kind of defect of each pixel


class See(Protocol):
    """What is made of an image's map for its row; called by several threads."""

    @property
    def blank(self) -> Row:
        """The row's part of an image that could not be judged."""
        ...

    def __call__(self, path: Path, row: Row, values: NDArray[np.float32], kinds: NDArray[np.uint8] | None) -> Row:
        """The row's part, by the image's file, its row so far, its map (H, W) and its kinds (H, W)."""
        ...


@dataclass(frozen=True)
class Judge:
    """Makes rows of images.

    Args:
        classes: Their names.
        threshold: Of the score; None: there is no good class.
        load: An image's file -> (H, W, 3).
        say: (B, H, W, 3) -> what the model says of them.
        batch: Images that the model is given at a time.
        at_once: Batches that `say` may be given at the same time, by threads.
        see: Of models that give maps, what rows are told by them; None: nothing.
    """

    classes: tuple[str, ...]
    threshold: float | None
    load: Callable[[Path], Pixels]
    say: Callable[[Pixels], Said]
    batch: int
    at_once: int = 1
    see: See | None = None

    def rows(self, paths: Sequence[Path]) -> Iterator[Row]:
        """The verdict of each image, in order; no more than a few batches of pixels are held at a time.

        Files are decoded in threads while the model works. Where it may be given several batches at once, each thread
        decodes a batch and has it judged: then no core waits for another.
        """
        if self.at_once == 1:
            with ahead(self._read, paths, 2 * self.batch + CORES, CORES) as read:
                for chunk in chunks(read, self.batch):
                    yield from self._judge(chunk)
        else:
            # Rows are small: threads go on while the first of them is late. Each holds the pixels of one batch.
            with ahead(self._whole, chunks(paths, self.batch), 8 * self.at_once, self.at_once) as judged:
                yield from itertools.chain.from_iterable(judged)

    def _whole(self, paths: Sequence[Path]) -> list[Row]:
        return self._judge([self._read(path) for path in paths])

    def _read(self, path: Path) -> tuple[Path, Pixels | str]:
        """The pixels, or why there are none."""
        try:
            return path, self.load(path)
        except (OSError, ValueError) as error:
            return path, str(error)

    def _judge(self, read: Sequence[tuple[Path, Pixels | str]]) -> list[Row]:
        rows = [self._row(path, found if isinstance(found, str) else None) for path, found in read]
        good = [i for i, row in enumerate(rows) if row["error"] is None]
        if good:
            columns = self.say(np.stack([pixels for _, pixels in read if not isinstance(pixels, str)]))
            given = verdict(columns, self.threshold)
            for at, i in enumerate(good):
                rows[i] |= self._said(columns, given, at)
                if self.see is not None and columns.map is not None:
                    kinds = None if columns.kinds is None else columns.kinds[at]
                    rows[i] |= self.see(read[i][0], rows[i], columns.map[at], kinds)
        return rows

    def _row(self, path: Path, error: str | None) -> Row:
        empty = {"image": str(path), "verdict": None, "predicted": None, "score": None, "threshold": self.threshold}
        seen = self.see.blank if self.see else {}
        return {**empty, "probability": None, "uncertainty": None, **seen, "error": error}

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
        ZddError: If it is of another kind than KINDS, or a folder.
    """
    if out is not None and out.suffix.lower() not in KINDS:
        raise ZddError(f"--out {out}: must end in {' or '.join(KINDS)}")
    if out is not None and out.is_dir():
        raise ZddError(f"--out {out}: is a folder; name a file")


def find_images(images: Sequence[Path]) -> list[Path]:
    """Files as they are named; of a folder every image in it, however deep, in sorted order, hidden ones left out.

    What is named and there is tried, whatever it is: only a name that was mistyped is no row.

    Raises:
        ZddError: If what was named is not there, if there is no image, or a name is not UTF-8.
    """
    if missing := [path for path in images if not path.exists()]:
        raise ZddError(*(f"{path}: there is no such file or folder" for path in missing))
    paths = [found for path in images for found in (_within(path) if path.is_dir() else [path])]
    if not paths:
        raise ZddError(f"no image in {', '.join(str(path) for path in images)}")
    for path in paths:
        if os.fsencode(path).decode(errors="replace") != str(path):  # no row could name it
            raise ZddError(f"{str(path)!a}: a name that is not UTF-8; rename it")
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
    """A line a row; the columns are those of the first row, a probability for each class."""
    writer: csv.DictWriter[str] | None = None
    probabilities = [f"probability/{name}" for name in classes]

    def put(row: Row) -> None:
        nonlocal writer
        plain = dict(row)
        each = plain.pop("probability") or {}
        if writer is None:
            before, after = itertools.islice(plain, 5), itertools.islice(plain, 5, None)  # up to the threshold
            writer = csv.DictWriter(file, [*before, *probabilities, *after])
            writer.writeheader()
        writer.writerow(plain | {f"probability/{name}": value for name, value in each.items()})

    return put

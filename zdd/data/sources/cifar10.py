"""CIFAR-10: the binary version, or Kaggle's pictures with their table.

The pickled version can run code when it is read, so it is refused. Krizhevsky, "Learning Multiple Layers of Features
from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import csv
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from zdd import files
from zdd.data.folders import cache_folder
from zdd.data.found import Found
from zdd.errors import ZddError
from zdd.records import Split
from zdd.settings import Factor

SIDE = 32
PIXELS = 3 * SIDE * SIDE
NAMES = "batches.meta.txt"  # the classes, one a line
TABLE = "trainLabels.csv"  # Kaggle's
BELOW = ("", "cifar-10-batches-bin", "cifar-10")  # where the archives put their files
EXPECTED = f"data_batch_*.bin, test_batch.bin and {NAMES} (the binary version), or train/*.png and {TABLE} (Kaggle's)"


def index(root: Path, *, train_share: Factor = 1.0, test_share: Factor = 1.0) -> list[Found]:
    """Find the pictures; those of the binary version are unpacked into the cache folder once.

    Args:
        root: The folder of one of the two versions.
        train_share: Share of each class's training pictures that is used, evenly from all.
        test_share: The same of the test pictures. Kaggle's have no labels: its test is drawn by `dataset.split`.

    Raises:
        ZddError: If neither version is there, it is the pickled one, or a file can't be right.
    """
    for folder in (root / name for name in BELOW):
        if any(folder.glob("data_batch_*.bin")):
            return _some(_unpacked(folder), train_share, test_share)
        if (folder / TABLE).is_file():
            return _some(_kaggle(folder), train_share, test_share)
    pickled = [
        folder for folder in (*(root / name for name in BELOW), root / "cifar-10-batches-py") if _pickled(folder)
    ]
    if pickled:
        raise ZddError(
            f"dataset.root = {pickled[0]}: this is CIFAR-10's pickled version (data_batch_1 without .bin), which may "
            "run code when it is read; get the binary version, cifar-10-binary.tar.gz"
        )
    raise ZddError(f"dataset.root = {root}: no CIFAR-10 in it; expected {EXPECTED}")


def _pickled(folder: Path) -> bool:
    return (folder / "data_batch_1").is_file()


def _some(found: list[Found], train_share: float, test_share: float) -> list[Found]:
    """The pictures that a share keeps: of each class and split as many, evenly, and always the same."""
    size = Counter((one.class_name, one.split) for one in found)
    place: Counter[tuple[str, Split | None]] = Counter()
    kept = []
    for one in found:
        which = (one.class_name, one.split)
        share = test_share if one.split == "test" else train_share
        wanted = max(1, round(share * size[which]))
        # Of n pictures those at which a line of the slope wanted / n reaches the next whole number.
        if (place[which] + 1) * wanted // size[which] > place[which] * wanted // size[which]:
            kept.append(one)
        place[which] += 1
    return kept


def _kaggle(folder: Path) -> list[Found]:
    """Kaggle's form: train/<id>.png and a table with id and label."""
    try:
        with (folder / TABLE).open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ZddError(f"{folder / TABLE}: not readable as a CSV file in UTF-8 ({error})") from None
    if not rows or not {"id", "label"} <= rows[0].keys():
        raise ZddError(f"{folder / TABLE}:1: must have the columns id and label, and a row for each picture")
    if wrong := next((row for row in rows if not row["id"] or not row["label"]), None):
        said = f"{wrong['id'] or ''},{wrong['label'] or ''}"
        raise ZddError(f"{folder / TABLE}: the row {said} must have an id and a label")
    again = [name for name, n in Counter(row["id"] for row in rows).items() if n > 1]
    if again:
        raise ZddError(f"{folder / TABLE}: {len(again)} pictures stand there more than once: {again[0]}")
    inner = folder / "train" / "train"  # as some archives unpack
    pictures = inner if inner.is_dir() else folder / "train"
    missing = [row["id"] for row in rows if not (pictures / f"{row['id']}.png").is_file()]
    if missing:
        raise ZddError(f"{pictures}: {len(missing)} of the pictures that {TABLE} names are not there: {missing[0]}.png")
    return [Found(str(pictures / f"{row['id']}.png"), row["label"]) for row in rows]


def _unpacked(folder: Path) -> list[Found]:
    """The binary version's pictures as PNG files in the cache folder."""
    batches = [*sorted(folder.glob("data_batch_*.bin")), folder / "test_batch.bin"]
    missing = [path.name for path in (batches[-1], folder / NAMES) if not path.is_file()]
    if missing:
        raise ZddError(f"{folder}: {' and '.join(missing)} is not there; expected {EXPECTED}")
    names = [line.strip() for line in (folder / NAMES).read_text(encoding="utf-8").splitlines() if line.strip()]
    digest = hashlib.sha256("".join(files.sha256(path) for path in (*batches, folder / NAMES)).encode()).hexdigest()
    out = cache_folder() / "cifar10" / digest[:16]
    pictures = list(_pictures(batches, names, out))
    if not out.is_dir():
        _unpack(batches, pictures, out)
    return pictures


def _pictures(batches: list[Path], names: list[str], out: Path) -> Iterator[Found]:
    for batch in batches:
        split: Split = "test" if batch.name.startswith("test") else "train"
        labels = _read(batch)[:, 0].tolist()
        for number, label in enumerate(labels):
            if label >= len(names):
                raise ZddError(f"{batch}: picture {number} has the class {label}; {NAMES} names {len(names)} classes")
            path = out / split / names[label] / f"{batch.stem}_{number:05d}.png"
            yield Found(str(path), names[label], split=split)


def _read(batch: Path) -> NDArray[np.uint8]:
    """(N, 1 + 3072): the class, then 1024 red, green and blue values, row by row."""
    size = batch.stat().st_size
    if size == 0 or size % (1 + PIXELS):
        raise ZddError(f"{batch}: {size} bytes; must be a multiple of {1 + PIXELS} (was the download broken off?)")
    return np.fromfile(batch, np.uint8).reshape(-1, 1 + PIXELS)


def _unpack(batches: list[Path], pictures: list[Found], out: Path) -> None:
    """Write every picture beside its place, and move the whole folder there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        for below in {Path(one.path).parent for one in pictures}:
            (temporary / below.relative_to(out)).mkdir(parents=True, exist_ok=True)
        values = (row[1:].reshape(3, SIDE, SIDE).transpose(1, 2, 0) for batch in batches for row in _read(batch))
        progress = track(pictures, "unpacking CIFAR-10", len(pictures), console=Console(stderr=True))
        for one, value in zip(progress, values, strict=True):
            Image.fromarray(value).save(temporary / Path(one.path).relative_to(out), compress_level=1)
        try:
            temporary.rename(out)
        except OSError:
            if not out.is_dir():  # another process was first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

"""Draw the set `labels`: photographs of parts with a printed label, good and bad in four ways."""

import csv
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from zdd import files
from zdd.data.synthesis.labels_print import FAULTS, Fault
from zdd.data.synthesis.labels_scene import make_part, photograph
from zdd.errors import ZddError

TABLE = "labels.csv"
MARK = "labels.json"  # says that a folder was drawn here, so that it may be drawn anew
README = "README.md"
IMAGES, MASKS = "images", "masks"
OURS = {TABLE, MARK, README, IMAGES, MASKS}
PICTURES_A_PART = 2
DRAWING = 1  # raise when the same seed draws other pictures than before

_README = """# labels

Photographs of parts with a printed label, drawn by `zdd data labels` from seed {seed}: {n_images} images of
{size} x {size} pixels, {per_class} of each of {classes}. No photograph, font or texture from elsewhere is in them.

| file | what it is |
|---|---|
| `images/<class>_<part>_<picture>.jpg` | the picture |
| `masks/<class>_<part>_<picture>.png` | 255 where the fault is, 0 elsewhere (all 0 for no_fail) |
| `{table}` | image, label, mask, group: the pictures of one part (at most {pictures}) are one group |

Drawn again with: zdd data labels OUT --per-class {per_class} --seed {seed}
"""


@dataclass(frozen=True, slots=True)
class _Row:
    image: str
    label: str
    mask: str
    group: str


def draw(out: Path, *, per_class: int, seed: int, size: int = 256, processes: int | None = None) -> dict[str, Any]:
    """Draw the set into `out`; the same seed and size give the same bytes, for any number of processes.

    Args:
        out: Folder to make. One that `draw` made before is replaced, any other that holds something is refused.
        per_class: Images of each of the five classes.
        seed: Any number from 0; the n-th part is the same for every `per_class`.
        size: Height and width of the images in pixels.
        processes: Processes that draw; None: one for each processor, one for a small set.

    Raises:
        ZddError: If a number is out of range or `out` is not ours to replace.
    """
    _check(out, per_class, seed, size)
    started, out = time.monotonic(), out.absolute()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        for folder in (IMAGES, MASKS):
            (temporary / folder).mkdir(parents=True)
        rows = _draw_parts(temporary, per_class, seed, size, processes)
        facts = {"n_images": len(rows), "per_class": per_class, "seed": seed, "size": size}
        _describe(temporary, rows, facts)
        _put(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {"out": str(out), **facts, "classes": list(FAULTS), "took_s": round(time.monotonic() - started, 1)}


def _check(out: Path, per_class: int, seed: int, size: int) -> None:
    mistakes = []
    if per_class < 1:
        mistakes.append(f"per_class = {per_class}: must be 1 or more")
    if seed < 0:
        mistakes.append(f"seed = {seed}: must be 0 or more")
    if not 32 <= size <= 2048:
        mistakes.append(f"size = {size}: must be from 32 to 2048 pixels")
    if out.is_dir():
        foreign = sorted(path.name for path in out.iterdir() if path.name not in OURS)
        empty = not any(out.iterdir())
        if foreign or not (empty or (out / MARK).is_file()):
            names = ", ".join(foreign[:4]) or f"files without {MARK}"
            mistakes.append(f"{out} holds what was not drawn here ({names}); name a new or an empty folder")
    elif out.exists():
        mistakes.append(f"{out} is a file; name a folder")
    if mistakes:
        raise ZddError(*mistakes)


def _draw_parts(folder: Path, per_class: int, seed: int, size: int, processes: int | None) -> list[_Row]:
    parts = [
        (fault, first // PICTURES_A_PART, min(PICTURES_A_PART, per_class - first))
        for fault in FAULTS
        for first in range(0, per_class, PICTURES_A_PART)
    ]
    work = partial(_draw_part, folder, seed, size)
    if processes is None:  # a small set is drawn sooner than processes start
        processes = min(len(os.sched_getaffinity(0)), len(parts) // 8) if hasattr(os, "sched_getaffinity") else 1
    title = f"drawing {per_class * len(FAULTS)} images"
    progress = partial(track, description=title, total=len(parts), console=Console(stderr=True))
    if processes <= 1:
        return [row for rows in progress(map(work, parts)) for row in rows]
    # spawn: the progress bar's thread must not be forked
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return [row for rows in progress(pool.map(work, parts, chunksize=4)) for row in rows]


def _draw_part(folder: Path, seed: int, size: int, which: tuple[Fault, int, int]) -> list[_Row]:
    """Draw the pictures of one part: the fault, the part's number and how many pictures."""
    fault, number, n_pictures = which
    place = (seed, FAULTS.index(fault), number)
    part = make_part(np.random.default_rng((*place, 0)), fault, side=2 * size)
    rows = []
    for picture in range(n_pictures):
        rng = np.random.default_rng((*place, picture + 1))
        image, mask = photograph(part, rng, size=size)
        name = f"{fault}_{number:04d}_{picture}"
        row = _Row(f"{IMAGES}/{name}.jpg", fault, f"{MASKS}/{name}.png", f"{fault}_{number:04d}")
        image.save(folder / row.image, quality=int(rng.integers(82, 96)))
        mask.save(folder / row.mask)
        rows.append(row)
    return rows


def _describe(folder: Path, rows: list[_Row], facts: dict[str, int]) -> None:
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(_Row))
        writer.writerows(astuple(row) for row in rows)
    files.write_json(folder / MARK, {"made_by": "zdd data labels", "drawing": DRAWING, **facts})
    text = _README.format(**facts, classes=", ".join(FAULTS), table=TABLE, pictures=PICTURES_A_PART)
    files.write_text(folder / README, text)


def _put(temporary: Path, out: Path) -> None:
    """Move the finished folder to its place; the one that was there goes only then."""
    if not out.exists():
        temporary.rename(out)
        return
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    out.rename(old)
    temporary.rename(out)
    shutil.rmtree(old)

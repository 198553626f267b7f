"""Draw the set `labels`: photographs of parts with a printed label, good and bad in four ways."""

import csv
import multiprocessing
import os
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
from zdd.data.synthesis import folder
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
    with folder.making(out, MARK, OURS, below=(IMAGES, MASKS)) as temporary:
        rows = _draw_parts(temporary, per_class, seed, size, processes)
        facts = {"n_images": len(rows), "per_class": per_class, "seed": seed, "size": size}
        _describe(temporary, rows, facts)
    return {"out": str(out), **facts, "classes": list(FAULTS), "took_s": round(time.monotonic() - started, 1)}


def _check(out: Path, per_class: int, seed: int, size: int) -> None:
    mistakes = []
    if per_class < 1:
        mistakes.append(f"per_class = {per_class}: must be 1 or more")
    if seed < 0:
        mistakes.append(f"seed = {seed}: must be 0 or more")
    if not 32 <= size <= 2048:
        mistakes.append(f"size = {size}: must be from 32 to 2048 pixels")
    mistakes += folder.mistakes(out, MARK, OURS)
    if mistakes:
        raise ZddError(*mistakes)


def _draw_parts(place: Path, per_class: int, seed: int, size: int, processes: int | None) -> list[_Row]:
    parts = [
        (fault, first // PICTURES_A_PART, min(PICTURES_A_PART, per_class - first))
        for fault in FAULTS
        for first in range(0, per_class, PICTURES_A_PART)
    ]
    work = partial(_draw_part, place, seed, size)
    if processes is None:  # a small set is drawn sooner than processes start
        processes = min(len(os.sched_getaffinity(0)), len(parts) // 8) if hasattr(os, "sched_getaffinity") else 1
    title = f"drawing {per_class * len(FAULTS)} images"
    progress = partial(track, description=title, total=len(parts), console=Console(stderr=True))
    if processes <= 1:
        return [row for rows in progress(map(work, parts)) for row in rows]
    # spawn: the progress bar's thread must not be forked
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return [row for rows in progress(pool.map(work, parts, chunksize=4)) for row in rows]


def _draw_part(place: Path, seed: int, size: int, which: tuple[Fault, int, int]) -> list[_Row]:
    """Draw the pictures of one part: the fault, the part's number and how many pictures."""
    fault, number, n_pictures = which
    which_part = (seed, FAULTS.index(fault), number)
    part = make_part(np.random.default_rng((*which_part, 0)), fault, side=2 * size)
    rows = []
    for picture in range(n_pictures):
        rng = np.random.default_rng((*which_part, picture + 1))
        image, mask = photograph(part, rng, size=size)
        name = f"{fault}_{number:04d}_{picture}"
        row = _Row(f"{IMAGES}/{name}.jpg", fault, f"{MASKS}/{name}.png", f"{fault}_{number:04d}")
        image.save(place / row.image, quality=int(rng.integers(82, 96)))
        mask.save(place / row.mask)
        rows.append(row)
    return rows


def _describe(place: Path, rows: list[_Row], facts: dict[str, int]) -> None:
    with (place / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(_Row))
        writer.writerows(astuple(row) for row in rows)
    files.write_json(place / MARK, {"made_by": "zdd data labels", "drawing": DRAWING, **facts})
    text = _README.format(**facts, classes=", ".join(FAULTS), table=TABLE, pictures=PICTURES_A_PART)
    files.write_text(place / README, text)

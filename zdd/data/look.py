"""One look at every file: its hash, its size, a fingerprint of what it shows, and whether it can be read at all."""

import base64
import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image
from rich.console import Console
from rich.progress import track

from zdd import files
from zdd.pixels import draft, open_image, reason, to_rgb, turn_of

SIDE = 16  # of the fingerprint: a grey thumbnail of 16 x 16 pixels
MANY = 400  # from so many files on, people see a progress bar
VERSION = 2  # of what is remembered
_WINDOW = 2048  # files handed to the threads at a time
_GREY = (128, 128, 128)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a file found; `error` is empty unless it can't be read."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    fingerprint: bytes = b""  # SIDE * SIDE grey values, row by row
    error: str = ""


def look(path: str) -> Seen:
    """Read a file once, whole: hash it and decode it.

    A JPEG is decoded at up to an eighth of its size, which is enough for the fingerprint; a truncated one shows up all
    the same.
    """
    try:
        data = Path(path).read_bytes()
        with open_image(io.BytesIO(data)) as image:
            width, height, mode = image.width, image.height, image.mode
            turn, extent = turn_of(image), draft(image, "L", (4 * SIDE, 4 * SIDE))
            grey = to_rgb(image, _GREY).convert("L")
            # Hamming weighs pixels that lie on an edge of two cells; a box counts them whole, by chance here or there.
            small = grey.resize((SIDE, SIDE), Image.Resampling.HAMMING, box=(0, 0, *extent))
            fingerprint = (small if turn is None else small.transpose(turn)).tobytes()
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        return Seen(error=reason(error))
    return Seen(hashlib.sha256(data).hexdigest(), width, height, mode, fingerprint)


def look_at_all(paths: Sequence[str], memory: Path | None) -> list[Seen]:
    """Look at many files with threads; those that did not change since the last time are remembered.

    Args:
        paths: The files.
        memory: Where looks are remembered, by path, size and time of change; None remembers nothing.
    """
    stamps = [_stamp(path) for path in paths]
    known = _remembered(memory) if memory else {}
    keys = [(path, *stamp) for path, stamp in zip(paths, stamps, strict=True)]
    todo = [path for path, key in zip(paths, keys, strict=True) if key not in known]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # open_image refuses those by itself
        fresh = iter(side_by_side(look, todo, "looking at the images"))
        seen = [known[key] if key in known else next(fresh) for key in keys]
    if memory and todo:
        _remember(memory, keys, seen)
    return seen


def side_by_side(work: Callable[[str], T], paths: Sequence[str], title: str) -> Iterator[T]:
    """`work` on each path, in order, with threads (reading, hashing and Pillow's decoding let go of Python's lock)."""
    shown = track(range(0, len(paths), _WINDOW), title, console=Console(stderr=True), transient=True)
    steps = shown if len(paths) >= max(MANY, 2 * _WINDOW) else range(0, len(paths), _WINDOW)
    with ThreadPoolExecutor(processors()) as pool:
        for start in steps:
            yield from pool.map(work, paths[start : start + _WINDOW])


def processors() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stamp(path: str) -> tuple[int, int]:
    try:
        state = os.stat(path)  # noqa: PTH116 (no Path object for each of 100,000 files)
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


Key = tuple[str, int, int]  # path, size, time of change


def _remembered(memory: Path) -> dict[Key, Seen]:
    """A memory that can't be read is no memory: it is written anew."""
    try:
        with memory.open(encoding="utf-8") as lines:
            if json.loads(next(lines)) != VERSION:
                return {}
            return dict(_row(line) for line in lines)
    except (OSError, ValueError, TypeError, StopIteration):
        return {}


def _row(line: str) -> tuple[Key, Seen]:
    path, size, time, sha256, width, height, mode, fingerprint = json.loads(line)
    seen = Seen(sha256, width, height, mode, base64.b64decode(fingerprint, validate=True))
    if len(seen.fingerprint) != SIDE * SIDE or len(sha256) != 64:
        raise ValueError("damaged")
    return (path, size, time), seen


def _remember(memory: Path, keys: Sequence[Key], seen: Sequence[Seen]) -> None:
    """What could not be read is looked at again the next time."""
    try:
        with files.replacing(memory) as temporary, temporary.open("w", encoding="utf-8") as out:
            out.write(f"{VERSION}\n")
            for key, one in zip(keys, seen, strict=True):
                if not one.error:
                    *facts, fingerprint, _ = astuple(one)
                    out.write(json.dumps([*key, *facts, base64.b64encode(fingerprint).decode()]) + "\n")
    except OSError as error:
        Console(stderr=True).print(f"the looks at the images can't be remembered ({error})", style="yellow")

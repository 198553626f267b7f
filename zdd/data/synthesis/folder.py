"""A folder that a command made: refused where it is someone else's, written beside its place and moved there whole."""

import csv
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from zdd import files
from zdd.errors import ZddError

TABLE = "synthetic.csv"
MARK = "synthetic.json"  # says that a folder was made here, so that it may be made anew
README = "README.md"
SAMPLES = "samples.png"
IMAGES, MASKS = "images", "masks"
JUDGED = frozenset({"likeness.json", "nearest.png"})  # what zdd.likeness writes into it afterwards
OURS = frozenset({TABLE, MARK, README, SAMPLES, IMAGES, MASKS}) | JUDGED


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a training set's table; paths are relative to it, or absolute. The source `csv` reads it."""

    image: str
    label: str
    mask: str = ""
    group: str = ""
    split: str = ""
    parent: str = ""  # as zdd.data.parents reads it


def mistakes(out: Path, mark: str, ours: Collection[str]) -> list[str]:
    """Why `out` may not be made or replaced.

    Args:
        out: The folder.
        mark: The file that says that it was made by the same command.
        ours: Every name that such a folder may hold.
    """
    if out.is_dir():
        there = sorted(path.name for path in out.iterdir())
        foreign = [name for name in there if name not in ours]
        if foreign or (there and not (out / mark).is_file()):
            names = ", ".join(foreign[:4]) or f"files without {mark}"
            return [f"{out} holds what was not made here ({names}); name a new or an empty folder"]
    elif out.exists():
        return [f"{out} is a file; name a folder"]
    return []


def spare(out: Path, needed: Iterable[str]) -> None:
    """See that making `out` anew takes away no file that its table is to name.

    Raises:
        ZddError: If one lies there.
    """
    folder = os.path.join(os.path.realpath(out), "")  # noqa: PTH118
    if lost := next((path for path in needed if os.path.realpath(path).startswith(folder)), ""):
        raise ZddError(f"{out}: is made anew, and {lost} lies in it, which is needed; name another folder")


@contextmanager
def making(out: Path, mark: str = MARK, ours: Collection[str] = OURS, below: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside `out` that takes its place only if the block ends well.

    Args:
        out: The folder to make; one that was made before is replaced.
        mark: The file that says that it was made by the same command.
        ours: Every name that such a folder may hold.
        below: Folders to make in it.

    Raises:
        ZddError: If something else is there.
    """
    if wrong := mistakes(out, mark, ours):
        raise ZddError(*wrong)
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        for name in ("", *below):
            files.make_folder(temporary / name)
        yield temporary
        _put(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the table that the source `csv` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        writer.writerows(astuple(row) for row in rows)


def path_from(out: Path, path: str) -> str:
    """How the file at `path` is written in a table in the folder `out`: relative to it, unless on another drive."""
    file = Path(path).absolute()
    try:
        # Through links a path goes up another way than its text does.
        return os.path.relpath(os.path.join(os.path.realpath(file.parent), file.name), os.path.realpath(out))  # noqa: PTH118
    except ValueError:
        return str(file)


def _put(temporary: Path, out: Path) -> None:
    """Move the finished folder to its place; the one that was there goes only then."""
    if not out.exists():
        temporary.rename(out)
        return
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    out.rename(old)
    temporary.rename(out)
    shutil.rmtree(old)

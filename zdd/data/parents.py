"""Which images a synthetic one was made from, and whether that lets a split know of another."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from zdd import files
from zdd.errors import ZddError
from zdd.records import Record

LIST = ".txt"  # ends the name of a list of parents, for what was learnt from many
SHOWN = 20  # lines of a message


def parents(text: str) -> tuple[str, ...]:
    """The images that a synthetic one was made from, as its `parent` says.

    Args:
        text: Paths joined by ";", or the path of a list, `<name>.txt`, with a path a line, relative to the list.

    Raises:
        ZddError: If there is no such list, or it can't be read.
    """
    if not text.strip().endswith(LIST):
        return tuple(path for part in text.split(";") if (path := part.strip()))
    file = Path(text.strip())
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = "there is no such list of parents" if isinstance(error, FileNotFoundError) else f"not readable ({error})"
        raise ZddError(f"{file}: {what}; an image names it as its parent") from None
    return tuple(str(file.parent / line.strip()) for line in lines if line.strip())


def all_parents(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The parents that each text names, by the text; a list is read once."""
    return {text: parents(text) for text in set(texts) if text}


def check(records: Sequence[Record], unknown: Sequence[Record] = ()) -> None:
    """Prove that no synthetic image carries what one split shows into another.

    An image and each of its parents must lie in one split, and so must all that were made from the same parent, whether
    it stands in the set or not. A parent that does not stand there (its place was taken by what was made from it) must
    be a file that is not the same as an image of another split.

    Args:
        records: All images in their splits.
        unknown: Images of no class, which nothing in a split may be made from.

    Raises:
        ZddError: Naming the images whose parents stand where they must not.
    """
    made = [record for record in records if record.parent]
    if not made:
        return
    named = all_parents(record.parent for record in made)
    known = {os.path.normpath(record.path): str(record.split) for record in records}
    known |= {os.path.normpath(record.path): "images of no class" for record in unknown}
    lines = _astray(made, named, known)
    lines += _hidden(made, named, known, [*records, *unknown])
    if lines:
        more = [f"and {len(lines) - SHOWN} more such images"] if len(lines) > SHOWN else []
        raise ZddError(*lines[:SHOWN], *more)


def _astray(made: Sequence[Record], named: dict[str, tuple[str, ...]], known: dict[str, str]) -> list[str]:
    """Images whose parent, or another that was made from it, is in another split."""
    lines: list[str] = []
    first: dict[str, Record] = {}
    for record in made:
        for parent in named[record.parent]:
            where = known.get(os.path.normpath(parent))
            if where is not None and where != record.split:
                lines.append(
                    f"{record.path}: is in {record.split} and was made from {parent}, which is in {where}; "
                    "an image and its parents must be in one split"
                )
                break
            other = first.setdefault(os.path.normpath(parent), record)
            if other.split != record.split:
                lines.append(
                    f"{record.path}: is in {record.split} and was made from {parent}, as {other.path}, "
                    f"which is in {other.split}; all that is made from one image must be in one split"
                )
                break
    return lines


def _hidden(
    made: Sequence[Record], named: dict[str, tuple[str, ...]], known: dict[str, str], records: Sequence[Record]
) -> list[str]:
    """Images whose parent does not stand in the set: it may be gone, or be a copy of what does."""
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(record.sha256, set()).add(str(record.split) if record.label >= 0 else "images of no class")
    hashes: dict[str, str] = {}
    lines = []
    for record in made:
        for parent in named[record.parent]:
            if os.path.normpath(parent) in known:
                continue
            if parent not in hashes:
                hashes[parent] = files.sha256(Path(parent)) if Path(parent).is_file() else ""
            where = splits.get(hashes[parent], set()) - {str(record.split)}
            if not hashes[parent] or where:
                why = f"is the same file as one in {', '.join(sorted(where))}" if where else "is not there"
                lines.append(f"{record.path}: is in {record.split}, and its parent {parent} {why}; {_RIGHT}")
                break
    return lines


_RIGHT = "what it was made from must be shown to be in no other split"

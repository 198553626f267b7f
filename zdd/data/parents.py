"""Which images a synthetic one was made from, and whether that lets a split know of another."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from zdd.data.duplicates import across_splits
from zdd.data.look import Seen, look_at_all
from zdd.errors import ZddError
from zdd.records import Record

LIST = ".txt"  # ends the name of a list of parents, for what was learnt from many
SHOWN = 20  # lines of a message


def parents(text: str) -> tuple[str, ...]:
    """The images that a synthetic one was made from, as its `parent` says.

    Args:
        text: Paths joined by ";", each of an image or of a list: `<name>.txt`, a path a line, relative to the list.

    Raises:
        ZddError: If there is no such list, or it can't be read, or names no image.
    """
    found: list[str] = []
    for path in (part.strip() for part in text.split(";")):
        found += _listed(Path(path)) if path.lower().endswith(LIST) else [path] if path else []
    return tuple(found)


def _listed(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = "there is no such list of parents" if isinstance(error, FileNotFoundError) else f"not readable ({error})"
        raise ZddError(f"{file}: {what}; an image names it as its parent") from None
    named = [line.strip() for line in lines if line.strip()]
    if wrong := next((line for line in named if line.lower().endswith(LIST)), "" if named else "no image at all"):
        raise ZddError(f"{file}: names {wrong}; a list of parents names images")
    return [str(file.parent / line) for line in named]


def all_parents(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The parents that each text names, by the text; a list is read once."""
    return {text: parents(text) for text in set(texts) if text}


def place(path: str) -> str:
    """One spelling for each file, however it is reached; a file that is a link itself stays one."""
    folder, name = os.path.split(path)
    return os.path.join(_folder(folder), name)  # noqa: PTH118 (no Path object for each of 100,000 files)


@lru_cache(maxsize=4096)
def _folder(path: str) -> str:
    return os.path.realpath(path)


def hidden(records: Sequence[Record], unknown: Sequence[Record] = ()) -> dict[str, Seen]:
    """A look at each parent that does not stand in the set: its place was taken by what was made from it."""
    named = all_parents(record.parent for record in records)
    known = {place(record.path) for record in (*records, *unknown)} if named else set()
    paths = list(dict.fromkeys(path for text in named.values() for path in text if place(path) not in known))
    return dict(zip(sorted(paths), look_at_all(sorted(paths), None), strict=True))


def check(records: Sequence[Record], away: Mapping[str, Seen], unknown: Sequence[Record] = ()) -> None:
    """Prove that no synthetic image carries what one split shows into another.

    An image and each of its parents must lie in one split, and so must all that were made from the same parent, whether
    it stands in the set or not. A parent that does not stand there must be an image file that is not the same as one of
    another split.

    Args:
        records: All images in their splits.
        away: What `hidden` found.
        unknown: Images of no class, which nothing in a split may be made from.

    Raises:
        ZddError: Naming the images whose parents stand where they must not.
    """
    made = [record for record in records if record.parent]
    if not made:
        return
    named = all_parents(record.parent for record in made)
    known = {place(record.path): str(record.split) for record in records}
    known |= {place(record.path): "images of no class" for record in unknown}
    lines = [
        f"{record.path}: its parent '{record.parent}' names no other image"
        for record in made
        if {place(parent) for parent in named[record.parent]} <= {place(record.path)}
    ]
    lines += _astray(made, named, known)
    lines += _hidden(made, named, away, [*records, *unknown])
    if lines:
        more = [f"and {len(lines) - SHOWN} more such images"] if len(lines) > SHOWN else []
        raise ZddError(*lines[:SHOWN], *more)


def copies(records: Sequence[Record], seen: Sequence[Seen], away: Mapping[str, Seen]) -> list[str]:
    """A line for each parent outside of the set that looks like an image of another split than its child's.

    Args:
        records: All images in their splits.
        seen: A look at each.
        away: What `hidden` found.
    """
    if not away:
        return []
    named = all_parents(record.parent for record in records)
    children = {path: record for record in records if record.parent for path in named[record.parent] if path in away}
    splits = [record.split or "train" for record in (*records, *children.values())]
    pairs, _ = across_splits([*seen, *(away[path] for path in children)], splits)
    n, paths = len(records), list(children)
    alike = [(records[pair.first], paths[pair.second - n]) for pair in pairs if pair.first < n <= pair.second]
    return [
        f"{children[path].path}: is in {children[path].split}, and its parent {path} looks like {other.path}, "
        f"which is in {other.split}"
        for other, path in alike
    ]


def _astray(made: Sequence[Record], named: dict[str, tuple[str, ...]], known: dict[str, str]) -> list[str]:
    """Images whose parent, or another that was made from it, is in another split."""
    lines: list[str] = []
    first: dict[str, Record] = {}
    for record in made:
        for parent in named[record.parent]:
            where = known.get(place(parent))
            if where is not None and where != record.split:
                lines.append(
                    f"{record.path}: is in {record.split} and was made from {parent}, which is in {where}; "
                    "an image and its parents must be in one split"
                )
                break
            other = first.setdefault(place(parent), record)
            if other.split != record.split:
                lines.append(
                    f"{record.path}: is in {record.split} and was made from {parent}, as {other.path}, "
                    f"which is in {other.split}; all that is made from one image must be in one split"
                )
                break
    return lines


def _hidden(
    made: Sequence[Record], named: dict[str, tuple[str, ...]], away: Mapping[str, Seen], records: Sequence[Record]
) -> list[str]:
    """Images whose parent does not stand in the set: it may be gone, or be a copy of what does."""
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(record.sha256, set()).add(str(record.split) if record.label >= 0 else "images of no class")
    lines = []
    for record in made:
        for parent in named[record.parent]:
            if parent not in away:
                continue
            where = splits.get(away[parent].sha256, set()) - {str(record.split)}
            if away[parent].error or where:
                same = f"is the same file as one in {', '.join(sorted(where))}"
                why = same if where else _lacks(away[parent], parent)
                lines.append(f"{record.path}: is in {record.split}, and its parent {parent} {why}; {_RIGHT}")
                break
    return lines


def _lacks(seen: Seen, path: str) -> str:
    return f"can't be read ({seen.error})" if Path(path).is_file() else "is not there"


_RIGHT = "what it was made from must be shown to be in no other split"

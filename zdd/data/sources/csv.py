"""A CSV file with a row for each image: image, label and, where known, mask, group, split, parent."""

import csv
from collections.abc import Sequence
from pathlib import Path

from zdd.data.found import Found
from zdd.data.sources.folder import SPLIT_FOLDERS
from zdd.errors import ZddError

NEEDED = ("image", "label")
KNOWN = (*NEEDED, "mask", "group", "split", "parent")
SHOWN = 20  # mistakes in a message


def index(root: Path, *, file: str = "", delimiter: str = ",") -> list[Found]:
    """Read the rows; paths in them are relative to the CSV file. Other columns are passed over.

    A `parent` is one path or several, joined by ";", or a list of them, see `zdd.data.parents`.

    Args:
        root: The CSV file, or the folder that holds it.
        file: The CSV file's name in that folder; may be left out where there is only one.
        delimiter: What stands between two columns.

    Raises:
        ZddError: If the file is not there or a row can't be right; every such row is named.
    """
    table = _table(root, file)
    if len(delimiter) != 1:
        raise ZddError(f"dataset.delimiter = {delimiter!r}: must be one character")
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, delimiter=delimiter)
            _check_columns(table, rows.fieldnames or ())
            return _read(table, rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ZddError(f"{table}: not readable as a CSV file in UTF-8 ({error})") from None


def _table(root: Path, file: str) -> Path:
    if root.is_file():
        return root
    tables = [root / file] if file else sorted(root.glob("*.csv"))
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise ZddError(f"{root}: expected one CSV file, found {names}; name it in dataset.file")
    if not tables[0].is_file():
        raise ZddError(f'dataset.file = "{file}": there is no such file in {root}')
    return tables[0]


def _check_columns(table: Path, columns: Sequence[str]) -> None:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        there = ", ".join(columns) or "none"
        raise ZddError(f"{table}:1: there is no column {' and no column '.join(missing)}; the columns are {there}")
    # A split or parents that are passed over for their spelling would let test images into training.
    meant = {name: name.strip().lower().removesuffix("s") for name in columns if name not in KNOWN}
    if lines := [
        f"{table}:1: the column '{name}' is not read; name it '{right}', or, if it means something else, rename it"
        for name, right in meant.items()
        if right in KNOWN and right not in columns
    ]:
        raise ZddError(*lines)


def _read(table: Path, rows: "csv.DictReader[str]") -> list[Found]:
    found: dict[str, Found] = {}
    mistakes = []
    for row in rows:
        where = f"{table}:{rows.line_num}"
        value = {name: (row.get(name) or "").strip() for name in KNOWN}
        split = SPLIT_FOLDERS.get(value["split"].lower())
        path = _path(table, value["image"])
        if not value["image"] or not value["label"]:
            mistakes.append(f"{where}: image and label must not be empty")
        elif value["split"] and split is None:
            mistakes.append(f"{where}: split = '{value['split']}': must be train, val or test")
        elif path in found:
            mistakes.append(f"{where}: image = '{value['image']}': stands in an earlier row already")
        else:
            mask = _path(table, value["mask"])
            parent = ";".join(_path(table, one.strip()) for one in value["parent"].split(";"))
            found[path] = Found(path, value["label"], value["group"], split, mask, parent)
    if len(mistakes) > SHOWN:
        mistakes = [*mistakes[:SHOWN], f"{table}: and {len(mistakes) - SHOWN} more"]
    if mistakes:
        raise ZddError(*mistakes)
    if not found:
        raise ZddError(f"{table}: there is no row in it")
    return list(found.values())


def _path(table: Path, name: str) -> str:
    return str(table.parent / name) if name else ""

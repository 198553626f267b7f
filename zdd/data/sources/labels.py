"""The set that `zdd data labels` draws: photographs of parts with a printed label, see docs/labels.md."""

import csv
from pathlib import Path

from zdd.data.found import Found
from zdd.errors import ZddError

COLUMNS = ("image", "label", "mask", "group")


def index(root: Path) -> list[Found]:
    """Read the table of a drawn set; the pictures of one part are a group, and there is no split.

    Raises:
        ZddError: If `root` was not drawn by `zdd data labels`.
    """
    table = root / "labels.csv"
    if not table.is_file():
        what = "holds no labels.csv" if root.is_dir() else "is not there"
        raise ZddError(f"dataset.root = {root}: {what}; draw the set with: zdd data labels {root}")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise ZddError(f"{table}: wants the columns {', '.join(COLUMNS)} and at least one row; draw the set anew")
    return [
        Found(
            path=str(root / row["image"]),
            class_name=row["label"],
            group=row["group"],
            mask=str(root / row["mask"]) if row["mask"] else "",
        )
        for row in rows
    ]

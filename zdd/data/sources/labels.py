"""The set that `zdd data labels` draws: photographs of parts with a printed label, see docs/labels.md."""

from pathlib import Path

from zdd.data.found import Found
from zdd.data.sources import csv
from zdd.errors import ZddError

TABLE = "labels.csv"


def index(root: Path) -> list[Found]:
    """Read the table of a drawn set; the pictures of one part are a group, and there is no split.

    Raises:
        ZddError: If `root` was not drawn by `zdd data labels`.
    """
    if not (root / TABLE).is_file():
        what = f"holds no {TABLE}" if root.is_dir() else "is not there"
        raise ZddError(f"dataset.root = {root}: {what}; draw the set with: zdd data labels {root} --per-class 100")
    return csv.index(root, file=TABLE)

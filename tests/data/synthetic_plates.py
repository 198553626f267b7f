"""A small set of plates with and without a defect, some of them awkward, for the tests of synthesis."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_sets import make_settings

from zdd.data.synthesis.job import Style
from zdd.data.synthesis.wish import Wish
from zdd.settings import DatasetSettings

HIGH, WIDE = 52, 60
HEAD = ("image", "label", "mask", "group", "split", "parent")
STILL = Style(turn=0, shift=0.05, light=0, mirror=False)


def draw_plate(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8, a grey plate on a dark bench, and its defect (H, W): a dark bar or a bright disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HIGH, :WIDE]
    pixels = np.full((HIGH, WIDE, 3), 30.0)
    pixels[6:-6, 6:-6] = rng.uniform(110, 140) + 0.4 * (x - 30)[6:-6, 6:-6, None]
    mask = np.zeros((HIGH, WIDE), bool)
    row, column = int(rng.integers(18, 34)), int(rng.integers(18, 42))
    if kind == "crack":
        mask = (abs(y - row) < 2) & (abs(x - column) < 8)
        pixels[mask] = 50
    elif kind == "dent mark":
        mask = (y - row) ** 2 + (x - column) ** 2 < 20
        pixels[mask] = 220
    pixels += rng.normal(0, 3, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8), mask


def draw_plates(root: Path, counts: dict[tuple[str, str], int], *, ending: str = "png") -> Path:
    """Draw `counts[split, class]` plates; the mask of each defective one; two pictures are of one part."""
    (root / "masks").mkdir(parents=True)
    rows, seed = [], 0
    for (split, kind), n in counts.items():
        for i in range(n):
            seed += 1
            pixels, mask = draw_plate(kind, seed)
            name = f"{split}{kind.split()[0]}{i:02d}"
            Image.fromarray(pixels).save(root / f"{name}.{ending}")
            if mask.any():
                Image.fromarray(np.uint8(255 * mask)).save(root / f"masks/{name}.png")
            mask_name = f"masks/{name}.png" if mask.any() else ""
            rows.append((f"{name}.{ending}", kind, mask_name, f"{split}{kind}{i // 2}", split, ""))
    write_rows(root / "set.csv", rows)
    return root


def write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a table with the usual head."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEAD, *rows])


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read one."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def split_counts(train: dict[str, int], **others: dict[str, int]) -> dict[tuple[str, str], int]:
    """Counts by split and class."""
    return {(split, kind): n for split, of in {"train": train, **others}.items() for kind, n in of.items()}


def settings(root: Path, **changed: Any) -> DatasetSettings:
    """Of a table's folder."""
    return make_settings(root, **{"name": "csv", "mirror_safe": False, **changed})


def wish(out: Path, root: Path, **changed: Any) -> Wish:
    """A wish for still pictures, made in this process."""
    given = {"dataset": settings(root), "style": STILL, "processes": 1, **changed}
    return Wish(out, **given)


def synthetic(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of synthetic images."""
    return [row for row in rows if row["parent"]]

"""What the tests of suites share: a suite of seconds, and its commands run in this process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zdd import cli
from zdd.suite.cell import Children
from zdd.suite.plan import Suite, Wish, plan

BASE: dict[str, Any] = {
    "image_size": 32,
    "augmentation": "none",
    "model": {"name": "classifier", "backbone": "luna"},
    "optimizer": {"name": "AdamW", "lr": 0.003},
    "scheduler": None,
    "epochs": 1,
    "batch_size": 16,
    "early_limit": 0,
    "loader": {"workers": 0},
    "trainer": {"accelerator": "cpu", "threads": 1},
}


def write(path: Path, **changed: Any) -> Path:
    """A suite file; keywords replace its sections, those of `base` setting by setting."""
    value = {"n_runs": 1, "base": {**BASE, **changed.pop("base", {})}, **changed}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: part for name, part in value.items() if part is not None}))
    return path


def planned(path: Path, runs: Path, **wish: Any) -> Suite:
    """A suite file as it would be run."""
    return plan(path, Wish(runs, **wish))


def inside(children: Children, command: list[str], log: Path, threads: int, lock: int) -> int:
    """A cell's commands in this process, where torch is there already: instead of `Children.run`."""
    worst = 0
    for words in json.loads(command[-1]):
        worst = max(worst, cli.main(None, words))
        if worst > 1:
            break
    log.write_text("said\n")
    return worst


def two_classes(root: Path, n: int = 12, *, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """A folder of bright and of dark pictures, each of its own: what the smallest network learns at once."""
    rng = np.random.default_rng(0)
    for split in splits:
        for name, level in (("good", 70), ("dark", 150)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(n):
                coarse = np.clip(level + rng.normal(0, 45, (6, 6, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")
    return root

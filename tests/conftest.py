"""What every test shares: a small, awkward set of pictures, a cache of its own, and an experiment on them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_part import draw_part
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests run side by side
CLASSES = {"good": 13, "crack": 11, "dent mark": 7}  # a name with a space, a rare class, nothing divisible by 8


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ZDD_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train|val|test/<class>/part<NN>_<shot>.png`: grey, 16-bit, RGBA and palette pictures among them."""
    root = tmp_path_factory.mktemp("parts of a line")
    seed = 0
    for split, factor in (("train", 2), ("val", 1), ("test", 1)):
        for kind, n in CLASSES.items():
            folder = root / split / kind
            folder.mkdir(parents=True)
            for i in range(n * factor):
                seed += 1
                image = draw_part(kind, seed)
                if i % 5 == 1:
                    image = image.convert("L")
                elif i % 5 == 2:
                    image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
                elif i % 5 == 3:
                    image = image.convert("RGBA")
                elif i % 5 == 4:
                    image = image.quantize(64)
                image.save(folder / f"part{seed:03d} shot 1.png")
    return root


@pytest.fixture
def experiment(parts: Path, tmp_path: Path) -> Callable[..., str]:
    """Write an experiment of seconds on `parts`; keywords replace top-level settings. Gives the file's path."""

    def write(**settings: Any) -> str:
        value = {
            "dataset": {"name": "folder", "root": str(parts)},
            "image_size": 32,
            "augmentation": "simple",
            "model": {"name": "classifier", "backbone": "luna"},
            "optimizer": {"name": "AdamW", "lr": 0.003},
            "epochs": 3,
            "batch_size": 8,
            "early_limit": 0,
            "loader": {"workers": 0},
            "trainer": {"accelerator": "cpu", "threads": 1},
            **settings,
        }
        path = tmp_path / "small.json"
        path.write_text(json.dumps(value))
        return str(path)

    return write

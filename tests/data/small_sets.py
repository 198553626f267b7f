"""What the tests of the data rooms share: settings, and small sets of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zdd import config
from zdd.preprocess import Preprocess
from zdd.settings import Config, DatasetSettings, LoaderSettings

LOADER = LoaderSettings(workers=0, cache=True, cache_gb=1.0)


def small_preprocess(size: tuple[int, int] = (16, 20)) -> Preprocess:
    return Preprocess(size, "squeeze", "rgb", "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def make_settings(root: Path | str, **changed: Any) -> DatasetSettings:
    value: dict[str, Any] = {
        "name": "folder", "root": str(root), "good_class": "auto", "classes": None, "group": None,
        "split": {"val": 0.2, "test": 0.2, "seed": 0}, "mirror_safe": True, "unreadable": "refuse", "leakage": "warn",
        "defects": "kinds",
        "contamination": 0.0,
        "held_out": None,
        "ood": None,
    }  # fmt: skip
    return DatasetSettings.model_validate({**value, **changed})


def draw(path: Path, seed: int, size: tuple[int, int] = (24, 20)) -> Path:
    """A picture of its own: smooth noise, so that no two look alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def draw_set(root: Path, counts: dict[str, int], splits: Sequence[str] = ("",)) -> Path:
    """`<split>/<class>/p<number>.png`, `counts` images of each class in each split."""
    seed = 0
    for split in splits:
        for name, n in counts.items():
            for _ in range(n):
                seed += 1
                draw(root / split / name / f"p{seed:03d}.png", seed)
    return root


def make_config(**changed: Any) -> Config:
    """A whole configuration with some settings changed; `loader__workers=2` is loader.workers."""
    value = config.as_dict(config.load("demo").config)
    for dotted, new in changed.items():
        *above, last = dotted.split("__")
        section = value
        for key in above:
            section = section[key]
        section[last] = new
    return config.from_dict(value)

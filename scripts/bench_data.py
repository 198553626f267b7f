"""Images/s a worker, loader alone: zdd against torchvision's ImageFolder, same 1 MP JPEGs, size and augmentation.

OMP_NUM_THREADS=1 python scripts/bench_data.py [--images 256] [--size 224] [--workers 0 1]     (0: in the main process)
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision import transforms as T

from zdd import config, preprocess
from zdd.data import dataset
from zdd.data.module import DataModule


def draw(root: Path, n: int) -> None:
    """Write n photo-like JPEGs of 1155 x 866 pixels, a fifth of them to val."""
    rng = np.random.default_rng(0)
    for i in range(n + n // 5):
        path = root / ("train" if i < n else "val") / ("good" if i % 2 else "bad") / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).resize(
            (1155, 866), Image.Resampling.BICUBIC
        )
        Image.fromarray((coarse + rng.normal(0, 6, (866, 1155, 3))).clip(0, 255).astype(np.uint8)).save(
            path, quality=90
        )


def rates(loader: DataLoader, n: int) -> tuple[float, float]:
    """Images/s in the first epoch, and in the better of two more."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        assert sum(1 for _ in loader) == len(loader)
        took.append(time.perf_counter() - start)
    return n / took[0], n / min(took[1:])


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--images", type=int, default=256)
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
asked = parser.parse_args()
table, rows = Table("workers", "epoch", "ImageFolder", "zdd", "ratio", title="images/s, loader alone"), []
with tempfile.TemporaryDirectory() as folder:
    draw(Path(folder, "set"), asked.images)
    Path(folder, "bench.json").write_text(
        json.dumps({"dataset": {"name": "folder", "root": f"{folder}/set"}, "seed": 0})
    )
    steps = [T.Resize((asked.size, asked.size)), T.RandAugment(), T.ToTensor(), T.Normalize((0.5,) * 3, (0.25,) * 3)]
    theirs = datasets.ImageFolder(f"{folder}/set/train", T.Compose(steps))
    for workers in asked.workers:
        os.environ["ZDD_CACHE"] = f"{folder}/cache{workers}"
        cfg = config.load(f"{folder}/bench.json", [f"loader.workers={workers}", f"image_size={asked.size}"]).config
        pre = preprocess.from_settings(cfg.image_size, cfg.preprocess)
        zdd = DataModule(dataset.prepare(cfg.dataset, pre, cache=cfg.loader)[0], pre, cfg).train_dataloader()
        plain = DataLoader(theirs, cfg.batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        for epoch, a, b in zip(("first", "later"), rates(plain, asked.images), rates(zdd, asked.images), strict=True):
            table.add_row(str(workers), epoch, f"{a:.0f}", f"{b:.0f}", f"{b / a:.1f}")
            rows.append(
                {"workers": workers, "epoch": epoch, "imagefolder": round(a, 1), "zdd": round(b, 1), "ratio": b / a}
            )
Console(stderr=True).print(table)
print(json.dumps({"images": asked.images, "size": asked.size, "rows": rows}))

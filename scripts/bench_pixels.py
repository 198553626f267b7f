"""How many images' maps are counted in a second, and what it takes of memory, on one core.

OMP_NUM_THREADS=1 python scripts/bench_pixels.py [--sizes 224 256 512] [--images 200]
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zdd.pixelwise import Tally
from zdd.preprocess import Preprocess
from zdd.records import Batch, Prediction, Record, Task


def measure(side: int, n: int) -> dict[str, float]:
    """Noise maps, three defects on every other image: images a second, seconds for the figures, peak memory."""
    rng, size = np.random.default_rng(0), (side, side)
    maps = rng.beta(0.3, 3, (8, 1, side, side)).astype(np.float32)
    masks = np.zeros((8, 1, side, side), np.uint8)
    for i in range(1, 8, 2):
        for top, left in rng.integers(0, side - 20, (3, 2)):
            masks[i, 0, top : top + 12, left : left + 15] = 1
    maps = np.clip(maps + 0.5 * masks, 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.png"
        Image.new("L", (700, 600)).save(path)
        records = [Record(str(path), i % 2) for i in range(n)]
        preprocess = Preprocess(size, "letterbox", "rgb", "bilinear", (0.5,) * 3, (0.5,) * 3)
        tally = Tally(Task(("good", "defect"), True, size), pixel_threshold=0.5, images=records, preprocess=preprocess)
        start = time.process_time()
        for first in range(0, n, 8):
            index = torch.arange(first, min(n, first + 8))
            batch: Batch = {"image": index, "label": index % 2, "index": index, "mask": torch.from_numpy(masks)}
            tally(batch, Prediction(index.double(), map=torch.from_numpy(maps)))
        counted = time.process_time()
        tally.figures()
        figures_s = time.process_time() - counted
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"side": side, "images_per_s": n / (counted - start), "figures_s": figures_s, "peak_mb": peak}


def main() -> None:
    """A line of JSON for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 256, 512])
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for side in given.sizes:
        print(json.dumps({name: round(value, 2) for name, value in measure(side, given.images).items()}))


if __name__ == "__main__":
    main()

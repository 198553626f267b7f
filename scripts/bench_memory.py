"""Memory by number of images: what 100,000 records cost, and that loading them costs nothing beside.

OMP_NUM_THREADS=1 python scripts/bench_memory.py [--images 1000 100000]        (needs 1 GB of disk for a minute)
"""

import argparse
import gc
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console


def draw(root: Path, n: int) -> None:
    """Write n small JPEGs that differ in bytes: 200 pictures with a number after their end."""
    rng, pictures = np.random.default_rng(0), []
    for _ in range(200):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(out := io.BytesIO(), "JPEG")
        pictures.append(out.getvalue())
    for name in ("good", "bad"):
        (root / name).mkdir(parents=True)
    for i in range(n):
        (root / ("good" if i % 2 else "bad") / f"part_{i:06d}.jpg").write_bytes(pictures[i % 200] + str(i).encode())


def private_mb(name: str) -> float:
    """This process's own memory, without mapped files: RssAnon now, or VmHWM, the most of all kinds so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def measure(root: str) -> dict[str, float]:
    """Prepare the set and load it twice; torch and everything else is imported first."""
    from zdd import config, preprocess
    from zdd.data import dataset
    from zdd.data.module import DataModule

    Path(root, "bench.json").write_text(json.dumps({"dataset": {"name": "folder", "root": f"{root}/set"}}))
    options = ["loader.workers=0", "image_size=32", "augmentation=none", "dataset.leakage=ignore"]
    cfg = config.load(f"{root}/bench.json", options).config
    pre, facts = preprocess.from_settings(cfg.image_size, cfg.preprocess), {"start_mb": private_mb("RssAnon")}
    for when in ("prepare_first", "prepare_again"):
        start = time.perf_counter()
        data, _ = dataset.prepare(cfg.dataset, pre, cache=cfg.loader)
        facts[f"{when}_s"] = time.perf_counter() - start
    gc.collect()
    facts |= {"images": len(data.records), "records_mb": private_mb("RssAnon"), "most_mb": private_mb("VmHWM")}
    loader = DataModule(data, pre, cfg).train_dataloader()
    for epoch in (1, 2):
        start = time.perf_counter()
        n = sum(len(batch["label"]) for batch in loader)
        facts[f"epoch_{epoch}_images_s"] = n / (time.perf_counter() - start)
        facts[f"epoch_{epoch}_mb"] = private_mb("RssAnon")
    return facts


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--images", type=int, nargs="+", default=[1000, 100_000])
parser.add_argument("--inside", help=argparse.SUPPRESS)
asked, rows = parser.parse_args(), []
if asked.inside:
    print(json.dumps(measure(asked.inside)))
    sys.exit()
for n in asked.images:
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder, "set"), n)
        environment = {**os.environ, "ZDD_CACHE": f"{folder}/cache"}
        command = [sys.executable, __file__, "--inside", folder]
        rows.append(json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout))
        Console(stderr=True).print({key: round(value, 1) for key, value in rows[-1].items()})
print(json.dumps({"rows": rows}))

"""Memory by number of images: what 100,000 records cost, and that loading them costs nothing beside.

OMP_NUM_THREADS=1 python scripts/bench_memory.py [--images 1000 100000]        (needs 1 GB of disk for two minutes)
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


def draw(root: Path, n: int) -> None:
    """Write n small JPEGs that differ in bytes: 200 pictures with a number after their end."""
    rng, pictures = np.random.default_rng(0), [io.BytesIO() for _ in range(200)]
    for out in pictures:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(out, "JPEG")
    for i in range(n):
        path = root / ("good" if i % 2 else "bad") / f"part_{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[i % 200].getvalue() + str(i).encode())


def own_mb() -> float:
    """This process's own memory; mapped files, which the system may drop at any time, don't count."""
    gc.collect()
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def measure(root: str) -> dict[str, float]:
    """Prepare the set twice (the second time the looks are remembered), then two epochs; torch is imported before."""
    from zdd import config, preprocess
    from zdd.data import dataset
    from zdd.data.module import DataModule

    Path(root, "bench.json").write_text(json.dumps({"dataset": {"name": "folder", "root": f"{root}/set"}}))
    options = ["loader.workers=0", "image_size=32", "augmentation=none", "dataset.leakage=ignore"]
    cfg = config.load(f"{root}/bench.json", options).config
    pre = preprocess.from_settings(cfg.image_size, cfg.preprocess)
    facts, times = {"start_mb": own_mb()}, [time.perf_counter()]
    for _ in range(2):
        data, _ = dataset.prepare(cfg.dataset, pre, cache=cfg.loader)
        times.append(time.perf_counter())
    facts |= {"images": len(data.records), "prepared_mb": own_mb()}
    facts |= {"first_prepare_s": times[1] - times[0], "second_prepare_s": times[2] - times[1]}
    loader = DataModule(data, pre, cfg).train_dataloader()
    for epoch in (1, 2):
        assert sum(1 for _ in loader) == len(loader)
        facts[f"epoch_{epoch}_mb"] = own_mb()
    return {name: round(value, 1) for name, value in facts.items()}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--images", type=int, nargs="+", default=[1000, 100_000])
parser.add_argument("--inside", help=argparse.SUPPRESS)
asked, rows = parser.parse_args(), []
for n in asked.images if not asked.inside else ():
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder, "set"), n)
        command = [sys.executable, __file__, "--inside", folder]
        environment = {**os.environ, "ZDD_CACHE": f"{folder}/cache"}
        rows.append(json.loads(subprocess.run(command, env=environment, check=True, stdout=-1).stdout))
print(json.dumps(measure(asked.inside) if asked.inside else {"rows": rows}))

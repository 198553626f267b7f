"""Images a second of `zdd train` against a bare PyTorch loop: same net, files, size, augmentation, workers, threads.

python scripts/bench_train.py [--images 192] [--rounds 3] [--workers 2] [--threads 2]
The two are run in turn, each in a process of its own; the ratio is the rounds' median of images/s after epoch 1.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

# name, backbone, side, augmentation, zdd's cache, ratio to reach
CASES = [
    ("mobilenet_v2 160 px, no cache", "mobilenet_v2", 160, False, 0.97),
    ("luna 96 px, no cache", "luna", 96, False, 0.97),
    ("luna 96 px, cache", "luna", 96, True, 2.0),
]


def draw(root: Path, n: int) -> None:
    """Two classes of 1 MP JPEGs (1152 x 864) with photo-like content."""
    rng = np.random.default_rng(0)
    for split, share in (("train", n), ("val", 16)):
        for i in range(share):
            coarse = Image.fromarray(rng.integers(0, 255, (27, 36, 3), dtype=np.uint8)).resize(
                (1152, 864), Image.Resampling.BICUBIC
            )
            noisy = np.clip(np.asarray(coarse, np.int16) + rng.normal(0, 6, (864, 1152, 1)), 0, 255).astype(np.uint8)
            folder = root / split / ("good" if i % 2 else "bad")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy).save(folder / f"{i}.jpg", quality=90)


def bare(root: Path, backbone: str, side: int, args: argparse.Namespace) -> float:
    """The loop that one would write by hand, with its images/s after epoch 1."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets
    from torchvision.transforms import v2

    from zdd.models import backbones

    torch.set_num_threads(args.threads)
    steps = [v2.Resize((side, side)), v2.RandAugment(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    transform = v2.Compose([*steps, v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    loader = DataLoader(
        datasets.ImageFolder(str(root / "train"), transform), 32, shuffle=True,
        num_workers=args.workers, persistent_workers=args.workers > 0,
    )  # fmt: skip
    net = backbones.build(backbone, 2, (side, side)).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    speeds = []
    for _ in range(3):
        start = time.perf_counter()
        for image, label in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                net(image.contiguous(memory_format=torch.channels_last)), label
            ).backward()
            optimizer.step()
        speeds.append(args.images / (time.perf_counter() - start))
    return statistics.mean(speeds[1:])


def ours(root: Path, backbone: str, side: int, cache: bool, args: argparse.Namespace) -> float:
    """The real command, with the images/s that it wrote down."""
    runs = Path(tempfile.mkdtemp(dir=root.parent))
    experiment = {
        "dataset": {"name": "folder", "root": str(root)}, "image_size": side, "augmentation": "rand_augment",
        "preprocess": {"fit": "squeeze"}, "model": {"name": "classifier", "backbone": backbone},
        "epochs": 3, "scheduler": None,
        "loader": {"workers": args.workers, "cache": cache}, "trainer": {"accelerator": "cpu", "threads": args.threads},
        "optimizer": {"name": "SGD", "lr": 0.01, "momentum": 0.9},
    }  # fmt: skip
    (runs / "bench.json").write_text(json.dumps(experiment))
    command = [sys.executable, "-m", "zdd.cli", "train", str(runs / "bench.json"), "--runs", str(runs)]
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "ZDD_CACHE": str(root.parent / "cache")}
    )
    table = next(runs.glob("bench/*/run_0/log/metrics.csv"))
    rows = list(csv.DictReader(table.open()))
    return statistics.mean(float(row["speed/images_per_s"]) for row in rows[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 192), ("rounds", 3), ("workers", 2), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--bare", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        print(bare(Path(args.bare[0]), args.bare[1], int(args.bare[2]), args))
        return
    with tempfile.TemporaryDirectory() as folder:
        root, result = Path(folder) / "images", []
        draw(root, args.images)
        for title, backbone, side, cache, goal in CASES:
            ratios = []
            for _ in range(args.rounds):
                flags = [f"--{name}={getattr(args, name)}" for name in ("images", "workers", "threads")]
                command = [sys.executable, __file__, "--bare", str(root), backbone, str(side), *flags]
                plain = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
                zdd = ours(root, backbone, side, cache, args)
                ratios.append(zdd / plain)
                print(
                    f"{title}: bare {plain:.1f} images/s, zdd {zdd:.1f} images/s, ratio {zdd / plain:.2f}",
                    file=sys.stderr,
                )
            result.append(
                {
                    "case": title,
                    "ratio": round(statistics.median(ratios), 3),
                    "goal": goal,
                    "ratios": [round(r, 3) for r in ratios],
                }
            )
    for row in result:
        print(f"{row['case']:32} {row['ratio']:6.2f}x  (goal {row['goal']}x)", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

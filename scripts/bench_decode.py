"""Milliseconds from an image file to the network's pixels: zdd's Preprocess beside other libraries, one thread each.

python scripts/bench_decode.py [--size 224] [--seconds 4] [--run runs/casting_mobilenet/latest/run_0]

Each library takes its fastest way to antialiased pixels of the same size: a JPEG is decoded smaller where zdd does it,
too. Timed is the processor's time, which other load disturbs little. With --run a run's test images are read, and what
other pixels would do to its verdicts is counted. OpenCV and simplejpeg (libjpeg-turbo) are timed where installed.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import io
from torchvision.transforms.v2 import functional as VF

from zdd import bench
from zdd.bench import Plan
from zdd.preprocess import Preprocess

cv2, simplejpeg = (import_module(name) if find_spec(name) else None for name in ("cv2", "simplejpeg"))
Pixels = NDArray[np.uint8]
Read = Callable[[Path], Pixels]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def readers(how: Preprocess) -> dict[str, Read]:
    """Ways from a file to (H, W, 3), by name; `zdd` is the first. The others letterbox, and know each file's size."""

    @cache
    def size(path: Path) -> tuple[int, int, int]:
        with Image.open(path) as image:
            wide, high = how.box(*image.size).fitted
            times = min(image.width // (2 * wide), image.height // (2 * high)) if image.format == "JPEG" else 1
            return wide, high, 4 if times >= 4 else 2 if times >= 2 else 1

    def placed(pixels: Pixels) -> Pixels:
        (high, wide), (top, left) = pixels.shape[:2], ((how.size[i] - pixels.shape[i]) // 2 for i in (0, 1))
        canvas = np.full((*how.size, 3), [round(255 * mean) for mean in how.mean], np.uint8)
        canvas[top : top + high, left : left + wide] = pixels
        return canvas

    def pillow(path: Path, wide: int, high: int, _: int) -> Pixels:
        with Image.open(path) as image:
            image.draft("RGB", (2 * wide, 2 * high))
            return np.asarray(image.convert("RGB").resize((wide, high), Image.Resampling.BILINEAR))

    def torchvision(path: Path, wide: int, high: int, _: int) -> Pixels:
        tensor = io.decode_image(io.read_file(str(path)), io.ImageReadMode.RGB)
        return VF.resize(tensor, [high, wide], antialias=True).permute(1, 2, 0).numpy()

    def opencv(path: Path, wide: int, high: int, times: int) -> Pixels:
        pixels = cv2.imread(str(path), {1: 1, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[times])
        return cv2.cvtColor(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)

    def turbojpeg(path: Path, wide: int, high: int, _: int) -> Pixels:
        pixels = simplejpeg.decode_jpeg(path.read_bytes(), min_height=2 * high, min_width=2 * wide, min_factor=1)
        return np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR))

    others = [pillow, torchvision, *([opencv] if cv2 else []), *([turbojpeg] if simplejpeg else [])]
    return {"zdd": how.load} | {act.__name__: lambda path, act=act: placed(act(path, *size(path))) for act in others}


def draw(folder: Path, n: int) -> dict[str, list[Path]]:
    """Photo-like pictures in the formats of cameras and scanners, by name."""
    rng, found = np.random.default_rng(0), dict[str, list[Path]]()
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).resize((1155, 866), 3)
        photo = Image.fromarray((coarse + rng.normal(0, 6, (866, 1155, 3))).clip(0, 255).astype(np.uint8))
        kinds = dict.fromkeys(("1 MP.jpeg", "1 MP.png", "1 MP.bmp"), photo) | {"300 px.jpeg": photo.resize((300, 300))}
        for kind, image in (kinds | dict.fromkeys(("grey, 1 MP.jpeg", "grey, 1 MP.png"), photo.convert("L"))).items():
            image.save(folder / f"{i} {kind}", quality=90)
            found.setdefault(kind, []).append(folder / f"{i} {kind}")
    return found


def timed(ways: dict[str, Read], paths: list[Path], seconds: float) -> dict[str, Any]:
    """Milliseconds of each that can read these files, zdd's as so many times the fastest's, how far pixels are off."""
    able, off, own = {}, {}, np.stack([ways["zdd"](path) for path in paths]).astype(int)
    for name, read in ways.items():
        try:
            off[name] = round(float(np.abs(np.stack([read(path) for path in paths]) - own).mean()), 3)
        except (RuntimeError, ValueError):  # not a format that it knows
            continue
        files = itertools.cycle(paths)
        able[name] = lambda read=read, files=files: read(next(files))
    found = bench.measure(able, Plan(seconds=seconds, least_calls=200), clock=time.process_time)
    ms = {name: round(each.p50_ms, 3) for name, each in found.items()}
    return {"ms": ms, "zdd_times_fastest": round(ms["zdd"] / min(ms.values()), 2), "pixels_off": off}


def of_run(path: Path, seconds: float) -> dict[str, Any]:
    """The same of a run's test images, and how many verdicts other pixels change."""
    from zdd import contenders, decide, examine, predict, race, trained

    run = predict.one_run(path)
    model = trained.load_trained(run)
    paths = [Path(record.path) for record in examine.images_of(run, model, None)[0].split("test")]
    net, value = contenders.load(run, model, contenders.EAGER, threads=1), getattr(model.threshold, "value", None)
    ways, said = readers(model.preprocess), {}
    for name, read in ways.items():
        columns = race.columns(net.call(np.stack([read(each) for each in paths])), np.zeros(len(paths), np.int64))
        said[name] = decide.verdict(columns, value), columns.score
    flips = {name: int((given != said["zdd"][0]).sum()) for name, (given, _) in said.items()}
    drift = {name: round(float(np.abs(score - said["zdd"][1]).max()), 4) for name, (_, score) in said.items()}
    found = {"kind": str(path), "images": len(paths), "verdicts_changed": flips, "score_off_by": drift}
    return found | timed(ways, paths, seconds)


def main() -> None:
    """A line of JSON for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind, default in (("--size", int, 224), ("--seconds", float, 4.0), ("--run", Path, None)):
        parser.add_argument(name, type=kind, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1), cv2 and cv2.setNumThreads(1)
    print(json.dumps({"size": given.size, "load_average": os.getloadavg()}), flush=True)
    ways = readers(Preprocess((given.size, given.size), "letterbox", "rgb", "bilinear", MEAN, STD))
    with tempfile.TemporaryDirectory() as folder:
        for kind, paths in ({} if given.run else draw(Path(folder), 8)).items():
            print(json.dumps({"kind": kind, **timed(ways, paths, given.seconds)}), flush=True)
    if given.run:
        print(json.dumps(of_run(given.run, given.seconds)))


if __name__ == "__main__":
    main()

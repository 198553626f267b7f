"""Images a second of `zdd predict` over a folder, beside decoding alone and the engine alone, with the same threads.

python scripts/bench_predict.py RUN_OR_ENGINE FOLDER [--least 400] [--rounds 5]

All three take turns. Where decoding and the engine share the cores, no way of overlapping can be faster than
1 / (1 / decoding + 1 / engine): printed as `shared cores`. The engine alone is also tried with single calls on all
cores, batch by batch: the best of these is what `zdd predict` over a folder must reach 0.9 of.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zdd import runtime
from zdd.ahead import CORES
from zdd.rows import Judge, Pixels, find_images

BATCHES = (1, 2, 4, 8, 16, 32, 64)


def judge_of(path: Path, n: int) -> Judge:
    """What `zdd predict` makes rows with."""
    if runtime.is_engine(path):
        return runtime.load(path, images=n).judge
    from zdd import predict, trained

    return predict.judge(trained.load_trained(predict.one_run(path)))


def rate(act: Callable[[], object], n: int) -> float:
    """Images a second of one go through n images."""
    begun = time.perf_counter()
    act()
    return n / (time.perf_counter() - begun)


def alone(judge: Judge, pixels: Pixels, batch: int, at_once: int) -> Callable[[], object]:
    """The engine on all pixels, as many batches at a time as told."""
    parts = [pixels[at : at + batch] for at in range(0, len(pixels), batch)]

    def act() -> object:
        if at_once == 1:
            return [judge.say(part) for part in parts]
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(judge.say, parts))

    return act


def decoding(judge: Judge, paths: Sequence[Path]) -> Callable[[], object]:
    """Reading alone, by as many threads as there are cores; nothing is kept."""

    def act() -> object:
        with ThreadPoolExecutor(CORES) as pool:
            return [len(pixels) for pixels in pool.map(judge.load, paths)]

    return act


def main() -> None:
    """One line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--least", type=int, default=400, help="so many images, the folder's over and over")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), help="of the engine alone")
    given = parser.parse_args()
    found = find_images([given.folder])
    paths = list(itertools.islice(itertools.cycle(found), max(len(found), given.least)))
    judge, single = judge_of(given.model, len(paths)), judge_of(given.model, 1)
    pixels = np.stack([judge.load(path) for path in found])[np.arange(len(paths)) % len(found)]
    ways: dict[str, Callable[[], object]] = {
        "decoding": decoding(judge, paths),
        "engine": alone(judge, pixels, judge.batch, judge.at_once),
        "predict": lambda: list(judge.rows(paths)),
    }
    ways |= {f"engine, batch {batch}": alone(single, pixels, batch, 1) for batch in given.batches}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(given.rounds + 1):
        for name, act in ways.items():
            once = rate(act, len(paths))
            rates[name] += [once] if round_ else []  # the first round warms up
    print(json.dumps(summary(rates, judge, len(paths))))


def summary(rates: dict[str, list[float]], judge: Judge, n: int) -> dict[str, Any]:
    """Medians, and the ratios that have a goal, round by round."""
    rows = [dict(zip(rates, values, strict=True)) for values in zip(*rates.values(), strict=True)]
    best = [max(value for name, value in row.items() if name.startswith("engine, batch")) for row in rows]
    ratios = {
        "predict / slower alone": [row["predict"] / min(row["decoding"], row["engine"]) for row in rows],
        "predict / slower alone, single calls": [
            row["predict"] / min(row["decoding"], most) for row, most in zip(rows, best, strict=True)
        ],
        "predict / shared cores": [row["predict"] * (1 / row["decoding"] + 1 / row["engine"]) for row in rows],
        "engine / best batch": [row["engine"] / most for row, most in zip(rows, best, strict=True)],
    }
    figures = {name: round(statistics.median(values), 2) for name, values in ratios.items()}
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    how = {"images": n, "cores": CORES, "batch": judge.batch, "at_once": judge.at_once}
    return {**how, "load_average": os.getloadavg(), "images_per_s": medians, "ratios": figures}


if __name__ == "__main__":
    main()

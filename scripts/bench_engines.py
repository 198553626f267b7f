"""How many times as fast as torch each engine runs each backbone, all of a backbone in one interleaved measurement.

python scripts/bench_engines.py [--backbones resnet18 mobilenet_v2] [--engines onnx-fp32 openvino-int8] [--threads 1]

Weights are random: that changes no time of float32, and int8's only as far as its ranges do. Engines are compared with
plain torch on normalised images, as the networks are trained; they themselves take pixels and normalise. --busy counts
the processor's time, for one thread on a machine that does other work.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zdd import bench, plugins
from zdd.bench import Plan
from zdd.export.graph import Whole
from zdd.models import backbones
from zdd.records import Prediction

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ENGINES = ("onnx-fp32", "onnx-int8", "openvino-fp32", "openvino-bf16", "openvino-int8")
Pixels = NDArray[np.uint8]
Runs = dict[str, Callable[[Pixels], object]]


def decode(raw: Tensor, _: Tensor) -> Prediction:
    """As a classifier's, of (B, 2) logits."""
    probability = raw.softmax(1)
    return Prediction(score=probability[:, 1], label=raw.argmax(1), probability=probability)


def eager(whole: Whole) -> Callable[[Pixels], object]:
    """The net alone, in torch's own memory layout, on an image that is normalised beforehand."""
    made: dict[int, Tensor] = {}

    def run(pixels: Pixels) -> object:
        if len(pixels) not in made:
            made[len(pixels)] = torch.randn(len(pixels), 3, *pixels.shape[1:3])
        with torch.inference_mode():
            return whole.net(made[len(pixels)])

    return run


def engines(whole: Whole, example: Pixels, names: list[str], threads: int) -> tuple[Runs, dict[str, str]]:
    """Those that can be made, and why the others can't."""
    runs: Runs = {"eager": eager(whole)}
    failed = {}
    for name in names:
        engine, _, precision = name.partition("-")
        with tempfile.TemporaryDirectory() as folder:
            try:
                module = plugins.module("export", engine)
                options = {"largest_drop": None} if precision == "int8" else {}  # random weights: nothing to keep
                module.export(whole, example, Path(folder), precision=precision, **options)
                runs[name] = module.load(Path(folder), threads=threads)
            except Exception as error:  # the others are still to be timed
                failed[name] = str(error).split("\n")[0]
    return runs, failed


def measure(runs: Runs, pixels: Pixels, seconds: float, clock: bench.Clock) -> dict[str, dict[str, object]]:
    """Times as fast as eager, with the 95 % interval, and milliseconds."""
    calls = {name: (lambda run=run: run(pixels)) for name, run in runs.items()}
    found = bench.measure(calls, Plan(seconds=seconds, least_calls=100), clock=clock)
    rows: dict[str, dict[str, object]] = {}
    for name, timing in found.items():
        times, low, high = bench.ratio(found["eager"], timing)
        between = None if low is None or high is None else [round(low, 2), round(high, 2)]
        rows[name] = {"times": round(times, 2), "interval": between, "p50_ms": round(timing.p50_ms, 3)}
        rows[name] |= {"calls": len(timing.latency_ms), "stable": timing.stable, "fault": timing.fault}
    return rows


def main() -> None:
    """A line of JSON for each backbone and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "mobilenet_v2"])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    for name, default in (("--size", 224), ("--seconds", 20.0), ("--threads", torch.get_num_threads())):
        parser.add_argument(name, type=type(default), default=default)
    parser.add_argument("--busy", help="count the processor's time: one thread, on a busy machine", action="store_true")
    given = parser.parse_args()
    clock = time.process_time if given.busy else time.perf_counter
    torch.set_num_threads(given.threads)
    example = np.random.default_rng(0).integers(0, 256, (max(8, *given.batches), given.size, given.size, 3), np.uint8)
    print(json.dumps({"threads": given.threads, "size": given.size, "load_average": os.getloadavg()}), flush=True)
    for backbone in given.backbones:
        whole = Whole(backbones.build(backbone, 2, (given.size, given.size)), decode, MEAN, STD)
        runs, failed = engines(whole, example[:8], given.engines, given.threads)
        for batch in given.batches:
            row = {"backbone": backbone, "batch": batch, **measure(runs, example[:batch], given.seconds, clock)}
            print(json.dumps({**row, "failed": failed}), flush=True)


if __name__ == "__main__":
    main()

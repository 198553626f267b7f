"""What the words that have to do with engines do on the command line. What it needs is imported when it runs."""

from __future__ import annotations

import shlex
from argparse import Namespace as Args
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from zdd import tables
from zdd.errors import ZddError
from zdd.verb import DEVICE, Result, Verb, argument

INT8 = "--set largest_drop=0.002, for more layers in float32; --calibration-images 256; or --precision fp32"


def export(args: Args) -> Result:
    """Export a finished run to an engine, which must say what the trained model says."""
    from zdd import exporting

    options = (*args.set, *([f"precision={args.precision}"] if args.precision else []))
    wish = exporting.Wish(args.engine, options, args.accept_drop, args.parity_images, args.calibration_images)
    made = exporting.export(args.run_path, wish)
    for line in made.parity.lines():
        tables.say(line)
    if made.parity.passed:
        tables.say(f"next: zdd predict {shlex.quote(str(made.folder))} IMAGE_OR_FOLDER")
    elif made.parity.precision == "int8":
        tables.say(f"try: {INT8}")
    failed = {} if made.parity.passed else {made.folder.name: list(made.parity.refused)}
    return {"run": str(made.run.path), "engine": str(made.folder), "failed": failed}


def tensorrt(args: Args) -> Result:
    """Convert to TensorRT; where that can't be and speed is asked for, what is `missing` is told after the timing."""
    from zdd import exporting

    try:
        made = exporting.export(args.run_path, exporting.Wish("tensorrt", (f"backend={args.convert_trt}",)))
    except ZddError as error:
        if args.calc_speed:
            return {"missing": list(error.lines)}
        raise
    for line in made.parity.lines():
        tables.say(line)
    failed = {} if made.parity.passed else {"failed": {made.folder.name: list(made.parity.refused)}}
    return {"engine": str(made.folder), **failed}


def benchmark(args: Args) -> Result:
    """Time the engines of finished runs."""
    return timed(args, args.run_paths)


def timed(args: Args, runs: list[Path]) -> Result:
    """Time the engines of runs and print the tables; what was not given has its default in `Wish`."""
    from zdd import benchmarking

    names = ("engines", "batches", "seconds", "takt_ms", "threads", "images", "cold")
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    result = benchmarking.benchmark(runs, benchmarking.Wish(**given), device=args.device)
    tables.speed(result)
    return result


def album(folder: Path) -> Callable[..., Any]:
    """What draws what an engine found; that wants matplotlib and scipy, which an engine alone does not."""
    try:
        from zdd.report import found
    except ModuleNotFoundError as error:
        raise ZddError(f"--maps {folder}: needs {error.name}; install it with: pip install {error.name}") from None
    found.check(folder)
    return partial(found.album, folder)


def _takt(text: str) -> float:
    """50ms, 50 and 0.05s, in milliseconds."""
    number, factor = (text[:-2], 1) if text.endswith("ms") else (text[:-1], 1000) if text.endswith("s") else (text, 1)
    try:
        return float(number) * factor
    except ValueError:
        raise ZddError(f"--takt {text}: must be a time, as in 50ms or 0.05s") from None


EXPORT = Verb(
    "Export a finished run to an engine: the same verdicts on every test image, or it is refused.",
    export,
    (
        argument("run_path", "a finished run; of a group, its first", metavar="RUN", type=Path),
        argument("--engine", "onnx, openvino, pt2, aot, tensorrt", required=True, metavar="NAME"),
        argument("--precision", "fp32, fp16, bf16, int8: those that the engine has (fp32)", metavar="NAME"),
        argument("--accept-drop", "a loss of defect recall that you accept, 0 to 1", type=float, metavar="SHARE"),
        argument("--parity-images", "at most so many test images are compared (all)", type=int, metavar="N"),
        argument("--calibration-images", "training images for int8's ranges (64)", type=int, default=64, metavar="N"),
        argument("--set", "an engine's own setting", action="append", default=[], metavar="KEY=VALUE"),
    ),
    (
        "runs/casting_mobilenet/latest --engine onnx",
        "runs/casting_mobilenet/latest --engine openvino --precision int8 --accept-drop 0.01",
    ),
    note="It is written to RUN/export/ENGINE-PRECISION. Exit code 1: the engine says something else and was refused.",
)
BENCHMARK = Verb(
    "Time the engines of finished runs against each other, in turns.",
    benchmark,
    (
        argument("run_paths", "finished runs; of a group, its first", metavar="RUN", type=Path, nargs="+"),
        argument("--engines", "eager, channels_last, compile, folders of export/ (eager, exported)", nargs="+"),
        argument("--batches", "images a call, of the model alone (1 8 32)", nargs="+", type=int, metavar="N"),
        argument("--takt", "the line's beat: how many parts miss it?", dest="takt_ms", type=_takt, metavar="50ms"),
        argument("--seconds", "for all timing together (60)", type=float, metavar="S"),
        argument("--threads", "of the processor (as many as torch takes)", type=int, metavar="N"),
        argument("--images", "at most so many test images for the accuracy (500)", type=int, metavar="N"),
        argument("--no-cold", "start no fresh processes", dest="cold", action="store_false"),
        DEVICE,
    ),
    (
        "runs/casting_mobilenet/latest --takt 50ms",
        "runs/casting_mobilenet/latest --engines eager onnx-fp32 --threads 1 --seconds 120",
        "runs/casting_mobilenet/latest runs/casting_squeezenet/latest",
    ),
)

"""What the words that have to do with engines do on the command line. What it needs is imported when it runs."""

from __future__ import annotations

from argparse import Namespace as Args
from pathlib import Path

from zdd import tables
from zdd.errors import ZddError
from zdd.verb import DEVICE, Result, Verb, argument


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


def _takt(text: str) -> float:
    """50ms, 50 and 0.05s, in milliseconds."""
    number, factor = (text[:-2], 1) if text.endswith("ms") else (text[:-1], 1000) if text.endswith("s") else (text, 1)
    try:
        return float(number) * factor
    except ValueError:
        raise ZddError(f"--takt {text}: must be a time, as in 50ms or 0.05s") from None


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
        "runs/casting_mobilenet/latest runs/casting_resnet/latest",
    ),
)

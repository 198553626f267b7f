"""`zdd benchmark`: the engines of finished runs against each other, in turns, on the same images and threads."""

import math
import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zdd import bench, coldstart, contenders, files, machine, race
from zdd.bench import Plan, Timing
from zdd.contenders import EAGER
from zdd.errors import ZddError
from zdd.evaluate import device_of
from zdd.examine import count_look, images_of
from zdd.models.table import cost
from zdd.predict import one_run
from zdd.race import Racer, Subject
from zdd.report import page_of_run, speed
from zdd.rundir import RunDir
from zdd.trained import load_trained

FORMAT = 1
STARTS = 3  # fresh processes for the cold start; the median counts


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Args:
        engines: Names; none: torch as it was trained (`eager`), and every exported engine of the run.
        batches: Images a call, of the model alone.
        seconds: For all timing together; cold starts and the accuracy are not counted.
        takt_ms: The line's beat: the share of images that take longer from file to verdict is given.
        threads: For the processor's engines; None: as many as torch takes by itself.
        images: At most so many test images of each run, spread evenly, are judged for the accuracy.
        cold: Whether fresh processes are started, for cold start, load time and memory.
    """

    engines: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1, 8, 32)
    seconds: float = 60.0
    takt_ms: float | None = None
    threads: int | None = None
    images: int = 500
    cold: bool = True

    def __post_init__(self) -> None:
        numbers = {
            "--seconds": self.seconds,
            "--takt": self.takt_ms,
            "--threads": self.threads,
            "--images": self.images,
        }
        for name, value in {**numbers, "--batches": min(self.batches, default=0)}.items():
            if value is not None and not value > 0:
                raise ZddError(f"{name} {value:g}: must be greater than 0")


def benchmark(paths: Sequence[Path], wish: Wish | None = None, *, device: str = "auto") -> dict[str, Any]:
    """Time the engines of finished runs, and write benchmark.json and benchmark.png into each run.

    Args:
        paths: Runs, or groups: of a group, its first finished run.
        wish: What is asked for.
        device: Where torch runs: `auto`, `cpu`, `cuda`.

    Returns:
        What benchmark.json holds, and where the plots lie.

    Raises:
        ZddError: If a run or an engine is not there, images changed since training, or there are no test images.
    """
    wish, where = wish or Wish(), device_of(device)
    subjects = _subjects([one_run(path) for path in paths])
    before = torch.get_num_threads()
    torch.set_num_threads(wish.threads or before)
    try:
        described = machine.describe(torch.get_num_threads()) | {"device": where}
        result = _measured(subjects, wish, described)
    finally:
        torch.set_num_threads(before)
    for subject in subjects:
        count_look(subject.run, len(subject.spread(wish.images)), "benchmark")
        files.write_json(subject.run.benchmark, result)
        speed.draw(subject.run.benchmark_plot, result)
        page_of_run.refresh(subject.run)
    return {**result, "plots": [str(subject.run.benchmark_plot) for subject in subjects]}


def _subjects(runs: Sequence[RunDir]) -> list[Subject]:
    """Each run once, with a name that no other has."""
    unique = {run.path.resolve(): run for run in runs}
    short = Counter(f"{path.parent.parent.name}/{path.name}" for path in unique)
    found = []
    for path, run in unique.items():
        name = f"{path.parent.parent.name}/{path.name}"
        name = name if short[name] == 1 else f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        trained = load_trained(run)
        found.append(Subject(name, run, trained, images_of(run, trained, None)[0].split("test")))
    return found


def _measured(subjects: list[Subject], wish: Wish, described: dict[str, Any]) -> dict[str, Any]:
    threads, device = described["threads"], described["device"]
    drain = torch.cuda.synchronize if device.startswith("cuda") else None
    racers, failed = _entered(subjects, wish, threads, device)
    batches = sorted(set(wish.batches))
    plan = Plan(seconds=wish.seconds / (len(batches) + 1))
    model = {batch: race.model_only(racers, batch, plan, drain) for batch in batches}
    whole = race.end_to_end(racers, plan, drain)
    said = race.accuracy(racers, wish.images)
    rows = []
    for title, racer in racers.items():
        row = _facts(title, racer, device) | {"accuracy": said[title]}
        row["model"] = {str(n): _timing(title, found, n, racers) for n, found in model.items() if title in found}
        row["end_to_end"] = _timing(title, whole, 1, racers) | _takt(whole[title], wish.takt_ms)
        row["joules_per_image"] = race.joules(racer, max(filter(racer.takes, batches), default=1), drain)
        rows.append(row | (_fresh(racer, threads, device) if wish.cold else {}))
    rows = speed.marked([*rows, *failed])
    reading = {title: each.as_dict() for title, each in whole.items() if title not in racers}
    messages = _messages(rows, described, subjects, wish)
    asked = {"takt_ms": wish.takt_ms, "batches": batches, "seconds": wish.seconds}
    return {"format": FORMAT, **asked, "rows": rows, "reading": reading, "messages": messages, "machine": described}


def _entered(
    subjects: list[Subject], wish: Wish, threads: int, device: str
) -> tuple[dict[str, Racer], list[dict[str, Any]]]:
    """Engines by title, and a row for each that can't be timed."""
    racers: dict[str, Racer] = {}
    failed: list[dict[str, Any]] = []
    for subject in subjects:
        names = list(dict.fromkeys(wish.engines or (EAGER, *contenders.exported(subject.run))))
        able, out = race.enter(subject, names, threads=threads, device=device)
        before = f"{subject.name} " if len(subjects) > 1 else ""
        racers |= {f"{before}{each.contender.name}": each for each in able}
        base = {"run": subject.name, "path": str(subject.run.path)}
        failed += [{"title": f"{before}{name}", **base, "engine": name, "error": why} for name, why in out.items()]
    if not racers:
        raise ZddError(*(f"{row['title']}: {row['error']}" for row in failed))
    return racers, failed


def _facts(title: str, racer: Racer, device: str) -> dict[str, Any]:
    """What is known of an engine without a clock."""
    subject, contender = racer.subject, racer.contender
    parameters, gflops = cost(subject.trained.model.net, subject.trained.task.image_size, device)
    names = {"title": title, "run": subject.name, "path": str(subject.run.path), "engine": contender.name}
    names["test_hash"] = subject.test_hash
    sizes = {"parameters": parameters, "gflops": gflops, "file_mb": contender.n_bytes / 1e6}
    return {**names, **sizes, "largest_batch": contender.largest_batch, "error": None}


def _timing(title: str, found: dict[str, Timing], batch: int, racers: dict[str, Racer]) -> dict[str, Any]:
    """A timing, its throughput, and how many times as fast it is as torch with the same run."""
    reference = next((t for t in found if t in racers and _is_eager(racers[t], racers[title])), None)
    row = found[title].as_dict() | {"images_per_s": found[title].images_per_s(batch)}
    if reference is None:
        return row
    times, low, high = bench.ratio(found[reference], found[title])
    return row | {"times_eager": times, "times_eager_interval": None if low is None else [low, high]}


def _is_eager(one: Racer, of: Racer) -> bool:
    return one.contender.name == EAGER and one.subject is of.subject


def _takt(timing: Timing, takt_ms: float | None) -> dict[str, Any]:
    if takt_ms is None:
        return {}
    share, at_most = timing.late(takt_ms)
    return {"late_share": share, "late_share_at_most": at_most}


def _fresh(racer: Racer, threads: int, device: str) -> dict[str, Any]:
    """The medians over a few fresh processes; the first of them also fills the caches of the disk."""
    image, name = racer.subject.files[0], racer.contender.name
    try:
        starts = [
            coldstart.cold_start(racer.subject.run, name, image, threads=threads, device=device) for _ in range(STARTS)
        ]
    except ZddError as error:
        return {"cold": None, "cold_error": "; ".join(error.lines)}
    keys = [key for key in starts[0] if all(start[key] is not None for start in starts)]
    return {"cold": {key: statistics.median(start[key] for start in starts) for key in keys}}


def _messages(rows: list[dict[str, Any]], described: dict[str, Any], subjects: list[Subject], wish: Wish) -> list[str]:
    """What must be known before the figures are believed."""
    lines = [machine.busy(described)]
    longer = f"zdd benchmark {' '.join(shlex.quote(str(subject.run.path)) for subject in subjects)} --seconds"
    timed = [row for row in rows if not row["error"]]
    lines += [f"{row['title']}: {row['error']}" for row in rows if row["error"]]
    lines += [f"{row['title']}: {row['cold_error']}" for row in timed if row.get("cold_error")]
    unstable = []
    for row in timed:
        each = {f"batch {batch}": one for batch, one in row["model"].items()} | {"end to end": row["end_to_end"]}
        lines += [f"{row['title']}, {name}: {one['fault']}" for name, one in each.items() if one["fault"]]
        if shaky := [name for name, one in each.items() if not one["stable"]]:
            unstable.append(f"{row['title']} ({'all' if len(shaky) == len(each) else ', '.join(shaky)})")
    if unstable:
        known = "medians not yet known to 2 %, unstable"
        lines.append(f"{known}: {', '.join(unstable)}; give it longer: {longer} {2 * wish.seconds:g}")
    few = min(row["end_to_end"]["calls"] for row in timed)
    if few < Plan().least_calls:
        seconds = math.ceil(wish.seconds * Plan().least_calls / few)
        lines.append(f"with {few} calls p99.9 is hardly more than the slowest of them; for more: {longer} {seconds}")
    if len({subject.test_hash for subject in subjects}) > 1:
        lines.append("these runs have different test images: compare their speed, not their accuracy; a front for each")
    for subject in subjects:
        if (judged := len(subject.spread(wish.images))) < (of := len(subject.records)):
            lines.append(f"{subject.name}: judged rightly is a share of {judged} of the {of} test images")
    for subject in subjects if not wish.engines else []:
        if not contenders.exported(subject.run):
            path = shlex.quote(str(subject.run.path))
            lines.append(f"{subject.name}: no engine was exported; make one with: zdd export {path} --engine onnx")
    return [line for line in lines if line]

"""One race of a benchmark: which calls are timed, in what order, and what the engines say of the test images."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd import bench, contenders, decide, reading
from zdd.bench import Plan, Timing
from zdd.contenders import Contender, Said
from zdd.evaluate import bar
from zdd.gpu import Gpu
from zdd.records import Columns, Record
from zdd.rundir import RunDir
from zdd.stats import wilson
from zdd.trained import Trained

Pixels = NDArray[np.uint8]
POOL = 64  # test images that calls take in turn
CHUNK = 32  # images judged at a time
WAIT_S = 0.2  # after which a call's outputs must not change any more
ENERGY = Plan(seconds=2.0, warm_up_s=0.2, least_calls=10**9)


@dataclass(frozen=True)
class Subject:
    """A run with its test images."""

    name: str
    run: RunDir
    trained: Trained
    records: list[Record]

    def spread(self, n: int) -> list[Record]:
        """At most `n` of the test images, evenly from first to last."""
        at = np.unique(np.linspace(0, len(self.records) - 1, min(n, len(self.records))).round().astype(int))
        return [self.records[i] for i in at]

    @property
    def test_hash(self) -> str:
        """The same for runs with the same test images: only their accuracies can be compared."""
        return hashlib.sha256(" ".join(sorted(record.sha256 for record in self.records)).encode()).hexdigest()

    @property
    def files(self) -> list[Path]:
        """The files that calls take in turn."""
        return [Path(record.path) for record in self.spread(POOL)]


@dataclass(frozen=True)
class Racer:
    """An engine that can be called, with what it is called with."""

    contender: Contender
    subject: Subject
    pixels: Pixels  # (N, H, W, 3), N up to POOL

    def takes(self, batch: int) -> bool:
        """Whether it can be given so many images at once."""
        largest = self.contender.largest_batch
        return largest is None or batch <= largest

    def calls(self, batch: int) -> bench.Call:
        """A call on the next `batch` images, over and over; from pixels in memory to outputs in memory."""
        n = len(self.pixels)
        rows = np.arange(max(batch, n // batch * batch)) % n
        batches = itertools.cycle([np.ascontiguousarray(self.pixels[at]) for at in rows.reshape(-1, batch)])
        return lambda: self.contender.call(next(batches))

    def judges(self) -> bench.Call:
        """A call from the next file on disk to its verdict."""
        paths = itertools.cycle(self.subject.files)
        load, threshold = self.subject.trained.preprocess.load, self.subject.trained.threshold
        value = threshold.value if threshold else None

        def call() -> object:
            said = self.contender.call(load(next(paths))[None])
            return decide.verdict(columns(said, np.zeros(1, np.int64)), value)

        return call

    def reads(self) -> bench.Call:
        """A call that decodes and fits the next file, and no more."""
        paths = itertools.cycle(self.subject.files)
        return lambda: self.subject.trained.preprocess.load(next(paths))


def enter(subject: Subject, names: Sequence[str], *, threads: int, device: str) -> tuple[list[Racer], dict[str, str]]:
    """Load engines of a run and try each: one that fails, or whose answers come late, is not timed.

    Returns:
        Those that can be timed, and why the others can't, by name.

    Raises:
        ZddError: If there is no such engine, or a test image can't be read.
    """
    with ThreadPoolExecutor() as pool:
        pixels = reading.pixels(subject.trained.preprocess, subject.files, pool)
    racers, out = [], {}
    for name in names:
        contender = contenders.load(subject.run, subject.trained, name, threads=threads, device=device)
        reason = contender.error or _reason(contender, pixels)
        if reason:
            out[name] = reason
        else:
            racers.append(Racer(contender, subject, pixels))
    return racers, out


def _reason(contender: Contender, pixels: Pixels) -> str | None:
    try:
        late = bench.fills_later(lambda at: contender.call(pixels[[at % len(pixels)]]), wait_s=WAIT_S)
    except Exception as error:  # as in contenders.load: each engine fails in its own way
        return str(error).strip().split("\n")[0] or type(error).__name__
    return "does not synchronise: its outputs still change after a call" if late else None


def model_only(racers: dict[str, Racer], batch: int, plan: Plan, drain: bench.Call | None) -> dict[str, Timing]:
    """Timings of those that take such a batch."""
    calls = {title: racer.calls(batch) for title, racer in racers.items() if racer.takes(batch)}
    return bench.measure(calls, plan, drain=drain)


def end_to_end(racers: dict[str, Racer], plan: Plan, drain: bench.Call | None) -> dict[str, Timing]:
    """Timings from file to verdict, and of reading alone: `read <run>`."""
    calls = {title: racer.judges() for title, racer in racers.items()}
    reading = {f"read {racer.subject.name}": racer.reads() for racer in racers.values()}
    return bench.measure(calls | reading, plan, drain=drain)


def joules(racer: Racer, batch: int, drain: bench.Call | None) -> float | None:
    """Energy an image that the GPU takes, idling included, over 2 s of calls; None where no driver tells it."""
    gpu = Gpu.open()
    before = gpu.energy_j() if gpu else None
    if gpu is None or before is None:
        return None
    call, n = racer.calls(batch), itertools.count()

    def counted() -> object:
        next(n)
        return call()

    bench.measure({"it": counted}, ENERGY, drain=drain)
    after = gpu.energy_j()
    return None if after is None else (after - before) / (batch * next(n))


def accuracy(racers: dict[str, Racer], n: int) -> dict[str, dict[str, Any]]:
    """How many of at most `n` test images of each run each engine judges rightly; files are read once for all."""
    given: dict[str, list[int]] = {title: [] for title in racers}
    truth: dict[str, list[int]] = {title: [] for title in racers}
    for subject in {racer.subject.name: racer.subject for racer in racers.values()}.values():
        mine = {title: racer for title, racer in racers.items() if racer.subject is subject}
        threshold = subject.trained.threshold.value if subject.trained.threshold else None
        for records, pixels in _read(subject, subject.spread(n)):
            label = np.array([record.label for record in records])
            for title, racer in mine.items():
                said = _in_parts(racer.contender, pixels)
                given[title] += decide.verdict(columns(said, label), threshold).tolist()
                truth[title] += label.tolist()
    return {title: _shares(np.array(truth[title]), np.array(given[title]), racers[title]) for title in racers}


def _read(subject: Subject, records: list[Record]) -> Iterator[tuple[list[Record], Pixels]]:
    chunks = [records[at : at + CHUNK] for at in range(0, len(records), CHUNK)]
    with ThreadPoolExecutor() as pool, bar() as progress:
        for chunk in progress.track(chunks, description=f"judge {subject.name}"):
            yield chunk, reading.pixels(subject.trained.preprocess, [record.path for record in chunk], pool)


def _in_parts(contender: Contender, pixels: Pixels) -> Said:
    size = min(len(pixels), contender.largest_batch or len(pixels))
    parts: list[Said] = []
    for at in range(0, len(pixels), size):
        said = contender.call(pixels[at : at + size])
        parts.append({name: np.array(value) for name, value in said.items()})  # an engine may use its memory again
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def columns(said: Said, label: NDArray[np.int64]) -> Columns:
    """What an engine says of (N,) images, to be judged."""
    score, probability = said["score"].astype(np.float64), said.get("probability")
    return Columns(np.arange(len(label)), label, score, argmax=said.get("label"), probability=probability)


def _shares(truth: NDArray[np.int64], given: NDArray[np.int64], racer: Racer) -> dict[str, Any]:
    right = truth == given
    recalls = [float(right[truth == kind].mean()) for kind in np.unique(truth)]
    found: dict[str, Any] = {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}
    found["interval"] = list(wilson(int(right.sum()), len(right)))  # of the accuracy
    if racer.subject.trained.task.has_good:
        caught, stopped = given[truth > 0] > 0, given[truth == 0] > 0
        found["defect_recall"] = float(caught.mean()) if len(caught) else None
        found["false_alarm_rate"] = float(stopped.mean()) if len(stopped) else None
    return {**found, "images": len(truth), "of": len(racer.subject.records)}

"""One cell: its finished runs are taken where they are there, else trained, tested and explained by zdd's own commands.

The commands run in a process of their own, one after another, so that whatever happens to one cell leaves the others
alone. What is on disk is the state: a group of runs whose configuration is the cell's is gone on with, any other is not
touched.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zdd import config, files
from zdd.errors import ZddError
from zdd.rundir import Group, RunDir
from zdd.suite.form import Explain, Speed, Step
from zdd.suite.parts import Cell, key

# Several commands of zdd in one process: torch is imported once. A mistake (2) or a stop (130) ends the line.
COMMANDS = """
import json, sys
from zdd.cli import main
worst = 0
for words in json.loads(sys.argv[1]):
    code = main(None, words)
    worst = max(worst, code)
    if code > 1:
        break
raise SystemExit(worst)
"""
BEGUN = "$ zdd: "  # stands in a log before the commands that follow
LAST_LINES = 3  # of the output of what failed, that are shown


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Args:
        runs: The finished runs, in the order of their seeds.
        failed: Why runs are lacking or a step could not be done; empty: all is there.
        took_s: Of this time; 0 where all was there already.
    """

    runs: tuple[RunDir, ...]
    failed: str = ""
    took_s: float = 0.0


@dataclass(frozen=True)
class Desk:
    """Where a cell is worked on.

    Args:
        runs: Its groups of runs lie in runs/<its name>.
        papers: Its experiment, log and lock.
        own: Whether the runs are the suite's alone, so that what a finished one needs no more may go.
    """

    runs: Path
    papers: Path
    own: bool = False


def taken(cell: Cell, runs: Path) -> Group | None:
    """The group below `runs` with the cell's configuration, finished or not: of several the one with most runs."""
    found = []
    for path in (runs / cell.name).glob("*/plan.json"):
        group = Group(path.parent)
        with contextlib.suppress(ZddError):
            if _configured(files.read_json(group.plan)) == cell.key:
                found.append((len(group.finished), path.parent.name, group))
    return max(found, key=lambda one: one[:2])[2] if found else None


def _configured(plan: dict[str, Any]) -> str:
    """A plan's configuration, with the defaults of settings that are younger than it."""
    return key(config.as_dict(config.from_dict(plan["config"])))


def finished(cell: Cell, group: Group | None) -> tuple[RunDir, ...]:
    """The cell's finished runs."""
    wanted = {group.run(number).path for number in range(cell.n_runs)} if group is not None else set()
    return tuple(run for run in (group.finished if group is not None else ()) if run.path in wanted)


def commands(cell: Cell, desk: Desk, steps: Sequence[Step]) -> list[list[str]]:
    """What is still to be done, as the words of zdd's command line; what is finished is not done again."""
    group = taken(cell, desk.runs)
    runs = finished(cell, group)
    whole = len(runs) == cell.n_runs
    words = [] if whole else [_train(cell, desk, group)]
    where = str(group.path if group is not None else desk.runs / cell.name / "latest")
    for step in steps:
        if step.name == "test" and not (whole and all(map(_tested, runs))):
            words.append(["test", where])
        elif isinstance(step, Explain) and not (whole and all(_explained(run, step, cell) for run in runs)):
            variants = ["--variant", *step.variant] if step.variant else []
            words.append(["explain", where, "--n", str(step.n), *variants])
    return words


def _train(cell: Cell, desk: Desk, group: Group | None) -> list[str]:
    if group is not None:
        plan = files.read_json(group.plan)
        if plan["n_runs"] < cell.n_runs:  # the same configuration, more seeds
            files.write_json(group.plan, plan | {"n_runs": cell.n_runs})
        return ["train", "--resume", str(group.path)]
    experiment = desk.papers / f"{cell.name}.json"
    files.write_json(experiment, config.as_dict(cell.loaded.config))
    return ["train", str(experiment), "--n_runs", str(cell.n_runs), "--runs", str(desk.runs)]


def _tested(run: RunDir) -> bool:
    return run.metrics.is_file() and bool(files.read_json(run.metrics).get("test"))


def _explained(run: RunDir, step: Explain, cell: Cell) -> bool:
    configured = [section.name for section in cell.loaded.config.explain]
    explainers = step.variant or configured or ["integrated_gradients"]  # as `zdd explain` takes them
    return all((run.path / "explain" / name / "about.json").is_file() for name in explainers)


def run(cell: Cell, desk: Desk, steps: Sequence[Step], threads: int, children: "Children") -> Outcome:
    """Do what is still to be done of a cell; what fails is told, never raised."""
    started, log = time.monotonic(), desk.papers / f"{cell.name}.log"
    desk.papers.mkdir(parents=True, exist_ok=True)
    with _alone(desk.papers / f".{cell.name}.lock", children) as lock:
        words, code = commands(cell, desk, steps), 0
        if words:
            code = children.run([sys.executable, "-c", COMMANDS, json.dumps(words)], log, threads, lock)
    runs = finished(cell, taken(cell, desk.runs))
    for each in runs if desk.own else ():  # to go on with alone; the weights are in model/, and a suite has many runs
        shutil.rmtree(each.checkpoints, ignore_errors=True)
    failed = "" if code == 0 and len(runs) == cell.n_runs else _why(log, code, cell.n_runs - len(runs))
    return Outcome(runs, failed, round(time.monotonic() - started, 1) if words else 0.0)


def time_together(runs: Sequence[RunDir], step: Speed, desk: Desk, children: "Children") -> str:
    """Time one run of each cell against the others; why that failed, or nothing. What was timed is not timed again."""
    unique = list(dict.fromkeys(str(run.path) for run in runs))
    if not unique or all(_timed(run, unique, step) for run in runs):
        return ""
    words = ["benchmark", *unique, "--engines", *step.engines, "--batches", "1", "--no-cold"]
    words += ["--seconds", str(step.seconds), "--threads", str(step.threads)]
    log = desk.papers / "speed.log"
    with _alone(desk.papers / ".speed.lock", children) as lock:
        code = children.run([sys.executable, "-c", COMMANDS, json.dumps([words])], log, step.threads, lock)
    return "" if code == 0 else _why(log, code, 0)


def _timed(run: RunDir, paths: list[str], step: Speed) -> bool:
    if not run.benchmark.is_file():
        return False
    there = {(row["path"], row["engine"]) for row in files.read_json(run.benchmark)["rows"]}
    return there == {(path, engine) for path in paths for engine in step.engines}


def _why(log: Path, code: int, lacking: int) -> str:
    """What is to be said of a cell that failed: its last lines, and where the rest stands."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    begun = max((number for number, line in enumerate(lines) if line.startswith(BEGUN)), default=-1)
    said = [line.strip() for line in lines[begun + 1 :] if line.strip() and not line.startswith(("{", " "))]
    said = [line for line in said[-LAST_LINES:] if line.startswith("zdd ")] or said[-LAST_LINES:]
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    what = f"{lacking} of its runs are lacking" if lacking > 0 else "a step failed"
    return f"{what} ({how}): {' | '.join(said)} ({log})"


@contextlib.contextmanager
def _alone(path: Path, children: "Children") -> Iterator[int]:
    """Hold the cell's lock: a child of a suite that was killed may still be at work on it."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            children.say(f"{path.stem.removeprefix('.')}: another process is still at work on it; waiting")
            while not children.stopped:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.5)
        yield file.fileno()


class Children:
    """The processes that are at work, so that all can be stopped."""

    def __init__(self, say: Any) -> None:
        self.say = say
        self.stopped = False
        self._living: set[subprocess.Popen[bytes]] = set()

    def run(self, command: list[str], log: Path, threads: int, lock: int) -> int:
        """Run a command to its end; its output goes to `log`, after what stands there.

        Args:
            command: The program and its words.
            log: A file.
            threads: Of the processor, for torch.
            lock: A file descriptor that the child holds, too, so that it stays locked if this process is killed.

        Returns:
            Its exit code, negative where a signal ended it; 130 after a stop.
        """
        if self.stopped:
            return 130
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        with log.open("ab") as out:
            out.write(f"{BEGUN}{command[-1]}\n".encode())
            out.flush()
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **limits},
                pass_fds=(lock,),
            )
            self._living.add(child)
            try:
                return child.wait()
            finally:
                self._living.discard(child)

    def stop(self) -> None:
        """End all that are at work, as Ctrl-C would; what does not listen is killed."""
        self.stopped = True
        for child in list(self._living):
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(2)
        deadline = time.monotonic() + 20
        while self._living and time.monotonic() < deadline:
            time.sleep(0.1)
        for child in list(self._living):
            child.kill()

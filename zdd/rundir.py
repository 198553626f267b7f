"""Every path of a run, the group that it belongs to, and what says that it is finished."""

import shlex
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from zdd import files
from zdd.errors import ZddError

LATEST = "latest"


@dataclass(frozen=True)
class RunDir:
    """One training run on disk: `runs/<experiment>/<start>/run_<i>`."""

    path: Path

    @property
    def config(self) -> Path:
        """Complete configuration, every default written out."""
        return self.path / "config.json"

    @property
    def environment(self) -> Path:
        """Command, git commit, versions, processor, GPU."""
        return self.path / "environment.json"

    @property
    def data(self) -> Path:
        """Image, sha256, label, group, split: testing reads this and never splits again."""
        return self.path / "data.csv"

    @property
    def audit(self) -> Path:
        """What the look at the data found: sizes, duplicates, pairs across splits."""
        return self.path / "audit.json"

    @property
    def checkpoints(self) -> Path:
        """Lightning's checkpoints, for --resume only."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Best weights so far with their optimizer state."""
        return self.path / "checkpoints/best.ckpt"

    @property
    def last(self) -> Path:
        """State after the last finished epoch."""
        return self.path / "checkpoints/last.ckpt"

    @property
    def weights(self) -> Path:
        """What is deployed: the best weights."""
        return self.path / "model/model.safetensors"

    @property
    def model(self) -> Path:
        """Architecture, classes, preprocessing, threshold, hashes."""
        return self.path / "model/model.json"

    @property
    def log(self) -> Path:
        """TensorBoard events and metrics.csv."""
        return self.path / "log"

    @property
    def epochs(self) -> Path:
        """One row an epoch."""
        return self.path / "log/metrics.csv"

    @property
    def metrics(self) -> Path:
        """Figures of validation and test."""
        return self.path / "metrics.json"

    @property
    def predictions(self) -> Path:
        """One row a test image."""
        return self.path / "predictions.csv"

    @property
    def unknown(self) -> Path:
        """One row an image of no class, where there are any."""
        return self.path / "unknown.csv"

    @property
    def looks(self) -> Path:
        """One line for each time that the test split was looked at."""
        return self.path / "test_looks.txt"

    @property
    def mistakes(self) -> Path:
        """Annotated pictures of the test images that were judged wrongly."""
        return self.path / "mistakes"

    @property
    def review(self) -> Path:
        """What a method that gives maps saw where, of chosen test images."""
        return self.path / "review"

    @property
    def benchmark(self) -> Path:
        """How fast the run's engines were, the last time that they were timed."""
        return self.path / "benchmark.json"

    @property
    def benchmark_plot(self) -> Path:
        """The same as a plot, accuracy beside speed."""
        return self.path / "benchmark.png"

    @property
    def report_json(self) -> Path:
        """The report's figures, for programs."""
        return self.path / "report.json"

    @property
    def report(self) -> Path:
        """The report, for people."""
        return self.path / "report.html"

    @property
    def failure(self) -> Path:
        """Why the run broke off, if it did."""
        return self.path / "FAILED"

    @property
    def done(self) -> bool:
        """Whether training ended and everything was written."""
        return (self.path / "DONE").is_file()

    def finish(self) -> None:
        """Mark the run as finished; call it last."""
        self.failure.unlink(missing_ok=True)
        files.write_text(self.path / "DONE", datetime.now().astimezone().isoformat(timespec="seconds") + "\n")


@dataclass(frozen=True)
class Group:
    """The runs of one experiment that were started together: `runs/<experiment>/<start>`."""

    path: Path

    @property
    def plan(self) -> Path:
        """What was asked for: configuration and number of runs, so that --resume can finish it."""
        return self.path / "plan.json"

    @property
    def summary(self) -> Path:
        """Mean, deviation and interval of every figure over the runs, for programs."""
        return self.path / "summary.json"

    @property
    def summary_text(self) -> Path:
        """The same for people."""
        return self.path / "summary.md"

    @property
    def ensemble(self) -> RunDir:
        """What the finished runs say together: figures, predictions and report as of a run, but no model."""
        return RunDir(self.path / "ensemble")

    @property
    def report(self) -> Path:
        """The report over all runs."""
        return self.path / "report.html"

    def run(self, number: int) -> RunDir:
        """The run with this number, there or not."""
        return RunDir(self.path / f"run_{number}")

    @property
    def runs(self) -> list[RunDir]:
        """The runs that are there, in order."""
        found = [p for p in self.path.glob("run_*") if p.is_dir() and p.name[4:].isdigit()]
        return [RunDir(p) for p in sorted(found, key=lambda p: int(p.name[4:]))]

    @property
    def finished(self) -> list[RunDir]:
        """The runs that are there and finished."""
        return [run for run in self.runs if run.done]


def new_group(runs: Path, experiment: str) -> Group:
    """Make the directory of a new group, never one that is there, and write its name to `latest` (why: README)."""
    start = datetime.now().strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        path = runs / experiment / (start if attempt == 0 else f"{start}-{attempt}")
        files.make_folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir()
            files.write_text(path.parent / LATEST, path.name + "\n")
            return Group(path)
    raise ZddError(f"{runs / experiment}: no free name for a new run")


def newest(path: Path) -> Path:
    """`path` with the text file `latest` in it replaced by the start that it names; ZddError if that is damaged."""
    for at in (path, *path.parents):
        if at.name == LATEST and at.is_file():
            name = at.read_text(encoding="utf-8", errors="replace").strip()
            if not name or Path(name).name != name:
                raise ZddError(f"{at}: must hold the name of a folder beside it, not {name!r}; name the run itself")
            return at.parent / name / path.relative_to(at)
    return path


def find(path: Path) -> RunDir | Group:
    """The run or the group at `path`, where `latest` is the newest group.

    Raises:
        ZddError: If there is none; the message says what is there instead.
    """
    path = newest(path)
    if not path.is_dir():
        raise ZddError(f"{path}: there is no such run{_near(path)}")
    if (path / "config.json").is_file():
        return RunDir(path)
    if (path / "plan.json").is_file():
        return Group(path)
    if (path / LATEST).is_file():
        raise ZddError(f"{path} is an experiment, not a run; name one of its starts, or {path / LATEST}")
    raise ZddError(f"{path} is not a run (no config.json or plan.json in it){_near(path / 'x')}")


def finished_runs(path: Path) -> tuple[Group | None, list[RunDir]]:
    """The finished runs at `path`: of a whole group (which is returned too), or the one run.

    Raises:
        ZddError: If none is finished.
    """
    found = find(path)
    runs = found.finished if isinstance(found, Group) else [found] if found.done else []
    if not runs:
        hint = f"go on with: python train.py --resume {shlex.quote(str(path))}"
        raise ZddError(f"{path} is not a finished run (no DONE in it){_near(found.path / 'x')}; {hint}")
    return (found, runs) if isinstance(found, Group) else (None, runs)


def _near(path: Path) -> str:
    try:
        there = sorted(p.name for p in path.parent.iterdir() if not p.name.startswith("."))
    except OSError:
        return ""
    return f"; {path.parent} holds {', '.join(there[:8]) or 'nothing'}"

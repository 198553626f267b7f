"""A whole suite: data made, cells side by side, their speed, then the tables and the plots."""

import os
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from zdd import config, files
from zdd.data import augment
from zdd.errors import ZddError
from zdd.models import build
from zdd.suite import cell as cells
from zdd.suite import results, written
from zdd.suite.cell import Children, Desk, Outcome
from zdd.suite.form import Speed, Step
from zdd.suite.parts import Cell, Part, distinct
from zdd.suite.plan import Suite
from zdd.suite.results import Result

err = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass
class _State:
    """How far a suite has come: written to suite.json after every cell."""

    suite: Suite
    folder: Path
    desks: dict[str, Desk]  # by part
    done: dict[str, Outcome] = field(default_factory=dict)  # by the key of a cell's configuration
    slow: dict[str, str] = field(default_factory=dict)  # part -> why it could not be timed
    lost: dict[str, str] = field(default_factory=dict)  # recipe -> why its images could not be made

    def of(self, cell: Cell) -> Outcome | None:
        """What became of a cell, or of the one that trains for it."""
        found = self.done.get(cell.key)
        return None if found is None else Outcome(found.runs[: cell.n_runs], found.failed, found.took_s)


def run(suite: Suite, runs: Path, *, jobs: int, queued: bool = False) -> dict[str, Any]:
    """Run a suite, or go on with one that was stopped.

    Args:
        suite: As planned.
        runs: Where runs are kept.
        jobs: Cells side by side.
        queued: Its runs lie among those of single experiments, and finished ones there are taken.

    Returns:
        What the command prints: the folder, its tables and plots, what failed.

    Raises:
        ZddError: If a configuration can't be trained, whatever the data.
    """
    if jobs < 1:
        raise ZddError(f"--jobs = {jobs}: must be at least 1")
    _check(suite.cells)
    folder = (runs / "suites" / suite.name).absolute()
    desks = {
        part.name: Desk(
            runs.absolute() if queued else folder / "runs" / part.name, folder / "cells" / part.name, own=not queued
        )
        for part in suite.parts
    }
    state = _State(suite, folder, desks)
    _note(state)
    children = Children(lambda line: err.print(line, markup=False))
    try:
        _make_data(state)
        _train_all(state, children, jobs)
        for part in suite.parts:
            _time(state, part, children)
    except KeyboardInterrupt:
        children.stop()
        err.print(f"{folder}: stopped; the same command goes on with it", markup=False)
        raise
    return _concluded(state)


def _check(wanted: Sequence[Cell]) -> None:
    """torch's own names and keywords, before anything is made."""
    lines: dict[str, None] = {}
    for cell in wanted:
        masks = build.method(cell.loaded.config.model).masks
        found = [*build.check(cell.loaded.config), *augment.check(cell.loaded.config, masks=masks)]
        lines |= dict.fromkeys(f"{cell.part}, {cell.name}: {cell.loaded.located(line)}" for line in found)
    if lines:
        raise ZddError(*lines)


def _make_data(state: _State) -> None:
    """Make what is not there; what can't be made fails the cells that need it, no others."""
    for name, source in state.suite.sources.items():
        if source.ready() or source.make is None:
            continue
        if source.needs in state.lost:
            state.lost[name] = state.lost[source.needs]
            continue
        err.print(f"making {name}: {source.folder}", markup=False)
        try:
            source.make()
        except Exception as error:
            state.lost[name] = str(error) if isinstance(error, ZddError) else traceback.format_exc()
            err.print(f"{name} could not be made: {state.lost[name]}", markup=False)


def _train_all(state: _State, children: Children, jobs: int) -> None:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting = list(distinct(state.suite.cells))
    steps = steps_of(state.suite)
    with _progress(len(waiting)) as (progress, task), ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[Outcome], Cell] = {}
        for each in waiting:
            if each.data in state.lost:
                state.done[each.key] = Outcome((), f"its images could not be made: {state.lost[each.data]}")
                progress.advance(task)
                continue
            running[pool.submit(cells.run, each, state.desks[each.part], steps[each.key], threads, children)] = each
        while running:
            try:
                finished, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                for future in running:
                    future.cancel()
                children.stop()
                raise
            for future in finished:
                each = running.pop(future)
                state.done[each.key] = _settled(future)
                _tell(each, state.done[each.key])
                _note(state)
                progress.advance(task)


def steps_of(suite: Suite) -> dict[str, list[Step]]:
    """What is done with each cell, by its key: all that is wanted in any part where it stands.

    Nothing of that can be done with a model that draws images and judges none.
    """
    found: dict[str, list[Step]] = {}
    for part in suite.parts:
        for cell in part.cells:
            wanted = found.setdefault(cell.key, [])
            wanted += [step for step in part.steps if step not in wanted and _judges(cell)]
    return found


def _judges(cell: Cell) -> bool:
    return not build.method(cell.loaded.config.model).generative


def _time(state: _State, part: Part, children: Children) -> None:
    """Time the cells of a part against each other, in turns, now that nothing else of the suite runs."""
    for step in part.steps:
        if isinstance(step, Speed):
            judging = [state.of(cell) for cell in part.cells if _judges(cell)]
            runs = [outcome.runs[0] for outcome in judging if outcome is not None and outcome.runs]
            why = cells.time_together(runs, step, state.desks[part.name], children)
            if why:
                state.slow[part.name] = why
                err.print(f"{part.name}: not timed: {why}", markup=False)


def _settled(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except Exception:  # one cell's failure must not cost the others; it is written down and shown
        return Outcome((), traceback.format_exc())


def _tell(cell: Cell, outcome: Outcome) -> None:
    what = f"failed: {outcome.failed}" if outcome.failed else "done" if outcome.took_s else "there already"
    took = f" in {outcome.took_s:.0f} s" if outcome.took_s else ""
    err.print(f"{cell.part}, {cell.name}: {what}{took}", markup=False)


@contextmanager
def _progress(total: int) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        yield progress, progress.add_task("cells", total=total)


def _concluded(state: _State) -> dict[str, Any]:
    """Tables and plots of what is there, part by part."""
    told = []
    for part in state.suite.parts:
        found = [_result(state, cell) for cell in part.cells]
        told.append((part, found))
    paths = written.write(state.folder, state.suite, told)
    failed = {f"{part.name}/{one.name}": one.failed for part, found in told for one in found if one.failed}
    failed |= {f"{name}/speed": why for name, why in state.slow.items()}
    _note(state)
    return {"suite": str(state.folder), **paths, "failed": failed}


def _result(state: _State, cell: Cell) -> Result:
    outcome = state.of(cell)
    assert outcome is not None
    try:
        return results.read(cell, outcome.runs, outcome.failed)
    except (ZddError, OSError, KeyError, ValueError) as error:
        return results.read(cell, (), f"its runs can't be read: {error}")


def _note(state: _State) -> None:
    """Write suite.json: what was asked for, and how far it is."""
    files.write_json(
        state.folder / "suite.json",
        {
            "suite": state.suite.name,
            "about": state.suite.about,
            "file": state.suite.file,
            "asked": state.suite.asked,
            "data": {name: source.section for name, source in state.suite.sources.items()},
            "parts": {part.name: _cells(state, part) for part in state.suite.parts},
        },
    )


def _cells(state: _State, part: Part) -> dict[str, Any]:
    found = {}
    for cell in part.cells:
        outcome = state.of(cell)
        status = "waiting" if outcome is None else "failed" if outcome.failed else "done"
        runs = [str(run.path) for run in outcome.runs] if outcome else []
        found[cell.name] = {
            "values": cell.values, "status": status, "failed": outcome.failed if outcome else "", "runs": runs,
            "n_runs": cell.n_runs, "data": cell.data, "baseline": cell.baseline,
            "config": config.as_dict(cell.loaded.config),
        }  # fmt: skip
    return found

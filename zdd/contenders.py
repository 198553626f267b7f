"""What is timed against each other: a run in torch, as it was trained, and the engines that it was exported to."""

import copy
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zdd import files, runtime
from zdd.errors import ZddError
from zdd.export import names
from zdd.export.graph import OUTPUTS, Whole
from zdd.models.base import predict_batch
from zdd.records import Prediction
from zdd.rundir import RunDir
from zdd.trained import Trained

Said = dict[str, NDArray[Any]]
Run = Callable[[NDArray[np.uint8]], Said]  # pixels (B, H, W, 3) -> outputs by name
EAGER = names.LIVE[0]  # what all others are compared with: torch as `zdd predict` runs it


@dataclass(frozen=True)
class Contender:
    """An engine of a run, ready to be called. `error` says why it can't be, if so."""

    run: RunDir
    trained: Trained
    name: str
    call: Run
    load_s: float
    n_bytes: int  # of the files that must be copied to the line: weights or engine
    largest_batch: int | None = None
    error: str | None = None


def exported(run: RunDir) -> list[str]:
    """The names of the run's exported engines, sorted: those whose model.json was written."""
    return sorted(path.parent.name for path in (run.path / "export").glob("[!.]*/model.json"))  # hidden: half-made


def load(run: RunDir, trained: Trained, name: str, *, threads: int, device: str = "cpu") -> Contender:
    """Load an engine of a run.

    Args:
        run: The run.
        trained: Its model, in eval mode.
        name: One of LIVE, or a folder of the run's export/.
        threads: For the processor's engines.
        device: Where torch runs; engines know theirs.

    Returns:
        The contender; with an `error` where the engine is there and does not run here.

    Raises:
        ZddError: If there is no such engine; the message says which there are and how one is made.
    """
    if name not in LIVE and name not in exported(run):
        raise ZddError(_missing(run, name))
    begun, n_bytes = time.perf_counter(), run.weights.stat().st_size
    largest: int | None = None
    try:
        if name in LIVE:
            call = LIVE[name](trained, device)
        else:
            call, largest, n_bytes = _read_back(run, name, threads)
    except Exception as error:  # each engine fails in its own way, and the others are still to be timed
        return Contender(run, trained, name, _no_call, 0.0, 0, error=_line(error))
    return Contender(run, trained, name, call, time.perf_counter() - begun, n_bytes, largest)


def _missing(run: RunDir, name: str) -> str:
    there = f"timed are {', '.join([*LIVE, *exported(run)])}"
    if why := names.misspelt(name):
        return f"{run.path}: {why} ({there})"
    engine, _, precision = name.partition("-")
    command = f"zdd export {shlex.quote(str(run.path))} --engine {engine} --precision {precision}"
    return f"{run.path}: '{name}' was not exported yet; make it with: {command} ({there})"


def _read_back(run: RunDir, name: str, threads: int) -> tuple[Run, int | None, int]:
    folder = run.path / "export" / name
    stored = files.read_json(folder / "model.json")
    weights = files.read_json(run.model)["weights_sha256"]
    if stored["weights_sha256"] != weights:
        command = (
            f"zdd export {shlex.quote(str(run.path))} --engine {stored['engine']} --precision {stored['precision']}"
        )
        raise ZddError(f"an engine of other weights than the run's; make it anew with: {command}")
    runner = runtime.load(folder, threads=threads).runner
    return runner, runner.largest_batch, sum((folder / file).stat().st_size for file in stored["files"])


def _eager(trained: Trained, device: str) -> Run:
    """As `zdd predict`: normalised with numpy, then the net as it was trained, then decoded."""
    model = trained.model.to(device)

    def call(pixels: NDArray[np.uint8]) -> Said:
        image = torch.from_numpy(trained.preprocess.normalise(pixels)).to(device)
        return _outputs(predict_batch(model, image))

    return call


def _channels_last(trained: Trained, device: str) -> Run:
    """The memory layout that convolutions like best; the normalisation is part of the network."""
    return _whole(trained, device).run


def _compiled(trained: Trained, device: str) -> Run:
    """The same through `torch.compile`, which wants a compiler on the processor."""
    whole = _whole(trained, device)
    shape = (1, *trained.preprocess.size, 3)
    whole.run(np.zeros(shape, np.uint8))  # its names are known only then
    forward = torch.compile(whole, dynamic=False)

    def call(pixels: NDArray[np.uint8]) -> Said:
        with torch.inference_mode():
            said: tuple[Tensor, ...] = forward(torch.from_numpy(pixels).to(device))
        return {name: value.cpu().numpy() for name, value in zip(whole.names, said, strict=True)}

    return call


def _whole(trained: Trained, device: str) -> Whole:
    net = copy.deepcopy(trained.model.net).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocess = trained.preprocess
    return Whole(net, trained.model.decode, preprocess.mean, preprocess.std).to(device)


def _outputs(said: Prediction) -> Said:
    found = {name: getattr(said, name) for name in OUTPUTS if name != "raw"}
    return {name: value.cpu().numpy() for name, value in found.items() if value is not None}


def _no_call(_: NDArray[np.uint8]) -> Said:
    raise RuntimeError("an engine that could not be loaded is not called")


def _line(error: Exception) -> str:
    text = "; ".join(error.lines) if isinstance(error, ZddError) else str(error)
    return text.strip().split("\n")[0] or type(error).__name__


LIVE: dict[str, Callable[[Trained, str], Run]] = dict(zip(names.LIVE, (_eager, _channels_last, _compiled), strict=True))

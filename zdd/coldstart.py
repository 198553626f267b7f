"""How long a fresh process takes to its first verdict, and the memory that it needs."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zdd import runtime
from zdd.errors import ZddError
from zdd.rundir import RunDir

CODE = "import sys; from zdd.coldstart import first_verdict; first_verdict(sys.argv[1])"
LIMIT_S = 300.0
MORE = 3  # calls after the first, so that the memory that they need is there


def cold_start(run: RunDir, name: str, image: Path, *, threads: int, device: str = "cpu") -> dict[str, Any]:
    """Start a process that loads an engine of a run and judges one image.

    Args:
        run: The run.
        name: `eager`, or another name that `zdd.contenders.load` takes.
        image: The image.
        threads: For the processor's engines.
        device: Where torch runs.

    Returns:
        cold_start_s: from the start of the process to the first verdict, the interpreter's own start included.
        load_s: what of that is reading the engine, its library's import included.
        first_ms: judging the first image, once it is loaded.
        peak_mib: the most memory that the process held, in MiB, after a few calls; None where it isn't told.
        gpu_peak_mib: the same of torch on a GPU; None without.

    Raises:
        ZddError: If the process fails, or takes longer than 300 s.
    """
    order = {"run": str(run.path), "name": name, "image": str(image), "threads": threads, "device": device}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", CODE, json.dumps(order)]
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        late = threading.Timer(LIMIT_S, process.kill)
        late.start()
        try:
            assert process.stdout is not None
            judged = process.stdout.readline()
            took_s = time.perf_counter() - begun
            rest = process.communicate()[0]
        finally:
            late.cancel()
        errors.seek(0)
        reason = (errors.read().strip().splitlines() or ["no reason given"])[-1]
    if process.returncode or not judged.strip():
        raise ZddError(f"{name}: a fresh process gives no verdict: {reason}")
    return {"cold_start_s": took_s, **json.loads(rest.strip().splitlines()[-1])}


def first_verdict(text: str) -> None:
    """What the fresh process does: load, judge, write a line, and then a line with what it took, as JSON."""
    order = json.loads(text)
    image, began = Path(order["image"]), time.perf_counter()
    judge = _loaded(RunDir(Path(order["run"])), order)
    load_s = time.perf_counter() - began
    began = time.perf_counter()
    said = judge(image)
    first_ms = 1000 * (time.perf_counter() - began)
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    for _ in range(MORE):
        judge(image)
    took = {"load_s": load_s, "first_ms": first_ms, "peak_mib": _peak_mib(), "gpu_peak_mib": _gpu_peak_mib()}
    sys.stdout.write(json.dumps(took) + "\n")


def _loaded(run: RunDir, order: dict[str, Any]) -> Callable[[Path], str]:
    folder = run.path / "export" / order["name"]
    if (folder / "model.json").is_file():
        engine = runtime.load(folder, threads=order["threads"])  # as a production line would: without torch
        return lambda image: str(next(engine.rows([image]))["predicted"])
    from zdd import contenders, decide, race, trained

    model = trained.load_trained(run)
    racer = contenders.load(run, model, order["name"], threads=order["threads"], device=order["device"])
    if racer.error:
        raise ZddError(racer.error)
    threshold = model.threshold.value if model.threshold else None

    def judge(image: Path) -> str:
        columns = race.columns(racer.call(model.preprocess.load(image)[None]), np.zeros(1, np.int64))
        return str(model.task.classes[decide.verdict(columns, threshold)[0]])

    return judge


def _peak_mib() -> float | None:
    """Linux's own mark; getrusage's would be that of the process which started this one, where that was larger."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)


def _gpu_peak_mib() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return float(torch.cuda.max_memory_reserved()) / 2**20

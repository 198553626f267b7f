"""How long a fresh process takes to its first verdict, and the memory that it needs."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from zdd import files, plugins
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
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
        first_ms: the first call.
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
    run, began = RunDir(Path(order["run"])), time.perf_counter()
    stored = files.read_json(run.model)
    call = _load(run, order)
    load_s = time.perf_counter() - began
    pixels = Preprocess.from_dict(stored["preprocess"]).load(order["image"])[None]
    began = time.perf_counter()
    score = float(call(pixels)["score"][0])
    first_ms = 1000 * (time.perf_counter() - began)
    threshold = stored["threshold"]["value"] if stored["threshold"] else None
    said = "judged" if threshold is None else "good" if score < threshold else "defective"
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    for _ in range(MORE):
        call(pixels)
    took = {"load_s": load_s, "first_ms": first_ms, "peak_mib": _peak_mib(), "gpu_peak_mib": _gpu_peak_mib()}
    sys.stdout.write(json.dumps(took) + "\n")


def _load(run: RunDir, order: dict[str, Any]) -> Any:
    folder = run.path / "export" / order["name"]
    if (folder / "model.json").is_file():  # torch is not needed, and so not imported
        engine = files.read_json(folder / "model.json")["engine"]
        return plugins.module("export", engine).load(folder, threads=order["threads"])
    from zdd import contenders, trained

    contender = contenders.load(
        run, trained.load_trained(run), order["name"], threads=order["threads"], device=order["device"]
    )
    if contender.error:
        raise ZddError(contender.error)
    return contender.call


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

"""The machine that a benchmark ran on, as far as it explains the figures."""

import os
from importlib import metadata
from pathlib import Path
from typing import Any

from zdd import environment
from zdd.gpu import Gpu

ENGINES = ("onnx", "onnxruntime", "openvino", "nncf", "tensorrt", "torch-tensorrt", "torch2trt")
BUSY = 0.25  # of the processors, by other programs: more disturbs the measurement


def describe(threads: int) -> dict[str, Any]:
    """Processor, affinity, threads, load, frequencies, GPU and versions, JSON-plain.

    Args:
        threads: What the processor's engines were given.
    """
    found = environment.describe()
    versions = {name: _version(name) for name in ENGINES}
    gpu = Gpu.open()
    return found | {
        "versions": found["versions"] | {name: version for name, version in versions.items() if version},
        "threads": threads,
        "affinity": affinity(),
        "cgroup_cpus": _cgroup_cpus(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "omp": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "KMP_", "GOMP_"))},
        "gpu_clock_mhz": gpu.clock_mhz() if gpu else None,
        "gpu_throttled_by": gpu.throttled_by() if gpu else None,
    }


def affinity() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def busy(described: dict[str, Any]) -> str | None:
    """What to say where other programs used the processors when the benchmark began."""
    load, cores = described["load_average"], len(described["affinity"])
    if load is None or load[0] <= BUSY * cores:
        return None
    return (
        f"other programs used the processor (load {load[0]:.1f} on {cores} cores when this began): believe ratios, "
        "not milliseconds"
    )


def _cgroup_cpus() -> float | None:
    """How many processors a container may use at a time (cgroup v2); None: no limit is told."""
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return None if quota == "max" or not period else int(quota) / int(period)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

"""What a run was made with: enough to tell why another machine gives other figures."""

import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("zdd", "torch", "torchvision", "pytorch-lightning", "timm", "numpy", "pillow", "safetensors")


def describe() -> dict[str, Any]:
    """Command, time, git commit, versions, processor and GPU of this process, JSON-plain."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "folder": str(Path.cwd()),
        "started_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "git": _git(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git() -> dict[str, Any] | None:
    """Commit of zdd's own source, and whether it was changed since; None where zdd is not a git checkout."""
    here = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.check_output([*here, "rev-parse", "HEAD"], text=True, stderr=subprocess.DEVNULL, timeout=10)
        changed = subprocess.check_output([*here, "status", "--porcelain"], text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "dirty": bool(changed.strip())}

"""Where zdd keeps what it can make again: the folder of ZDD_CACHE, or the platform's own."""

import hashlib
import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder; it may be deleted at any time."""
    given = os.environ.get("ZDD_CACHE")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "zdd" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "zdd"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zdd"


def memory_of(root: Path) -> Path:
    """Where the looks at a data set's files are remembered."""
    name = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return cache_folder() / "looks" / f"{root.name}-{name}.jsonl"

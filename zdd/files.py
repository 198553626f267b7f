"""Files that are never half-written, and where data and weights are looked for."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zdd.errors import ZddError


def make_folder(path: Path) -> None:
    """Make `path` and the folders above it, where they are not there yet.

    Raises:
        ZddError: If something stands in the way: a file, or that nothing may be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZddError(f"{path}: no folder can be made there ({error.strerror})") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` only if the block ends well."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write each value as a line of JSON to `path` in one step; NaN and infinity are refused."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """Read a JSON file that zdd wrote, which is an object, {...}.

    Raises:
        ZddError: If it is not there or is no such JSON.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ZddError(f"{path}: there is no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ZddError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise ZddError(f"{path}: not what zdd wrote: an object, {{...}}, was expected")
    return value


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def search_places(name: str, *, folder: str, variable: str) -> list[Path]:
    """Where a relative `name` is looked for, in order: as given, in `folder`/, in the folders of `variable`."""
    roots = [Path(part) for part in os.environ.get(variable, "").split(os.pathsep) if part]
    return [Path(name).expanduser(), Path(folder) / name, *(root / name for root in roots)]

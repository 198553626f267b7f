"""JSON whose every value knows where it was set: the file and the line, or another layer."""

import json
import math
import re
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zdd.errors import ZddError

Key = tuple[str | int, ...]  # ("optimizer", "lr") is written optimizer.lr

DEEPEST = 20  # nested brackets; no setting comes near
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


@dataclass(frozen=True)
class Leaf:
    """A value and what set it."""

    value: Any
    where: str
    inner: dict[Key, str] = field(default_factory=dict)  # where the items of a list stand


class Branch(dict[str, "Branch | Leaf"]):
    """A section: its settings, and what set it."""

    def __init__(self, items: dict[str, "Branch | Leaf"], where: str) -> None:
        super().__init__(items)
        self.where = where


def dotted(key: Key) -> str:
    """A setting as it is spelt everywhere: optimizer.lr."""
    return ".".join(str(part) for part in key)


def home() -> Path:
    """The folder that holds configs/ and experiments/: the repository, or where an installed wheel put them."""
    repository = Path(__file__).parent.parent
    return (
        repository
        if (repository / "configs/DEFAULT.json").is_file()
        else Path(sysconfig.get_path("data")) / "share/zdd"
    )


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    absolute = path.absolute()
    for root in (Path.cwd(), home()):
        if absolute.is_relative_to(root):
            return absolute.relative_to(root).as_posix()
    return str(path)


def read(path: Path) -> Branch:
    """Read a JSON object.

    Raises:
        ZddError: If it is none. Broken JSON names line and column; keys that stand there twice and numbers
            that JSON does not know (NaN, Infinity) are named with their lines, all at once.
    """
    name = shown(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ZddError(f"{name}:{error.lineno}:{error.colno}: broken JSON: {_why(error)}") from None
    except UnicodeDecodeError as error:
        raise ZddError(f"{name}: not a text in UTF-8 (byte {error.start})") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ZddError(f"{name}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise ZddError(f"{name}:1: must be a JSON object, {{...}}, not {json.dumps(value)[:40]}")
    lines, mistakes = _lines(text)
    if mistakes:
        raise ZddError(*(f"{name}:{line}: {mistake}" for line, mistake in mistakes))
    return branch(value, name, {key: f"{name}:{line}" for key, line in lines.items()})


def branch(value: dict[str, Any], layer: str, places: dict[Key, str] | None = None, key: Key = ()) -> Branch:
    """Plain JSON as a branch; what `places` does not know was set by `layer` as a whole."""
    places = places or {}
    result = Branch({}, places.get(key, layer))
    for name, below in value.items():
        here = (*key, name)
        if isinstance(below, dict):
            result[name] = branch(below, layer, places, here)
        else:
            inner = {k[len(here) :]: where for k, where in places.items() if k[: len(here)] == here and k != here}
            result[name] = Leaf(below, places.get(here, layer), inner)
    return result


def plain(node: Branch | Leaf) -> Any:
    """The values alone, as JSON."""
    return node.value if isinstance(node, Leaf) else {name: plain(below) for name, below in node.items()}


def origins(node: Branch | Leaf, key: Key = ()) -> dict[Key, str]:
    """What set every section, setting and list item."""
    found = {key: node.where}
    if isinstance(node, Leaf):
        return {**found, **{(*key, *inner): where for inner, where in node.inner.items()}}
    for name, below in node.items():
        found |= origins(below, (*key, name))
    return found


def _why(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos :].lstrip()
    before = error.doc[: error.pos].rstrip()
    if rest.startswith("'"):
        return "a text stands in double quotes, not in single ones"
    if rest.startswith(("//", "#", "/*")):
        return 'JSON has no comments; say it in "about"'
    if before.endswith(",") and rest[:1] in ("}", "]", '"') and not rest.startswith('"'):
        return f"a comma too many before '{rest[0]}'"
    if not rest:
        return "the file ends too early; a bracket or a quote is not closed"
    return f"{error.msg[0].lower()}{error.msg[1:]}, found {rest.split()[0][:20]!r}"


def _lines(text: str) -> tuple[dict[Key, int], list[tuple[int, str]]]:
    """The line of every key and list item, and what Python's reader lets pass though it is not JSON."""
    lines: dict[Key, int] = {(): 1}
    mistakes = []
    key: list[str | int] = []  # of the value that comes next
    wants_name = False
    for token, line in _tokens(text):
        if token not in "}]:," and not wants_name and key and isinstance(key[-1], int):
            lines[tuple(key)] = line
        if token in "{[":
            wants_name = token == "{"
            key.append("" if wants_name else 0)
            if len(key) == DEEPEST:
                mistakes.append((line, f"brackets stand more than {DEEPEST - 1} deep"))
        elif token in "}]":
            wants_name = False
            key.pop()
        elif token == ",":
            wants_name = isinstance(key[-1], str)
            key[-1] = "" if wants_name else int(key[-1]) + 1
        elif wants_name and token != ":":
            wants_name = False
            key[-1] = json.loads(token)
            if tuple(key) in lines:
                mistakes.append(
                    (line, f"{dotted(tuple(key))} stands here and in line {lines[tuple(key)]}; once is right")
                )
            lines[tuple(key)] = line
        elif token[0] in "-0123456789NI" and not math.isfinite(float(token)):
            mistakes.append((line, f"{dotted(tuple(key))} = {token}: JSON knows finite numbers only"))
    return lines, mistakes


def _tokens(text: str) -> list[tuple[str, int]]:
    line, seen, tokens = 1, 0, []
    for match in TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        tokens.append((match.group(), line))
    return tokens

"""Layers of a configuration: experiment files, what they extend, the command line, and how one is laid over another."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zdd.errors import ZddError
from zdd.located import Branch, Leaf, branch, home, read, shown
from zdd.plugins import FOLDERS, nearest

SECTIONS = {*FOLDERS, "optimizer", "scheduler"}  # what may be given by its bare name: "focal" is {"name": "focal"}
NOTES = ("$schema", "$origin", "extends", "about")  # what a file says of itself and does not hand on
COMMAND_LINE = "command line"

Node = Branch | Leaf


def defaults() -> Branch:
    """The lowest layer: every shared setting with its default."""
    layer = read(home() / "configs/DEFAULT.json")
    for note in NOTES[:3]:
        layer.pop(note, None)
    return layer


def find(name: str, beside: Path | None = None) -> Path:
    """The experiment file called `name`: as given, then in experiments/, with or without .json.

    Args:
        name: As written on the command line or after "extends".
        beside: The folder of the file that extends it.

    Raises:
        ZddError: If there is none; the message names the nearest.
    """
    folders = [beside or Path(), Path("experiments"), home() / "experiments"]
    for folder in folders:
        for path in (folder / name, folder / f"{name}.json"):
            if path.is_file():
                return path
    there = sorted({path.stem for folder in folders[1:] for path in folder.glob("*.json")})
    near = nearest(Path(name).stem, there)
    hint = f"did you mean '{near}'?" if near else f"experiments/ has: {', '.join(there) or 'none'}"
    raise ZddError(f"{name}: there is no such experiment, neither as given nor in experiments/; {hint}")


def extended(path: Path) -> list[Branch]:
    """The layers of an experiment file: what it extends, first to last, then the file itself.

    A file that is reached twice counts where it is reached first. What a file says of itself ("about" and the
    like) is not handed on to those that extend it.

    Raises:
        ZddError: If a file is not there, is broken, or extends itself.
    """
    layers: dict[Path, Branch] = {}
    _extend(path, layers, ())
    *bases, own = layers.values()
    about = own.get("about")
    for layer in (*bases, own):
        for note in NOTES:
            layer.pop(note, None)
    if about is not None:
        own["about"] = about
    return [*bases, own]


def below(section: Branch, beside: Path) -> list[Branch]:
    """The layers that a section extends, first to last, without what their files say of themselves.

    Args:
        section: Its "extends" names them.
        beside: The folder that is looked into first.

    Raises:
        ZddError: If a file is not there, is broken, or extends itself.
    """
    layers: dict[Path, Branch] = {}
    for file in _bases(section, beside):
        _extend(file, layers, ())
    for layer in layers.values():
        for note in NOTES:
            layer.pop(note, None)
    return list(layers.values())


def overridden(overrides: Sequence[str]) -> Branch:
    """The command line as a layer.

    Args:
        overrides: Each like "optimizer.lr=0.001"; a value that is JSON is read as such, any other is a text. Of the
            same setting the last counts, otherwise their order does not matter.

    Raises:
        ZddError: If one is not of that form; all that are not are named.
    """
    layer = Branch({}, COMMAND_LINE)
    mistakes = []
    for override in overrides:
        name, equals, text = override.partition("=")
        parts = name.strip().split(".")
        if equals and all(parts):
            _put(layer, parts, _value(text))
        else:
            mistakes.append(f"'{override}' ({COMMAND_LINE}): a setting is given as in --set optimizer.lr=0.001")
    if mistakes:
        raise ZddError(*mistakes)
    return layer


def merge(old: Node | None, new: Node, default: Node | None, name: str = "") -> Node:
    """Lay `new` over `old`: sections are merged key by key, everything else is replaced.

    A section of another `name` starts afresh, from what `default` (the lowest layer) says of it without a name or
    with the same one, so that the options of the one never reach the other.
    """
    if name in SECTIONS and isinstance(section := as_section(new), Branch):
        old, new, default = as_section(old), section, as_section(default)
    if isinstance(new, Leaf):
        return new
    below = old if isinstance(old, Branch) else Branch({}, new.where)
    base = default if isinstance(default, Branch) else Branch({}, new.where)
    if _differs(new, below):
        below = Branch({}, new.where) if _differs(new, base) else base
    merged = {key: merge(below.get(key), value, base.get(key), key) for key, value in new.items()}
    return Branch({**below, **merged}, new.where)


def as_section(node: Node | None) -> Node | None:
    """A bare name as the section that it stands for."""
    if isinstance(node, Leaf) and isinstance(node.value, str):
        return Branch({"name": node}, node.where)
    return node


def _differs(new: Branch, old: Branch) -> bool:
    one, other = new.get("name"), old.get("name")
    return isinstance(one, Leaf) and isinstance(other, Leaf) and one.value != other.value


def _extend(path: Path, layers: dict[Path, Branch], above: tuple[Path, ...]) -> None:
    resolved = path.resolve()
    if resolved in above:
        chain = " -> ".join(shown(file) for file in (*above[above.index(resolved) :], resolved))
        raise ZddError(f"{shown(path)}: extends itself: {chain}")
    if resolved in layers:
        return
    layer = read(path)
    for file in _bases(layer, path.parent):
        _extend(file, layers, (*above, resolved))
    layers[resolved] = layer


def _bases(layer: Branch, beside: Path) -> list[Path]:
    node = layer.get("extends")
    if node is None:
        return []
    value = node.value if isinstance(node, Leaf) else None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ZddError(f"extends ({node.where}): must be the name of an experiment, or a list of such names")
    found = []
    for name in names:
        try:
            found.append(find(name, beside))
        except ZddError as error:
            raise ZddError(f"extends = {json.dumps(name)} ({node.where}): {error}") from None
    return found


def _put(layer: Branch, parts: list[str], value: Any) -> None:
    *sections, last = parts
    for part in sections:
        below = as_section(layer.get(part)) if part in SECTIONS else layer.get(part)
        section = below if isinstance(below, Branch) else Branch({}, COMMAND_LINE)
        layer[part] = section
        layer = section
    new: Node = branch(value, COMMAND_LINE) if isinstance(value, dict) else Leaf(value, COMMAND_LINE)
    layer[last] = merge(layer.get(last), new, None, last) if isinstance(new, Branch) or last in SECTIONS else new


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _refuse(constant: str) -> Any:
    raise ValueError(constant)

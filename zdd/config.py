"""From the name of an experiment to a checked configuration that knows which layer set what. No torch here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from zdd import checks, layers
from zdd.errors import ZddError
from zdd.located import Branch, Key, branch, dotted, origins, plain
from zdd.plugins import FOLDERS, available
from zdd.settings import Config, DatasetSettings, Section
from zdd.wording import at

LINE = re.compile(r"""(?P<key>\w+(\.\w+)*)[\w.\[\]]*( = ("[^"]*"|'[^']*'|[\[{].*?[\]}](?=:)|[^\s:]+))?(?=[: ])""")


@dataclass(frozen=True)
class Loaded:
    """An experiment that has been read and checked.

    Args:
        config: Complete and right.
        name: What its runs are called: runs/<name>.
        merged: The layers laid over each other, plain JSON, without the plug-ins' own defaults.
        origin: For every setting of `as_dict(config)`, by its dotted name, what set it.
    """

    config: Config
    name: str
    merged: dict[str, Any]
    origin: dict[str, str]

    def rows(self) -> list[tuple[str, Any, str]]:
        """Every setting: its dotted name, its value, what set it."""
        complete = as_dict(self.config)
        return [(dotted(key), at(complete, key), self.origin[dotted(key)]) for key in _settings(complete)]

    def located(self, line: str) -> str:
        """A line that begins with a setting ("optimizer.lr = -1: ..."), with what set it."""
        head = LINE.match(line)
        if head is None:
            return line
        key = head["key"].split(".")
        places = [
            self.origin.get(".".join([*key[:n], *name])) for n in range(len(key), 0, -1) for name in ((), ("name",))
        ]
        place = next((place for place in places if place), None)
        return f"{head[0]} ({place}){line[head.end() :]}" if place else line


def load(name: str, overrides: Sequence[str] = ()) -> Loaded:
    """Read an experiment: configs/DEFAULT.json <- what it extends <- itself <- the command line.

    Args:
        name: A file, or what it is called in experiments/, with or without .json.
        overrides: Each like "optimizer.lr=0.001".

    Raises:
        ZddError: One line for every mistake: the setting, its value, which layer set it, and what would be right.
    """
    path = layers.find(name)
    return compose([*layers.extended(path), layers.overridden(overrides)], path.stem)


def compose(above: Sequence[Branch], name: str) -> Loaded:
    """Lay the layers `above` over configs/DEFAULT.json, first to last, and check what comes out.

    Raises:
        ZddError: As `load`.
    """
    default = layers.defaults()
    merged: Any = default
    for layer in above:
        merged = layers.merge(merged, layer, default)
    places = origins(merged)
    value = plain(merged)
    config, mistakes = checks.check(value)
    if config is None:
        located = [(_place(mistake.key, places), mistake) for mistake in mistakes]
        raise ZddError(*(mistake.line(place) for place, mistake in sorted(located, key=lambda pair: _order(pair[0]))))
    return Loaded(config, name, value, _origin(as_dict(config), places))


def from_dict(value: dict[str, Any]) -> Config:
    """A configuration from plain JSON, such as a run's config.json; shared settings that it lacks have their defaults.

    Raises:
        ZddError: One line for every mistake.
    """
    notes = ("$schema", "$origin")
    given = {name: part for name, part in value.items() if name not in notes}
    config, mistakes = checks.check(_filled(plain(layers.defaults()), given))
    if config is None:
        raise ZddError(*(mistake.line("config.json") for mistake in mistakes))
    return config


def as_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain JSON with every default written out: an experiment of its own."""
    value: dict[str, Any] = _json(config)
    return value


def _json(value: Any) -> Any:
    match value:
        case Section():
            return _json(value.flat())
        case DatasetSettings():
            fields = {name: _json(part) for name, part in value if name != "options"}
            return fields | _json(value.options)
        case BaseModel():
            return {name: _json(part) for name, part in value}
        case dict():
            return {name: _json(part) for name, part in value.items()}
        case list() | tuple():
            return [_json(part) for part in value]
    return value


def _filled(default: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """`value` with what it lacks; a section that names what it is has all that it wants to say."""
    filled = {**default, **value}
    for name, part in default.items():
        if isinstance(part, dict) and "name" not in part and isinstance(value.get(name), dict):
            filled[name] = _filled(part, value[name])
    return filled


def _origin(complete: dict[str, Any], places: dict[Key, str]) -> dict[str, str]:
    """What set each setting of a complete configuration; a plug-in's own default is in its source."""
    found = {}
    for key in _settings(complete):
        found[dotted(key)] = places.get(key) or _signature(complete, key) or _place(key, places)
    return found


def _settings(complete: dict[str, Any]) -> list[Key]:
    return [key for key in origins(branch(complete, "")) if not isinstance(at(complete, key), dict)]


def _signature(complete: dict[str, Any], key: Key) -> str | None:
    """The line of a plug-in's signature that has a setting's default."""
    if key[-1] == "name":
        key = key[:-1]
    kind, section = str(key[-2]) if len(key) > 1 else "", at(complete, key[:-1])
    plugin = available(kind).get(section["name"]) if kind in FOLDERS else None
    option = plugin.options.get(str(key[-1])) if plugin else None
    return f"{plugin.where}:{option.line}" if plugin and option else None


def _place(key: Key, places: dict[Key, str]) -> str:
    """What set `key`, or the section that it would stand in."""
    return next(places[key[:length]] for length in range(len(key), -1, -1) if key[:length] in places)


def _order(place: str) -> tuple[str, int]:
    """Mistakes are shown as they stand in their file."""
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdigit() else (place, 0)

"""Mistakes of a configuration in words: what is wrong, and what would be right."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from zdd.located import Key
from zdd.plugins import nearest, one_of

ABSENT = object()  # the value of a setting that was not given


@dataclass(frozen=True)
class Mistake:
    """A setting that cannot stay as it is."""

    key: Key
    value: Any
    text: str

    def line(self, where: str) -> str:
        """The mistake as it is shown: optimizer.lr = -1 (command line): must be greater than 0."""
        return f"{setting(self.key, self.value)} ({where}): {self.text}"


def setting(key: Key, value: Any) -> str:
    """A setting and its value as people name it: optimizer.lr = 0.01."""
    name = ".".join(str(part) for part in key)
    if value is ABSENT:
        return name
    text = json.dumps(value, ensure_ascii=False)
    return f"{name} = {text if len(text) <= 60 else text[:57] + '...'}"


def mistakes(error: ValidationError, model: type[BaseModel], key: Key, value: dict[str, Any]) -> list[Mistake]:
    """What pydantic found, one mistake a setting, in zdd's words.

    Args:
        error: Of validating `value` against `model`.
        model: The section's model.
        key: Where the section stands.
        value: The section as plain JSON.
    """
    found: dict[Key, Mistake] = {}
    for detail in error.errors(include_url=False):
        path, owner = _setting(model, detail["loc"])
        given = at(value, path)
        if detail["type"] == "extra_forbidden" and path[-1] not in owner.model_fields:
            text = unknown(str(path[-1]), owner.model_fields)
        elif detail["type"] == "value_error":
            text = str(detail["ctx"]["error"])
        else:
            schema = owner.model_json_schema()["properties"][path[-1]]
            text = f"must be {'given: ' if given is ABSENT else ''}{wanted(schema)}{_hint(given, schema)}"
        found.setdefault(path, Mistake((*key, *path), given, text))
    return list(found.values())


def unknown(name: str, known: Iterable[str], nobody: str = "there is no such setting") -> str:
    """What to say of a setting that is none."""
    near = nearest(name, known)
    return f"{nobody}; " + (f"did you mean '{near}'?" if near else one_of(known))


def wanted(schema: dict[str, Any]) -> str:
    """A JSON schema in words: 'a whole number from 8 to 8192'."""
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(choice) for choice in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(wanted(choice) for choice in schema["anyOf"]))
    if schema.get("pattern", "").startswith("^timm/"):
        return "timm/<name>"
    match schema.get("type"):
        case "array":
            items = schema.get("items") or schema.get("prefixItems", [{}])[0]
            number = schema.get("minItems")
            length = f" of {number}" if number and number == schema.get("maxItems") else ""
            return f"a list{length}, each {wanted(items)}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f'an object {{"key": ...}}, each value {wanted(schema["additionalProperties"])}'
        case str(kind):
            return _TYPES[kind] + _range(schema)
    return "a section {...}"


_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "null": "null",
    "object": "a section {...}",
}


def _range(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    bounds = [
        *([f"of at least {low:g}"] if low is not None else []),
        *([f"greater than {above:g}"] if above is not None else []),
        *([f"{'of ' if above is None else ''}at most {high:g}"] if high is not None else []),
        *([f"below {below:g}"] if below is not None else []),
    ]
    return " " + " and ".join(bounds) if bounds else ""


def _hint(given: Any, schema: dict[str, Any]) -> str:
    """The nearest right value of a text that is none."""
    if not isinstance(given, str):
        return ""
    near = nearest(given, _choices(schema))
    if near:
        return f"; did you mean {json.dumps(near)}?"
    if given.lower() in ("true", "false", "none", "null"):
        return f"; did you mean {given.lower().replace('none', 'null')}, without quotes?"
    try:
        number = float(given)
    except ValueError:
        return ""
    return f"; did you mean {number:g}, without quotes?"


def _choices(schema: dict[str, Any]) -> list[str]:
    choices = [choice for choice in schema.get("enum", []) if isinstance(choice, str)]
    return choices + [choice for branch in schema.get("anyOf", []) for choice in _choices(branch)]


def _setting(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[Key, type[BaseModel]]:
    """The setting that pydantic's location lies in (never inside of its value), and the model that has it."""
    for depth, part in enumerate(loc):
        field = model.model_fields.get(str(part))
        below = field.annotation if field else None
        if depth + 1 == len(loc) or not (isinstance(below, type) and issubclass(below, BaseModel)):
            return loc[: depth + 1], model
        model = below
    return loc, model


def at(value: Any, path: Key) -> Any:
    """The setting at `path` of plain JSON, or ABSENT."""
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value

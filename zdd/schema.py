"""The JSON schema of experiment files, made from the settings and the plug-ins' signatures, for editors."""

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any, get_args

from zdd import files, layers, options
from zdd.located import home, plain
from zdd.plugins import REQUIRED, available
from zdd.settings import Config, DatasetSettings, Strict

Schema = dict[str, Any]


def path() -> Path:
    """Where it lies: beside the defaults."""
    return home() / "configs/schema.json"


def write() -> Path:
    """Write it where it lies, and say where that is."""
    files.write_json(path(), build())
    return path()


def build() -> Schema:
    """The schema. An experiment is a layer, so nothing is required; a section may stand there without its name."""
    default = plain(layers.defaults())
    properties = {
        "$schema": {"type": "string"},
        "$origin": {"type": "object", "description": "What --print_config says of who set what; not read."},
        "extends": {
            "description": "Experiments that this one builds on, first to last.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
    }
    for name, schema in _model(Config, default).items():
        properties[name] = _section(name, schema, default.get(name))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An experiment of zdd",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _section(name: str, schema: Schema, default: Any) -> Schema:
    about = {key: schema[key] for key in ("description", "default") if key in schema}
    match name:
        case "model" | "criterion":
            return about | _plugin(name)
        case "dataset":
            return about | _plugin(name, _model(DatasetSettings, default))
        case "explain":
            return about | {"anyOf": [_plugin(name), {"type": "array", "items": _plugin(name)}]}
        case "augmentation":
            one = [_plugin(name), _torch("A class of torchvision.transforms.v2.")]
            return about | {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]}
        case "optimizer":
            return about | _torch("A class of torch.optim.", lr={"type": "number", "exclusiveMinimum": 0})
        case "scheduler":
            return about | {"anyOf": [_torch("A class of torch.optim.lr_scheduler."), {"type": "null"}]}
    return schema


def _model(model: type[Strict], default: dict[str, Any]) -> dict[str, Schema]:
    """The fields of a section that is no plug-in."""
    comments = _comments()[model.__name__]
    schemas = model.model_json_schema()["properties"]
    properties: dict[str, Schema] = {}
    for name, field in model.model_fields.items():
        below = field.annotation
        if name == "options":
            continue
        if (
            isinstance(below, type)
            and issubclass(below, Strict)
            and below.__name__ not in ("Section", "DatasetSettings")
        ):
            about = (inspect.getdoc(below) or "").partition("\n")[0]
            inner = _model(below, default[name])
            properties[name] = _object(inner) | {"description": about}
            continue
        properties[name] = _bare(schemas[name])
        if "$ref" in schemas[name].get("items", {}):  # a list of sections, which a schema of their own would refer to
            (each,) = get_args(below)
            properties[name]["items"] = _object(_model(each, {}))
        if name in comments:
            properties[name]["description"] = comments[name]
        if name in default and not isinstance(default[name], dict):
            properties[name]["default"] = default[name]
    return properties


def _plugin(kind: str, shared: dict[str, Schema] | None = None) -> Schema:
    """A plug-in by its bare name, or with the settings that this one takes and no others.

    Without a name it is the plug-in of the layer below that is meant, so any one's settings may stand there.
    """
    found = {
        name: {option: _option(kind, name, option) for option in each.options} for name, each in available(kind).items()
    }
    said: dict[str, list[Schema]] = {}
    for own in found.values():
        for option, schema in own.items():
            if schema not in said.setdefault(option, []):
                said[option].append(schema)
    # What plug-ins say differently is told apart by the name; without one it may be any of them.
    properties = {option: each[0] if len(each) == 1 else {"anyOf": each} for option, each in said.items()}
    names = {
        "enum": list(found),
        "description": " ".join(f"{name}: {each.about}" for name, each in available(kind).items()),
    }
    choices = []
    for name, own in found.items():
        takes: Schema = {"propertyNames": {"enum": ["name", *(shared or {}), *own]}}
        special = {option: schema for option, schema in own.items() if properties[option] != schema}
        takes |= {"properties": special} if special else {}
        choices.append({"if": {"properties": {"name": {"const": name}}, "required": ["name"]}, "then": takes})
    return {"anyOf": [names, _object({**(shared or {}), "name": names, **properties}) | {"allOf": choices}]}


def _option(kind: str, name: str, option: str) -> Schema:
    found = available(kind)[name].options[option]
    about = {"description": found.about} if found.about else {}
    default = {} if found.default is REQUIRED else {"default": found.default}
    if found.is_section:
        return about | default | _plugin(option)
    return _bare(options.model(kind, name).model_json_schema()["properties"][option]) | about | default


def _torch(about: str, **known: Schema) -> Schema:
    """One of torch's classes with its own keywords, which only torch knows."""
    section = {"type": "object", "properties": {"name": {"type": "string", "description": about}, **known}}
    return {"anyOf": [{"type": "string", "description": about}, section]}


def _object(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _bare(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "title"}


@cache
def _comments() -> dict[str, dict[str, str]]:
    """What the comments in zdd/settings.py say of each setting."""
    source = inspect.getsource(inspect.getmodule(Config) or Config)
    lines = source.splitlines()
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            fields = [
                item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
            ends = {ast.unparse(item.target): lines[item.lineno - 1].partition("  # ")[2] for item in fields}
            found[node.name] = {name: comment for name, comment in ends.items() if comment}
    return found

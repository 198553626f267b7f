"""torch's own keywords: known ones, of the right type, with values that torch takes; each mistake a line."""

import collections.abc
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from zdd.errors import ZddError
from zdd.plugins import nearest
from zdd.settings import Section

NOT_SETTABLE = {"self", "params", "optimizer", "last_epoch"}  # zdd hands them on itself
NAMES = {
    **vars(typing),
    **vars(collections.abc),
    "Iterable": list,
    "Sequence": list,
}  # torch imports some for checkers only


def torch_class(module: Any, base: type, name: str, where: str) -> Any:
    """The class `name` of torch's `module`, a true subclass of `base`.

    Raises:
        ZddError: If there is none; the nearest is named.
    """
    known = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not key.startswith("_")
    }
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(sorted(known))}"
    raise ZddError(f"{where}.name = '{name}': {module.__name__} has no such class; {hint}")


def section(value: Any, where: str) -> Section:
    """A section within torch's keywords: a bare name, or {"name": ..., keywords}.

    Raises:
        ZddError: If it is neither.
    """
    if isinstance(value, str):
        return Section(name=value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return Section(name=value["name"], options={key: item for key, item in value.items() if key != "name"})
    raise ZddError(f'{where} = {value!r}: must be a name, or like {{"name": "LinearLR", "total_iters": 5}}')


def default(made: type, keyword: str) -> Any:
    """The default that torch gives a keyword."""
    return inspect.signature(made).parameters[keyword].default


def mistakes(where: str, made: type, options: Mapping[str, Any]) -> list[str]:
    """Unknown, missing and wrongly typed keywords of a class of torch's, a line each."""
    known = {name: p for name, p in inspect.signature(made).parameters.items() if name not in NOT_SETTABLE}
    hints = typing.get_type_hints(made.__init__, localns=NAMES)  # type: ignore[misc]
    lines = []
    for name, value in options.items():
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean '{near}'?" if near else f"it takes {', '.join(known) or 'none'}"
            lines.append(f"{where}.{name}: {made.__name__} has no such setting; {hint}")
        elif name in hints and name != "schedulers":
            reason = _type_mistake(hints[name], value)
            lines += [f"{where}.{name} = {json.dumps(value)}: {reason}"] if reason else []
    missing = [name for name, p in known.items() if p.default is p.empty and name not in options]
    return lines + [f"{where}.{name}: {made.__name__} needs it" for name in missing]


def refused(where: str, make: Callable[..., Any], options: Mapping[str, Any]) -> list[str]:
    """A line for each keyword whose value torch refuses, found by trying it beside those that torch takes."""
    if _refusal(make, options) is None:
        return []
    good = {name: value for name, value in options.items() if _refusal(make, {name: value}) is None}
    lines = []
    for name, value in options.items():
        reason = _refusal(make, {**good, name: value})
        if name not in good and reason:
            lines.append(f"{where}.{name} = {json.dumps(value)}: {reason}")
    return lines or [f"{where}: {_refusal(make, options)}"]


def first_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return str(error).partition("\n")[0] or type(error).__name__


def _refusal(make: Callable[..., Any], options: Mapping[str, Any]) -> str | None:
    try:
        make(**options)
    except (TypeError, ValueError, RuntimeError, AssertionError, IndexError) as error:
        return first_line(error)
    return None


def _type_mistake(hint: Any, value: Any) -> str | None:
    try:
        adapter = TypeAdapter(_without_tensors(hint), config=ConfigDict(arbitrary_types_allowed=True, strict=True))
        adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        reason: str = error.errors()[0]["msg"]
        return reason.replace("Input should", "must")
    except PydanticSchemaGenerationError:
        return None  # a type that only torch knows: it will say itself
    return None


def _without_tensors(hint: Any) -> Any:
    """`hint` without what JSON can't hold, so that an error speaks of numbers and not of tensors."""
    arguments = tuple(_without_tensors(a) for a in typing.get_args(hint) if a is not torch.Tensor)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.Union.__getitem__(arguments)
    return types.GenericAlias(tuple, arguments) if typing.get_origin(hint) is tuple else hint

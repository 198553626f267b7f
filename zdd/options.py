"""A plug-in's settings as a pydantic model, made from its signature without importing it."""

import ast
from functools import cache
from typing import Annotated, Any, Literal, Union, get_origin

from pydantic import create_model

from zdd import settings
from zdd.plugins import Option, available

TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, str, bool)},
    "Section": settings.Section,
    **{name: alias for name, alias in vars(settings).items() if get_origin(alias) is Annotated},
}


@cache
def model(kind: str, name: str) -> type[settings.Strict]:
    """The settings of a plug-in as a model, every one of them required: who validates fills in the defaults.

    Raises:
        ValueError: If the signature has a type that a setting cannot have.
    """
    fields: dict[str, Any] = {}
    for option in available(kind)[name].options.values():
        fields[option.name] = (_resolve(option, option.annotation), ...)
    return create_model(name, __base__=settings.Strict, **fields)


def _resolve(option: Option, annotation: ast.expr) -> Any:
    """The type that an annotation names. Nothing is evaluated: only the forms that settings may have are known."""
    match annotation:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_resolve(option, left), _resolve(option, right)]  # noqa: UP007 (made from values)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return Literal[ast.literal_eval(choices)]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_resolve(option, item)]  # type: ignore[misc] # made from values
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, item])):
            return dict[str, _resolve(option, item)]  # type: ignore[misc] # made from values
    text = ast.unparse(annotation)
    raise ValueError(f"line {option.line}: the setting '{option.name}' has the type {text}; no setting may have that")

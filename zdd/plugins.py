"""Plug-ins: a file's name is the key, its keyword-only arguments are its settings, read from the source.

Nothing is imported to learn what there is or what it takes, so that a refused setting costs no import of torch.
"""

import ast
import difflib
import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from zdd.errors import ZddError

FOLDERS = {
    "dataset": "data/sources",
    "augmentation": "data/augmentations",
    "model": "models",
    "criterion": "models/criteria",
    "transfer": "models/transfer",
    "explain": "explain",
    "export": "export",
}
FUNCTIONS = {
    "dataset": "index",
    "augmentation": "augment",
    "explain": "attribute",
    "export": "export",
}  # the other kinds export the class named like the file
SAID = {"export": "engine", "explain": "explainer"}  # what one is called; the others as their kind
PACKAGE = Path(__file__).parent
REQUIRED = object()  # the default of a setting that has none


@dataclass(frozen=True)
class Option:
    """One setting of a plug-in."""

    name: str
    annotation: ast.expr
    default: Any  # JSON-plain, or REQUIRED
    line: int
    about: str

    @property
    def is_section(self) -> bool:
        """Whether its value is itself a plug-in, of the kind that has the option's name."""
        return any(isinstance(node, ast.Name) and node.id == "Section" for node in ast.walk(self.annotation))


@dataclass(frozen=True)
class Plugin:
    """A file in its kind's folder that exports what its kind must export."""

    kind: str
    name: str
    path: Path
    export: str

    @property
    def where(self) -> str:
        """The file as people name it: zdd/models/classifier.py."""
        return self.path.relative_to(PACKAGE.parent).as_posix()

    @cached_property
    def options(self) -> dict[str, Option]:
        """Its settings, in the order of its signature."""
        node = self._definition
        if isinstance(node, ast.ClassDef):
            inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
            if not inits:
                return {}
            return _options(inits[0], _arguments(ast.get_docstring(node) or ast.get_docstring(inits[0]) or ""))
        return _options(node, _arguments(ast.get_docstring(node) or ""))

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(self._definition) or "").partition("\n")[0]

    @cached_property
    def _definition(self) -> ast.ClassDef | ast.FunctionDef:
        for node in ast.parse(self.path.read_text(encoding="utf-8"), str(self.path)).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == self.export:
                return node
        raise ValueError(f"{self.path}: {self.export} must stand at the top level of the file")


@cache
def available(kind: str) -> dict[str, Plugin]:
    """The plug-ins of a kind by name, sorted. A file without the kind's export is none."""
    found = {}
    for path in sorted((PACKAGE / FOLDERS[kind]).glob("[!_]*.py")):
        export = _export(kind, path)
        if export:
            found[path.stem] = Plugin(kind, path.stem, path, export)
    return found


def load(kind: str, name: str) -> Any:
    """Import a plug-in and return what it exports.

    Raises:
        ZddError: If there is no such plug-in; the message names the nearest.
    """
    return getattr(module(kind, name), available(kind)[name].export)


def module(kind: str, name: str) -> ModuleType:
    """Import a plug-in's file, for what it says beside its export.

    Raises:
        ZddError: As `load`.
    """
    if name not in available(kind):
        raise ZddError(unknown(kind, name))
    return importlib.import_module(".".join(["zdd", *FOLDERS[kind].split("/"), name]))


def unknown(kind: str, name: str) -> str:
    """What to say where there is no plug-in of that name."""
    near = nearest(name, available(kind))
    return f"there is no {SAID.get(kind, kind)} '{name}'; " + (
        f"did you mean '{near}'?" if near else one_of(available(kind))
    )


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that a misspelt `word` most likely means, if one is near enough."""
    folded = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def one_of(choices: Iterable[str]) -> str:
    """'there are: a, b, c', or that there are none."""
    return f"there are: {', '.join(choices)}" if choices else "there are none"


def _export(kind: str, path: Path) -> str | None:
    text = path.read_text(encoding="utf-8")
    if kind in FUNCTIONS:
        name = FUNCTIONS[kind]
        return name if re.search(rf"^def {name}\(", text, re.MULTILINE) else None
    classes: list[str] = re.findall(r"^class (\w+)", text, re.MULTILINE)
    return next((name for name in classes if name.lower() == path.stem.replace("_", "")), None)


def _options(function: ast.FunctionDef, about: dict[str, str]) -> dict[str, Option]:
    options = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if argument.annotation is None:
            raise ValueError(f"line {argument.lineno}: the setting '{argument.arg}' has no type")
        value = REQUIRED if default is None else _plain(default)
        text = about.get(argument.arg, "")
        options[argument.arg] = Option(argument.arg, argument.annotation, value, argument.lineno, text)
    return options


def _plain(node: ast.expr) -> Any:
    """A default as JSON: a literal, or Section(name="full", ...) as {"name": "full", ...}."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Section":
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
        return {"name": given["name"], **given.get("options", {})}
    value = ast.literal_eval(node)
    return list(value) if isinstance(value, tuple) else value


def _arguments(docstring: str) -> dict[str, str]:
    """The texts of a Google-style docstring's Args section, by argument."""
    section = re.search(r"^Args:\n((?:(?:[ \t]+.*)?\n?)*)", docstring, re.MULTILINE)
    texts: dict[str, str] = {}
    name = ""
    for line in section.group(1).splitlines() if section else []:
        start = re.match(r"    (\w+): *(.*)", line)
        if start:
            name = start.group(1)
            texts[name] = start.group(2)
        elif name and line.startswith("     "):
            texts[name] += f" {line.strip()}"
    return texts

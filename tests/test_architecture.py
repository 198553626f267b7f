"""The house plan, held: who may import whom, what may be imported where, how large things may grow."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "zdd").rglob("*.py"))
RANKS = {
    0: {"ahead", "errors", "files", "records", "pixels", "marks", "preprocess", "plugins", "located"},
    1: {"settings", "layers", "options", "wording", "checks", "crosschecks", "config", "schema"},
    2: {"rundir"},
    3: {
        "data",
        "models",
        "explain",
        "export",
        "metrics",
        "stats",
        "weighted",
        "decide",
        "bench",
        "gpu",
        "pixelwise",
        "pixelcurves",
        "regions",
        "area",
        "grades",
        "poisson",
        "uncertainty",
        "runtime",
        "rows",
        "reading",
        "progress",
    },
    4: {"trained", "evaluate", "dashboard", "report"},
    5: {"experiment", "training", "environment"},
    6: {
        "examine",
        "ensemble",
        "predict",
        "attributions",
        "explained",
        "explaining",
        "exporting",
        "scoring",
        "ranking",
        "shortcuts",
        "seeds",
        "machine",
        "contenders",
        "coldstart",
        "race",
        "benchmarking",
        "drawing",
        "likeness",
        "memorised",
        "features",
        "search",
        "launch",
        "serve",
        "suite",
    },
    7: {"tables", "verb", "dataverbs", "suiteverbs", "engineverbs", "verbs", "cli"},
}
OWN_FOLDER = {"experiment": "training"}  # a file whose parts lie in a folder of another name
ONLY_IN = {  # a library that is imported in one place only, and where
    "captum": "explain",
    "onnx": "export",
    "onnxruntime": "export",
    "openvino": "export",
    "tensorrt": "export",
    "timm": "models",
    "optuna": "search",
    "ray": "launch",
    "fastapi": "serve",
    "argparse": "cli",
}
TORCH = {"torch", "torchvision", "pytorch_lightning", "torchmetrics"}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager"}


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    """The file's room: its folder in zdd/, or itself."""
    return path.relative_to(ROOT / "zdd").parts[0].removesuffix(".py")


def rank(name: str) -> int:
    return next(rank for rank, rooms in RANKS.items() if name in rooms)


def imports(path: Path, *, at_start: bool = False) -> Iterator[str]:
    """Every module that a file imports; `at_start`: only what is imported as soon as it is."""
    nodes = list(tree(path).body) if at_start else list(ast.walk(tree(path)))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from modules if str(node.module).startswith("zdd") else [str(node.module)]


def rooms_of(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("zdd.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_lower_ranks_or_its_own_folder(path: Path) -> None:
    if path.parent.name == "zdd" and path.name == "__init__.py":
        return
    mine = room(path)
    alone = path.parent.name == "zdd"  # files that lie in zdd/ itself share that folder
    for other in rooms_of(path) - {mine}:
        beside = alone and (ROOT / f"zdd/{other}.py").is_file() and rank(other) == rank(mine)
        assert rank(other) < rank(mine) or beside or OWN_FOLDER.get(mine) == other, f"{path}: {other}"


def test_every_room_has_a_rank() -> None:
    known = set().union(*RANKS.values())
    assert {room(path) for path in FILES} - {"__init__"} <= known


def test_no_two_rooms_import_each_other() -> None:
    needs = {name: set().union(*(rooms_of(p) for p in FILES if room(p) == name)) - {name} for name in map(room, FILES)}
    while free := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in free:
            del needs[name]
    assert not needs, f"these import each other in a ring: {sorted(needs)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_have_one_place(path: Path) -> None:
    for name in imports(path):
        library = name.split(".")[0]
        if library == "argparse":
            assert name == "argparse"
            assert room(path) in ("cli", "verb", "dataverbs", "suiteverbs", "verbs", "engineverbs")
        elif library in ONLY_IN:
            assert room(path) == ONLY_IN[library], f"{name} belongs in zdd/{ONLY_IN[library]}"
        if library in TORCH and room(path) in RANKS[0] | RANKS[1] | RANKS[2] | RANKS[7]:
            assert name not in set(imports(path, at_start=True)), f"{path} must answer without torch"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_evaluated_or_unpickled(path: Path) -> None:
    modules = {name.split(".")[0] for name in imports(path)}
    assert not modules & {"dill", "cloudpickle", "marshal", "shelve"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile"), f"{path}:{node.lineno}"
            assert node.func.id != "print" or rank(room(path)) == 7, (
                f"{path}:{node.lineno}: print is the command line's"
            )
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}.get("weights_only")
            assert safe == "True", f"{path}:{node.lineno}: torch.load without weights_only=True"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            assert node.attr == "UnpicklingError", f"{path}:{node.lineno}"  # what torch.load says of unsafe files
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.exit":
            assert room(path) == "cli", f"{path}:{node.lineno}"


def lines_of_code(function: ast.FunctionDef) -> int:
    """Lines with code in them: no docstring, no comment, no blank line, no signature."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return len({line for statement in body for node in ast.walk(statement) for line in _lines(node)})


def _lines(node: ast.AST) -> set[int]:
    return {getattr(node, place) for place in ("lineno", "end_lineno") if hasattr(node, place)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "250 is the house's measure, 300 its limit"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            assert lines_of_code(node) <= 30, f"{node.name}: {lines_of_code(node)} lines"
            arguments = [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]
            assert len(arguments) <= 6, f"{node.name} takes {len(arguments)} arguments in order"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_public_says_what_it_is(path: Path) -> None:
    if path.name == "__init__.py":
        assert not list(imports(path)), "a package that imports brings torch along by accident"
        return
    assert ast.get_docstring(tree(path)), "the file says nothing of itself"
    assert not FORBIDDEN_NAMES & set(re.split(r"[_/]", path.with_suffix("").name.lower()))
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_what_is_needed_to_refuse_a_configuration_imports_no_torch() -> None:
    low = ", ".join(f"zdd.{name}" for rooms in (RANKS[0], RANKS[1], RANKS[2], RANKS[7]) for name in sorted(rooms))
    code = f"import sys, {low}; print(sorted({TORCH | {'matplotlib', 'scipy'}!r} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_short(script: Path) -> None:
    assert len(script.read_text().splitlines()) <= 140


def test_entry_points_are_six_lines() -> None:
    for name in ("train.py", "test.py"):
        assert len(tree(ROOT / name).body) == 3  # docstring, import, call

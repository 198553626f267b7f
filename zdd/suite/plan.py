"""From a suite file, or from experiments one after another, to a suite that is ready to be run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zdd import config, files, layers
from zdd.errors import ZddError
from zdd.located import Branch, plain
from zdd.plugins import nearest, one_of
from zdd.suite import form
from zdd.suite.data import Source, sources
from zdd.suite.form import Form, Place, Step
from zdd.suite.parts import FOLDER, NAMED, Cell, Part, Shelf, part_of


@dataclass(frozen=True)
class Suite:
    """A whole suite, ready to be run."""

    name: str
    about: str
    sources: dict[str, Source]
    parts: list[Part]
    asked: dict[str, Any] = field(default_factory=dict)  # how it was called
    file: dict[str, str] = field(default_factory=dict)  # its path, and the SHA-256 of what stands in it

    @property
    def cells(self) -> list[Cell]:
        """All cells, part by part."""
        return [cell for part in self.parts for cell in part.cells]


@dataclass(frozen=True)
class Wish:
    """How a suite is asked for.

    Args:
        runs: Where runs are kept; a suite's own lie in suites/ there.
        fast: Its small form, of minutes.
        n_runs: Seeds of each cell, in place of the file's number.
        only: The parts that are run; none: all.
        data: A set of the user's in place of the drawn one: a folder, a table, or an experiment that names one.
        settings: Like "epochs=3": laid over every cell's configuration.
    """

    runs: Path = Path("runs")
    fast: bool = False
    n_runs: int | None = None
    only: tuple[str, ...] = ()
    data: str | None = None
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_runs is not None and self.n_runs < 1:
            raise ZddError(f"--n_runs = {self.n_runs}: must be at least 1")


def plan(path: Path, wish: Wish) -> Suite:
    """Read a suite file and lay out its cells; nothing is made or trained yet.

    Raises:
        ZddError: One line for every mistake, in the file, on the command line or in a cell's configuration.
    """
    node = form.read_form(path, fast=wish.fast)
    place = Place(node)
    value = plain(node)
    whole = place.check(Form, (), value)
    place.refuse()
    assert whole is not None
    if not whole.parts:
        raise ZddError(f"parts = {{}} ({place.of(('parts',))}): must hold one part or more")
    for section, names in (("parts", whole.parts), ("data", whole.data)):
        for name in names:
            if not NAMED.fullmatch(name):
                place.wrong((section,), name, FOLDER)
    recipes = {name: form.recipe_of(place, name, recipe) for name, recipe in whole.data.items()}
    _check_only(path, wish, list(whole.parts))
    place.refuse()
    name = f"{path.stem}-fast" if wish.fast else path.stem
    file = {"path": str(path.resolve()), "sha256": files.sha256(path)}
    _check_same(wish.runs / "suites" / name, file)
    base = _base(node, path.parent)
    known = {name: recipe for name, recipe in recipes.items() if recipe is not None}
    made = sources(known, wish.runs / "suites" / name / "data", base, wish.data)
    shelf = Shelf(place, whole, made, base, path.parent, layers.overridden(wish.settings), wish.n_runs)
    parts = [part_of(shelf, node, part) for part in whole.parts if not wish.only or part in wish.only]
    place.refuse()
    used = {cell.data for part in parts for cell in part.cells}
    asked = {"fast": wish.fast, "only": list(wish.only), "data": wish.data, "settings": list(wish.settings)}
    needed = {n: source for n, source in made.items() if _needed(n, used, made)}
    return Suite(name, whole.about, needed, parts, asked, file)


def queue(paths: Sequence[Path], wish: Wish) -> Suite:
    """Experiments one after another, as a suite of one part.

    Raises:
        ZddError: If an experiment is wrong, or two would have the same name.
    """
    loaded = [config.load(str(path), wish.settings) for path in paths]
    names = [one.name for one in loaded]
    for name in names:
        if names.count(name) > 1:
            raise ZddError(f"{name}: two experiments of this name; rename one")
    n_runs = wish.n_runs or 1
    cells = [
        Cell("queue", {"experiment": one.name}, one, None, n_runs, names[0] if one is not loaded[0] else None)
        for one in loaded
    ]
    steps: list[Step] = [form.Test(name="test")]
    part = Part("queue", "Experiments one after another.", ["experiment"], cells, steps, form.FIGURES)
    name = "+".join(names)
    return Suite(name if len(name) <= 80 else f"{name[:70]}+{len(names)}", "", {}, [part])


def _base(node: Branch, beside: Path) -> list[Branch]:
    base = node.get("base")
    if not isinstance(base, Branch):
        return []
    under = layers.below(base, beside)
    base.pop("extends", None)
    return [*under, base]


def _check_only(path: Path, wish: Wish, parts: list[str]) -> None:
    for name in wish.only:
        if name not in parts:
            near = nearest(name, parts)
            hint = f"did you mean '{near}'?" if near else one_of(parts)
            raise ZddError(f"--only {name}: {path.stem} has no such part; {hint}")


def _check_same(folder: Path, file: dict[str, str]) -> None:
    """Another suite of the same name must not go on with what this one left; the same file may be edited, or moved.

    Raises:
        ZddError: If the folder is that of a file at another place that says something else.
    """
    record = folder / "suite.json"
    before = files.read_json(record).get("file") if record.is_file() else None
    if before and before["path"] != file["path"] and before["sha256"] != file["sha256"]:
        raise ZddError(
            f"{file['path']}: {folder} is of another suite of this name, {before['path']}; rename the file or name "
            f"another --runs (if it is the same suite, moved and edited: delete {record})"
        )


def _needed(name: str, used: set[str | None], made: dict[str, Source]) -> bool:
    return name in used or any(source.needs == name and _needed(n, used, made) for n, source in made.items())

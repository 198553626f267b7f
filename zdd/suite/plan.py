"""From a suite file to its cells: the settings of each part crossed, every configuration complete and checked."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zdd import config, layers
from zdd.config import Loaded
from zdd.errors import ZddError
from zdd.located import Branch, Leaf, branch, plain
from zdd.plugins import nearest, one_of
from zdd.suite import form
from zdd.suite.data import Source, sources
from zdd.suite.form import Form, Place, Step

UNNAMED = re.compile(r"[^\w.+-]+")  # what a folder is better not called


@dataclass(frozen=True)
class Cell:
    """One configuration of a part, trained with several seeds.

    Args:
        part: The part that it stands in.
        values: What it is on each axis of the grid, in words.
        loaded: Its configuration.
        data: The recipe of its images; None: the configuration names a set that is there.
        n_runs: Seeds.
        baseline: The name of the cell that it is compared with, if any.
    """

    part: str
    values: dict[str, str]
    loaded: Loaded
    data: str | None
    n_runs: int
    baseline: str | None = None

    @property
    def name(self) -> str:
        """What its runs are called."""
        return self.loaded.name

    @property
    def key(self) -> str:
        """The same for two cells that would train the same runs."""
        return key(config.as_dict(self.loaded.config))


@dataclass(frozen=True)
class Part:
    """A table: its cells, and what is done with them."""

    name: str
    about: str
    axes: list[str]
    cells: list[Cell]
    steps: list[Step]
    figures: list[str]


@dataclass(frozen=True)
class Suite:
    """A whole suite, ready to be run."""

    name: str
    about: str
    sources: dict[str, Source]
    parts: list[Part]
    asked: dict[str, Any] = field(default_factory=dict)  # how it was called

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


def key(value: dict[str, Any]) -> str:
    """A configuration as a text that is the same for equal ones; what it says about itself does not count."""
    return json.dumps({name: part for name, part in value.items() if name != "about"}, sort_keys=True)


def plan(path: Path, wish: Wish) -> Suite:
    """Read a suite file and lay out its cells; nothing is made or trained yet.

    Raises:
        ZddError: One line for every mistake, in the file, on the command line or in a cell's configuration.
    """
    node = form.read_form(path, fast=wish.fast)
    place = Place(node)
    value = form.values_of(node)
    whole = place.check(Form, (), value)
    place.refuse()
    assert whole is not None
    recipes = {name: form.recipe_of(place, name, recipe) for name, recipe in whole.data.items()}
    _check_only(path, wish, list(whole.parts))
    place.refuse()
    name = f"{path.stem}-fast" if wish.fast else path.stem
    base = _base(node, path.parent)
    known = {name: recipe for name, recipe in recipes.items() if recipe is not None}
    made = sources(known, wish.runs / "suites" / name / "data", base, wish.data)
    shelf = _Shelf(place, whole, made, base, path.parent, layers.overridden(wish.settings), wish.n_runs)
    parts = [_part(shelf, node, part) for part in whole.parts if not wish.only or part in wish.only]
    place.refuse()
    used = {cell.data for part in parts for cell in part.cells}
    asked = {"fast": wish.fast, "only": list(wish.only), "data": wish.data, "settings": list(wish.settings)}
    return Suite(name, whole.about, {n: source for n, source in made.items() if _needed(n, used, made)}, parts, asked)


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


@dataclass(frozen=True)
class _Shelf:
    """What every part's cells are made of."""

    place: Place
    whole: Form
    sources: dict[str, Source]
    base: list[Branch]
    beside: Path
    overrides: Branch
    n_runs: int | None


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


def _needed(name: str, used: set[str | None], made: dict[str, Source]) -> bool:
    return name in used or any(source.needs == name and _needed(n, used, made) for n, source in made.items())


def _part(shelf: _Shelf, node: Branch, name: str) -> Part:
    place, at = shelf.place, ("parts", name)
    given = place.check(form.Part, at, shelf.whole.parts[name])
    if given is None:
        return Part(name, "", [], [], [], [])
    steps = form.steps_of(
        place, (*at, "steps") if given.steps is not None else ("steps",), given.steps or shelf.whole.steps
    )
    parts = node["parts"]
    assert isinstance(parts, Branch)
    own = parts[name]
    assert isinstance(own, Branch)
    grid = _grid(place, name, own.get("grid"))
    common = own.get("set")
    cells = []
    for values in itertools.product(*grid.values()):
        named = dict(zip(grid, (label for label, _ in values), strict=True))
        chosen = [*([common] if isinstance(common, Branch) else []), *(settings for _, settings in values)]
        cells.append(_cell(shelf, name, named, chosen, given.n_runs))
    return Part(
        name, given.about, list(grid), _compared(place, given, name, cells), steps, given.figures or shelf.whole.figures
    )


def _grid(place: Place, part: str, node: Branch | Leaf | None) -> dict[str, list[tuple[str, Branch]]]:
    """Each axis with its values: what they are called, and what they set."""
    found = {}
    for axis, values in node.items() if isinstance(node, Branch) else ():
        if isinstance(values, Branch):
            named = [(label, settings) for label, settings in values.items()]
            found[axis] = [(label, s) for label, s in named if isinstance(s, Branch)]
            for label, wrong in named:
                if not isinstance(wrong, Branch):
                    place.wrong(("parts", part, "grid", axis, label), plain(wrong), 'must be settings: {"epochs": 3}')
        elif isinstance(values.value, list) and values.value:
            listed = [(_label(value), branch({axis: value}, values.where)) for value in values.value]
            found[axis.rpartition(".")[2]] = listed
        else:
            place.wrong(
                ("parts", part, "grid", axis), values.value, 'must be a list, or {"what it is called": {settings}}'
            )
    return found


def _label(value: Any) -> str:
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    return value if isinstance(value, str) else json.dumps(value)


def _cell(shelf: _Shelf, part: str, named: dict[str, str], chosen: list[Branch], n_runs: int | None) -> Cell:
    data: str | None = None
    settings: list[Branch] = []
    for section in chosen:
        for name, node in section.items():
            if name == "data":
                data, where = str(plain(node)), section.where
                if data not in shelf.sources:
                    raise ZddError(f"data = {data!r} ({where}): there is no such recipe; {one_of(shelf.sources)}")
            elif name == "extends":
                settings += layers.below(section, shelf.beside)
            else:
                settings.append(_nested(name, node, section.where))
    if data is None and len(shelf.sources) == 1:
        data = next(iter(shelf.sources))
    images = [branch({"dataset": shelf.sources[data].section}, f"data.{data}")] if data is not None else []
    label = "_".join(UNNAMED.sub("-", value).strip("-") for value in named.values()) or "all"
    loaded = config.compose([*shelf.base, *images, *settings, shelf.overrides], label)
    return Cell(part, named, loaded, data, shelf.n_runs or n_runs or shelf.whole.n_runs)


def _nested(name: str, node: Branch | Leaf, where: str) -> Branch:
    """ "optimizer.lr": 0.1 as {"optimizer": {"lr": 0.1}}."""
    for part in reversed(name.split(".")):
        node = Branch({part: node}, where)
    assert isinstance(node, Branch)
    return node


def _compared(place: Place, given: form.Part, part: str, cells: list[Cell]) -> list[Cell]:
    """The cells, each with the one that it is compared with: the same, but for what the baseline says."""
    names = [cell.name for cell in cells]
    for name in {name for name in names if names.count(name) > 1}:
        place.wrong(("parts", part, "grid"), given.grid, f"two cells would be called {name}; give them other names")
    for axis, value in given.baseline.items():
        there = list(dict.fromkeys(cell.values[axis] for cell in cells if axis in cell.values))
        if value not in there:
            place.wrong(("parts", part, "baseline", axis), value, f"no cell of the grid has it; {one_of(there)}")
            return cells
    by_values = {tuple(sorted(cell.values.items())): cell for cell in cells}
    return [_with_baseline(cell, given.baseline, by_values) for cell in cells]


def _with_baseline(cell: Cell, baseline: dict[str, str], cells: dict[tuple[tuple[str, str], ...], Cell]) -> Cell:
    of = cells[tuple(sorted({**cell.values, **baseline}.items()))]
    against = of.name if baseline and of is not cell else None
    return Cell(cell.part, cell.values, cell.loaded, cell.data, cell.n_runs, against)


def distinct(cells: Sequence[Cell]) -> Iterator[Cell]:
    """The cells without those that another one trains already, with as many seeds or more."""
    best: dict[str, Cell] = {}
    for cell in cells:
        if cell.key not in best or best[cell.key].n_runs < cell.n_runs:
            best[cell.key] = cell
    yield from best.values()

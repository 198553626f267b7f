"""The cells of a part: its settings crossed, every configuration complete and checked."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zdd import config, layers
from zdd.config import Loaded
from zdd.errors import ZddError
from zdd.export.names import misspelt
from zdd.located import Branch, Key, Leaf, branch, plain
from zdd.plugins import available, nearest, one_of, unknown
from zdd.report import certainty, defects, sections
from zdd.suite import form
from zdd.suite.data import Source
from zdd.suite.form import Explain, Form, Place, Speed, Step

FIGURES = {**sections.NAMES, **certainty.NAMES, **defects.NAMES}  # those that have a name on the report's page
UNNAMED = re.compile(r"[^\w.+-]+")  # what a folder is better not called
NAMED = re.compile(r"[\w+-][\w .+-]{0,199}")  # what it can be called
FOLDER = "names a folder: letters, digits, spaces and . + - _ will do, 200 at most, no space or dot first"


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
class Shelf:
    """What every part's cells are made of."""

    place: Place
    whole: Form
    sources: dict[str, Source]
    base: list[Branch]
    beside: Path
    overrides: Branch
    n_runs: int | None


def key(value: dict[str, Any]) -> str:
    """A configuration as a text that is the same for equal ones; what it says about itself does not count."""
    return json.dumps({name: part for name, part in value.items() if name != "about"}, sort_keys=True)


def part_of(shelf: Shelf, node: Branch, name: str) -> Part:
    """A part of a suite, its grid crossed; what is wrong is noted at the shelf's place.

    Args:
        shelf: What every part's cells are made of.
        node: The suite file.
        name: Of the part.

    Raises:
        ZddError: If a cell's configuration is wrong, or it names a recipe that is not there.
    """
    place, at = shelf.place, ("parts", name)
    given = place.check(form.Part, at, shelf.whole.parts[name])
    if given is None:
        return Part(name, "", [], [], [], [])
    whose, wanted = (("steps",), shelf.whole.steps) if given.steps is None else ((*at, "steps"), given.steps)
    steps = form.steps_of(place, whose, wanted)
    figures = shelf.whole.figures if given.figures is None else given.figures
    _check_names(place, at, given, steps, figures)
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
    return Part(name, given.about, list(grid), _compared(place, given, name, cells), steps, figures)


def _check_names(place: Place, at: Key, given: form.Part, steps: Sequence[Step], figures: Sequence[str]) -> None:
    """What would be found out after the last training only: explainers, engines and figures that are misspelt."""
    for number, step in enumerate(steps):
        key = (*(at if given.steps is not None else ()), "steps", number)
        for name in step.variant if isinstance(step, Explain) else ():
            if name not in available("explain"):
                place.wrong((*key, "variant"), name, unknown("explain", name))
        if isinstance(step, Speed) and not step.engines:
            place.wrong((*key, "engines"), [], "must name one or more")
        for name in step.engines if isinstance(step, Speed) else ():
            if why := misspelt(name):
                place.wrong((*key, "engines"), name, why)
    if not figures:
        place.wrong((*(at if given.figures is not None else ()), "figures"), [], "must name one or more")
    for name in figures:  # only what is nearly a known one: of others a method may have its own
        word = name.partition("/")[0].removeprefix("ood_")
        near = None if word in (*FIGURES, *certainty.OOD) else nearest(word, FIGURES)
        if near:
            place.wrong((*(at if given.figures is not None else ()), "figures"), name, f"did you mean '{near}'?")


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
            text = 'must be a list of one value or more, or {"what it is called": {settings}}'
            place.wrong(("parts", part, "grid", axis), values.value, text)
    return found


def _label(value: Any) -> str:
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    return value if isinstance(value, str) else json.dumps(value)


def _cell(shelf: Shelf, part: str, named: dict[str, str], chosen: list[Branch], n_runs: int | None) -> Cell:
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
    for name in names:
        if not NAMED.fullmatch(name):
            place.wrong(("parts", part, "grid"), name, f"a cell's name {FOLDER}")
    for name in {name for name in names if names.count(name) > 1}:
        place.wrong(("parts", part, "grid"), given.grid, f"two cells would be called {name}; give them other names")
    for axis, value in given.baseline.items():
        there = list(dict.fromkeys(cell.values[axis] for cell in cells if axis in cell.values))
        if value not in there:
            axes = list(cells[0].values) if cells else []
            known = f"the grid has no axis '{axis}'; {one_of(axes)}"
            text = known if axis not in axes else f"no cell of the grid has it; {one_of(there)}"
            place.wrong(("parts", part, "baseline", axis), value, text)
            return cells
    by_values = {tuple(sorted(cell.values.items())): cell for cell in cells}
    return [_with_baseline(cell, given.baseline, by_values) for cell in cells]


def _with_baseline(cell: Cell, baseline: dict[str, str], cells: dict[tuple[tuple[str, str], ...], Cell]) -> Cell:
    of = cells[tuple(sorted({**cell.values, **baseline}.items()))]
    against = of.name if baseline and of is not cell else None
    return replace(cell, baseline=against)


def distinct(cells: Sequence[Cell]) -> Iterator[Cell]:
    """The cells without those that another one trains already, with as many seeds or more."""
    best: dict[str, Cell] = {}
    for cell in cells:
        if cell.key not in best or best[cell.key].n_runs < cell.n_runs:
            best[cell.key] = cell
    yield from best.values()

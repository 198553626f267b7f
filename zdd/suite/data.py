"""The data sets of a suite: what each recipe makes, where it lies, and how an experiment names it."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zdd import config, files
from zdd.data.found import Found
from zdd.data.parents import parents
from zdd.data.synthesis import combine, labels, real, shapes
from zdd.data.synthesis import folder as making
from zdd.data.synthesis.job import Style
from zdd.data.synthesis.wish import Wish
from zdd.errors import ZddError
from zdd.located import Branch, branch
from zdd.plugins import one_of
from zdd.settings import DatasetSettings, Strict
from zdd.suite.form import Chosen, Drawn, Shapes, Synthesised, Used

KEPT = ("good_class", "classes", "mirror_safe", "unreadable", "leakage", "defects")  # of a set, by what is made from it
MARK = "suite.json"
FORMAT = 1  # raise when the same recipe makes other images than before


@dataclass(frozen=True)
class Source:
    """The images of one recipe.

    Args:
        name: Of the recipe.
        section: The `dataset` of an experiment on them.
        folder: Where they are made; None: they are there already.
        make: Makes them.
        needs: The recipe that they are made from.
    """

    name: str
    section: dict[str, Any]
    folder: Path | None = None
    make: Callable[[], object] | None = None
    needs: str | None = None

    def ready(self) -> bool:
        """Whether nothing has to be made; makers move a folder to its place only when it is whole."""
        return self.folder is None or self.folder.is_dir()


def sources(recipes: dict[str, Strict], folder: Path, base: Sequence[Branch], instead: str | None) -> dict[str, Source]:
    """What each recipe makes. A folder's name tells the recipe, so that another recipe makes another folder.

    Args:
        recipes: By name.
        folder: Of the folders to make.
        base: The layers that every cell has, for how the set is split.
        instead: A set of the user's, in place of what is made from nothing.

    Raises:
        ZddError: If a recipe is made from one that is not there, or there is no such set.
    """
    own = section_of(instead) if instead is not None else None
    made: dict[str, Source] = {}
    for name in recipes:
        _add(made, name, recipes, _Place(folder.absolute(), base, own), ())
    return made


def section_of(data: str) -> dict[str, Any]:
    """The `dataset` of a set of the user's: a folder or a table, or the one that an experiment names.

    Raises:
        ZddError: If there is neither.
    """
    path = Path(data)
    if path.exists() and path.suffix != ".json":
        tables = [path] if path.is_file() else sorted(path.glob("*.csv"))
        name = "labels" if (path / labels.TABLE).is_file() else "csv" if len(tables) == 1 else "folder"
        return {"name": name, "root": str(path.absolute()), **({"mirror_safe": False} if name == "labels" else {})}
    try:
        found = config.load(data)
    except ZddError as error:
        raise ZddError(f"--data {data}: neither a folder or table nor an experiment with a dataset ({error})") from None
    section: dict[str, Any] = config.as_dict(found.config)["dataset"]
    return section


@dataclass(frozen=True)
class _Place:
    """What every recipe of a suite shares."""

    folder: Path
    base: Sequence[Branch]
    own: dict[str, Any] | None

    def settings(self, section: dict[str, Any]) -> DatasetSettings:
        """The whole `dataset` of a section: how it is split stands in the base."""
        return config.compose([*self.base, branch({"dataset": section}, "data")], "data").config.dataset


def _add(made: dict[str, Source], name: str, recipes: dict[str, Strict], place: _Place, above: tuple[str, ...]) -> None:
    if name in made:
        return
    recipe = recipes[name]
    if not isinstance(recipe, Synthesised | Chosen):
        made[name] = _first(name, recipe, place)
        return
    if recipe.of not in recipes or recipe.of in (*above, name):
        others = one_of([other for other in recipes if other != name])
        raise ZddError(f'data.{name}.of = "{recipe.of}": there is no such recipe that it could be made from; {others}')
    _add(made, recipe.of, recipes, place, (*above, name))
    made[name] = _second(name, recipe, made[recipe.of], place)


def _first(name: str, recipe: Strict, place: _Place) -> Source:
    """Images that are made from no others, or are there."""
    if place.own is not None:
        return Source(name, place.own)
    if isinstance(recipe, Used):
        return Source(name, recipe.use)
    folder = place.folder / f"{name}-{_short(recipe.model_dump())}"
    if isinstance(recipe, Drawn):
        section = {"name": "labels", "root": str(folder), "mirror_safe": False}
        return Source(name, section, folder, lambda: labels.draw(folder, per_class=recipe.per_class, seed=recipe.seed))
    assert isinstance(recipe, Shapes)
    section = {"name": "cifar10", "root": str(folder), "good_class": None}
    return Source(name, section, folder, lambda: shapes.draw(folder, per_class=recipe.per_class, seed=recipe.seed))


def _second(name: str, recipe: Synthesised | Chosen, of: Source, place: _Place) -> Source:
    """Images that are made from others. How those are split counts: the same recipe makes others from another split."""
    dataset = place.settings(of.section)
    version = [combine.VERSION] if isinstance(recipe, Synthesised) else []  # the other makers have not changed
    folder = place.folder / f"{name}-{_short([recipe.model_dump(), dataset.model_dump(), *version])}"
    kept = {key: of.section[key] for key in KEPT if key in of.section}
    section = {**kept, "name": "csv", "root": str(folder)}
    if isinstance(recipe, Chosen):
        return Source(name, section, folder, lambda: choose(folder, dataset, recipe), recipe.of)
    given = {key: value for key, value in recipe.model_dump(exclude_unset=True).items() if key not in ("make", "of")}
    wish = Wish(folder, dataset, style=Style(mirror=dataset.mirror_safe), **given)
    try:
        wish.check()
    except ZddError as error:
        raise ZddError(*(f"data.{name}: {line}" for line in error.lines)) from None
    return Source(name, section, folder, lambda: combine.synthesise(wish), recipe.of)


def choose(out: Path, dataset: DatasetSettings, recipe: Chosen) -> None:
    """Write a table of some of a set's images, which stay where they are.

    Args:
        out: Folder to make.
        dataset: The set; one without a split is split as training would.
        recipe: Which images stay.

    Raises:
        ZddError: If a class has fewer training images than are wanted.
    """
    whole = real.load(dataset)
    order = sorted(whole.rows, key=lambda i: (_short(whole.parts[i]), whole.names[i]))  # parts as drawn, each whole
    found: list[Found] = []
    count: Counter[str] = Counter()
    for one in (whole.found[i] for i in order):
        if f"{one.split} {'synthetic' if one.parent else 'real'}" in recipe.without:
            continue
        if one.split == "train":
            count[one.class_name] += 1
        if one.split != "train" or recipe.train is None or count[one.class_name] <= recipe.train:
            found.append(one)
    few = {name: count[name] for name in whole.classes if count[name] < (recipe.train or 0)}
    if few:
        wanted = f"training images; train = {recipe.train} are wanted"
        raise ZddError(*(f"class '{name}' has {n} {wanted}" for name, n in few.items()))
    with making.making(out, MARK, {MARK, making.TABLE}) as folder:
        making.write_table(folder / making.TABLE, [_row(one) for one in sorted(found, key=lambda one: one.path)])
        files.write_json(folder / MARK, {"made_by": "zdd suite", **recipe.model_dump()})


def _row(one: Found) -> making.Row:
    parent = ";".join(str(Path(path).absolute()) for path in parents(one.parent))
    return making.Row(one.path, one.class_name, one.mask, one.group, str(one.split), parent)


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps([FORMAT, value], sort_keys=True).encode()).hexdigest()[:8]

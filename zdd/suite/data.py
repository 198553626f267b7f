"""The data sets of a suite: what each recipe makes, where it lies, and how an experiment names it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zdd import config, layers
from zdd.data.synthesis import labels, shapes
from zdd.errors import ZddError
from zdd.located import Branch, plain
from zdd.plugins import one_of
from zdd.settings import Strict
from zdd.suite.form import Drawn, Shapes, Synthesised, Used

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
        _add(made, name, recipes, _Place(folder.absolute(), _split(base), own), ())
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
    split: dict[str, Any]
    own: dict[str, Any] | None


def _split(base: Sequence[Branch]) -> dict[str, Any]:
    default = layers.defaults()
    merged: Any = default
    for layer in base:
        merged = layers.merge(merged, layer, default)
    split: dict[str, Any] = plain(merged["dataset"])["split"]
    return split


def _add(made: dict[str, Source], name: str, recipes: dict[str, Strict], place: _Place, above: tuple[str, ...]) -> None:
    if name in made:
        return
    recipe = recipes[name]
    if not isinstance(recipe, Synthesised):
        made[name] = _first(name, recipe, place)
        return
    if recipe.real not in recipes or recipe.real in (*above, name):
        others = one_of(other for other in recipes if other != name)
        raise ZddError(
            f'data.{name}.real = "{recipe.real}": there is no such recipe that it could be made from; {others}'
        )
    _add(made, recipe.real, recipes, place, (*above, name))
    made[name] = _synthesised(name, recipe, made[recipe.real], place)


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


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps([FORMAT, value], sort_keys=True).encode()).hexdigest()[:8]


def _synthesised(name: str, recipe: Synthesised, real: Source, place: _Place) -> Source:
    raise ZddError("not yet")

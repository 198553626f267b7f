"""What may stand in a suite file, and the file read: its small form laid over it, every mistake with its line."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from zdd import layers
from zdd.errors import ZddError
from zdd.located import Branch, Key, Leaf, home, origins, read
from zdd.plugins import nearest, one_of
from zdd.settings import Count, Positive, Rate, Share, Strict
from zdd.wording import ABSENT, Mistake, mistakes

FOLDER = "experiments/suites"
FIGURES = ["balanced_accuracy", "auroc", "defect_recall", "false_alarm_rate"]
Kind = Literal["train real", "train synthetic", "val real", "val synthetic", "test real", "test synthetic"]
M = TypeVar("M", bound=Strict)


class Drawn(Strict):
    """A recipe: the set `labels`, drawn."""

    make: Literal["labels"]
    per_class: Positive
    seed: Count = 0


class Shapes(Strict):
    """A recipe: a stand-in for CIFAR-10, in its files."""

    make: Literal["shapes"]
    per_class: Positive
    seed: Count = 0


class Synthesised(Strict):
    """A recipe: images of another recipe and synthetic ones made from them, as `zdd data synthesise` makes them."""

    make: Literal["synthesise"]
    of: str  # the recipe that has the real images
    generator: Literal["regions", "perlin"] = "regions"
    train: Count = 0
    val: Count = 0
    test: Count = 0
    train_ratio: Share | None = None
    val_ratio: Share | None = None
    test_ratio: Share | None = None
    seed: Count = 0


class Chosen(Strict):
    """A recipe: some of the images of another recipe, in the same splits."""

    make: Literal["choose"]
    of: str
    train: Positive | None = None  # training images of each class, whole parts first to last
    without: list[Kind] = Field([])


class Used(Strict):
    """A recipe: a data set that is there, as in an experiment."""

    use: dict[str, Any]


RECIPES: dict[str, type[Strict]] = {"labels": Drawn, "shapes": Shapes, "synthesise": Synthesised, "choose": Chosen}


class Test(Strict):
    """A step: test every run on its test images."""

    name: Literal["test"]


class Explain(Strict):
    """A step: explain what every run says of test images."""

    name: Literal["explain"]
    variant: list[str] = Field([])
    n: Positive = 32


class Speed(Strict):
    """A step: time the cells of a part against each other, once all are trained."""

    name: Literal["speed"]
    engines: list[str] = Field(["eager"])
    seconds: Rate = 30.0
    threads: Positive = 1


STEPS: dict[str, type[Strict]] = {"test": Test, "explain": Explain, "speed": Speed}
Step = Test | Explain | Speed


class Part(Strict):
    """One table of a suite: settings that are crossed."""

    about: str = ""
    grid: dict[str, Any] = Field({})
    set: dict[str, Any] = Field({})
    baseline: dict[str, str] = Field({})
    n_runs: Positive | None = None
    steps: list[Any] | None = None
    figures: list[str] | None = None


class Form(Strict):
    """A suite file."""

    about: str = ""
    n_runs: Positive = 3
    data: dict[str, Any] = Field({})
    base: dict[str, Any] = Field({})
    parts: dict[str, Any]
    steps: list[Any] = Field(["test"])
    figures: list[str] = Field(FIGURES)


class Place:
    """Where each setting of a file stands, and what is wrong with it."""

    def __init__(self, node: Branch) -> None:
        self.places = origins(node)
        self.found: list[Mistake] = []

    def of(self, key: Key) -> str:
        """The file and line of a setting, or of what it would stand in."""
        return next(self.places[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.places)

    def check(self, model: type[M], key: Key, value: Any) -> M | None:
        """A section as its model; None where it is wrong, and it is noted why."""
        if not isinstance(value, dict):
            self.found.append(Mistake(key, value, "must be a section {...}"))
            return None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self.found += mistakes(error, model, key, value)
            return None

    def wrong(self, key: Key, value: Any, text: str) -> None:
        """Note a mistake."""
        self.found.append(Mistake(key, value, text))

    def refuse(self) -> None:
        """Say all that was noted.

        Raises:
            ZddError: If anything was.
        """
        if self.found:
            raise ZddError(*dict.fromkeys(mistake.line(self.of(mistake.key)) for mistake in self.found))


def find(name: str) -> Path:
    """The file called `name`: a suite as given or in experiments/suites/, else an experiment.

    Raises:
        ZddError: If there is none.
    """
    folders = [Path(), Path(FOLDER), home() / FOLDER]
    for folder in folders:
        for path in (folder / name, folder / f"{name}.json"):
            if path.is_file():
                return path
    there = sorted({path.stem for folder in folders[1:] for path in folder.glob("*.json")})
    try:
        return layers.find(name)
    except ZddError as error:
        near = nearest(Path(name).stem, there)
        if near is None:
            raise ZddError(f"{error}; {FOLDER}/ has: {', '.join(there) or 'none'}") from None
        raise ZddError(f"{name}: there is no such suite or experiment; did you mean '{near}'?") from None


def is_suite(path: Path) -> bool:
    """Whether a file is a suite (it has parts) and no experiment."""
    return "parts" in read(path)


def read_form(path: Path, *, fast: bool) -> Branch:
    """A suite file; with `fast`, its section of that name is laid over the rest.

    An axis of a grid and a recipe in that section replace the ones of the same name; all else is merged.

    Raises:
        ZddError: If the file is broken, or has no small form and one is wanted.
    """
    node = read(path)
    small = node.pop("fast", None)
    for note in layers.NOTES[:3]:
        node.pop(note, None)
    if not fast:
        return node
    if not isinstance(small, Branch):
        raise ZddError(f"{path}: has no section 'fast', so there is no --fast of it")
    for name, recipe in _items(small.get("data")):
        _drop(node.get("data"), name, recipe)
    for name, part in _items(small.get("parts")):
        for axis, values in _items(part.get("grid") if isinstance(part, Branch) else None):
            _drop(_below(_below(node.get("parts"), name), "grid"), axis, values)
    merged = layers.merge(node, small, None)
    assert isinstance(merged, Branch)
    return merged


def recipe_of(place: Place, name: str, value: Any) -> Strict | None:
    """A recipe, checked; None where it is wrong."""
    key: Key = ("data", name)
    if isinstance(value, dict) and "use" in value:
        return place.check(Used, key, value)
    make = value.get("make", ABSENT) if isinstance(value, dict) else ABSENT
    if not isinstance(make, str) or make not in RECIPES:
        text = f'there is no such way to make data; {one_of(RECIPES)}; or {{"use": {{a dataset section}}}}'
        place.wrong(
            (*key, "make") if isinstance(value, dict) else key, make if isinstance(value, dict) else value, text
        )
        return None
    return place.check(RECIPES[make], key, value)


def steps_of(place: Place, key: Key, values: list[Any]) -> list[Step]:
    """Steps, checked: a bare name is a section with nothing else in it."""
    made: list[Step] = []
    for number, value in enumerate(values):
        section = {"name": value} if isinstance(value, str) else value
        name = section.get("name") if isinstance(section, dict) else None
        if name not in STEPS:
            place.wrong((*key, number), value, f"there is no such step; {one_of(STEPS)}")
            continue
        step = place.check(STEPS[name], (*key, number), section)
        if isinstance(step, Test | Explain | Speed):
            made.append(step)
    return made


def _items(node: Branch | Leaf | None) -> list[tuple[str, Any]]:
    return list(node.items()) if isinstance(node, Branch) else []


def _below(node: Branch | Leaf | None, name: str) -> Branch | Leaf | None:
    return node.get(name) if isinstance(node, Branch) else None


def _drop(node: Branch | Leaf | None, name: str, instead: Any) -> None:
    if isinstance(node, Branch) and name in node and isinstance(instead, Branch):
        node[name] = Branch({}, instead.where)  # in its place: the order of the axes stays

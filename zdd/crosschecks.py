"""Settings that are right alone and wrong together."""

import itertools
import re
from collections.abc import Callable
from typing import Any

from zdd.located import Key
from zdd.plugins import available
from zdd.wording import ABSENT, Mistake, at


def find(value: dict[str, Any], wrong: set[Key]) -> list[Mistake]:
    """Every rule that a merged configuration breaks.

    Args:
        value: The merged configuration as plain JSON.
        wrong: Settings that are mistaken already: rules that read them say nothing.
    """
    found = []
    for rule, names in RULES.items():
        keys: list[Key] = [tuple(name.split(".")) for name in names]
        values = [at(value, key) for key in keys]
        touched = any(key[: len(bad)] == bad[: len(key)] for key in keys for bad in wrong)
        text = None if touched or ABSENT in values else rule(*values)
        if text:
            found.append(Mistake(keys[0], values[0], text))
    return found


def _target_missing(rule: str, target: float | None) -> str | None:
    meaning = {
        "false_alarms": "the largest share of good parts that may be stopped",
        "missed": "the largest share of defects that may slip through",
        "quantile": "the share of good parts that is to pass",
    }
    if target is None and rule in (*meaning, "fixed"):
        return f"needs threshold.target, {_SHARE}: {meaning.get(rule, 'the threshold itself')}"
    if target is not None and target > 1 and rule in meaning:
        return f"threshold.target = {target:g} must be {_SHARE}: {meaning[rule]}"
    return None


def _criterion(criterion: Any, model: Any) -> str | None:
    name = model.get("name") if isinstance(model, dict) else model
    given = criterion if isinstance(criterion, dict) else {"name": criterion}
    defaults = {option.name: option.default for option in available("criterion")["cross_entropy"].options.values()}
    if name in LEARNS_BY_CRITERION or {**defaults, **given} == {**defaults, "name": "cross_entropy"}:
        return None
    return f"the model '{name}' has a loss of its own and takes no criterion; take it out"


def _target_idle(target: float | None, rule: str) -> str | None:
    if target is not None and rule == "youden":
        return "the rule 'youden' takes no target; take it out, or write null"
    return None


def _split(val: float, test: float) -> str | None:
    if val + test < 1:
        return None
    return f"with dataset.split.test = {test:g} nothing is left to train on; together they must stay below 1"


def _monitor(monitor: str, good_class: str | None) -> str | None:
    if monitor == "val/auroc" and good_class is None:
        return "without a good class (dataset.good_class is null) there is no AUROC; did you mean 'val/accuracy'?"
    return None


def _classes(classes: list[str] | None, good_class: str | None) -> str | None:
    if classes is None:
        return None
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        return f"{', '.join(map(repr, twice))} stands there more than once"
    if len(classes) < 2:
        return "there must be two classes at least"
    if good_class not in (None, "auto", *classes):
        return f"dataset.good_class = '{good_class}' is not among them"
    return None


def _held_out(held_out: str | None, classes: list[str] | None) -> str | None:
    if held_out is not None and held_out in (classes or []):
        return "stands in dataset.classes, too, which are those that are learnt; take it out there"
    return None


def _group(group: str | None) -> str | None:
    try:
        re.compile(group or "")
    except re.error as error:
        return f"not a regular expression: {error}"
    return None


def _grades(grades: list[dict[str, Any]]) -> str | None:
    for what in ("name", "above_percent"):
        given = [grade[what] for grade in grades]
        twice = [value for value in given if given.count(value) > 1]
        if twice:
            return f"two grades with the same {what}, {twice[0]!r}"
    if any(grade["name"] in ("none", "") for grade in grades):
        return "'none' is the grade below the lowest bound; give another name, and only to grades above a bound"
    rising = sorted(grades, key=lambda grade: grade["above_percent"])
    for less, more in itertools.pairwise(rising):
        if more["discount_percent"] < less["discount_percent"]:
            discounts = f"{more['discount_percent']:g} %) than for '{less['name']}' ({less['discount_percent']:g} %"
            return f"for '{more['name']}' less is taken off ({discounts}), though the defect is larger"
    return None


def _seed(seed: int) -> str | None:
    most = 2**31 - 1  # numpy ends at 2**32, and each run adds to it
    return f"must be {most} at most" if seed > most else None


def _batch(batch_size: int, devices: int) -> str | None:
    if batch_size % devices == 0:
        return None
    near = max(devices, batch_size - batch_size % devices)
    return f"is shared by trainer.devices = {devices}, so it must be a multiple of that; the nearest is {near}"


LEARNS_BY_CRITERION = ("classifier",)  # every other method has a loss of its own
_SHARE = "a number from 0 to 1"
RULES: dict[Callable[..., str | None], tuple[str, ...]] = {  # what each rule reads; the first is what it speaks of
    _target_missing: ("threshold.rule", "threshold.target"),
    _target_idle: ("threshold.target", "threshold.rule"),
    _split: ("dataset.split.val", "dataset.split.test"),
    _monitor: ("monitor", "dataset.good_class"),
    _classes: ("dataset.classes", "dataset.good_class"),
    _held_out: ("dataset.held_out", "dataset.classes"),
    _group: ("dataset.group",),
    _seed: ("seed",),
    _batch: ("batch_size", "trainer.devices"),
    _criterion: ("criterion", "model"),
    _grades: ("grades",),
}

"""Which class is the good one, and the order of the classes: good first, the others sorted."""

import difflib
from collections.abc import Iterable

from zdd.errors import ZddError

KNOWN_GOOD = ("good", "ok", "no_fail", "OK", "ok_front", "normal")


def order(
    found: Iterable[str], *, good_class: str | None, expected: list[str] | None, least: int = 2
) -> tuple[tuple[str, ...], bool]:
    """Put class names in order.

    Args:
        found: Names in any order, repeats allowed.
        good_class: A class name, "auto" for one of `KNOWN_GOOD`, or None where every class is a kind of defect.
        expected: The class list that must be found, or None.
        least: Number of classes that there must be; one is enough to learn what is good.

    Returns:
        The classes, and whether the first is the good one.

    Raises:
        ZddError: If the classes are not the expected ones, are too few, or no good class can be told.
    """
    names = sorted(set(found))
    if expected is not None and set(expected) != set(names):
        raise ZddError(_difference(names, expected))
    if len(names) < least:
        raise ZddError(f"dataset: found only one class, '{names[0]}': a classifier needs two" if names else _EMPTY)
    if good_class is None:
        return tuple(names), False
    good = _automatic(names) if good_class == "auto" else _given(names, good_class)
    return (good, *(name for name in names if name != good)), True


_EMPTY = "dataset: found no class at all"


def _automatic(names: list[str]) -> str:
    known = {name.lower() for name in KNOWN_GOOD}
    matches = [name for name in names if name in KNOWN_GOOD] or [name for name in names if name.lower() in known]
    if len(matches) == 1:
        return matches[0]
    told = (
        "more than one could be the good class" if matches else "none of them has a name that says it is the good class"
    )
    raise ZddError(
        f'dataset.good_class = "auto": the classes are {_list(names)}; {told} ({", ".join(KNOWN_GOOD)}): '
        "set dataset.good_class to one of them, or to null if every class is a kind of defect"
    )


def _given(names: list[str], good: str) -> str:
    matches = [name for name in names if name == good] or [name for name in names if name.lower() == good.lower()]
    if len(matches) == 1:
        return matches[0]
    near = difflib.get_close_matches(good, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise ZddError(f'dataset.good_class = "{good}": there is no such class; {hint}The classes are {_list(names)}')


def _difference(names: list[str], expected: list[str]) -> str:
    missing, surplus = sorted(set(expected) - set(names)), sorted(set(names) - set(expected))
    parts = [f"not in the data: {_list(missing)}"] if missing else []
    parts += [f"in the data but not listed: {_list(surplus)}"] if surplus else []
    return f"dataset.classes = {_list(expected)}: differs from the data; {'; '.join(parts)}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)

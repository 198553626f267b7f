"""Which synthetic image is made from which real ones, and which real images then stay in the set."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zdd.data.found import Found
from zdd.data.synthesis.job import Job
from zdd.data.synthesis.real import Real
from zdd.data.synthesis.wish import Wish
from zdd.errors import ZddError
from zdd.records import SPLITS, Split

CLEAN = 12  # images that a region may be pasted into, of which the best is taken
SPENT = 0.15  # of a class's training parts, for a split whose own share is 0
SHOWN = 20

Rows = list[int]


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        jobs: The images to make.
        kept: Rows of the real images that stay.
        spent: Rows of those that leave training since validation or test images are made from them.
        left_out: Rows of those that leave for the sake of a ratio.
    """

    jobs: tuple[Job, ...]
    kept: tuple[int, ...]
    spent: tuple[int, ...]
    left_out: tuple[int, ...]


def plan(wish: Wish, real: Real, usable: Sequence[bool]) -> Plan:
    """Plan a set.

    Args:
        wish: What is wanted.
        real: The real images.
        usable: Of each, whether something can be made from it.

    Raises:
        ZddError: If there are too few images for it; a line each.
    """
    made = made_classes(wish, real)
    pools, spent = _pools(wish, real, usable)
    jobs = [
        job
        for split in SPLITS
        for at, name in enumerate(made)
        for job in _jobs(wish, real, (name, _stem(made, at)), split, _sources(wish, real, pools[split], name, usable))
    ]
    left_out = _left_out(wish, real, made, spent)
    gone = {*spent, *left_out}
    return Plan(tuple(jobs), tuple(i for i in real.rows if i not in gone), tuple(sorted(spent)), tuple(left_out))


def made_classes(wish: Wish, real: Real) -> tuple[str, ...]:
    """The classes that synthetic images are made of.

    Raises:
        ZddError: If one that was asked for is not there, or none is known to be good where that is needed.
    """
    if wish.generator == "perlin":
        if real.good is None:
            raise ZddError(
                "dataset.good_class is null: --generator perlin makes defects on good parts; name their class"
            )
        if wish.class_name == real.good:
            raise ZddError(f"--class {wish.class_name}: is the good class; defects need another name")
        return (wish.class_name,)
    strange = [name for name in wish.classes if name not in real.classes]
    if strange:
        raise ZddError(f"--classes {' '.join(strange)}: there is no such class; there are: {', '.join(real.classes)}")
    for name, path in wish.style.templates:
        if name and name not in real.classes:
            raise ZddError(
                f"--template {name}={path}: there is no class '{name}'; there are: {', '.join(real.classes)}"
            )
    return tuple(name for name in real.classes if not wish.classes or name in wish.classes)


def _pools(wish: Wish, real: Real, usable: Sequence[bool]) -> tuple[dict[Split, Rows], Rows]:
    """Training rows that each split's images are made from; and those of them that so leave training.

    Whole parts only, so that no part is known from two splits.
    """
    train = [i for i in real.rows if real.found[i].split == "train"]
    needed = _needed(wish, real)
    parts: dict[str, dict[str, Rows]] = {name: defaultdict(list) for name in needed}
    for i in train:
        if usable[i] and not real.found[i].parent and real.found[i].class_name in parts:
            parts[real.found[i].class_name][real.parts[i]].append(i)
    empty = ", ".join(f"'{name}'" for name in needed if not parts[name])
    wrong = [f"{empty}: {_nothing(wish)}"] if empty else []
    taken: dict[str, Split] = {}
    for split in ("val", "test"):
        share = getattr(wish.dataset.split, split) or SPENT
        for name in needed if wish.count(split) else ():
            free = sorted((p for p in parts[name] if p not in taken), key=lambda part: _draw(wish.seed, split, part))
            n = min(max(1, round(share * len(parts[name]))), len(free) - 1)
            if n < 1 and parts[name]:
                wrong.append(
                    f"--{split} {wish.count(split)}: of class '{name}' {len(free)} training parts are left to make "
                    "images from; one must stay in training, and each split needs others"
                )
            taken |= dict.fromkeys(free[: max(0, n)], split)
    if wrong:
        raise ZddError(*wrong[:SHOWN])
    pools: dict[Split, Rows] = {split: [] for split in SPLITS}
    for i in train:
        pools[taken.get(real.parts[i], "train")].append(i)
    return pools, [*pools["val"], *pools["test"]]


def _needed(wish: Wish, real: Real) -> list[str]:
    """The classes that something is made from."""
    if wish.generator == "perlin":
        return [str(real.good)]
    made = made_classes(wish, real)
    return [name for name in real.classes if name in made or name == real.good]


def _nothing(wish: Wish) -> str:
    if wish.generator == "perlin":
        return "there is no training image of this class, so nothing can be made from it"
    if wish.style.templates:
        return f"the template is found in no training image (--match {wish.style.match}); cut it out of one"
    return (
        "no training image has a mask that marks a part of it; give --template FILE, or make defects from good parts "
        "by --generator perlin"
    )


def _sources(wish: Wish, real: Real, pool: Rows, name: str, usable: Sequence[bool]) -> tuple[list[Found], list[Found]]:
    """What a class is made from, and what it is pasted into."""
    at = [i for i in pool if usable[i] and not real.found[i].parent]
    of = {label: [real.found[i] for i in at if real.found[i].class_name == label] for label in real.classes}
    if wish.generator == "perlin":
        return of[str(real.good)], []
    own, good = of[name], of.get(real.good or "", [])
    if name == real.good or not good:
        return own, own
    return own, [*good, *own] if wish.style.template(name) is not None else good


def _jobs(
    wish: Wish, real: Real, name: tuple[str, str], split: Split, sources: tuple[list[Found], list[Found]]
) -> list[Job]:
    """The images of one class in one split; each real image is used as often as any other, but for one time."""
    class_name, stem = name
    own, clean = sources
    rng = np.random.default_rng([wish.seed, int(_draw(0, split, class_name)[:8], 16)])
    order = rng.permutation(len(own)).tolist()
    jobs = []
    for number in range(wish.count(split)):
        source = own[order[number % len(order)]]
        others = [one for one in clean if one is not source] or clean
        drawn = rng.choice(len(others), min(CLEAN, len(others)), replace=False).tolist() if others else []
        chosen = tuple(others[i] for i in drawn)
        jobs.append(Job(class_name, stem, split, number, wish.seed, class_name == real.good, source, chosen))
    return jobs


def _left_out(wish: Wish, real: Real, made: Sequence[str], spent: Sequence[int]) -> Rows:
    """Real images of the made classes that are too many for a ratio.

    Raises:
        ZddError: If they are too few.
    """
    wrong, left_out = [], []
    gone = set(spent)
    for split in SPLITS:
        needed = wish.real(split)
        if needed is None:
            continue
        for name in made:
            there = [i for i in real.rows if (real.found[i].split, real.found[i].class_name) == (split, name)]
            there = [i for i in there if i not in gone]
            if needed > len(there):
                wrong.append(_too_few(wish, split, name, len(there)))
            drawn = sorted(there, key=lambda i: _draw(wish.seed, "left out", real.names[i]))
            left_out += drawn[needed:]
    if wrong:
        raise ZddError(*wrong[:SHOWN])
    return sorted(left_out)


def _too_few(wish: Wish, split: Split, name: str, there: int) -> str:
    n, ratio = wish.count(split), wish.ratio(split)
    least = n / (n + there)
    return (
        f"--{split}-ratio = {ratio} (--{split} {n}): needs {wish.real(split)} real {split} images of class '{name}', "
        f"and there are {there}; a ratio of {np.ceil(100 * least) / 100:g} or more can be had, or leave it out"
    )


def _stem(made: Sequence[str], at: int) -> str:
    """A class as a part of file names, one that no other class has."""
    safe = ["".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name) for name in made]
    alike = len({name.lower() for name in safe}) < len(safe)
    return f"{at}_{safe[at]}" if alike else safe[at]


def _draw(seed: int, *words: str) -> str:
    # A hash, not a shuffle: one more image in the set moves hardly any other.
    return hashlib.sha256("/".join([str(seed), *words]).encode()).hexdigest()

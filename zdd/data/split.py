"""Which images train, which validate, which test: seeded, stratified by class, never through a group."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from zdd.data.found import Found
from zdd.data.parents import all_parents, place
from zdd.errors import ZddError
from zdd.records import SPLITS, Split

SHOWN = 5  # examples in a message


def with_groups(found: Sequence[Found], pattern: str | None) -> list[Found]:
    """Give every image that has no group yet the one that `pattern` reads from its file name.

    Args:
        found: What the source found.
        pattern: A regular expression; its first bracket, or the whole match, is the group. None changes nothing.

    Raises:
        ZddError: If the pattern is none, or does not match every file name.
    """
    if pattern is None:
        return list(found)
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ZddError(f'dataset.group = "{pattern}": not a regular expression ({error})') from None
    grouped, unmatched = [], []
    for one in found:
        match = None if one.group else regex.search(PurePath(one.path).name)
        if one.group:
            grouped.append(one)
        elif match and (name := match.group(1 if regex.groups else 0)):
            grouped.append(replace(one, group=name))
        else:
            unmatched.append(PurePath(one.path).name)
    if unmatched:
        shown = ", ".join(unmatched[:SHOWN])
        raise ZddError(f'dataset.group = "{pattern}": matches no part of {len(unmatched)} file names: {shown}')
    return grouped


def group_keys(found: Sequence[Found], keys: Sequence[str]) -> list[str]:
    """What must stay together, one key an image: its group, or else itself; a synthetic image goes with its parents.

    So do all that were made from the same image, whether it is among these or not.

    Args:
        found: The images.
        keys: A stable name for each image (its path below the root), so that moving the set changes no split.
    """
    of_path = {one.path: f"g:{one.group}" if one.group else f"i:{key}" for one, key in zip(found, keys, strict=True)}
    named = all_parents(one.parent for one in found)
    places = {place(path): key for path, key in of_path.items()} if named else {}
    joined: dict[str, str] = {}
    for one in found:
        for parent in named.get(one.parent, ()):
            where = place(parent)
            # An image that is not here ("z:", behind all others) holds together what was made from it.
            ends = _end(of_path[one.path], joined), _end(places.get(where, f"z:{where}"), joined)
            first, second = sorted(ends)
            joined[second] = first  # the first by name stands for both, whatever the order of the files
    return [_end(of_path[one.path], joined) for one in found]


def _end(key: str, joined: Mapping[str, str]) -> str:
    while joined.get(key, key) != key:
        key = joined[key]
    return key


def assign(groups: Sequence[str], labels: Sequence[str], shares: Mapping[Split, float], seed: int) -> list[Split]:
    """Share images out, whole groups at a time.

    Classes are taken from the one with fewest groups on, each class's groups in an order that depends on the seed and
    their names alone. First every split with a share gets one group of the class (training first), then each group goes
    where the class lacks most: no split exceeds its share of a class by a whole group or more.

    Args:
        groups: What must stay together, one key an image.
        labels: The class of each image.
        shares: Of each split; they sum to 1.
        seed: Changes the split and nothing else.

    Returns:
        The split of each image, whatever the order in which images are given.
    """
    size: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # class -> group -> images
    classes_of: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # group -> class -> images
    for group, label in zip(groups, labels, strict=True):
        size[label][group] += 1
        classes_of[group][label] += 1
    placed: dict[str, Split] = {}
    have: dict[str, dict[Split, int]] = {label: dict.fromkeys(SPLITS, 0) for label in size}
    for label in sorted(size, key=lambda name: (len(size[name]), name)):
        total = sum(size[label].values())
        for group in sorted(size[label], key=lambda name: _draw(seed, name)):
            if group in placed:
                continue
            split = _neediest(have[label], {s: share * total for s, share in shares.items() if share > 0})
            placed[group] = split
            for other, count in classes_of[group].items():
                have[other][split] += count
    return [placed[group] for group in groups]


def _neediest(have: Mapping[Split, int], want: Mapping[Split, float]) -> Split:
    """The first split without an image of the class, else the one that lacks most of its share."""
    for split in SPLITS:
        if split in want and not have[split]:
            return split
    return max(want, key=lambda split: (want[split] - have[split], -SPLITS.index(split)))


def _draw(seed: int, name: str) -> str:
    # A hash, not a shuffle: one more image in the set moves hardly any other.
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def complete(
    given: Sequence[Split | None], groups: Sequence[str], labels: Sequence[str], val: float, test: float, seed: int
) -> list[Split]:
    """The split of each image: the data set's own where it has one; a part that it lacks is taken from training.

    Raises:
        ZddError: If some images have a split and others none, or if nothing is for training.
    """
    there = set(given)
    if None in there and len(there) > 1:
        raise ZddError("dataset: some images have a split of their own and others have none; give it to all or to none")
    if None not in there and "train" not in there:
        raise ZddError(f"dataset: there are no training images, only {', '.join(sorted(str(s) for s in there))}")
    lacking: dict[Split, float] = {}
    if "val" not in there:
        lacking["val"] = val
    if "test" not in there:
        lacking["test"] = test
    if sum(lacking.values()) >= 1:
        raise ZddError(
            f"dataset.split: val = {val} and test = {test} leave nothing to train on; their sum must be below 1"
        )
    pool = [i for i, split in enumerate(given) if split in (None, "train")]
    shares: dict[Split, float] = {"train": 1 - sum(lacking.values()), **lacking}
    drawn = assign([groups[i] for i in pool], [labels[i] for i in pool], shares, seed)
    result = list(given)
    for i, split in zip(pool, drawn, strict=True):
        result[i] = split
    return [split for split in result if split is not None]


def straddling(groups: Iterable[str], splits: Iterable[Split]) -> dict[str, list[Split]]:
    """The groups that lie in more than one split, with those splits (only a data set's own split can do that)."""
    seen: dict[str, set[Split]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        seen[group].add(split)
    return {
        group.split(":", 1)[1]: [s for s in SPLITS if s in where] for group, where in seen.items() if len(where) > 1
    }

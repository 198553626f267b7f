"""What the look at the data found, and what of it is a mistake."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Literal

from rich.console import Console

from zdd.data.duplicates import Pair, across_splits, disagreeing
from zdd.data.look import Seen
from zdd.data.split import straddling
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
from zdd.records import SPLITS, Record

SHOWN = 20  # lines of one kind in a message
COMMON = 10  # sizes in the report


@dataclass(frozen=True)
class Audit:
    """The facts of a data set, as they are written to audit.json and shown in the report.

    Args:
        root: Where the images lie.
        counts: Images of each split by class.
        groups: Number of parts (groups) of each split.
        sizes: Smallest, median and largest width and height, and the commonest sizes.
        modes: Pillow's mode of the files and how many have it.
        n_enlarged: Images that are smaller than the network's input.
        skipped: Unreadable files that were left out: image and reason.
        pairs: The same or nearly the same image in two splits; `n_pairs` counts them all.
        n_pairs: Number of such pairs; None where dataset.leakage is "ignore" and none were looked for.
        disagreeing: The same file under two labels.
        straddling: Groups that the data set's own split tears apart.
        notes: What a person should know, a line each.
    """

    root: str
    counts: dict[str, dict[str, int]]
    groups: dict[str, int]
    sizes: dict[str, Any]
    modes: dict[str, int]
    n_enlarged: int
    skipped: list[dict[str, str]]
    pairs: list[dict[str, Any]]
    n_pairs: int | None
    disagreeing: list[dict[str, Any]]
    straddling: dict[str, list[str]]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dict(vars(self))


def unreadable(paths: Sequence[str], seen: Sequence[Seen], policy: Literal["refuse", "skip"]) -> list[dict[str, str]]:
    """The files that can't be read, with reasons.

    Raises:
        ZddError: Naming all of them, if `policy` is "refuse".
    """
    bad = [{"image": p, "reason": one.error} for p, one in zip(paths, seen, strict=True) if one.error]
    if bad and policy == "refuse":
        what = "1 image" if len(bad) == 1 else f"{len(bad)} images"
        head = (
            f'dataset.unreadable = "refuse": {what} of {len(paths)} can\'t be read; mend or remove, or set it to "skip"'
        )
        raise ZddError(head, *(f"{one['image']}: {one['reason']}" for one in bad))
    return bad


def audit(
    records: Sequence[Record],
    classes: Sequence[str],
    seen: Sequence[Seen],
    preprocess: Preprocess,
    leakage: Literal["warn", "refuse", "ignore"],
) -> dict[str, Any]:
    """The facts of readable images in their splits; `Audit` adds the root and what was skipped.

    Raises:
        ZddError: With all pairs and torn groups, if there are any and `leakage` is "refuse".
    """
    splits = [record.split or "train" for record in records]
    pairs, count = across_splits(seen, splits) if leakage != "ignore" else ([], None)
    keyed = [(f"g:{record.group}", record.split or "train") for record in records if record.group]
    torn = {} if leakage == "ignore" else straddling((g for g, _ in keyed), (s for _, s in keyed))
    disagree = disagreeing(seen, [classes[record.label] for record in records])
    facts: dict[str, Any] = {
        "counts": _counts(records, classes),
        "groups": {s: len({r.group or r.path for r in records if r.split == s}) for s in SPLITS},
        "sizes": _sizes(seen),
        "modes": dict(Counter(one.mode for one in seen).most_common()),
        "n_enlarged": sum(preprocess.box(one.width, one.height).scale_x > 1 for one in seen),
        "pairs": [_pair(pair, records, classes) for pair in pairs],
        "n_pairs": count,
        "disagreeing": [_pair(pair, records, classes) for pair in disagree],
        "straddling": torn,
    }
    if leakage == "refuse" and (pairs or torn):
        raise ZddError('dataset.leakage = "refuse": what is tested would be known from training', *leak_lines(facts))
    return facts


def leak_lines(facts: dict[str, Any]) -> list[str]:
    """One line for each pair and each torn group, up to a score of either."""
    lines = []
    for pair in facts["pairs"][:SHOWN]:
        how = "is the same file as" if pair["same"] else f"looks like (difference {pair['difference']:.2f})"
        lines.append(f"{pair['split'][0]}: {pair['image'][0]} {how} {pair['split'][1]}: {pair['image'][1]}")
    if (facts["n_pairs"] or 0) > SHOWN:
        lines.append(f"and {facts['n_pairs'] - SHOWN} more such pairs")
    torn = list(facts["straddling"].items())
    lines += [f"group '{group}' lies in {' and '.join(where)}" for group, where in torn[:SHOWN]]
    if len(torn) > SHOWN:
        lines.append(f"and {len(torn) - SHOWN} more such groups")
    return lines


def coverage_notes(
    counts: dict[str, dict[str, int]], classes: Sequence[str], has_good: bool, *, one_class: bool = False
) -> list[str]:
    """What the splits lack, as notes.

    Raises:
        ZddError: If nothing can be learnt of a class, or nothing judged on validation images.
    """
    lacks = {split: [name for name in classes if not counts[split][name]] for split in SPLITS}
    if one_class and classes[0] not in lacks["train"]:
        lacks["train"] = []  # defects are not to be learnt, and a threshold may be chosen by good images alone
    n_val = sum(counts["val"].values())
    mistakes = [
        f"dataset: no training image of class '{name}'; give it more images or remove it" for name in lacks["train"]
    ]
    if not n_val:
        mistakes.append("dataset: there is no validation image; give dataset.split.val a share above 0, or fill val/")
    elif has_good and classes[0] in lacks["val"]:
        mistakes.append(f"dataset: no validation image of the good class '{classes[0]}'; no threshold could be chosen")
    elif has_good and set(lacks["val"]) >= set(classes[1:]) and not one_class:
        mistakes.append("dataset: no validation image of any kind of defect; no threshold could be chosen")
    if mistakes:
        raise ZddError(*mistakes)
    names = {"val": "validation", "test": "test"}
    if not sum(counts["test"].values()):
        return ["there are no test images", *(_lacking("validation", name) for name in lacks["val"])]
    return [_lacking(names[split], name) for split in ("val", "test") for name in lacks[split]]


def tell(notes: Sequence[str]) -> None:
    """Show notes to people, on standard error."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for note in notes:
        console.print(f"data: {note}", style="yellow", markup=False)


def notes_on(facts: dict[str, Any], skipped: Sequence[dict[str, str]]) -> list[str]:
    """What of the facts a person should know, a line each."""
    notes = [f"skipped {one['image']}: {one['reason']}" for one in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        notes.append(f"and {len(skipped) - SHOWN} more were skipped")
    leaks = leak_lines(facts)
    if leaks:
        notes.append("the same or nearly the same image lies in two splits; the test figures may be too good:")
    notes += leaks
    for pair in facts["disagreeing"][:SHOWN]:
        notes.append(f"the same file has two labels: {pair['image'][0]} and {pair['image'][1]}")
    return notes


def _lacking(split: str, name: str) -> str:
    return f"no {split} image of class '{name}': its figures will be missing"


def _counts(records: Sequence[Record], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    count = Counter((record.split, record.label) for record in records)
    return {split: {name: count[split, label] for label, name in enumerate(classes)} for split in SPLITS}


def _sizes(seen: Sequence[Seen]) -> dict[str, Any]:
    width, height = [one.width for one in seen], [one.height for one in seen]
    common = Counter(zip(width, height, strict=True)).most_common(COMMON)
    return {
        "width": [min(width), median_low(width), max(width)],
        "height": [min(height), median_low(height), max(height)],
        "common": [{"width": w, "height": h, "n": n} for (w, h), n in common],
    }


def _pair(pair: Pair, records: Sequence[Record], classes: Sequence[str]) -> dict[str, Any]:
    both = [records[pair.first], records[pair.second]]
    return {
        "image": [record.path for record in both],
        "split": [record.split for record in both],
        "class": [classes[record.label] for record in both],
        "same": both[0].sha256 == both[1].sha256,
        "difference": round(pair.difference, 3),
    }

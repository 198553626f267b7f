"""From the settings to records in their splits, and to data.csv and back."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zdd import files, plugins
from zdd.data import parents
from zdd.data import split as splitting
from zdd.data import unknown as unknowns
from zdd.data.audit import Audit, audit, coverage_notes, notes_on, tell, unreadable
from zdd.data.classes import order
from zdd.data.folders import memory_of
from zdd.data.found import Found
from zdd.data.look import Seen, look_at_all, side_by_side
from zdd.data.masks import misfits
from zdd.data.one_class import DEFECT, collapse, only_good
from zdd.data.roots import locate
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
from zdd.records import SPLITS, Record, Split, Task
from zdd.settings import DatasetSettings, LoaderSettings

COLUMNS = ("image", "class", "label", "defective", "split", "group", "mask", "mask_value", "parent", "sha256", "kind")
OF_NO_CLASS = "ood"  # what stands for their split in data.csv
SHOWN = 20  # files named in a message
_ANOMALIES = "a method that learns from good images alone"


@dataclass(frozen=True)
class Dataset:
    """All images of a set with label, group and split, sorted by path.

    Args:
        records: One an image.
        classes: Their names; a record's label is a position here.
        has_good: Whether the first class is the good one.
        mask_values: The pixel value of each class in index masks; None: masks tell defective from good.
        unknown: Images of no class (a class held out, a folder of others), with label -1: never trained on.
    """

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    has_good: bool
    mask_values: tuple[int, ...] | None = None
    unknown: tuple[Record, ...] = ()

    def split(self, name: Split) -> list[Record]:
        """The images of one split, in order."""
        return [record for record in self.records if record.split == name]

    def task(self, image_size: tuple[int, int]) -> Task:
        """What a model is asked; `image_size` is height and width."""
        count = Counter(record.label for record in self.records if record.split == "train")
        return Task(self.classes, self.has_good, image_size, tuple(count[i] for i in range(len(self.classes))))


def prepare(
    settings: DatasetSettings, preprocess: Preprocess, *, cache: LoaderSettings, one_class: bool = False
) -> tuple[Dataset, Audit]:
    """Find the images, order the classes, look at every file once, and split.

    Args:
        settings: The configuration's `dataset`.
        preprocess: What the network will see (the audit counts images that are enlarged).
        cache: With `cache.cache`, looks are remembered in the cache folder; nothing is ever written beside the images.
        one_class: Whether the method learns from good images alone: then defects are one class, and none trains
            (but for `settings.contamination`).

    Raises:
        ZddError: If the set can't be trained on; the lines say what would be right.
    """
    if settings.contamination and not one_class:
        raise ZddError(f"dataset.contamination = {settings.contamination}: only {_ANOMALIES} takes it; set it to 0")
    root = locate(settings.root)
    base = root if root.is_dir() else root.parent
    images = splitting.with_groups(plugins.load("dataset", settings.name)(root, **settings.options), settings.group)
    found = sorted(images, key=lambda one: name_below(one.path, base))
    if not found:
        raise ZddError(f"{root}: there is no image in it")
    seen = look_at_all([one.path for one in found], memory_of(root) if cache.cache else None)
    skipped = unreadable([one.path for one in found], seen, settings.unreadable)
    good = [i for i, one in enumerate(seen) if not one.error]
    if not good:
        raise ZddError(f"{root}: none of the {len(found)} images can be read", *(s["reason"] for s in skipped[:SHOWN]))
    found, seen = [found[i] for i in good], [seen[i] for i in good]
    _check_masks(found, seen)
    found, seen, held_out = unknowns.hold_out(found, seen, settings, least=1 if one_class else 2)
    dataset = _dataset(found, seen, settings, base, least=1 if one_class else 2)
    notes = _kept_apart(dataset, seen, held_out, settings)
    if one_class or settings.defects == "one":
        dataset = collapse(dataset)
    if one_class:
        dataset, lacking = only_good(dataset, settings.contamination, settings.split.seed)
        notes += lacking
        dataset, seen = _used(dataset, seen)
    facts = audit(dataset.records, dataset.classes, seen, preprocess, settings.leakage)
    notes += coverage_notes(facts["counts"], dataset.classes, dataset.has_good, one_class=one_class)
    notes += notes_on(facts, skipped)
    tell(notes)
    audited = Audit(root=str(root), skipped=skipped, notes=notes, **facts)
    return replace(dataset, unknown=(*held_out, *unknowns.folder(settings.ood))), audited


def _dataset(
    found: Sequence[Found], seen: Sequence[Seen], settings: DatasetSettings, base: Path, *, least: int
) -> Dataset:
    labels = [one.class_name for one in found]
    classes, has_good = order(labels, good_class=settings.good_class, expected=settings.classes, least=least)
    groups = splitting.group_keys(found, [name_below(one.path, base) for one in found])
    share = settings.split
    given = [one.split for one in found]
    splits = splitting.complete(given, groups, labels, share.val, share.test, share.seed)
    number = {name: label for label, name in enumerate(classes)}
    records = (
        Record(one.path, number[one.class_name], one.group, split, one.mask, one.parent, look.sha256)
        for one, split, look in zip(found, splits, seen, strict=True)
    )
    return Dataset(tuple(records), classes, has_good, _mask_values(found, classes))


def _mask_values(found: Sequence[Found], classes: Sequence[str]) -> tuple[int, ...] | None:
    """The pixel value of each class, where the masks hold one for each."""
    values = {one.class_name: one.value for one in found if one.value is not None}
    return tuple(values[name] for name in classes) if values else None


def name_below(path: str, base: Path) -> str:
    """An image's name wherever the set lies: its path below the root."""
    start = f"{base}{os.sep}"
    below = path[len(start) :] if path.startswith(start) else os.path.relpath(path, base)
    return below.replace(os.sep, "/")


def _check_masks(found: Sequence[Found], seen: Sequence[Seen]) -> None:
    wrong = misfits(found, seen)
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more masks"] if len(wrong) > SHOWN else []
        raise ZddError(*wrong[:SHOWN], *more)


def save(dataset: Dataset, path: Path) -> None:
    """Write data.csv: image, class, label, defective, split, group, mask, parent and sha256 of every image."""
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        for r in dataset.records:
            name, defective = dataset.classes[r.label], int(r.label > 0 or not dataset.has_good)
            value = "" if dataset.mask_values is None else dataset.mask_values[r.label]
            known = (r.path, name, r.label, defective, r.split, r.group, r.mask, value, r.parent, r.sha256, r.kind)
            table.writerow(known)
        for r in dataset.unknown:
            table.writerow((r.path, r.kind, r.label, "", OF_NO_CLASS, r.group, "", "", r.parent, r.sha256, r.kind))


def load(path: Path) -> Dataset:
    """Read data.csv back; nothing is split again.

    Raises:
        ZddError: Naming all files that went missing or changed since.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        records = tuple(_record(row) for row in rows if row["split"] != OF_NO_CLASS)
        unknown = tuple(_record(row) for row in rows if row["split"] == OF_NO_CLASS)
        rows = [row for row in rows if row["split"] != OF_NO_CLASS]
    except FileNotFoundError:
        raise ZddError(f"{path}: there is no such file") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ZddError(f"{path}: not readable as a run's data.csv ({error})") from None
    if not records:
        raise ZddError(f"{path}: there is no image in it")
    names = dict(sorted((record.label, row["class"]) for record, row in zip(records, rows, strict=True)))
    values = dict(sorted((record.label, row.get("mask_value")) for record, row in zip(records, rows, strict=True)))
    _verify(path, [*records, *unknown])
    has_good = any(row["defective"] == "0" for row in rows)
    mask_values = tuple(int(value) for value in values.values() if value)
    classes = tuple(names.values()) if len(names) > 1 else (*names.values(), DEFECT)  # good images alone
    return Dataset(records, classes, has_good, mask_values or None, unknown)


def _record(row: dict[str, str]) -> Record:
    split = next((name for name in SPLITS if name == row["split"]), None)
    if split is None and row["split"] not in (OF_NO_CLASS, ""):
        raise ValueError(f"there is no split '{row['split']}'")
    known = (row["image"], int(row["label"]), row["group"], split, row["mask"], row["parent"], row["sha256"])
    return Record(*known, kind=row.get("kind", ""))


def _verify(path: Path, records: Sequence[Record]) -> None:
    hashes: Iterator[str] = side_by_side(_sha256, [record.path for record in records], "checking the images")
    wrong = [(record.path, sha256) for record, sha256 in zip(records, hashes, strict=True) if sha256 != record.sha256]
    if len(wrong) == len(records) and not any(sha256 for _, sha256 in wrong):
        raise ZddError(f"{path}: none of its {len(wrong)} images is there any more (the first is {wrong[0][0]})")
    if wrong:
        changed = f"changed since {path} was written"
        raise ZddError(*(f"{image}: {changed if sha256 else 'is missing'}" for image, sha256 in wrong))


def _sha256(path: str) -> str:
    """The hash of a file, or nothing where it can't be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (no Path object for each of 100,000 files)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _kept_apart(
    dataset: Dataset, seen: Sequence[Seen], held_out: Sequence[Record], settings: DatasetSettings
) -> list[str]:
    """Prove that synthetic images lie where their parents do; what only looks wrong, as notes.

    Raises:
        ZddError: If they do not; of what only looks so, where `leakage` is "refuse".
    """
    away = parents.hidden(dataset.records, held_out)
    parents.check(dataset.records, away, held_out)
    lines = parents.copies(dataset.records, seen, away) if settings.leakage != "ignore" else []
    lines = [*lines[:SHOWN], *([f"and {len(lines) - SHOWN} more such parents"] if len(lines) > SHOWN else [])]
    if lines and settings.leakage == "refuse":
        raise ZddError('dataset.leakage = "refuse": what is tested would be known from training', *lines)
    return lines


def _used(dataset: Dataset, seen: list[Seen]) -> tuple[Dataset, list[Seen]]:
    """Without the images that are in no split."""
    rows = [i for i, record in enumerate(dataset.records) if record.split]
    return replace(dataset, records=tuple(dataset.records[i] for i in rows)), [seen[i] for i in rows]

"""From the settings to records in their splits, and to data.csv and back."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zdd import files, plugins
from zdd.data import split as splitting
from zdd.data.audit import Audit, audit, coverage_notes, notes_on, tell, unreadable
from zdd.data.classes import order
from zdd.data.folders import memory_of
from zdd.data.found import Found
from zdd.data.look import Seen, look_at_all, side_by_side
from zdd.data.roots import locate
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
from zdd.records import SPLITS, Record, Split, Task
from zdd.settings import DatasetSettings, LoaderSettings

COLUMNS = ("image", "class", "label", "defective", "split", "group", "mask", "parent", "sha256")
SHOWN = 20  # files named in a message


@dataclass(frozen=True)
class Dataset:
    """All images of a set with label, group and split, sorted by path.

    Args:
        records: One an image.
        classes: Their names; a record's label is a position here.
        has_good: Whether the first class is the good one.
    """

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    has_good: bool

    def split(self, name: Split) -> list[Record]:
        """The images of one split, in order."""
        return [record for record in self.records if record.split == name]

    def task(self, image_size: tuple[int, int]) -> Task:
        """What a model is asked; `image_size` is height and width."""
        count = Counter(record.label for record in self.records if record.split == "train")
        return Task(self.classes, self.has_good, image_size, tuple(count[i] for i in range(len(self.classes))))


def prepare(settings: DatasetSettings, preprocess: Preprocess, *, cache: LoaderSettings) -> tuple[Dataset, Audit]:
    """Find the images, order the classes, look at every file once, and split.

    Args:
        settings: The configuration's `dataset`.
        preprocess: What the network will see (the audit counts images that are enlarged).
        cache: With `cache.cache`, looks are remembered in the cache folder; nothing is ever written beside the images.

    Raises:
        ZddError: If the set can't be trained on; the lines say what would be right.
    """
    root = locate(settings.root)
    index = plugins.load("dataset", settings.name)
    found: list[Found] = index(root, **settings.options)
    base = root if root.is_dir() else root.parent
    found = sorted(splitting.with_groups(found, settings.group), key=lambda one: _key(one.path, base))
    if not found:
        raise ZddError(f"{root}: there is no image in it")
    seen = look_at_all([one.path for one in found], memory_of(root) if cache.cache else None)
    skipped = unreadable([one.path for one in found], seen, settings.unreadable)
    good = [i for i, one in enumerate(seen) if not one.error]
    if not good:
        raise ZddError(f"{root}: none of the {len(found)} images can be read", *(s["reason"] for s in skipped[:SHOWN]))
    found, seen = [found[i] for i in good], [seen[i] for i in good]
    _check_masks(found)
    dataset = _dataset(found, seen, settings, base)
    facts = audit(dataset.records, dataset.classes, seen, preprocess, settings.leakage)
    notes = coverage_notes(facts["counts"], dataset.classes, dataset.has_good) + notes_on(facts, skipped)
    tell(notes)
    return dataset, Audit(root=str(root), skipped=skipped, notes=notes, **facts)


def _dataset(found: Sequence[Found], seen: Sequence[Seen], settings: DatasetSettings, base: Path) -> Dataset:
    labels = [one.class_name for one in found]
    classes, has_good = order(labels, good_class=settings.good_class, expected=settings.classes)
    groups = splitting.group_keys(found, [_key(one.path, base) for one in found])
    share = settings.split
    given = [one.split for one in found]
    splits = splitting.complete(given, groups, labels, share.val, share.test, share.seed)
    number = {name: label for label, name in enumerate(classes)}
    records = (
        Record(one.path, number[one.class_name], one.group, split, one.mask, one.parent, look.sha256)
        for one, split, look in zip(found, splits, seen, strict=True)
    )
    return Dataset(tuple(records), classes, has_good)


def _key(path: str, base: Path) -> str:
    """An image's name wherever the set lies: its path below the root."""
    start = f"{base}{os.sep}"
    below = path[len(start) :] if path.startswith(start) else os.path.relpath(path, base)
    return below.replace(os.sep, "/")


def _check_masks(found: Sequence[Found]) -> None:
    missing = [
        f"{one.mask}: there is no such mask (of {one.path})" for one in found if one.mask and not _is_file(one.mask)
    ]
    if missing:
        raise ZddError(*missing)


def _is_file(path: str) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 (no Path object for each of 100,000 files)


def save(dataset: Dataset, path: Path) -> None:
    """Write data.csv: image, class, label, defective, split, group, mask, parent and sha256 of every image."""
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        for r in dataset.records:
            name, defective = dataset.classes[r.label], int(r.label > 0 or not dataset.has_good)
            table.writerow((r.path, name, r.label, defective, r.split, r.group, r.mask, r.parent, r.sha256))


def load(path: Path) -> Dataset:
    """Read data.csv back; nothing is split again.

    Raises:
        ZddError: Naming all files that went missing or changed since.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        records = tuple(_record(row) for row in rows)
    except FileNotFoundError:
        raise ZddError(f"{path}: there is no such file") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ZddError(f"{path}: not readable as a run's data.csv ({error})") from None
    if not records:
        raise ZddError(f"{path}: there is no image in it")
    names = dict(sorted((record.label, row["class"]) for record, row in zip(records, rows, strict=True)))
    _verify(path, records)
    return Dataset(records, tuple(names.values()), any(row["defective"] == "0" for row in rows))


def _record(row: dict[str, str]) -> Record:
    split = next(name for name in SPLITS if name == row["split"])
    return Record(row["image"], int(row["label"]), row["group"], split, row["mask"], row["parent"], row["sha256"])


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

"""A folder for each class, with or without train/, val/ and test/ above them."""

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from zdd.data.found import Found
from zdd.errors import ZddError
from zdd.records import Split

SPLIT_FOLDERS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def index(root: Path) -> list[Found]:
    """Find `train|val|test/<class>/...` or `<class>/...`; hidden files and files that are no images are passed over.

    Args:
        root: The data set's folder.

    Raises:
        ZddError: If there are no class folders, or a class folder holds no image.
    """
    if not root.is_dir():
        raise ZddError(f"dataset.root = {root}: must be a folder with a folder for each class")
    tops = _folders(root)
    classes: list[tuple[Split | None, str, str]]
    splits = [(SPLIT_FOLDERS[name.lower()], path) for name, path in tops if name.lower() in SPLIT_FOLDERS]
    if any(split == "train" for split, _ in splits):
        classes = [(split, name, path) for split, top in splits for name, path in _folders(top)]
    else:
        classes = [(None, name, path) for name, path in tops]
    if not classes:
        raise ZddError(
            f"{root}: there is no class folder; expected train|val|test/<class>/ or <class>/ with images in it"
        )
    images = image_extensions()
    found = [Found(path, name, split=split) for split, name, folder in classes for path in walk(folder, images)]
    there = {one.class_name for one in found}
    empty = sorted({path for _, name, path in classes if name not in there})
    if empty:
        raise ZddError(*(f"{path}: there is no image in this class folder; fill it or remove it" for path in empty))
    return found


def image_extensions() -> tuple[str, ...]:
    """The file endings of every format that Pillow can read, lower case."""
    return tuple(ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN)


def walk(folder: str, endings: tuple[str, ...]) -> Iterator[str]:
    """The files below a folder with one of the endings. Links are followed, but no folder is entered twice."""
    waiting, entered = [folder], set()
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    place = os.stat(entry.path)  # noqa: PTH116 (no Path object for each of 100,000 files)
                    if (place.st_dev, place.st_ino) not in entered:
                        entered.add((place.st_dev, place.st_ino))
                        waiting.append(entry.path)
                elif entry.name.lower().endswith(endings):
                    yield entry.path


def _folders(root: Path | str) -> list[tuple[str, str]]:
    with os.scandir(root) as entries:
        return sorted((e.name, e.path) for e in entries if e.is_dir() and not e.name.startswith((".", "__")))

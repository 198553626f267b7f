"""Images and masks in two folders, `images/` and `masks/`, with or without train/, val/ and test/ above them."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from zdd import marks
from zdd.data.audit import tell
from zdd.data.found import Found
from zdd.data.look import side_by_side
from zdd.data.sources.folder import SPLIT_FOLDERS, image_extensions, walk
from zdd.errors import ZddError
from zdd.pixels import open_image, reason
from zdd.records import Split

GOOD, DEFECT = "good", "defect"
NAMES = "classes.json"
SHOWN = 20  # files named in a message
FEW = 5  # pixel values named in a line

Counts = dict[int, int]  # pixels by their value; of binary masks 1 is what is marked


def index(
    root: Path,
    *,
    values: Literal["auto", "binary", "index"] = "auto",
    names: dict[str, str] | None = None,
    missing: Literal["refuse", "good"] = "refuse",
) -> list[Found]:
    """Find `[train|val|test/]images/` and for each image the mask of the same name (or <name>_mask) in `masks/`.

    Endings may differ. An image is good if its mask is empty. Every mask is read for that, once a run, with threads.

    Args:
        root: The data set's folder.
        values: "binary": what is marked is defect; "index": a pixel holds the number of its class, 0 is good, and an
            image is of the class that most of its defective pixels are of; "auto": index where the classes have names.
        names: Of the classes by pixel value, {"1": "crack", ...}; null: as in classes.json below the root, if any.
        missing: Images without a mask: "refuse" them, or they are "good".

    Raises:
        ZddError: If folders are missing, an image has no mask or a mask no image, or a class no name; all are named.
    """
    known = None if values == "binary" else _names(root, names, needed=values == "index")
    pairs = [one for split, folder in _folders(root) for one in _pairs(folder, split, missing)]
    masks = [mask for _, mask, _ in pairs if mask]
    read = list(side_by_side(_Reader(known), masks, "reading the masks"))
    refuse([f"{mask}: {one}" for mask, one in zip(masks, read, strict=True) if isinstance(one, str)])
    counts = {mask: one for mask, one in zip(masks, read, strict=True) if not isinstance(one, str)}
    most = {mask: max(sorted(one), key=one.__getitem__, default=0) for mask, one in counts.items()}
    kinds = {0: GOOD, 1: DEFECT} if known is None else known
    if known is not None:
        _tell_hidden(known, counts, set(most.values()))
    found = []
    for image, mask, split in pairs:
        value = most.get(mask, 0)
        found.append(Found(image, kinds[value], split=split, mask=mask, value=None if known is None else value))
    return found


class _Reader:
    """How many pixels of each value a mask has, 0 left out; or what is wrong with it."""

    def __init__(self, names: dict[int, str] | None) -> None:
        self.names = names

    def __call__(self, path: str) -> Counts | str:
        try:
            with open_image(path) as mask:
                if self.names is None:
                    n = int(np.count_nonzero(marks.marked(mask)))
                    return {1: n} if n else {}
                pixels, n_pixels = np.unique(marks.indices(mask), return_counts=True)
        except ZddError as error:
            return str(error)
        except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
            return reason(error)
        counts = {int(value): int(n) for value, n in zip(pixels, n_pixels, strict=True) if value}
        unnamed = [str(value) for value in counts if value not in self.names]
        if unnamed:
            more = f" and {len(unnamed) - FEW} more" if len(unnamed) > FEW else ""
            named = ", ".join(f"{value} ({name})" for value, name in self.names.items())
            return f"holds {', '.join(unnamed[:FEW])}{more}; the classes by pixel value are {named}"
        return counts


def _names(root: Path, given: dict[str, str] | None, *, needed: bool) -> dict[int, str] | None:
    path = root / NAMES
    if given is None and not needed and not path.is_file():
        return None
    where = f"{path}: " if given is None else "dataset.names: "
    try:
        texts = given if given is not None else json.loads(path.read_text(encoding="utf-8"))
        names = {0: GOOD} | {int(value): str(name) for value, name in texts.items() if int(value)}
    except (OSError, ValueError, AttributeError) as error:
        why = "there is no such file, nor dataset.names" if isinstance(error, FileNotFoundError) else str(error)
        raise ZddError(f'{where}must name the classes by pixel value, as {{"1": "crack"}} ({why})') from None
    twice = [name for name, n in Counter(names.values()).items() if n > 1]
    if twice:
        raise ZddError(f"{where}each pixel value must have a name of its own, and value 0 is good; twice: {twice[0]}")
    return names


def _tell_hidden(names: dict[int, str], counts: dict[str, Counts], classes: set[int]) -> None:
    """Say of which classes there are pixels and no image."""
    for value, name in names.items():
        held = sum(value in one for one in counts.values())
        if value and held and value not in classes:
            what = f"'{name}' (pixel value {value}) is in {held} masks and never the most of one, so it is no class"
            tell([f'{what}: the pixels of these images are taken for unknown, unless dataset.defects is "one"'])


def _folders(root: Path) -> list[tuple[Split | None, Path]]:
    if (root / "images").is_dir():
        return [(None, root)]
    below = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    found: list[tuple[Split | None, Path]] = [
        (SPLIT_FOLDERS[p.name.lower()], p) for p in below if p.name.lower() in SPLIT_FOLDERS
    ]
    if not found or not all((folder / "images").is_dir() for _, folder in found):
        raise ZddError(f"dataset.root = {root}: expected images/ and masks/, or train|val|test/ with both in each")
    return found


def _pairs(folder: Path, split: Split | None, missing: str) -> list[tuple[str, str, Split | None]]:
    images, masks = by_name(folder / "images"), by_name(folder / "masks")
    of_image = {name if name in images else name.removesuffix("_mask"): path for name, path in masks.items()}
    alone = [
        f"{of_image[name]}: has no image in {folder / 'images'}" for name in sorted(of_image.keys() - images.keys())
    ]
    if missing == "refuse":
        lacking = sorted(images.keys() - of_image.keys())
        alone += [
            f'{images[n]}: has no mask in {folder / "masks"} (dataset.missing = "good" takes it for good)'
            for n in lacking
        ]
    refuse(alone)
    return [(images[name], of_image.get(name, ""), split) for name in sorted(images)]


def by_name(folder: Path) -> dict[str, str]:
    """The images below a folder by their path in it, without the ending.

    Raises:
        ZddError: If two have one name.
    """
    found: dict[str, str] = {}
    paths = sorted(walk(str(folder), image_extensions())) if folder.is_dir() else []
    twice = []
    for path in paths:
        name = str(Path(path).relative_to(folder).with_suffix(""))
        if found.setdefault(name, path) != path:
            twice.append(f"{path}: has the same name as {found[name]}, so masks can't be told apart")
    refuse(twice)
    return found


def refuse(lines: Sequence[str]) -> None:
    """Name what is wrong, a score of it.

    Raises:
        ZddError: If anything is.
    """
    if lines:
        raise ZddError(*lines[:SHOWN], *([f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []))

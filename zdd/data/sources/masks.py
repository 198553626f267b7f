"""Images and masks in two folders, `images/` and `masks/`, with or without train/, val/ and test/ above them."""

import json
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from zdd.data.found import Found
from zdd.data.look import side_by_side
from zdd.data.sources.folder import SPLIT_FOLDERS, image_extensions, walk
from zdd.errors import ZddError
from zdd.pixels import open_image
from zdd.records import Split

GOOD, DEFECT = "good", "defect"
NAMES = "classes.json"
SHOWN = 20  # files named in a message


def index(root: Path, *, values: Literal["auto", "binary", "index"] = "auto") -> list[Found]:
    """Find `[train|val|test/]images/` and the mask of the same name, whatever its ending, in `masks/`.

    An image is good if its mask is black. Every mask is read for that, once a run.

    Args:
        root: The data set's folder.
        values: "binary": what is not black is defect; "index": a pixel holds the number of its class, 0 is good, and
            classes.json names them ({"1": "crack", ...}), an image being of the class that most of its defective pixels
            are of; "auto": index where there is a classes.json.

    Raises:
        ZddError: If folders are missing, an image has no mask or a mask no image, or a class no name; all are named.
    """
    names = _names(root, values)
    found = [one for split, folder in _folders(root) for one in _pairs(folder, split)]
    classes = list(side_by_side(_Reader(names), [one[1] for one in found], "reading the masks"))
    wrong = [f"{one[1]}: {said[1:]}" for one, said in zip(found, classes, strict=True) if said[:1] == "!"]
    if wrong:
        raise ZddError(*wrong[:SHOWN], *([f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []))
    number = {name: value for value, name in (names or {}).items()}
    return [
        Found(image, kind, split=split, mask=mask, value=number.get(kind) if names else None)
        for (image, mask, split), kind in zip(found, classes, strict=True)
    ]


class _Reader:
    """The class of an image by its mask's file; what is wrong with it after a '!'."""

    def __init__(self, names: dict[int, str] | None) -> None:
        self.names = names

    def __call__(self, path: str) -> str:
        try:
            with open_image(path) as opened:
                pixels = np.asarray(opened if opened.mode in ("L", "P") else opened.convert("L"))
        except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
            return f"!{error}"
        if self.names is None:
            return DEFECT if pixels.any() else GOOD
        counts = Counter({int(v): int(n) for v, n in zip(*np.unique(pixels, return_counts=True), strict=True) if v})
        unnamed = sorted(value for value in counts if value not in self.names)
        if unnamed:
            return f"!holds {', '.join(map(str, unnamed))}, and {NAMES} names {', '.join(map(str, self.names))}"
        return self.names[counts.most_common(1)[0][0]] if counts else self.names[0]


def _names(root: Path, values: str) -> dict[int, str] | None:
    path = root / NAMES
    if values == "binary" or (values == "auto" and not path.is_file()):
        return None
    try:
        names = {int(value): str(name) for value, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ZddError(f'{path}: must name the classes, as {{"0": "good", "1": "crack"}} ({error})') from None
    return {**names, 0: GOOD}


def _folders(root: Path) -> list[tuple[Split | None, Path]]:
    tops = [root] if (root / "images").is_dir() else []
    below = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    splits = [(SPLIT_FOLDERS[p.name.lower()], p) for p in below if p.name.lower() in SPLIT_FOLDERS]
    found: list[tuple[Split | None, Path]] = [(None, top) for top in tops] or [*splits]
    found = [(split, folder) for split, folder in found if (folder / "images").is_dir()]
    if not found:
        raise ZddError(f"dataset.root = {root}: expected images/ and masks/, or train|val|test/ with both in each")
    return found


def _pairs(folder: Path, split: Split | None) -> list[tuple[str, str, Split | None]]:
    endings = image_extensions()
    images, masks = ({Path(p).stem: p for p in walk(str(folder / name), endings)} for name in ("images", "masks"))
    alone = [f"{images[stem]}: has no mask in {folder / 'masks'}" for stem in sorted(images.keys() - masks.keys())]
    alone += [f"{masks[stem]}: has no image in {folder / 'images'}" for stem in sorted(masks.keys() - images.keys())]
    if alone:
        raise ZddError(*alone[:SHOWN], *([f"and {len(alone) - SHOWN} more"] if len(alone) > SHOWN else []))
    return [(images[stem], masks[stem], split) for stem in sorted(images)]

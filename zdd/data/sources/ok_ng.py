"""Good and defective images and their masks in four folders: OK, NG, OK_MSK, NG_MSK, as SAP's light guide plates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from zdd import marks
from zdd.data.found import Found
from zdd.data.look import side_by_side
from zdd.data.sources.folder import SPLIT_FOLDERS
from zdd.data.sources.masks import DEFECT, by_name, refuse
from zdd.errors import ZddError
from zdd.pixels import open_image, reason
from zdd.records import Split

GOOD = "good"
KINDS = {"OK": GOOD, "NG": DEFECT}
ENDS = ("_mask", "_msk")


def index(root: Path, *, pair: Literal["name", "position"] = "name") -> list[Found]:
    """Find `OK/`, `NG/` and their masks in `OK_MSK/`, `NG_MSK/`: below the root, or below train/, val/ and test/.

    There may be one folder between (`Images/OK`, `Masks/OK_MSK`). Good images need no mask; a defective one without is
    one whose defect nobody drew. Every mask is read once a run: those of good images must be empty, the others not.

    Args:
        root: The data set's folder.
        pair: How an image finds its mask: by "name" (endings may differ; <name>_mask and <name>_msk are found, too), or
            by "position" among the sorted names, for sets whose masks are called something else.

    Raises:
        ZddError: If a folder is missing, a mask has no image, or a mask contradicts its folder; all are named.
    """
    found = []
    for split, top in _tops(root):
        for folder, kind in KINDS.items():
            images, masks = _below(top, folder), _below(top, f"{folder}_MSK")
            if images is None or (masks is None and kind == DEFECT):
                lacks = folder if images is None else "NG_MSK"
                raise ZddError(
                    f"{top}: expected the folders OK, NG and NG_MSK (OK_MSK may be left out); {lacks} is missing"
                )
            pairs = _by_position(images, masks) if pair == "position" and masks else _by_name(images, masks)
            found += [Found(image, kind, split=split, mask=mask) for image, mask in pairs]
    _check(found)
    return found


def _tops(root: Path) -> list[tuple[Split | None, Path]]:
    below = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    splits: list[tuple[Split | None, Path]] = [
        (SPLIT_FOLDERS[p.name.lower()], p) for p in below if p.name.lower() in SPLIT_FOLDERS
    ]
    return splits or [(None, root)]


def _below(top: Path, name: str) -> Path | None:
    """The folder of that name (in any case) in `top`, or in a folder in it.

    Raises:
        ZddError: If there are several.
    """
    folders = [p for p in sorted(top.iterdir()) if p.is_dir()] if top.is_dir() else []
    folders += [p for folder in folders for p in sorted(folder.iterdir()) if p.is_dir()]
    matches = [p for p in folders if p.name.lower() == name.lower()]
    if len(matches) > 1:
        raise ZddError(f"{top}: holds the folder {name} more than once: {', '.join(map(str, matches))}")
    return matches[0] if matches else None


def _by_name(images: Path, masks: Path | None) -> list[tuple[str, str]]:
    of_image, found = by_name(images), {}
    for name, path in (by_name(masks) if masks else {}).items():
        bare = next((name[: -len(end)] for end in ENDS if name.lower().endswith(end)), name)
        found[name if name in of_image else bare] = path
    stray = sorted(found.keys() - of_image.keys())
    refuse([
        f'{found[name]}: has no image in {images}; dataset.pair = "position" pairs by the order of the names'
        for name in stray
    ])  # fmt: skip
    return [(path, found.get(name, "")) for name, path in of_image.items()]


def _by_position(images: Path, masks: Path) -> list[tuple[str, str]]:
    one, other = sorted(by_name(images).values()), sorted(by_name(masks).values())
    if len(one) != len(other):
        raise ZddError(
            f'dataset.pair = "position": each image must have a mask; {images} has {len(one)}, {masks} {len(other)}'
        )
    return list(zip(one, other, strict=True))


def _check(found: Sequence[Found]) -> None:
    """See that masks say what their folders say."""
    masked = [one for one in found if one.mask]
    said = side_by_side(_marked, [one.mask for one in masked], "reading the masks")
    wrong = []
    for one, marked in zip(masked, said, strict=True):
        if isinstance(marked, str):
            wrong.append(f"{one.mask}: {marked}")
        elif marked and one.class_name == GOOD:
            wrong.append(f"{one.mask}: marks a defect, and {one.path} is among the good images")
        elif not marked and one.class_name == DEFECT:
            wrong.append(
                f"{one.mask}: marks nothing, and {one.path} is defective; without a mask it counts as not drawn"
            )
    refuse(wrong)


def _marked(path: str) -> bool | str:
    try:
        with open_image(path) as mask:
            return bool(np.any(marks.marked(mask)))
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        return reason(error)

"""MVTec AD's layout: train/good, test/good, test/<defect>, ground_truth/<defect> (Bergmann et al., CVPR 2019)."""

from pathlib import Path

from zdd.data.found import Found
from zdd.data.sources.folder import image_extensions, walk
from zdd.errors import ZddError
from zdd.records import Split

GOOD = "good"
SHOWN = 20  # files named in a message
_LAYOUT = "MVTec's layout is train/good, test/<kind>, ground_truth/<kind>"


def index(root: Path) -> list[Found]:
    """Find `train/good/*`, `test/<kind>/*` and the masks `ground_truth/<kind>/<name>_mask.png`, whatever their endings.

    Validation images are drawn from train/good by dataset.split.val. A defect image without a mask is one whose defect
    nobody drew: pixel figures pass over it.

    Args:
        root: The folder of one category.

    Raises:
        ZddError: If train/good is missing, training holds anything else, or a mask has no image.
    """
    train, test = _folders(root / "train"), _folders(root / "test")
    if set(train) != {GOOD}:
        categories = [name for name, path in _folders(root).items() if (path / "train" / GOOD).is_dir()]
        hint = f"dataset.root must be one category: {', '.join(categories)}" if categories else _LAYOUT
        there = ", ".join(sorted(train)) or "nothing"
        raise ZddError(f"{root / 'train'}: must hold the folder good alone, it holds {there}; {hint}")
    found = _found(train[GOOD], GOOD, "train", {})
    masks = {kind: _masks(folder) for kind, folder in _folders(root / "ground_truth").items()}
    strange = [f"{root / 'ground_truth' / kind}: there is no folder test/{kind}" for kind in masks.keys() - test.keys()]
    if strange:
        raise ZddError(*sorted(strange))
    for kind, folder in test.items():
        found += _found(folder, kind, "test", masks.get(kind, {}))
    used = {one.mask for one in found}
    stray = [path for of_kind in masks.values() for path in of_kind.values() if path not in used]
    if stray:
        raise ZddError(*(f"{path}: there is no test image for this mask" for path in sorted(stray)[:SHOWN]))
    return found


def _found(folder: Path, kind: str, split: Split, masks: dict[str, str]) -> list[Found]:
    paths = sorted(walk(str(folder), image_extensions()))
    if not paths:
        raise ZddError(f"{folder}: there is no image in it")
    return [Found(path, kind, split=split, mask=masks.get(Path(path).stem, "")) for path in paths]


def _masks(folder: Path) -> dict[str, str]:
    """Masks by the name of their image."""
    return {Path(path).stem.removesuffix("_mask"): path for path in walk(str(folder), image_extensions())}


def _folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        return {}
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")}

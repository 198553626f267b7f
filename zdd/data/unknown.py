"""Images that belong to no class: a class held out of training, or a folder of something else."""

from collections.abc import Sequence
from pathlib import Path

from zdd.data.classes import order
from zdd.data.found import Found
from zdd.data.look import Seen, look_at_all
from zdd.data.roots import locate
from zdd.data.sources.folder import image_extensions, walk
from zdd.errors import ZddError
from zdd.plugins import nearest
from zdd.records import Record
from zdd.settings import DatasetSettings

SHOWN = 20  # files named in a message


def hold_out(
    found: Sequence[Found], seen: Sequence[Seen], settings: DatasetSettings, *, least: int
) -> tuple[list[Found], list[Seen], list[Record]]:
    """Set the images of the class `settings.held_out` aside, if it is given.

    Args:
        found: All images.
        seen: What they look like, in the same order.
        settings: The configuration's `dataset`.
        least: Number of classes that must be left.

    Raises:
        ZddError: If there is no such class, it is the good one, or too few are left.
    """
    name = settings.held_out
    if name is None:
        return list(found), list(seen), []
    classes = {one.class_name for one in found}
    if name not in classes:
        near = nearest(name, classes)
        hint = f"did you mean '{near}'?" if near else f"the classes are {', '.join(sorted(classes))}"
        raise ZddError(f"dataset.held_out = '{name}': there is no such class; {hint}")
    if settings.good_class is not None and _is_good(name, classes, settings.good_class):
        raise ZddError(
            f"dataset.held_out = '{name}': it is the good class, which must be learnt; name a kind of defect"
        )
    if len(classes) - 1 < least:
        left = ", ".join(f"'{one}'" for one in sorted(classes - {name}))
        raise ZddError(f"dataset.held_out = '{name}': only {left or 'no class'} is left to learn; {least} are needed")
    kept = [i for i, one in enumerate(found) if one.class_name != name]
    aside = [
        Record(one.path, -1, one.group, sha256=look.sha256, kind=name)
        for one, look in zip(found, seen, strict=True)
        if one.class_name == name
    ]
    return [found[i] for i in kept], [seen[i] for i in kept], aside


def _is_good(name: str, classes: set[str], good_class: str) -> bool:
    try:
        return order(classes, good_class=good_class, expected=None, least=1)[0][0] == name
    except ZddError:  # which one is good can't be told: said later, of the classes that are left
        return False


def folder(path: str | None, *, setting: str = "dataset.ood") -> list[Record]:
    """Every image below a folder, found as a data set's root is; its kind is the folder that it lies in.

    Raises:
        ZddError: If there is no such folder, no image in it, or one that can't be read; `setting` is what it is called.
    """
    if path is None:
        return []
    root = locate(path, setting)
    if not root.is_dir():
        raise ZddError(f"{setting} = '{path}': must be a folder of images, and this is a file")
    found = sorted(walk(str(root), image_extensions()))
    if not found:
        raise ZddError(f"{setting} = '{path}': there is no image in {root}")
    seen = look_at_all(found, None)
    if bad := [f"{one}: {look.error}" for one, look in zip(found, seen, strict=True) if look.error]:
        raise ZddError(f"{setting} = '{path}': {len(bad)} of its {len(found)} images can't be read", *bad[:SHOWN])
    return [
        Record(one, -1, sha256=look.sha256, kind=Path(one).parent.name) for one, look in zip(found, seen, strict=True)
    ]

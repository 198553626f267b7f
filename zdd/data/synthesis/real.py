"""The real images that a synthetic set starts from, split before anything is made."""

from dataclasses import dataclass, replace

from zdd import plugins
from zdd.data import split as splitting
from zdd.data.audit import tell, unreadable
from zdd.data.classes import order
from zdd.data.dataset import name_below
from zdd.data.found import Found
from zdd.data.look import look_at_all
from zdd.data.roots import locate
from zdd.errors import ZddError
from zdd.settings import DatasetSettings


@dataclass(frozen=True)
class Real:
    """All real images, in order, each with its split.

    Args:
        found: The images.
        parts: What must stay together, one key an image.
        names: A stable name of each: its path below the root.
        classes: Their classes, the good one first if there is one.
        good: The good class.
    """

    found: tuple[Found, ...]
    parts: tuple[str, ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    good: str | None

    @property
    def rows(self) -> range:
        """Numbers of all images."""
        return range(len(self.found))


def load(settings: DatasetSettings) -> Real:
    """Find the images and split them as training would.

    Raises:
        ZddError: If there are none, a file can't be read, or they can't be split.
    """
    root = locate(settings.root)
    base = root if root.is_dir() else root.parent
    index = plugins.load("dataset", settings.name)
    found = splitting.with_groups(index(root, **settings.options), settings.group)
    found.sort(key=lambda one: name_below(one.path, base))
    if not found:
        raise ZddError(f"{root}: there is no image in it")
    if named := [one.path for one in found if ";" in one.path]:
        raise ZddError(
            *(f"{path}: its name can't stand in a list of parents, for its ';'; rename it" for path in named)
        )
    seen = look_at_all([one.path for one in found], None)
    skipped = unreadable([one.path for one in found], seen, settings.unreadable)
    tell([f"skipped {one['image']}: {one['reason']}" for one in skipped])
    found = [one for one, look in zip(found, seen, strict=True) if not look.error]
    labels = [one.class_name for one in found]
    classes, has_good = order(labels, good_class=settings.good_class, expected=settings.classes, least=1)
    names = [name_below(one.path, base) for one in found]
    parts = splitting.group_keys(found, names)
    share = settings.split
    splits = splitting.complete([one.split for one in found], parts, labels, share.val, share.test, share.seed)
    found = [replace(one, split=split) for one, split in zip(found, splits, strict=True)]
    return Real(tuple(found), tuple(parts), tuple(names), classes, classes[0] if has_good else None)

"""Half of the images mirrored."""

from torchvision.transforms import v2

from zdd.settings import Share


def augment(mirror_safe: bool, *, p: Share = 0.5) -> v2.Transform:
    """A horizontal flip; nothing where mirrored parts are other parts.

    Args:
        mirror_safe: Whether flips are allowed.
        p: Probability of the flip.
    """
    return v2.RandomHorizontalFlip(p) if mirror_safe else v2.Identity()

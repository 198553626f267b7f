"""Exactly one transform an image, out of all that `categorical` knows."""

from torchvision.transforms import v2

from zdd.data.augmentations.categorical import phases


def augment(mirror_safe: bool) -> v2.Transform:
    """One of the eighteen transforms, each as likely.

    Args:
        mirror_safe: Whether the flip is among them.
    """
    return v2.RandomChoice([transform for phase in phases(mirror_safe) for transform in phase])

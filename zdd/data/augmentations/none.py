"""No augmentation."""

from torchvision.transforms import v2


def augment(mirror_safe: bool) -> v2.Transform:  # noqa: ARG001 (every augmentation is told)
    """The image as it is."""
    return v2.Identity()

"""RandAugment (Cubuk et al., arXiv:1909.13719): a few of fourteen operations, all at one magnitude; none mirrors."""

from torchvision.transforms import v2

from zdd.data.transforms import OnPillow
from zdd.errors import ZddError
from zdd.settings import Count

STRONGEST = 30


def augment(mirror_safe: bool, *, num_ops: Count = 2, magnitude: Count = 9) -> v2.Transform:  # noqa: ARG001
    """torchvision's RandAugment.

    Args:
        mirror_safe: Makes no difference.
        num_ops: Operations on each image.
        magnitude: Strength, 0 to 30.

    Raises:
        ZddError: If there is no such magnitude.
    """
    if magnitude > STRONGEST:
        raise ZddError(f"augmentation.rand_augment.magnitude = {magnitude}: must be at most {STRONGEST}")
    return OnPillow(v2.RandAugment(num_ops, magnitude))

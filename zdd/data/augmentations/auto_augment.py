"""AutoAugment (Cubuk et al., arXiv:1805.09501): a learnt policy of pairs of operations; none mirrors."""

from typing import Literal

from torchvision.transforms import v2

from zdd.data.transforms import OnPillow


def augment(
    mirror_safe: bool,  # noqa: ARG001 (every augmentation is told)
    *,
    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet",
) -> v2.Transform:
    """torchvision's AutoAugment.

    Args:
        mirror_safe: Makes no difference.
        policy: The data set that the policy was learnt on.
    """
    return OnPillow(v2.AutoAugment(v2.AutoAugmentPolicy(policy)))

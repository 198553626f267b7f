"""Noise that an image gets whatever batch it is in."""

from collections.abc import Iterator

import torch
from torch import Tensor

from zdd.explain.base import BATCH, Subject


def noises(image: Tensor, n: int, seed: int) -> Iterator[Tensor]:
    """n times standard normal noise, the same for every image, on every device, whatever the batch.

    Args:
        image: (B, C, H, W), B at most `BATCH`.
        n: How often.
        seed: Of the noise.

    Yields:
        (k, 1, C, H, W), with as many k as the network may see at once for B images.
    """
    generator, at_once = torch.Generator().manual_seed(seed), max(1, BATCH // len(image))
    for start in range(0, n, at_once):
        drawn = [torch.randn(image.shape[1:], generator=generator) for _ in range(min(at_once, n - start))]
        yield torch.stack(drawn)[:, None].to(image)


def contrast(image: Tensor) -> Tensor:
    """(B, 1, 1, 1) the range of an image's values, which noise is given as a share of."""
    flat = image.flatten(1)
    return (flat.amax(1) - flat.amin(1)).view(-1, 1, 1, 1)


def gradients(subject: Subject, images: Tensor, target: Tensor) -> Tensor:
    """The gradient of each score by its image: (k, B, C, H, W), (B,) -> (k, B, C, H, W)."""
    places = images.flatten(0, 1).detach().requires_grad_(True)
    score = subject.score(places, target.repeat(len(images))).sum()
    return torch.autograd.grad(score, places)[0].view_as(images)

"""SmoothGrad (Smilkov, Thorat, Kim, Viegas and Wattenberg 2017, arXiv 1706.03825)."""

import torch
from torch import Tensor

from zdd.explain.base import Attribution, Subject
from zdd.explain.chunks import in_chunks
from zdd.explain.noise import contrast, gradients, noises
from zdd.settings import Amount, Count, Positive

SIGNED = False


def attribute(
    subject: Subject, image: Tensor, target: Tensor, *, samples: Positive = 32, noise: Amount = 0.15, seed: Count = 0
) -> Attribution:
    """The mean gradient of noisy copies of the image, by its size: the largest over the channels.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
        samples: Noisy copies.
        noise: Standard deviation of the noise, as a share of the image's range (the paper: 0.1 to 0.2).
        seed: Of the noise, the same for every image.
    """

    def explain(part: Tensor, aim: Tensor) -> Attribution:
        total, spread = torch.zeros_like(part), noise * contrast(part)
        for drawn in noises(part, samples, seed):
            total += gradients(subject, part + spread * drawn, aim).sum(0)
        return Attribution((total / samples).abs().amax(1, keepdim=True))

    return in_chunks(explain, image, target)

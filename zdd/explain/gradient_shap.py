"""Expected gradients, SHAP's for networks (Lundberg and Lee 2017, arXiv 1705.07874; Erion et al. 2021, 1906.10670)."""

import torch
from torch import Tensor

from zdd.explain.base import Attribution, Subject, incompleteness
from zdd.explain.baseline import reference
from zdd.explain.chunks import in_chunks
from zdd.explain.noise import contrast, gradients, noises
from zdd.settings import Amount, Baseline, Count, Positive

SIGNED = True


def attribute(
    subject: Subject,
    image: Tensor,
    target: Tensor,
    *,
    samples: Positive = 64,
    baseline: Baseline = "mean",
    noise: Amount = 0.1,
    seed: Count = 0,
) -> Attribution:
    """The mean, over baselines at random, of the gradient at a point at random of the way from one to the image.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
        samples: Baselines, and points: one in each of as many equal parts of the way, so that few are enough.
        baseline: What the baselines lie around: "black", "mean", or "blur".
        noise: Standard deviation of the baselines, as a share of the image's range.
        seed: Of the baselines and the points, the same for every image.

    Raises:
        ZddError: If the baseline is "black" and the subject doesn't say what that is.
    """

    def explain(part: Tensor, aim: Tensor) -> Attribution:
        centre, spread = reference(subject, part, baseline), noise * contrast(part)
        total, ground = torch.zeros_like(part), torch.zeros(len(part)).to(part)
        points = _points(samples, seed).to(part)
        for drawn in noises(part, samples, seed):
            at, points = points[: len(drawn)].view(-1, 1, 1, 1, 1), points[len(drawn) :]
            start = centre + spread * drawn
            total += (gradients(subject, torch.lerp(start, part.expand_as(start), at), aim) * (part - start)).sum(0)
            with torch.no_grad():
                ground += subject.score(start.flatten(0, 1), aim.repeat(len(start))).view(len(start), -1).sum(0)
        values = total / samples
        with torch.no_grad():
            score = subject.score(part, aim)
        return Attribution(values.sum(1, keepdim=True), incompleteness(values, score, ground / samples))

    return in_chunks(explain, image, target)


def _points(n: int, seed: int) -> Tensor:
    """(n,) one place in each n-th of the way from 0 to 1, in random order."""
    generator = torch.Generator().manual_seed(seed + 1)
    # In order, the last baselines drawn would always go with the points near the image.
    places = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    return places[torch.randperm(n, generator=generator)]

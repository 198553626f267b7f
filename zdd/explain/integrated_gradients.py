"""Integrated gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365)."""

import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from zdd.explain.base import BATCH, Attribution, Subject, incompleteness
from zdd.explain.baseline import reference
from zdd.explain.chunks import in_chunks
from zdd.settings import Baseline, Positive

SIGNED = True


def attribute(
    subject: Subject, image: Tensor, target: Tensor, *, steps: Positive = 64, baseline: Baseline = "mean"
) -> Attribution:
    """What each pixel adds to the score on the straight way from a baseline to the image.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
        steps: Points of the way at which the gradient is taken (Gauss-Legendre); `error` says whether they are enough.
        baseline: "black", "mean" (of the normalisation), or "blur" (Gaussian of a sixteenth of the shorter side).

    Raises:
        ZddError: If the baseline is "black" and the subject doesn't say what that is.
    """
    return in_chunks(lambda part, aim: _explain(subject, part, aim, steps, baseline), image, target)


def _explain(subject: Subject, image: Tensor, target: Tensor, steps: int, kind: Baseline) -> Attribution:
    start, module = reference(subject, image, kind), subject.module()
    values = IntegratedGradients(module).attribute(
        image, baselines=start, target=target, n_steps=steps, internal_batch_size=max(BATCH, len(image))
    )
    with torch.no_grad():
        ends = [subject.score(one, target) for one in (image, start)]
    return Attribution(values.sum(1, keepdim=True), incompleteness(values, *ends))

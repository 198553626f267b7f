"""Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901): what the score loses when a window is covered."""

import torch
from captum.attr import Occlusion
from torch import Tensor

from zdd.errors import ZddError
from zdd.explain.base import BATCH, Attribution, Subject
from zdd.explain.baseline import reference
from zdd.explain.chunks import in_chunks
from zdd.settings import Amount, Baseline

SIGNED = True


def attribute(
    subject: Subject,
    image: Tensor,
    target: Tensor,
    *,
    window: Amount = 0.125,
    stride: Amount = 0.0625,
    baseline: Baseline = "mean",
) -> Attribution:
    """By how much the score falls when a square window is covered by the baseline; the mean of the windows on a pixel.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64, columns of the evidence.
        window: Its side: pixels, or below 1 a share of the image's shorter side.
        stride: From one window to the next, likewise; at most the window. Half of it is a quarter of the time.
        baseline: What covers it: "black", "mean" (of the normalisation), or "blur".

    Raises:
        ZddError: If the window or the stride is not above 0, the stride is larger than the window, or the baseline is
            "black" and the subject doesn't say what that is.
    """
    shorter = min(image.shape[-2:])
    side, step = _pixels("window", window, shorter), _pixels("stride", stride, shorter)
    if step > side:
        raise ZddError(
            f"explain.stride = {stride}: {step} pixels, more than the window's {side}: some would never be covered"
        )

    def explain(part: Tensor, aim: Tensor) -> Attribution:
        with torch.no_grad():
            values = Occlusion(subject.module()).attribute(
                part,
                sliding_window_shapes=(part.shape[1], side, side),
                strides=(part.shape[1], step, step),
                baselines=reference(subject, part, baseline),
                target=aim,
                perturbations_per_eval=max(1, BATCH // len(part)),
            )
        return Attribution(values[:, :1])  # all channels are covered at once, and have the same value

    return in_chunks(explain, image, target)


def _pixels(name: str, size: float, shorter: int) -> int:
    """Pixels of a size that may be a share, at least 1 and at most the shorter side."""
    if size <= 0:
        raise ZddError(f"explain.{name} = {size}: must be above 0, in pixels, or below 1, a share of the shorter side")
    return min(shorter, max(1, round(size * shorter if size < 1 else size)))

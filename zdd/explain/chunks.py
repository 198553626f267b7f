"""Explaining a few images at a time, whatever the caller's batch and gradient mode."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from zdd.explain.base import BATCH, Attribution


def in_chunks(
    explain: Callable[[Tensor, Tensor], Attribution], image: Tensor, target: Tensor, size: int = BATCH
) -> Attribution:
    """Explain at most `size` images at a time.

    Args:
        explain: Images (b, 3, H, W) and targets (b,) -> what is said of them; gradients are on when it is called.
        image: (B, 3, H, W); made under inference_mode or in a graph is as good as any.
        target: (B,).
        size: Images at a time.
    """
    said = []
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")  # of hooks and gradients that it sets, and undoes
        for part, aim in zip(torch.split(image, size), torch.split(target, size), strict=True):
            said.append(explain(part.detach().clone(), aim.clone()))
    errors = [one.error.detach() for one in said if one.error is not None]
    return Attribution(torch.cat([one.values.detach() for one in said]), torch.cat(errors) if errors else None)

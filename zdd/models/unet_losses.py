"""Losses of segmentation, one an image: every image weighs the same, and good ones count.

`logits` (B, K, H, W) are those of each pixel's class; `mask` (B, H, W) is the class, 0 good. What is asked first is
defective or good, by `defect_logit`; which kind of defect, on defective pixels alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# Of an image without defects, so many false pixels, as a share of all, cost half of what missing everything does: about
# a small defect's area. The plain ratios have no gradient there, so false alarms on good parts would never be punished.
FORGIVEN = 0.002
MISSED, FALSE, FOCUS = 0.7, 0.3, 0.75  # focal Tversky's alpha, beta and 1 / gamma


def defect_logit(logits: Tensor) -> Tensor:
    """(B, K, H, W) -> (B, H, W), the log odds of any defect against good."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide[:, 1:].logsumexp(1) - wide[:, 0]


def bce_dice(logits: Tensor, mask: Tensor) -> Tensor:
    """(B,) binary cross-entropy plus 1 - soft Dice (Milletari et al. 2016), of defect against good."""
    logit, truth = defect_logit(logits), (mask > 0).float()
    bce = F.binary_cross_entropy_with_logits(logit, truth, reduction="none").mean((1, 2))
    return bce + _overlap(logit.sigmoid(), truth, lambda hit, false, missed: 2 * hit / (2 * hit + false + missed))


def iou(logits: Tensor, mask: Tensor) -> Tensor:
    """(B,) 1 - soft Jaccard of the defect pixels, as SAP's LGP example has it, but of each image alone."""
    truth = (mask > 0).float()
    return _overlap(defect_logit(logits).sigmoid(), truth, lambda hit, false, missed: hit / (hit + false + missed))


def focal_tversky(logits: Tensor, mask: Tensor) -> Tensor:
    """(B,) (1 - Tversky index) ** 0.75 with missed pixels at 0.7, false ones at 0.3 (Abraham and Khan 2019)."""
    loss = _overlap(
        defect_logit(logits).sigmoid(),
        (mask > 0).float(),
        lambda hit, false, missed: hit / (hit + FALSE * false + MISSED * missed),
    )
    return loss.clamp_min(1e-6) ** FOCUS  # at 0 the root's slope is infinite


def kind(logits: Tensor, mask: Tensor) -> Tensor:
    """(B,) cross-entropy among the kinds of defect, mean over an image's defective pixels; 0 where it has none."""
    wide = logits[:, 1:].to(torch.promote_types(logits.dtype, torch.float32))
    defective = mask > 0
    each = F.cross_entropy(wide, (mask.long() - 1).clamp_min(0), reduction="none") * defective
    return each.sum((1, 2)) / defective.sum((1, 2)).clamp_min(1)


def _overlap(p: Tensor, truth: Tensor, index: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """(B,) 1 - an index of overlap by soft pixel counts; of an image without defects, by its false pixels."""
    hit = (p * truth).sum((1, 2))
    false, missed = p.sum((1, 2)) - hit, truth.sum((1, 2)) - hit
    forgiven = FORGIVEN * truth[0].numel()
    found = index(hit, false, missed.clamp_min(0) + (truth.sum((1, 2)) == 0))  # the 1 keeps 0 / 0 out of the gradient
    return 1 - torch.where(truth.sum((1, 2)) > 0, found, forgiven / (false + forgiven))

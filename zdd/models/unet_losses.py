"""Losses of segmentation, one an image: every image weighs the same, and good ones count.

`logits` (B, K, H, W) are those of each pixel's class; `mask` (B, H, W) is the class, 0 good. What is asked first is
defective or good, by `defect_logit`; which kind of defect, on defective pixels alone.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# The plain ratios have no gradient in an image without defects, so false alarms on good parts would never be punished.
# There false pixels cost instead, so many of them, as a share of all, being about a small defect's area.
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
    hit, false, missed = _counts(logit.sigmoid(), truth)
    forgiven = FORGIVEN * truth[0].numel()
    dice = 2 * hit / (2 * hit + false + missed)
    # Where very much is false this has little slope, but the cross-entropy then has all the more.
    return bce + 1 - torch.where(_defective(truth), dice, forgiven / (false + forgiven))


def iou(logits: Tensor, mask: Tensor) -> Tensor:
    """(B,) 1 - soft Jaccard of the defect pixels, as SAP's LGP example has it, but of each image alone."""
    truth = (mask > 0).float()
    hit, false, missed = _counts(defect_logit(logits).sigmoid(), truth)
    return torch.where(_defective(truth), 1 - hit / (hit + false + missed), _alarm(false, truth))


def focal_tversky(logits: Tensor, mask: Tensor) -> Tensor:
    """(B,) (1 - Tversky index) ** 0.75 with missed pixels at 0.7, false ones at 0.3 (Abraham and Khan 2019)."""
    truth = (mask > 0).float()
    hit, false, missed = _counts(defect_logit(logits).sigmoid(), truth)
    index = hit / (hit + FALSE * false + MISSED * missed)
    loss = torch.where(_defective(truth), 1 - index, _alarm(false, truth))
    return loss.clamp_min(1e-6) ** FOCUS  # at 0 the root's slope is infinite


def kind(logits: Tensor, mask: Tensor) -> Tensor:
    """(B,) cross-entropy among the kinds of defect, mean over an image's defective pixels; 0 where it has none."""
    wide = logits[:, 1:].to(torch.promote_types(logits.dtype, torch.float32))
    defective = mask > 0
    each = F.cross_entropy(wide, (mask.long() - 1).clamp_min(0), reduction="none") * defective
    return each.sum((1, 2)) / defective.sum((1, 2)).clamp_min(1)


def _defective(truth: Tensor) -> Tensor:
    return truth.sum((1, 2)) > 0


def _counts(p: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B,) soft counts of pixels found, invented and missed; where nothing is to be found one counts as missed."""
    hit = (p * truth).sum((1, 2))
    # The one keeps 0 / 0 out of the gradient of what is not chosen.
    missed = (truth.sum((1, 2)) - hit).clamp_min(0) + (~_defective(truth)).to(p.dtype)
    return hit, p.sum((1, 2)) - hit, missed


def _alarm(false: Tensor, truth: Tensor) -> Tensor:
    """(B,) from 0, nothing is false, to 1, every pixel is: its slope holds out from a few false pixels to all."""
    n = truth[0].numel()
    return (false / (FORGIVEN * n)).log1p() / math.log1p(1 / FORGIVEN)

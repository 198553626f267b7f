"""Losses of segmentation: numbers by hand, other people's implementations, and what their slopes say."""

from collections.abc import Callable

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor
from torch.nn import functional as F

from zdd.models import unet_losses

Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES = [unet_losses.bce_dice, unet_losses.iou, unet_losses.focal_tversky]


def logits_of(p: Tensor) -> Tensor:
    """(B, H, W) probability of a defect to (B, 2, H, W) logits that are not centred."""
    return torch.stack([(1 - p).log(), p.log()], dim=1) + 3


HALVES = torch.tensor([[[0.8, 0.5], [0.5, 0.2]]])
TRUTH = torch.tensor([[[1, 1], [0, 0]]])
# Found 0.8 + 0.5 = 1.3 pixels, invented 0.5 + 0.2 = 0.7, missed 0.2 + 0.5 = 0.7.
BCE = -(np.log(0.8) + np.log(0.5) + np.log(0.5) + np.log(0.8)) / 4


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (unet_losses.bce_dice, BCE + 1 - 2.6 / 4),  # 2.6 / (2.6 + 0.7 + 0.7)
        (unet_losses.iou, 1 - 1.3 / 2.7),
        (unet_losses.focal_tversky, (1 - 1.3 / (1.3 + 0.3 * 0.7 + 0.7 * 0.7)) ** 0.75),
    ],
)
def test_a_defect_by_hand(loss: Loss, expected: float) -> None:
    assert loss(logits_of(HALVES), TRUTH).tolist() == pytest.approx([expected])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [  # 2 false pixels of 4, and 0.2 % of 4 are 0.008
        (unet_losses.bce_dice, BCE + 2 / 2.008),
        (unet_losses.iou, np.log(1 + 2 / 0.008) / np.log(501)),
        (unet_losses.focal_tversky, (np.log(1 + 2 / 0.008) / np.log(501)) ** 0.75),
    ],
)
def test_a_good_image_by_hand(loss: Loss, expected: float) -> None:
    p = torch.tensor([[[0.8, 0.5], [0.5, 0.2]]])
    bce = -(np.log(0.2) + np.log(0.5) + np.log(0.5) + np.log(0.8)) / 4
    expected += bce - BCE if loss is unet_losses.bce_dice else 0
    assert loss(logits_of(p), torch.zeros(1, 2, 2)).tolist() == pytest.approx([expected])


def test_as_segmentation_models_pytorch_has_them() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 2, 9, 13, generator=generator) * 3
    mask = (torch.rand(5, 9, 13, generator=generator) < 0.2).long()
    theirs = {  # of one image at a time: theirs are of a whole batch
        unet_losses.bce_dice: smp.losses.DiceLoss("binary", eps=0),
        unet_losses.iou: smp.losses.JaccardLoss("binary", eps=0),
        unet_losses.focal_tversky: smp.losses.TverskyLoss("binary", alpha=0.3, beta=0.7, gamma=0.75, eps=0),
    }
    odds = (logits[:, 1] - logits[:, 0])[:, None]
    for ours, reference in theirs.items():
        said = ours(logits, mask)
        for i in range(5):
            expected = reference(odds[i : i + 1], mask[i : i + 1, None])
            if ours is unet_losses.bce_dice:
                expected = expected + F.cross_entropy(logits[i : i + 1], mask[i : i + 1])  # softmax of two is a sigmoid
            torch.testing.assert_close(said[i], expected)


def test_of_hard_predictions_they_are_sklearns() -> None:
    rng = np.random.default_rng(0)
    said, truth = rng.random((4, 8, 8)) < 0.4, rng.random((4, 8, 8)) < 0.3
    logits = logits_of(torch.from_numpy(said).float().clamp(1e-7, 1 - 1e-7))
    mask = torch.from_numpy(truth).to(torch.uint8)
    for i in range(4):
        jaccard = jaccard_score(truth[i].ravel(), said[i].ravel())
        dice = f1_score(truth[i].ravel(), said[i].ravel())
        assert float(unet_losses.iou(logits, mask)[i]) == pytest.approx(1 - jaccard, abs=1e-4)
        bce = F.cross_entropy(logits[i : i + 1], mask[i : i + 1].long())
        assert float(unet_losses.bce_dice(logits, mask)[i] - bce) == pytest.approx(1 - dice, abs=1e-4)


def saps(logits: Tensor, mask: Tensor) -> Tensor:
    """003's loss: soft Jaccard over the whole batch, nothing by nothing being nothing."""
    p, y = logits.softmax(1)[:, 1], mask.float()
    hit = (p * y).sum()
    return 1 - hit / (y.sum() + p.sum() - hit)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alarms", [1, 30, 4096], ids=["a pixel", "a patch", "everything"])
def test_false_alarms_on_good_images_are_pushed_down(loss: Loss, alarms: int) -> None:
    p = torch.full((2, 64, 64), 1e-4)
    p.view(2, -1)[0, :alarms] = 0.9
    mask = torch.zeros(2, 64, 64, dtype=torch.uint8)
    logits = logits_of(p).requires_grad_()
    loss(logits, mask).mean().backward()
    slope = logits.grad
    assert slope is not None
    assert (slope[:, 1] > 0).all() and (slope[:, 0] < 0).all(), "every pixel is pushed from defect to good"
    # All in all it stays strong even where the plain ratio has long levelled off (there 1e-4 where all is false).
    assert float(slope[0, 1].sum()) > 5e-4
    theirs = logits_of(p).requires_grad_()
    saps(theirs, mask).backward()
    assert theirs.grad is not None and float(theirs.grad.abs().max()) == 0, "which is what went wrong with SAP's"


@pytest.mark.parametrize("loss", LOSSES)
def test_less_is_better_on_good_images_and_more_on_defects(loss: Loss) -> None:
    p = torch.tensor([0.001, 0.1, 0.5, 0.9, 0.999]).view(5, 1, 1).expand(5, 8, 8)
    good = loss(logits_of(p), torch.zeros(5, 8, 8))
    defective = loss(logits_of(p), torch.ones(5, 8, 8))
    assert (good.diff() > 0).all() and (defective.diff() < 0).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [1e4, 30.0])
def test_certain_predictions_keep_finite_slopes(loss: Loss, size: float) -> None:
    said = torch.ones(3, 8, 8)
    said[1, 2:5], said[2] = -1, -1  # all defective, some, none
    logits = (torch.stack([-said, said], dim=1) * size).requires_grad_()
    for mask in (torch.zeros(3, 8, 8), torch.ones(3, 8, 8), (said > 0).float(), (said < 0).float()):
        logits.grad = None
        value = loss(logits, mask)
        value.sum().backward()
        assert torch.isfinite(value).all() and logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_counts_large_images(loss: Loss) -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 2, 512, 512), torch.zeros(1, 512, 512)
    mask[:, :300] = 1  # 153600 pixels are more than a half-precision number can be
    said = loss(logits.half(), mask)
    assert said.dtype == torch.float32
    torch.testing.assert_close(said, loss(logits, mask), rtol=1e-3, atol=1e-3)


def test_kinds_are_asked_for_on_defective_pixels_alone() -> None:
    logits = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 6, 6, dtype=torch.uint8)
    mask[1, :2, :3], mask[2, 4, 4], mask[2, 4, 5] = 2, 1, 3
    said = unet_losses.kind(logits, mask)
    first = F.cross_entropy(logits[1, 1:, :2, :3].reshape(3, 6).T, torch.full((6,), 1))
    second = F.cross_entropy(torch.stack([logits[2, 1:, 4, 4], logits[2, 1:, 4, 5]]), torch.tensor([0, 2]))
    torch.testing.assert_close(said, torch.stack([torch.tensor(0.0), first, second]))


def test_defect_against_good_sums_the_kinds() -> None:
    logits = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unet_losses.defect_logit(logits).sigmoid(), logits.softmax(1)[:, 1:].sum(1))

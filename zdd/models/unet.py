"""Segmentation: a U-Net on a pretrained encoder (Ronneberger et al. 2015), MobileNetV2's after SAP's LGP example."""

from typing import Literal

import torch
from torch import Tensor

from zdd.errors import ZddError
from zdd.models import unet_losses
from zdd.models.base import ZddModel
from zdd.models.tiles import Tiled
from zdd.models.unet_net import Network
from zdd.records import UNKNOWN, Batch, Prediction, Task
from zdd.settings import Count, Factor, Side

LOSSES = {
    "bce_dice": unet_losses.bce_dice,
    "iou": unet_losses.iou,
    "focal_tversky": unet_losses.focal_tversky,
}


class Unet(ZddModel):
    """The class of each pixel; an image's score is the share of its pixels that are defective.

    Args:
        task: Classes and image size; class 0 is that of pixels without a defect.
        encoder: mobilenet_v2, resnet18, resnet50, efficientnet_b1, efficientnet_v2_s, shufflenet_v2_x1_0, vgg16, or
            timm/<name>.
        weights: The encoder's: "none", "imagenet", or a file.
        freeze_encoder: The encoder rests, its batch norms too.
        width: Of the decoder; 1 has SAP's 576, 192, 144 and 96 channels.
        loss: "bce_dice", "iou" or "focal_tversky", of each image.
        score: "area": share of defective pixels; "maximum": the most defective pixel.
        tile: Side of the tiles that large images are cut into, pixels; null: the image is taken whole.
        overlap: Pixels that neighbouring tiles share.

    Raises:
        ZddError: If there is no good class, the encoder or its weights are not there, or tiles don't fit.
    """

    masks = True
    pixelwise = True
    pixel_threshold = 0.5

    def __init__(
        self,
        task: Task,
        *,
        encoder: str = "mobilenet_v2",
        weights: str = "none",
        freeze_encoder: bool = False,
        width: Factor = 1.0,
        loss: Literal["bce_dice", "iou", "focal_tversky"] = "bce_dice",
        score: Literal["area", "maximum"] = "area",
        tile: Side | None = None,
        overlap: Count = 32,
    ) -> None:
        super().__init__(task)
        if not task.has_good:
            raise ZddError("dataset.good_class: the model 'unet' needs a good class, that of pixels without a defect")
        if tile is not None and overlap * 2 > tile:
            raise ZddError(f"model.overlap = {overlap}: must be at most half of model.tile = {tile}")
        self.inner = [Network(encoder, weights, task.n_classes, width=width)]  # a list: no second name for it
        self.net = self.inner[0] if tile is None else Tiled(self.inner[0], tile, overlap)
        self.freeze_encoder, self.loss_name, self.score_by = freeze_encoder, loss, score
        if freeze_encoder:
            self.inner[0].encoder.requires_grad_(False)

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the images whose masks are known, each of the same weight; of tiles, one an image."""
        image, mask = batch["image"], batch["mask"][:, 0]
        known = _known(mask)
        if isinstance(self.net, Tiled):
            image, mask = _one_tile_each(self.net, image, mask)
        losses = self._losses(self.inner[0](image), mask)
        return torch.where(known, losses, 0 * losses).sum() / known.sum().clamp_min(1)

    def val_loss(self, raw: Tensor, batch: Batch) -> Tensor:
        """(B,) loss of each image; NaN where its mask is not known."""
        mask = batch["mask"][:, 0]
        return torch.where(_known(mask), self._losses(raw, mask), torch.nan)

    def _losses(self, logits: Tensor, mask: Tensor) -> Tensor:
        mask = torch.where(mask == UNKNOWN, 0, mask)
        losses = LOSSES[self.loss_name](logits, mask)
        return losses if logits.shape[1] == 2 else losses + unet_losses.kind(logits, mask)

    def evidence(self, raw: Tensor, image: Tensor) -> Tensor:
        """(B, 1): the log of the summed odds of a defect over the pixels, so that those which speak for one weigh.

        The score counts pixels, which has no gradient; a mean over all pixels would explain the background.
        """
        return unet_losses.defect_logit(raw).flatten(1).logsumexp(1)[:, None]

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """The map is the probability of any defect; the label is the kind that most defective pixels are of, or 0."""
        p = unet_losses.defect_logit(raw).sigmoid()
        defective = p >= (self.pixel_threshold or 0.5)
        pixels = raw[:, 1:].argmax(1) + 1
        counts = torch.stack([(defective & (pixels == k)).sum((1, 2)) for k in range(1, raw.shape[1])], dim=1)
        label = torch.where(counts.sum(1) > 0, counts.argmax(1) + 1, 0)
        peak = p.amax((1, 2))
        # Among images without a defective pixel the highest peak ranks first; it adds less than half a pixel.
        area = (counts.sum(1) + 0.499 * peak) / p[0].numel()
        score = area if self.score_by == "area" else peak
        return Prediction(score=score, label=label, map=p[:, None], pixels=pixels.to(torch.uint8))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Lightning's hook: with the counts of defective pixels found, invented and missed, (B,) each."""
        raw = self.net(batch["image"])
        said, mask = self.decode(raw, batch["image"]), batch["mask"][:, 0]
        assert said.map is not None and said.label is not None
        found, known = said.map[:, 0] >= (self.pixel_threshold or 0.5), _known(mask)[:, None, None]
        truth = (mask > 0) & known
        columns = {"index": batch["index"], "label": batch["label"], "loss": self.val_loss(raw, batch)}
        columns |= {"score": said.score, "argmax": said.label, "tp": (found & truth).sum((1, 2))}
        return columns | {"fp": (found & ~truth & known).sum((1, 2)), "fn": (~found & truth).sum((1, 2))}

    def train(self, mode: bool = True) -> "Unet":
        """Training mode, but for a frozen encoder: its batch norms rest, and nothing is dropped."""
        super().train(mode)
        if self.freeze_encoder:
            self.inner[0].encoder.eval()
        return self


def _known(mask: Tensor) -> Tensor:
    """(B,) whether the truth is known, from (B, H, W): a turned image without a mask has corners that are 0."""
    return (mask != UNKNOWN).flatten(1).all(1)


def _one_tile_each(tiled: Tiled, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """One tile of each image: in half of the cases one that holds a defect, if there is one."""
    windows = tiled.windows(image.shape[-2], image.shape[-1])
    images, masks = [], []
    for picture, truth in zip(image, mask, strict=True):
        held = [window for window in windows if bool((truth[window] > 0).any())]
        among = held if held and torch.rand(()) < 0.5 else windows
        window = among[int(torch.randint(len(among), ()))]
        images.append(picture[(..., *window)])
        masks.append(truth[window])
    return torch.stack(images), torch.stack(masks)

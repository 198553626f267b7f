"""PatchCore: what no patch of a good image looks like is a defect (Roth et al., CVPR 2022, arXiv 2106.08265)."""

from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from zdd.errors import ZddError
from zdd.models import maps
from zdd.models.base import ZddModel
from zdd.models.patchcore_bank import Bank, coreset
from zdd.records import Batch, Prediction, Task
from zdd.settings import Amount, Backbone, Factor, Positive

LAYERS = {  # activations at 1/8 and 1/16 of the image, as layer2 and layer3 of a ResNet are
    "resnet18": ("layer2", "layer3"),
    "resnet50": ("layer2", "layer3"),
    "mobilenet_v2": ("features.6", "features.13"),
    "efficientnet_b1": ("features.3", "features.5"),
    "efficientnet_v2_s": ("features.3", "features.5"),
    "shufflenet_v2_x1_0": ("stage2", "stage3"),
    "squeezenet1_1": ("features.7", "features.12"),
    "vgg16": ("features.22", "features.29"),
}


class Patchcore(ZddModel):
    """Distance to the nearest patch of a good image, in the features of a network that was trained on ImageNet.

    Args:
        task: Classes and image size.
        backbone: mobilenet_v2, resnet18, resnet50, efficientnet_b1, efficientnet_v2_s, shufflenet_v2_x1_0,
            squeezenet1_1 or vgg16; with `layers` any other that has convolutions.
        weights: "imagenet" or a file; "none" only to try things out.
        layers: Activations by the modules' names, the finest first; null: those at 1/8 and 1/16 of the image.
        patches: Largest number of patches in the memory; they are chosen to cover all others (greedy k-centre).
        pool: Largest number of patches that they are chosen from, drawn evenly over the training images.
        neighbours: Patches of the memory that a patch's distance is the mean over.
        score: Of an image by its patches: "maximum" (as in the paper, unweighed), "mean", or "top_k", the mean of
            the most distant ones.
        top_share: Share of the patches that "top_k" takes.
        blur: Of the map, standard deviation in pixels of the network's input.

    Raises:
        ZddError: If the backbone or a layer is unknown, or the weights are not there.
    """

    one_class = True
    one_pass = True
    pixelwise = True

    def __init__(
        self,
        task: Task,
        *,
        backbone: Backbone = "mobilenet_v2",
        weights: str = "imagenet",
        layers: list[str] | None = None,
        patches: Positive = 5000,
        pool: Positive = 100000,
        neighbours: Positive = 1,
        score: Literal["mean", "maximum", "top_k"] = "top_k",
        top_share: Factor = 0.005,
        blur: Amount = 4.0,
    ) -> None:
        super().__init__(task)
        if layers is None and backbone not in LAYERS:
            raise ZddError(f"model.backbone = '{backbone}': needs model.layers; without them: {', '.join(LAYERS)}")
        taps = list(LAYERS[backbone]) if layers is None else layers
        self.net = Bank(backbone, weights, task.image_size, taps, neighbours=neighbours)
        self.n_patches, self.pool, self.blur = patches, pool, blur
        self.score_by, self.top_share = score, top_share
        self.automatic_optimization = False
        self.seen: list[Tensor] = []

    def loss(self, batch: Batch) -> Tensor:
        """Nothing is minimised: the batch's patches are kept; 0."""
        with torch.no_grad():
            patch = cast(Bank, self.net).patch(batch["image"])
        patch = patch.permute(0, 2, 3, 1).reshape(len(patch), -1, patch.shape[1])
        each = max(1, -(-self.pool // max(1, self._n_training())))
        for rows in patch:
            chosen = torch.randperm(len(rows), device="cpu")[:each]
            self.seen.append(rows[chosen.to(rows.device)].cpu())
        return torch.zeros((), device=self.device)

    def on_train_epoch_start(self) -> None:
        """Lightning's hook: nothing is remembered twice."""
        super().on_train_epoch_start()
        self.seen = []

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Lightning's hook: after the last batch the memory is chosen, in time for validation."""
        if batch_idx + 1 == self.trainer.num_training_batches:
            self.remember(torch.cat(self.seen))
            self.seen = []

    def remember(self, patches: Tensor) -> None:
        """Choose the memory from all patches (N, C) of good images."""
        bank = cast(Bank, self.net)
        if len(patches) > self.pool:
            patches = patches[torch.randperm(len(patches))[: self.pool]]
        chosen = coreset(patches.to(self.device), self.n_patches)
        bank.patches = patches[chosen.cpu()].to(self.device).contiguous()

    def val_loss(self, raw: Tensor, batch: Batch) -> Tensor:
        """(B,) mean distance of a good image's patches; NaN of others."""
        return torch.where(batch["label"] == 0, raw.flatten(1).mean(1), torch.nan)

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """The map is the distance at each pixel, blurred; the score is that of the patches, before the blur."""
        wide = F.interpolate(raw, image.shape[-2:], mode="bilinear", align_corners=False)
        return Prediction(
            score=maps.score(raw, self.score_by, self.top_share), map=maps.blurred(wide, self.blur).clamp_min(0)
        )

    def configure_optimizers(self) -> Any:
        """Lightning's hook: there is nothing to optimise."""
        return None

    def _n_training(self) -> int:
        return len(self.trainer.train_dataloader.dataset) if self._trainer is not None else 1  # type: ignore[union-attr]

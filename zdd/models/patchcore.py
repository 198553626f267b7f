"""PatchCore: what no patch of a good image looks like is a defect (Roth et al., CVPR 2022, arXiv 2106.08265)."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from zdd.errors import ZddError
from zdd.models import backbones, maps, weights
from zdd.models.base import ZddModel
from zdd.records import Batch, Prediction, Task
from zdd.settings import Amount, Factor, Positive

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
CHUNK = 1 << 24  # distances held at a time, 64 MB
PROJECTED = 128  # dimensions in which the coreset is chosen (Johnson and Lindenstrauss 1984), as in the paper


class Bank(nn.Module):
    """Normalised images -> (B, 1, h, w), each patch's distance to the nearest good one.

    Args:
        backbone: A key of `LAYERS`.
        weights_name: As `zdd.models.weights.load` takes them.
        image_size: Height and width, pixels.
        layers: Activations by torchvision's names; the first has the finest grid, which is the map's.
    """

    patches: Tensor
    near: Tensor

    def __init__(self, backbone: str, weights_name: str, image_size: tuple[int, int], layers: list[str]) -> None:
        super().__init__()
        net = backbones.build(backbone, 2, image_size)
        weights.load(net, backbone, weights_name, backbones.layout(net))
        try:
            self.features = create_feature_extractor(net, layers)
        except ValueError as error:
            raise ZddError(f"model.layers = {layers}: {backbone} has no such layer ({error})") from None
        self.features.requires_grad_(False)
        self.register_buffer("patches", torch.zeros(0, 0))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, h, w)."""
        patch = self.patch(image)
        height, width = patch.shape[-2:]
        distance = nearest(patch.permute(0, 2, 3, 1).reshape(-1, patch.shape[1]), self.patches)
        return distance.reshape(len(image), 1, height, width)

    def patch(self, image: Tensor) -> Tensor:
        """(B, C, h, w): the mean over each 3 x 3 neighbourhood, all layers on the finest grid, each scaled alike."""
        maps = [F.avg_pool2d(tap.float(), 3, stride=1, padding=1) for tap in self.features(image).values()]
        size = maps[0].shape[-2:]
        same = [maps[0], *(F.interpolate(tap, size, mode="bilinear", align_corners=False) for tap in maps[1:])]
        return torch.cat(same, dim=1)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        # The number of patches depends on the data: make room for what is in the file.
        kept = state_dict.get(f"{prefix}patches")
        if kept is not None:
            self.patches = self.patches.new_empty(kept.shape)
        super()._load_from_state_dict(state_dict, prefix, *others)


class Patchcore(ZddModel):
    """Distance to the nearest patch of a good image, in the features of a network that was trained on ImageNet.

    Args:
        task: Classes and image size.
        backbone: mobilenet_v2, resnet18, resnet50, efficientnet_b1, efficientnet_v2_s, shufflenet_v2_x1_0,
            squeezenet1_1 or vgg16.
        weights: "imagenet" or a file; "none" only to try things out.
        layers: Activations by torchvision's names, the finest first; null: those at 1/8 and 1/16 of the image.
        patches: Largest number of patches in the memory; they are chosen to cover all others (greedy k-centre).
        pool: Largest number of patches that they are chosen from, drawn evenly over the training images.
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
        backbone: str = "mobilenet_v2",
        weights: str = "imagenet",
        layers: list[str] | None = None,
        patches: Positive = 5000,
        pool: Positive = 100000,
        score: Literal["mean", "maximum", "top_k"] = "top_k",
        top_share: Factor = 0.005,
        blur: Amount = 4.0,
    ) -> None:
        super().__init__(task)
        if backbone not in LAYERS:
            raise ZddError(f"model.backbone = '{backbone}': must be one of {', '.join(LAYERS)}")
        self.net = Bank(backbone, weights, task.image_size, layers or list(LAYERS[backbone]))
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
        """Lightning's hook: features are those of a network in use."""
        super().on_train_epoch_start()
        self.seen = []
        self.eval()

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
        """(B,) mean distance of an image's patches."""
        return raw.flatten(1).mean(1)

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """The map is the distance at each pixel, blurred; the score is that of the patches, before the blur."""
        wide = F.interpolate(raw, image.shape[-2:], mode="bilinear", align_corners=False)
        return Prediction(
            score=maps.score(raw, self.score_by, self.top_share), map=maps.blurred(wide, self.blur).clamp_min(0)
        )

    def configure_optimizers(self) -> Any:
        """Lightning's hook: there is nothing to optimise."""
        return None

    def on_train_epoch_end(self) -> None:
        """Lightning's hook: no schedule."""

    def _n_training(self) -> int:
        return len(self.trainer.train_dataloader.dataset) if self._trainer is not None else 1  # type: ignore[union-attr]


def nearest(patches: Tensor, memory: Tensor) -> Tensor:
    """(N, C), (M, C) -> (N,) Euclidean distance to the nearest row of the memory."""
    rows = max(1, CHUNK // max(1, len(memory)))
    return torch.cat([torch.cdist(part, memory).amin(1) for part in torch.split(patches, rows)])


def coreset(patches: Tensor, n: int) -> Tensor:
    """Rows that cover all others: each next one is that which is farthest from those chosen (Sener and Savarese 2018).

    Args:
        patches: (N, C).
        n: Number of rows wanted.

    Returns:
        (min(n, N),) indices; the first is drawn at random.
    """
    if n >= len(patches):
        return torch.arange(len(patches))
    flat = patches
    if patches.shape[1] > PROJECTED:
        project = torch.randn(patches.shape[1], PROJECTED).to(patches) / PROJECTED**0.5
        flat = patches @ project
    square = (flat**2).sum(1)
    chosen = torch.empty(n, dtype=torch.int64)
    at = int(torch.randint(len(flat), ()))
    far = torch.full((len(flat),), torch.inf, device=flat.device)
    for i in range(n):
        chosen[i] = at
        far = torch.minimum(far, square - 2 * (flat @ flat[at]) + square[at])
        far[at] = -1
        at = int(far.argmax())
    return chosen

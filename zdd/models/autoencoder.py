"""A convolutional autoencoder of good parts: what it can't draw again is a defect."""

import itertools
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zdd.errors import ZddError
from zdd.models import maps, ssim
from zdd.models.base import ZddModel
from zdd.records import Batch, Prediction, Task
from zdd.settings import Amount, Factor, Positive


class Network(nn.Module):
    """Normalised images (B, 3, H, W) -> their reconstruction, normalised alike.

    Args:
        task: Image size and normalisation.
        channels: Of each convolution that halves (by the stride) the image; reversed on the way back.
        window: Side of the convolutions, odd.
        stride: Of the convolutions.
        latent: Numbers that an image is pressed into, for images of that size alone; None: none but the convolutions.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, task: Task, channels: list[int], window: int, stride: int, latent: int | None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(task.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(task.std).view(3, 1, 1), persistent=False)
        ways = list(zip([3, *channels], channels, strict=False))
        half = window // 2
        self.down = nn.ModuleList(nn.Conv2d(a, b, window, stride, half) for a, b in ways)
        backwards = [channels[-1], *reversed(channels)]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, window, stride, half) for a, b in itertools.pairwise(backwards)
        )
        self.last = nn.Conv2d(channels[0], 3, window, 1, half)
        self.squeeze: nn.Linear | None = None
        self.unsqueeze: nn.Linear | None = None
        if latent is not None:
            height, width = task.image_size
            for _ in channels:
                height, width = -(-height // stride), -(-width // stride)
            self.squeeze = nn.Linear(channels[-1] * height * width, latent)
            self.unsqueeze = nn.Linear(latent, channels[-1] * height * width)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        x, sizes = image * self.std + self.mean, []
        for layer in self.down:
            sizes.append(x.shape[-2:])
            x = layer(x).relu()
        if self.squeeze is not None and self.unsqueeze is not None:
            x = self.unsqueeze(self.squeeze(x.flatten(1))).reshape(x.shape)
        for layer, size in zip(self.up, reversed(sizes), strict=True):
            x = layer(x, output_size=size).relu()
        drawn: Tensor = (self.last(x).sigmoid() - self.mean) / self.std
        return drawn


class Autoencoder(ZddModel):
    """Trained on good images alone; where the reconstruction differs from the image there is a defect.

    Args:
        task: Classes and image size.
        channels: Of each convolution of the encoder; reversed in the decoder.
        window: Side of the convolutions, an odd number of pixels.
        stride: Of the convolutions.
        latent: Numbers that an image is pressed into; null: fully convolutional.
        loss: What is minimised and mapped: "mae", "mse", or "ssim" (1 - structural similarity).
        score: Of an image by its map: "mean", "maximum", or "top_k", the mean of its highest pixels.
        top_share: Share of the pixels that "top_k" takes.
        blur: Of the map, standard deviation in pixels; 0 is off.

    Raises:
        ZddError: If the window is even, or smaller than the stride.
    """

    one_class = True
    pixelwise = True

    def __init__(
        self,
        task: Task,
        *,
        channels: list[int] | None = None,
        window: Positive = 3,
        stride: Positive = 2,
        latent: Positive | None = 32,
        loss: Literal["mae", "mse", "ssim"] = "mae",
        score: Literal["mean", "maximum", "top_k"] = "top_k",
        top_share: Factor = 0.01,
        blur: Amount = 2.0,
    ) -> None:
        super().__init__(task)
        channels = [16, 8] if channels is None else channels
        if window % 2 == 0 or window < stride:
            raise ZddError(f"model.window = {window}: must be odd, and at least model.stride = {stride}")
        if not channels or min(channels) < 1:
            raise ZddError(f"model.channels = {channels}: must name the channels of each convolution, such as [16, 8]")
        if loss == "ssim" and min(task.image_size) < ssim.WINDOW:
            raise ZddError(f"model.loss = 'ssim': needs images of at least {ssim.WINDOW} x {ssim.WINDOW} pixels")
        self.net = Network(task, channels, window, stride, latent)
        self.loss_name, self.score_by, self.top_share, self.blur = loss, score, top_share, blur

    def loss(self, batch: Batch) -> Tensor:
        """Mean error over all pixels and images."""
        return self._errors(self.net(batch["image"]), batch["image"]).mean()

    def val_loss(self, raw: Tensor, batch: Batch) -> Tensor:
        """(B,) mean error of each good image; NaN of others, which must not decide which epoch redraws best."""
        losses = self._errors(raw, batch["image"]).flatten(1).mean(1)
        return torch.where(batch["label"] == 0, losses, torch.nan)

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """The map is the blurred error, the picture the reconstruction."""
        errors = maps.blurred(self._errors(raw, image), self.blur)
        score = maps.score(errors, self.score_by, self.top_share)
        return Prediction(score=score, map=errors, picture=raw)

    def _errors(self, raw: Tensor, image: Tensor) -> Tensor:
        """(B, 1, H, W) error of each pixel, of values in [0, 1]."""
        mean, std = (torch.tensor(by, device=raw.device).view(3, 1, 1) for by in (self.task.mean, self.task.std))
        drawn, seen = (x.float() * std + mean for x in (raw, image))
        if self.loss_name == "ssim":
            return (1 - ssim.similarity(drawn, seen)).mean(1, keepdim=True).clamp_min(0)
        each = F.l1_loss if self.loss_name == "mae" else F.mse_loss
        return each(drawn, seen, reduction="none").mean(1, keepdim=True)

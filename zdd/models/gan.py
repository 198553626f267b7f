"""A GAN that draws images of each class: least squares, after Mao et al., ICCV 2017, arXiv 1611.04076."""

from typing import Any

import torch
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.models.base import ZddModel
from zdd.models.gan_net import Discriminator, Generator, PerClass
from zdd.records import Batch, Prediction, Task
from zdd.settings import Positive

SHOWN = 8  # images of each class in the grids of TensorBoard


class Gan(ZddModel):
    """A generator that draws and a discriminator that tells drawn from real, trained against each other.

    The two losses have no parameter in common: the generator's is worked out with the discriminator held fast, the
    discriminator's on drawn images that are cut off from the generator. So their sum is minimised by one optimizer,
    in one step, and each network gets its own gradient and no other.

    Args:
        task: Classes and image size.
        latent_size: Random numbers that an image is drawn from.
        per_class: A generator and a discriminator for each class, which learn from its images alone; false: one pair
            for all, which is told the class.
        generator: Channels of the start map and after each doubling of its sides up to the image's.
        discriminator: Channels of its convolutions, each of which halves the sides.
        grid_every: Epochs between two grids of drawn images in log/.

    Raises:
        ZddError: If a network has no channels.
    """

    generative = True

    def __init__(
        self,
        task: Task,
        *,
        latent_size: Positive = 100,
        per_class: bool = False,
        generator: list[int] = [128, 128, 64],  # noqa: B006 (read from the source, never changed)
        discriminator: list[int] = [16, 32, 64, 128],  # noqa: B006
        grid_every: Positive = 10,
    ) -> None:
        super().__init__(task)
        for name, channels in (("generator", generator), ("discriminator", discriminator)):
            if not channels or min(channels) < 1:
                raise ZddError(f"model.{name} = {channels}: must be numbers of channels, each 1 or more")
        self.latent_size, self.grid_every = latent_size, grid_every
        k, size = task.n_classes, task.image_size
        self.judge: nn.Module
        if per_class:
            self.net = PerClass([Generator(latent_size, 1, size, generator) for _ in range(k)])
            self.judge = PerClass([Discriminator(1, size, discriminator) for _ in range(k)])
        else:
            self.net = Generator(latent_size, k, size, generator)
            self.judge = Discriminator(k, size, discriminator)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group for each of the two networks."""
        return [{"params": list(net.parameters()), "lr": lr} for net in (self.net, self.judge)]

    def loss(self, batch: Batch) -> Tensor:
        """The sum of both networks' losses."""
        for_generator, for_discriminator = self._losses(batch)
        return for_generator + for_discriminator

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Lightning's hook: one step of both."""
        for_generator, for_discriminator = self._losses(batch)
        loss = for_generator + for_discriminator
        named = {"loss": loss, "loss_generator": for_generator, "loss_discriminator": for_discriminator}
        values = {f"train/{name}": value.detach() for name, value in named.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch["label"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Lightning's hook: how far real images that it never saw are from what the discriminator calls real.

        When this climbs while `train/loss_discriminator` falls, the discriminator knows its training images by heart.
        """
        said = self.judge(self._real(batch), batch["label"])
        return {"index": batch["index"], "label": batch["label"], "loss": (said - 1).square()}

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """It judges no image."""
        raise NotImplementedError("a generative method gives no prediction")

    @torch.no_grad()
    def draw(self, label: Tensor, latent: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] of classes (B,) from latent numbers (B, latent_size), in eval mode."""
        training = self.training
        self.eval()
        drawn: Tensor = self.net(latent, label)
        self.train(training)
        return drawn.float() / 2 + 0.5

    def grid(self) -> Tensor:
        """(K * SHOWN, 3, H, W) in [0, 1]: `SHOWN` images a class, from the same latent numbers every time."""
        label = torch.arange(self.task.n_classes, device=self.device).repeat_interleave(SHOWN)
        latent = torch.randn(len(label), self.latent_size, generator=torch.Generator().manual_seed(0))
        return self.draw(label, latent.to(self.device)).cpu()

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The generator's and the discriminator's loss."""
        label, real = batch["label"], self._real(batch)
        drawn = self.net(torch.randn(len(label), self.latent_size, device=real.device), label)
        self.judge.requires_grad_(False)  # held fast: what the drawn images teach the generator teaches it nothing
        for_generator = (self.judge(drawn, label) - 1).square().mean()
        self.judge.requires_grad_(True)
        for_real = (self.judge(real, label) - 1).square().mean()
        for_drawn = self.judge(drawn.detach(), label).square().mean()
        return for_generator, (for_real + for_drawn) / 2

    def _real(self, batch: Batch) -> Tensor:
        """The batch's images in the range of tanh, [-1, 1], whatever they are normalised with."""
        image = batch["image"]
        mean, std = (torch.tensor(by, device=image.device).view(3, 1, 1) for by in (self.task.mean, self.task.std))
        return (image * std + mean) * 2 - 1

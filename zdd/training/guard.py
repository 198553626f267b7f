"""What keeps a run honest: randomness that is a function of (seed, epoch, process), and a loss that is a number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from zdd.errors import ZddError
from zdd.records import Batch


class SeedEpochs(pl.Callback):
    """Seeds torch at the start of each epoch: a resumed run draws what the uninterrupted one would have drawn."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


class StopOnNaN(pl.Callback):
    """Stops before the step when the loss is not finite, and names the batch's files.

    Args:
        paths: The training images' files, by the batch's `index`.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.index: Tensor | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, *_: Any) -> None:
        """Lightning's hook."""
        self.index = batch["index"]

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Lightning's hook."""
        if torch.isfinite(loss).all() or self.index is None:
            return
        files = ", ".join(self.paths[i] for i in self.index.tolist())
        raise ZddError(
            f"the training loss is {loss.item()} in epoch {trainer.current_epoch}, batch {trainer.fit_loop.batch_idx}: "
            f"lower optimizer.lr, set trainer.gradient_clip, or look at these files: {files}"
        )

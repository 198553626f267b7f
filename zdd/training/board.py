"""What a run writes while it trains: TensorBoard's events and metrics.csv, by epoch, 1 being the first."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from zdd import files
from zdd.models.base import ZddModel
from zdd.preprocess import Preprocess
from zdd.records import Batch
from zdd.training.limits import Limits
from zdd.training.progress import ShowProgress
from zdd.training.validate import Validation


class Board(Checkpoint):  # a Checkpoint, so that it is called after Limits, whose decision it writes down
    """Writes one row an epoch, and pictures of what the network sees.

    Args:
        folder: Of the events and of metrics.csv.
        preprocess: To show the network's input in its true colours.
        sources: The callbacks whose figures are written down.
    """

    def __init__(self, folder: Path, preprocess: Preprocess, sources: tuple[ShowProgress, Validation, Limits]) -> None:
        self.folder, self.preprocess = folder, preprocess
        self.progress, self.validation, self.limits = sources
        self.rows: list[dict[str, float]] = []
        self.rates: list[float] = []
        self.writer: SummaryWriter | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook: what an interrupted epoch left behind is purged."""
        if trainer.is_global_zero:
            self.writer = SummaryWriter(str(self.folder), purge_step=len(self.rows) + 1)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Lightning's hook: the epoch's learning rates; the first training batch of all, as the network sees it."""
        if batch_idx == 0:
            self.rates = [group["lr"] for one in trainer.optimizers for group in one.param_groups]
        if self.writer is not None and batch_idx == 0 and trainer.current_epoch == 0:
            self._images("input/train, augmented", batch["image"])

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int, *_: Any
    ) -> None:
        """Lightning's hook: the same for validation."""
        if self.writer is not None and batch_idx == 0 and trainer.current_epoch == 0:
            self._images("input/validation", batch["image"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1}
        row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        if self.rates:  # what learns without gradients has none
            row |= {"lr/highest": max(self.rates), "lr/lowest": min(self.rates)}
        self._grid(trainer, pl_module)
        row |= {"best": int(self.limits.best_epoch == trainer.current_epoch), "replaced": int(self.limits.replaced)}
        row |= {"speed/images_per_s": self.progress.images_per_s, "speed/epoch_s": self.progress.took_s}
        self.rows.append(row)
        if self.writer is None:
            return
        for name, value in row.items():
            if "/" in name and math.isfinite(value):
                self.writer.add_scalar(name, value, len(self.rows))
        self.writer.flush()
        write_epochs(self.folder / "metrics.csv", self.rows)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Lightning's hook."""
        self._close()

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The reverse."""
        self.rows = list(state_dict["rows"])

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _grid(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """What a generative method draws by now, each class a row."""
        epoch = trainer.current_epoch + 1
        if self.writer is None or not isinstance(model, ZddModel) or not model.generative:
            return
        if epoch % model.grid_every == 0 or epoch in (1, trainer.max_epochs):
            drawn = model.grid()
            self.writer.add_image("drawn", make_grid(drawn, nrow=len(drawn) // model.task.n_classes), epoch)

    def _images(self, title: str, image: Tensor) -> None:
        assert self.writer is not None
        self.writer.add_image(title, make_grid(seen(image[:16], self.preprocess), nrow=4), 1)


class KeepLast(Checkpoint):
    """Saves the state after each epoch, once every other callback has written down what it knows; must stand last."""

    def __init__(self, last: Path) -> None:
        self.last = last

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        trainer.save_checkpoint(self.last)


def seen(image: Tensor, preprocess: Preprocess) -> Tensor:
    """Normalised images (B, 3, H, W) in their true colours, in [0, 1]."""
    mean = torch.tensor(preprocess.mean).view(3, 1, 1)
    std = torch.tensor(preprocess.std).view(3, 1, 1)
    return (image.detach().float().cpu() * std + mean).clamp(0, 1)


def write_epochs(path: Path, rows: list[dict[str, float]]) -> None:
    """Write one row an epoch as CSV, in one step."""
    with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), restval="")
        table.writeheader()
        table.writerows(rows)


def read_epochs(path: Path) -> list[dict[str, float]]:
    """Read what `write_epochs` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(text or np.nan) for name, text in row.items()} for row in csv.DictReader(file)]

"""The progress bar of a run, and one line an epoch that stays."""

import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from zdd.records import Batch

SHOWN = {
    "val/loss": "val loss",
    "val/accuracy": "accuracy",
    "val/balanced_accuracy": "balanced",
    "val/auroc": "AUROC",
    "val/iou": "IoU",
}


class ShowProgress(pl.Callback):
    """One bar over all epochs with loss, validation figure, images/s and time left; on standard error.

    Also measures the epoch: `took_s` and `images_per_s` (training alone, without validation).
    """

    def __init__(self, title: str, monitor: str) -> None:
        self.title, self.monitor = title, monitor
        self.images_per_s = 0.0
        self.took_s = 0.0
        self._started = self._shown = self._trained_s = 0.0
        self._images = 0
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        if not trainer.is_global_zero:
            return
        text = "{task.fields[title]} epoch {task.fields[epoch]}/{task.fields[epochs]}"
        figures = TextColumn("{task.fields[figures]}")
        self._bar = Progress(
            TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), figures,
            console=(console := Console(stderr=True)), transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        total = int(trainer.num_training_batches) * int(trainer.max_epochs or 0)
        self._task = self._bar.add_task(
            "", total=total, title=self.title, epoch=trainer.current_epoch + 1, epochs=trainer.max_epochs, figures=""
        )
        self._bar.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        self._started, self._images, self._trained_s = time.perf_counter(), 0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        self._images += len(batch["label"]) * trainer.world_size
        now = time.perf_counter()
        self._trained_s = now - self._started
        last = batch_idx + 1 == trainer.num_training_batches
        if last and pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # the queue must be empty, or the speed is that of launching
            self._trained_s = time.perf_counter() - self._started
        if last:
            self.images_per_s = self._images / max(self._trained_s, 1e-9)
        if self._bar is None or (now - self._shown < 0.5 and not last):
            return
        self._shown = now
        known = {**trainer.callback_metrics, "loss": outputs["loss"]}
        figures = [f"{name} {float(known[name]):.4f}" for name in ("loss", self.monitor) if name in known]
        figures.append(f"{self._images / max(self._trained_s, 1e-9):.0f} images/s")
        done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
        self._bar.update(self._task, completed=done, epoch=trainer.current_epoch + 1, figures="  ".join(figures))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        self.took_s = time.perf_counter() - self._started
        if self._bar is None:
            return
        figures = trainer.callback_metrics
        words = [
            f"{text} {float(figures[name]):.4f}"
            for name, text in SHOWN.items()
            if name in figures and math.isfinite(figures[name])
        ]
        self._bar.console.print(
            f"{self.title} epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  "
            f"loss {float(figures['train/loss']):.4f}  {'  '.join(words)}  {self.images_per_s:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Lightning's hook."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

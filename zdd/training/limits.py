"""Early stopping, model replacement, and the best checkpoint.

After each epoch the monitored figure is compared with the best so far; only a strictly better one is an improvement.

- `early_limit` L: training stops once L epochs in a row were no improvement.
- `replacement_limit` R: once R epochs in a row were no improvement since the best epoch or the last replacement, the
  best weights and their optimizer state are loaded back and training goes on. The learning rate stays the schedule's.

Both are off at 0. The best weights are what is kept. docs/training.md tells the same to users.
"""

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint


class Limits(Checkpoint):  # a Checkpoint, so that Lightning calls it after the callbacks that log
    """Keeps the best checkpoint, stops, and replaces.

    Args:
        best: Where the best checkpoint goes.
        monitor: Name of the figure; `val/loss` is to fall, every other is to rise. None: no figure tells which epoch
            is best (a generative method), so that the last one is, and no checkpoint is written here.
        early_limit: Epochs without improvement before training stops; 0 is off.
        replacement_limit: Epochs without improvement before the best weights come back; 0 is off.
    """

    def __init__(self, best: Path, *, monitor: str | None, early_limit: int, replacement_limit: int) -> None:
        self.best = best
        self.monitor, self.early_limit, self.replacement_limit = monitor, early_limit, replacement_limit
        self.best_value = math.nan  # nan: no epoch yet
        self.best_epoch = -1
        self.bad_epochs = 0
        self.since_replacement = 0
        self.replaced = False  # in the epoch that has just ended

    def improves(self, value: float) -> bool:
        """Whether `value` is strictly better than the best so far; NaN never is."""
        if math.isnan(value):
            return False
        if math.isnan(self.best_value):
            return True
        return value < self.best_value if self.monitor == "val/loss" else value > self.best_value

    def count(self, value: float, epoch: int) -> tuple[bool, bool, bool]:
        """Count one epoch's figure.

        Returns:
            Whether it is the best so far, whether the best weights are to come back, whether to stop.
        """
        if self.improves(value):
            self.best_value, self.best_epoch, self.bad_epochs, self.since_replacement = value, epoch, 0, 0
            return True, False, False
        self.bad_epochs += 1
        self.since_replacement += 1
        stop = 0 < self.early_limit <= self.bad_epochs
        replace = not stop and 0 < self.replacement_limit <= self.since_replacement
        if replace:
            self.since_replacement = 0
        return False, replace, stop

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        if self.monitor is None:
            self.best_epoch = trainer.current_epoch
            return
        value = float(trainer.callback_metrics[self.monitor])
        is_best, self.replaced, stop = self.count(value, trainer.current_epoch)
        if is_best or self.best_epoch < 0:  # a first figure that is NaN still leaves weights to keep
            trainer.save_checkpoint(self.best)
        if self.replaced and self.best_epoch >= 0:
            self._load_best(trainer, pl_module)
        trainer.should_stop = trainer.should_stop or stop

    def _load_best(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        kept = torch.load(self.best, map_location=pl_module.device, weights_only=True)
        pl_module.load_state_dict(kept["state_dict"])
        for optimizer, state in zip(trainer.optimizers, kept["optimizer_states"], strict=True):
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(state)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        names = ("best_value", "best_epoch", "bad_epochs", "since_replacement")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The reverse."""
        for name, value in state_dict.items():
            setattr(self, name, value)

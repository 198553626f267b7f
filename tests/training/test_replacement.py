"""Model replacement in a real Trainer: best weights and optimizer state come back, the learning rate does not."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from zdd.training.limits import Limits

LOSSES = [2.0, 1.0, 3.0, 3.0, 3.0]  # best after epoch 1; the second bad epoch, 3, is replaced


class Line(pl.LightningModule):
    """One weight that every step moves; the validation loss is read from a script."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(1, 1)
        self.trail: list[tuple[float, float, float]] = []  # weight, momentum, rate at the start of each epoch

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.net(batch[0]) ** 2).mean()

    def on_train_epoch_start(self) -> None:
        optimizer = self.trainer.optimizers[0]
        momentum = [state["momentum_buffer"].sum().item() for state in optimizer.state.values()]
        rate = optimizer.param_groups[0]["lr"]
        self.trail.append((self.net.weight.item(), sum(momentum), rate))

    def on_train_epoch_end(self) -> None:
        self.log("val/loss", LOSSES[self.current_epoch])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


def play(tmp_path: Path, replacement_limit: int) -> list[tuple[float, float, float]]:
    torch.manual_seed(0)
    line = Line()
    limits = Limits(tmp_path / "best.ckpt", monitor="val/loss", early_limit=0, replacement_limit=replacement_limit)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=5, callbacks=[limits], accelerator="cpu", **quiet)
    trainer.fit(line, DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2))
    return line.trail


def test_the_best_weights_and_momentum_come_back_and_the_rate_goes_on(tmp_path: Path) -> None:
    free, replaced = play(tmp_path, 0), play(tmp_path, 2)
    assert replaced[:4] == free[:4]  # nothing happens before the second bad epoch has ended
    after_best, next_start = free[2], replaced[4]  # the start of epoch 2 is the end of epoch 1, the best
    assert next_start[:2] == after_best[:2]
    assert next_start[2] == free[4][2] == 0.01 * 0.5**4  # the schedule's, not that of the best epoch
    assert free[4][0] != after_best[0]


def test_off_is_off(tmp_path: Path) -> None:
    weights = [weight for weight, _, _ in play(tmp_path, 0)]
    assert len(set(weights)) == 5

"""Stages and schedules in Lightning's own loop: rates by epoch, and resuming in any of them."""

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch.utils.data import DataLoader

from zdd.models import build
from zdd.models.base import Recipe, ZddModel
from zdd.records import Task
from zdd.settings import Section

TASK = Task(("good", "bad"), True, (16, 16))
TWO_STAGE = Section(name="two_stage", options={"stage_epochs": 2, "stage_lr": 0.5})
SGD = Section(name="SGD", options={"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01})
EPOCHS = 5


class Watch(Checkpoint):
    """Notes the rate with which each epoch begins, and keeps a checkpoint after each, last of all callbacks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rates: dict[int, float] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.rates[trainer.current_epoch] = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")


class WithLoss(pl.Callback):
    """A validation loss that improves once, then no more."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        pl_module.log("val/loss", 1.0 if trainer.current_epoch == 0 else 0.9)


def make_model(transfer: Section, scheduler: Section | None) -> ZddModel:
    torch.manual_seed(0)
    model = build.build(Section(name="classifier", options={"backbone": "luna", "transfer": transfer}), TASK)
    model.recipe = Recipe(build.criterion(Section(name="cross_entropy"), TASK), SGD, scheduler, EPOCHS)
    return model


def train(folder: Path, transfer: Section, scheduler: Section | None, resume: Path | None = None, upto: int = EPOCHS):
    generator = torch.Generator().manual_seed(1)
    batches = [
        {
            "image": torch.randn(3, 3, 16, 16, generator=generator),
            "label": torch.tensor([0, 1, 1]),
            "index": torch.arange(3),
        }
        for _ in range(2)
    ]
    loader = DataLoader(batches, batch_size=None)
    model, watch = make_model(transfer, scheduler), Watch(folder)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=upto,
        callbacks=[watch, WithLoss()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, loader, loader, ckpt_path=resume, weights_only=True)
    return model.net.state_dict(), watch.rates


def cosine(epoch: int, of: int) -> float:
    return 0.1 * (1 + math.cos(math.pi * epoch / of)) / 2


@pytest.mark.parametrize(
    ("scheduler", "second_stage"),
    [
        (None, [0.1, 0.1, 0.1]),
        (Section(name="CosineAnnealingLR"), [cosine(0, 3), cosine(1, 3), cosine(2, 3)]),  # T_max is 5 - 2
        (Section(name="LinearLR", options={"start_factor": 0.5, "total_iters": 1}), [0.05, 0.1, 0.1]),
    ],
)
def test_the_schedule_begins_with_the_second_stage(scheduler, second_stage: list[float], tmp_path: Path) -> None:
    _, rates = train(tmp_path, TWO_STAGE, scheduler)
    assert list(rates.values()) == pytest.approx([0.5, 0.5, *second_stage])


PLATEAU = Section(name="ReduceLROnPlateau", options={"patience": 0, "factor": 0.1})


@pytest.mark.parametrize("scheduler", [Section(name="CosineAnnealingLR"), PLATEAU], ids=["cosine", "plateau"])
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_resumed_in_any_epoch_it_ends_bit_equal(stop: int, scheduler: Section, tmp_path: Path) -> None:
    weights, rates = train(tmp_path, TWO_STAGE, scheduler)
    (tmp_path / "again").mkdir()
    again, rates_again = train(tmp_path / "again", TWO_STAGE, scheduler, resume=tmp_path / f"{stop}.ckpt")
    assert rates_again == {epoch: rate for epoch, rate in rates.items() if epoch > stop}
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_in_the_first_stage_only_the_head_moved(tmp_path: Path) -> None:
    start = make_model(TWO_STAGE, None).net.state_dict()
    start = {name: tensor.clone() for name, tensor in start.items()}
    train(tmp_path, TWO_STAGE, None)
    for epoch, moved in ((1, {"head.weight", "head.bias"}), (2, set(start))):
        state = torch.load(tmp_path / f"{epoch}.ckpt", weights_only=True)["state_dict"]
        assert {name for name in start if not torch.equal(state[f"net.{name}"], start[name])} == moved


def test_a_plateau_lowers_the_rate_by_the_monitor(tmp_path: Path) -> None:
    plateau = Section(name="ReduceLROnPlateau", options={"patience": 1, "factor": 0.1})
    _, rates = train(tmp_path, Section(name="full"), plateau)
    # Losses 1.0, 0.9, 0.9, 0.9: the second epoch without improvement is the fourth.
    assert list(rates.values()) == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01])


def test_a_plateau_waits_for_the_second_stage(tmp_path: Path) -> None:
    _, rates = train(tmp_path, TWO_STAGE, PLATEAU)
    # It first hears of the loss after epoch 2: 0.9 is its best; after epoch 3 there is no improvement.
    assert list(rates.values()) == pytest.approx([0.5, 0.5, 0.1, 0.1, 0.01])


def test_one_cycle_by_epochs(tmp_path: Path) -> None:
    _, rates = train(tmp_path, Section(name="full"), Section(name="OneCycleLR", options={"pct_start": 0.4}))
    assert list(rates) == [0, 1, 2, 3, 4]
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[1] == pytest.approx(0.1)  # 40 % of 5 epochs: the second
    assert rates[4] == pytest.approx(0.1 / 25 / 10_000)

"""One training: the callbacks, Lightning's Trainer, and what is done when it breaks off."""

import logging
import signal
import warnings
import zipfile
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerStatus

from zdd.data.dataset import Dataset
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.models.base import ZddModel
from zdd.preprocess import Preprocess
from zdd.rundir import RunDir
from zdd.settings import Config, TrainerSettings
from zdd.training.board import Board, KeepLast
from zdd.training.guard import SeedEpochs, StopOnNaN
from zdd.training.limits import Limits
from zdd.training.progress import ShowProgress
from zdd.training.validate import Validation


class Prepare(pl.Callback):
    """Puts the net into the layout and the compiled form that the settings ask for, in the process that trains."""

    def __init__(self, settings: TrainerSettings) -> None:
        self.settings = settings

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Lightning's hook; before DDP wraps the net, whose gradients go wrong when the layout changes afterwards."""
        assert isinstance(pl_module, ZddModel)
        silence()
        if self.settings.threads is not None:
            torch.set_num_threads(self.settings.threads)
        pl_module.channels_last = self.settings.channels_last
        if self.settings.channels_last:
            pl_module.net.to(memory_format=torch.channels_last)
        if self.settings.compile:
            pl_module.net.compile()  # in place: names in the state dict stay


def fit(model: ZddModel, data: DataModule, config: Config, run: RunDir) -> None:
    """Train `model`, or go on from the run's last checkpoint; the best weights lie in `run.best` afterwards.

    Raises:
        KeyboardInterrupt: If the user stopped it; the last finished epoch is kept.
        ZddError: If the loss is no number, or the last checkpoint is damaged.
    """
    silence()
    if run.last.is_file() and not zipfile.is_zipfile(run.last):  # what torch writes is one; half of it is none
        raise ZddError(f"{run.last}: is damaged, so the run can't go on from it; delete it to begin the run anew")
    epochs = 1 if model.one_pass else config.epochs
    trainer = _trainer(config, epochs, callbacks(data.dataset, data.preprocess, config, run, model))
    resume = run.last if run.last.is_file() else None
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning leaves it switched off


def callbacks(
    dataset: Dataset, preprocess: Preprocess, config: Config, run: RunDir, model: ZddModel
) -> list[pl.Callback]:
    """What watches a training, in the order in which it must be called."""
    progress = ShowProgress(run.path.name, config.monitor)
    validation = Validation(dataset.task(config.image_size))
    limits = Limits(
        run.best,
        monitor=None if model.generative else config.monitor,
        early_limit=config.early_limit,
        replacement_limit=config.replacement_limit,
    )
    return [
        Prepare(config.trainer),
        SeedEpochs(config.seed),
        StopOnNaN([record.path for record in dataset.split("train")]),
        validation,
        progress,
        limits,
        Board(run.log, preprocess, (progress, validation, limits)),
        KeepLast(run.last),
    ]


def _trainer(config: Config, epochs: int, watching: list[pl.Callback]) -> pl.Trainer:
    settings = config.trainer
    several = settings.devices > 1
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        # Spawned, not launched anew: a second command line would make a second run directory.
        strategy="ddp_spawn" if several else "auto",
        precision=settings.precision,
        max_epochs=epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip or None,
        deterministic="warn" if settings.deterministic else False,
        callbacks=watching,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=Path.cwd(),
    )


def silence() -> None:
    """Without Lightning's hints, in this process: none of them asks for an act of the user's."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*lightning.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)

"""The seam of every method: a `net` from tensor to tensor, a `loss`, and how the net's output is read."""

from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from zdd.models import optim
from zdd.records import Batch, Prediction, Task
from zdd.settings import Section


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; a model that is only used has none."""

    criterion: nn.Module
    optimizer: Section
    scheduler: Section | None
    epochs: int
    monitor: str = "val/loss"  # what a scheduler that waits for an improvement looks at


class ZddModel(pl.LightningModule):
    """A method. A subclass sets `net` and writes `loss` and `decode`; its keyword-only arguments are its settings.

    Args:
        task: Classes and image size.
    """

    net: nn.Module  # (B, 3, H, W) -> raw output: the part that is exported, replaced by an engine and timed
    one_class = False  # it learns from good images alone, and tells good from defective only
    one_pass = False  # it learns without gradients, in one epoch through the training images
    masks = False  # it learns from masks
    pixelwise = False  # what it says has a map
    generative = False  # it draws images and judges none: no threshold, no figures, no test; `draw` and `grid`
    pixel_threshold: float | None = None  # a pixel whose map reaches it is defective; None: chosen on good images

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.recipe: Recipe | None = None
        self.channels_last = False

    grid_every = 10  # of a generative method: epochs between two grids in log/

    def grid(self) -> Tensor:
        """(N, 3, H, W) in [0, 1]: what a generative method draws by now, from the same random numbers every time."""
        raise NotImplementedError

    @property
    def targets(self) -> tuple[str, ...]:
        """What each column of `evidence` speaks for."""
        return ("defect",)

    def evidence(self, raw: Tensor, image: Tensor) -> Tensor:
        """(B, T) from the net's raw output: how strongly it speaks for each target; differentiable, for explainers."""
        return self.decode(raw, image).score[:, None]

    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch, () and differentiable."""
        raise NotImplementedError

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """Read the net's raw output for normalised images (B, 3, H, W)."""
        raise NotImplementedError

    def val_loss(self, raw: Tensor, batch: Batch) -> Tensor:
        """The validation loss of each image, (B,), from the net's raw output."""
        raise NotImplementedError

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer, each with its learning rate."""
        return [{"params": [p for p in self.net.parameters() if p.requires_grad], "lr": lr}]

    def scheduled_epochs(self, epochs: int) -> int:
        """Epochs that the learning rate's schedule spans, of all."""
        return epochs

    def start_epoch(self, epoch: int) -> None:
        """What changes with the epoch (0, 1, ...): a strategy's stages. Idempotent, so that resuming may call it."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> the net's raw output."""
        return cast(Tensor, self.net(image))

    def on_train_epoch_start(self) -> None:
        """Lightning's hook: hand the epoch's number on."""
        self.start_epoch(self.current_epoch)

    def schedule_waits(self) -> bool:
        """Whether the learning rate's schedule stands still in this epoch."""
        return False

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Lightning's hook: one epoch of the schedule; a plateau's is stepped in `on_train_epoch_end`."""
        if not self.schedule_waits() and not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        """Lightning's hook: step a plateau. Lightning itself would do it after the checkpoint, which then lacks it."""
        scheduler = self.lr_schedulers()
        if self.recipe is not None and isinstance(scheduler, ReduceLROnPlateau) and not self.schedule_waits():
            scheduler.step(self.trainer.callback_metrics[self.recipe.monitor])

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Lightning's hook: the memory layout that convolutions like best."""
        if self.channels_last:
            batch["image"] = batch["image"].contiguous(memory_format=torch.channels_last)
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Lightning's hook: one step."""
        loss = self.loss(batch)
        self.log(
            "train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch["label"]), sync_dist=True
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Lightning's hook: what is said of each image, for whoever counts it."""
        raw = self.net(batch["image"])
        said = self.decode(raw, batch["image"])
        columns = {"index": batch["index"], "label": batch["label"], "loss": self.val_loss(raw, batch)}
        columns["score"] = said.score
        if said.label is not None:
            columns["argmax"] = said.label
        return columns if said.probability is None else {**columns, "probability": said.probability}

    def configure_optimizers(self) -> Any:
        """Lightning's hook: the optimizer is made here, when the head stands, never before."""
        if self.recipe is None:
            raise RuntimeError("a model without a recipe cannot be trained")
        recipe = self.recipe
        epochs = self.scheduled_epochs(recipe.epochs)
        return optim.configure(self.groups, recipe.optimizer, recipe.scheduler, epochs, recipe.monitor)


def class_targets(task: Task) -> tuple[str, ...]:
    """The targets of a method that gives one number a class: the classes and, with a good one, any defect."""
    return (*task.classes, "defect") if task.has_good else task.classes


def class_evidence(logits: Tensor, task: Task) -> Tensor:
    """(B, K) -> (B, T): the logits and, with a good class, the log-odds of any defect.

    Probabilities saturate, and with them their gradients; that is why explainers take what lies before the softmax.
    """
    if not task.has_good:
        return logits
    odds = logits[:, 1:].logsumexp(1) if task.n_classes > 2 else logits[:, 1]  # a plain difference where it is one
    return torch.cat((logits, (odds - logits[:, 0])[:, None]), dim=1)


def predict_batch(model: ZddModel, image: Tensor) -> Prediction:
    """Evaluate normalised images (B, 3, H, W) without gradients, in eval mode.

    Raises:
        RuntimeError: If the model is in training mode.
    """
    if model.training:
        raise RuntimeError("predict_batch wants a model in eval mode")
    with torch.no_grad():
        return model.decode(model.net(image), image)

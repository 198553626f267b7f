"""The figures of each epoch: over the whole validation split, whatever the number of processes."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch import distributed as dist
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_f1_score,
)

from zdd.records import Task


class Validation(pl.Callback):
    """Collects what `validation_step` says of each image; logs one figure a split, never a mean over batches."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.seen: list[dict[str, Tensor]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        self.seen = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Lightning's hook."""
        self.seen.append({name: column.detach().cpu() for name, column in outputs.items()})

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        columns = _gather({name: torch.cat([part[name] for part in self.seen]) for name in self.seen[0]})
        for name, value in epoch_figures(columns, self.task).items():
            pl_module.log(name, value, rank_zero_only=False)


def epoch_figures(columns: dict[str, Tensor], task: Task) -> dict[str, float]:
    """The figures of one epoch from whole columns: loss, label, and what the method gives of the others.

    Returns:
        `val/loss` (mean over the images that have one); by score `val/auroc` (defect against good; one against the
        rest, macro, without a good class; NaN where a side is empty); by argmax `val/accuracy`,
        `val/balanced_accuracy`, `val/f1` (macro); by tp, fp, fn, pixel counts of the defects, `val/iou` and `val/dice`
        over the whole set.
    """
    label, n = columns["label"], task.n_classes
    present = torch.bincount(label, minlength=n) > 0
    figures = {"val/loss": float(columns["loss"].double().nanmean())}
    if "score" in columns:
        auroc = _auroc(columns, task) if int(present.sum()) > 1 else torch.tensor(float("nan"))
        figures["val/auroc"] = float(auroc)
    if "argmax" in columns:
        argmax = columns["argmax"]
        recall = multiclass_accuracy(argmax, label, n, average="none")[present]
        figures["val/accuracy"] = float((argmax == label).double().mean())
        figures["val/balanced_accuracy"] = float(recall.double().mean())
        figures["val/f1"] = float(multiclass_f1_score(argmax, label, n, average="none")[present].double().mean())
    if "tp" in columns:
        tp, fp, fn = (float(columns[name].double().sum()) for name in ("tp", "fp", "fn"))
        figures["val/iou"] = tp / (tp + fp + fn) if tp + fp + fn else float("nan")
        figures["val/dice"] = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")
    return figures


def _auroc(columns: dict[str, Tensor], task: Task) -> Tensor:
    if task.has_good:
        defective = (columns["label"] != 0).long()
        if defective.min() == defective.max():
            return torch.tensor(float("nan"))
        rank = torch.unique(columns["score"].double(), return_inverse=True)[1]  # any score, without a tie more
        return binary_auroc(rank / rank.max().clamp(min=1), defective)
    return multiclass_auroc(columns["probability"], columns["label"], task.n_classes)


def _gather(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """All processes' columns, each image once, in the order of its index (the last batch may hold repeats)."""
    parts: list[Any] = [columns]
    if dist.is_available() and dist.is_initialized():
        parts = [None] * dist.get_world_size()
        dist.all_gather_object(parts, columns)
    index = torch.cat([part["index"] for part in parts])
    first = torch.as_tensor(np.unique(index.numpy(), return_index=True)[1])
    return {name: torch.cat([part[name] for part in parts])[first] for name in columns}

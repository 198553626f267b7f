"""The figures of an epoch against numbers by hand."""

import math

import pytest
import torch
from torch import Tensor

from zdd.records import Task
from zdd.training.validate import _gather, epoch_figures


def columns(label: list[int], argmax: list[int], score: list[float], loss: list[float]) -> dict[str, Tensor]:
    n = len(label)
    return {
        "index": torch.arange(n),
        "label": torch.tensor(label),
        "argmax": torch.tensor(argmax),
        "score": torch.tensor(score),
        "loss": torch.tensor(loss),
        "probability": torch.eye(3)[torch.tensor(argmax)],
    }


THREE = Task(("good", "crack", "dent"), True, (8, 8))


def test_figures_by_hand() -> None:
    said = columns([0, 0, 0, 1, 2], [0, 0, 1, 1, 0], [0.1, 0.2, 0.8, 0.9, 0.3], [1.0, 2.0, 3.0, 4.0, 5.0])
    figures = epoch_figures(said, THREE)
    assert figures["val/loss"] == pytest.approx(3.0)
    assert figures["val/accuracy"] == pytest.approx(3 / 5)
    assert figures["val/balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    # F1: good 2*2/(3+3), crack 2*1/(2+1), dent 0
    assert figures["val/f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    # pairs of a defect above a good part: 0.9 beats 3, 0.3 beats 2 of 3
    assert figures["val/auroc"] == pytest.approx(5 / 6)


def test_a_class_that_is_not_there_is_no_zero() -> None:
    figures = epoch_figures(columns([0, 1], [0, 1], [0.0, 1.0], [0.0, 0.0]), THREE)
    assert figures["val/balanced_accuracy"] == 1.0
    assert figures["val/f1"] == 1.0


def test_auroc_without_defects_is_no_number() -> None:
    assert math.isnan(epoch_figures(columns([0, 0], [0, 0], [0.0, 1.0], [0.0, 0.0]), THREE)["val/auroc"])


def test_an_image_that_filled_up_the_last_batch_counts_once() -> None:
    said = columns([0, 1, 0], [0, 1, 0], [0.0, 1.0, 0.0], [1.0, 2.0, 1.0])
    said["index"] = torch.tensor([4, 2, 4])
    once = _gather(said)
    assert once["index"].tolist() == [2, 4]
    assert once["loss"].tolist() == [2.0, 1.0]

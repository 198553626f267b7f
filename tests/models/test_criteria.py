"""Losses against torch's and torchvision's own, and by hand."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from zdd.errors import ZddError
from zdd.models import build
from zdd.plugins import available
from zdd.records import Task
from zdd.settings import Section

TASK = Task(("good", "crack", "dent mark"), True, (32, 32), (6, 3, 1))
RAW = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3], [-4.0, 3.0, 1.0], [0.0, 0.0, 0.0]])
LABEL = torch.tensor([0, 2, 1, 2])


def criterion(name: str, task: Task = TASK, **options: Any):
    return build.criterion(Section(name=name, options=options), task)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("given", ["none", [1.0, 2.0, 0.5]])
def test_cross_entropy_is_torchs(smoothing: float, given) -> None:
    ours = criterion("cross_entropy", label_smoothing=smoothing, class_weights=given)
    weights = None if given == "none" else torch.tensor(given)
    losses, weight = ours(RAW, LABEL), ours.weight(LABEL)
    mean = losses.mean() if weight is None else losses.sum() / weight.sum()
    torch.testing.assert_close(mean, F.cross_entropy(RAW, LABEL, weights, label_smoothing=smoothing))


def test_balanced_weights_by_hand() -> None:
    # 10 training images: 10 / (3 * 6), 10 / (3 * 3), 10 / (3 * 1)
    weight = criterion("cross_entropy", class_weights="balanced").weight(torch.arange(3))
    assert weight.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    counts = torch.tensor(TASK.class_counts)
    assert (weight * counts).tolist() == pytest.approx([10 / 3] * 3)  # every class weighs the same in all


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("cross_entropy", {"class_weights": [1.0, 2.0]}, "2 weights for 3 classes (good, crack, dent mark)"),
        ("cross_entropy", {"class_weights": [1.0, -2.0, 1.0]}, "must not be negative"),
        ("cross_entropy", {"class_weights": [0.0, 0.0, 0.0]}, "nor all 0"),
        ("focal", {"gamma": -1.0}, "criterion.gamma = -1.0"),
        ("focal", {"alpha": 1.5}, "must lie in [0, 1]"),
        ("focal", {"alpha": [0.5, 0.5]}, "wants 3 weights"),
    ],
)
def test_impossible_settings_are_refused(name: str, options: dict, said: str) -> None:
    with pytest.raises(ZddError) as error:
        criterion(name, **options)
    assert said in str(error.value)


def test_balancing_wants_images_of_every_class() -> None:
    empty = Task(("good", "crack"), True, (32, 32), (5, 0))
    with pytest.raises(ZddError, match="no training image of crack"):
        criterion("cross_entropy", empty, class_weights="balanced")
    with pytest.raises(ZddError, match="no training image of any class"):
        criterion("cross_entropy", Task(("good", "crack"), True, (32, 32)), class_weights="balanced")


def test_focal_without_focus_is_cross_entropy() -> None:
    torch.testing.assert_close(criterion("focal", gamma=0.0)(RAW, LABEL), F.cross_entropy(RAW, LABEL, reduction="none"))


def test_focal_by_hand() -> None:
    # Logits 0, log 3: p = 1/4, 3/4. The true class is 1: (1 - 3/4)^2 * -log(3/4).
    two = Task(("good", "bad"), True, (32, 32))
    loss = criterion("focal", two, gamma=2.0)(torch.tensor([[0.0, math.log(3)]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(-(0.25**2) * math.log(0.75))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
def test_focal_of_two_classes_is_torchvisions(gamma: float) -> None:
    # The softmax of (0, x) is the sigmoid of x; alpha weighs the defects.
    x, label = torch.tensor([-3.0, -0.2, 0.0, 1.5, 4.0]), torch.tensor([0, 1, 1, 0, 1])
    ours = criterion("focal", Task(("good", "bad"), True, (32, 32)), gamma=gamma, alpha=0.25)
    theirs = sigmoid_focal_loss(x, label.float(), alpha=0.25, gamma=gamma)
    torch.testing.assert_close(ours(torch.stack([torch.zeros(5), x], 1), label), theirs)


def test_focal_alpha_needs_a_good_class_or_a_list() -> None:
    task = Task(("crack", "dent"), False, (32, 32))
    with pytest.raises(ZddError, match="there is no good class"):
        criterion("focal", task, alpha=0.25)
    weighted, plain = criterion("focal", task, alpha=[2.0, 0.5]), criterion("focal", task)
    raw, label = torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 1])
    assert (weighted(raw, label) / plain(raw, label)).tolist() == pytest.approx([2.0, 0.5])


def test_bce_is_torchs_on_one_hot() -> None:
    ours = criterion("bce")
    expected = F.binary_cross_entropy(RAW.sigmoid(), F.one_hot(LABEL, 3).float())
    torch.testing.assert_close(ours(RAW, LABEL).mean(), expected)
    # Sigmoids of 0, log 3, -log 3: 1/2, 3/4, 1/4; their sum is 3/2.
    raw = torch.tensor([[0.0, math.log(3), -math.log(3)]])
    assert ours.probability(raw)[0].tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 6])


def test_softmax_probabilities_by_hand() -> None:
    raw = torch.tensor([[0.0, math.log(3), math.log(4)]])
    for name in ("cross_entropy", "focal"):
        assert criterion(name).probability(raw)[0].tolist() == pytest.approx([1 / 8, 3 / 8, 4 / 8])


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in available("criterion")), ("focal", {"gamma": 0.5})]
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_extreme_logits_stay_finite(name: str, options: dict, dtype: torch.dtype) -> None:
    ours = criterion(name, **options)
    raw = torch.tensor([[-200.0, -300.0, -400.0], [200.0, -200.0, 0.0], [300.0, 300.0, 300.0]], dtype=dtype)
    raw.requires_grad_()
    loss = ours(raw, torch.tensor([0, 1, 2]))
    loss.sum().backward()
    assert loss.shape == (3,)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.isfinite().all()
    assert raw.grad is not None and raw.grad.isfinite().all()
    probability = ours.probability(raw)
    torch.testing.assert_close(probability.sum(1), torch.ones(3, dtype=probability.dtype))


@pytest.mark.parametrize("name", available("criterion"))
def test_a_criterion_keeps_no_state_in_the_model(name: str) -> None:
    assert criterion(name).state_dict() == {}

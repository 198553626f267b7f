"""Every figure against torchmetrics or by hand; what does not exist says why."""

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as reference

from zdd import metrics, weighted
from zdd.records import Columns, Task
from zdd.stats import Figure, wilson


def made(seed: int, n: int = 97, k: int = 4, *, ties: bool = False) -> Columns:
    """Images of k unequal classes with honest probabilities; with `ties` many scores are equal."""
    rng = np.random.default_rng(seed)
    label = rng.choice(k, n, p=np.arange(k, 0, -1) / (k * (k + 1) / 2))
    logit = rng.normal(0, 1, (n, k))
    logit[np.arange(n), label] += 1.2
    p = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    if ties:
        p = np.round(p, 1) + 0.05
        p /= p.sum(axis=1, keepdims=True)
        p = np.round(p, 6)
    return Columns(np.arange(n), label, 1 - p[:, 0], p.argmax(axis=1), p)


def task(*classes: str, has_good: bool = True) -> Task:
    return Task(classes, has_good, (32, 32))


FOUR = task("good", "a", "b", "c")


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_figures_are_torchmetrics(seed: int, ties: bool) -> None:
    columns = made(seed, ties=ties)
    found = metrics.figures(columns, task("g", "a", "b", "c", has_good=False), None)
    assert columns.probability is not None
    p, label = torch.tensor(columns.probability), torch.tensor(columns.label)
    given = torch.tensor(columns.argmax)
    wanted = {
        "accuracy": reference.multiclass_accuracy(given, label, 4, average="micro"),
        "balanced_accuracy": reference.multiclass_accuracy(given, label, 4, average="macro"),
        "precision": reference.multiclass_precision(given, label, 4, average="macro"),
        "recall": reference.multiclass_recall(given, label, 4, average="macro"),
        "f1": reference.multiclass_f1_score(given, label, 4, average="macro"),
        "auroc_macro": reference.multiclass_auroc(p, label, 4, average="macro"),
        "average_precision_macro": reference.multiclass_average_precision(p, label, 4, average="macro"),
        "ece": reference.multiclass_calibration_error(p, label, 4, n_bins=15, norm="l1"),
    }
    for name, value in wanted.items():
        assert found[name].value == pytest.approx(float(value), abs=1e-6), name
    for kind, function in (
        ("precision", reference.multiclass_precision),
        ("recall", reference.multiclass_recall),
        ("f1", reference.multiclass_f1_score),
    ):
        each = function(given, label, 4, average="none")
        assert [found[f"{kind}/{name}"].value for name in "gabc"] == pytest.approx(each.tolist(), abs=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_the_score_is_judged_as_torchmetrics_judges_it(ties: bool) -> None:
    columns = made(5, ties=ties)
    found = metrics.figures(columns, FOUR, 0.5)
    score, defective = torch.tensor(columns.score), torch.tensor(columns.label > 0).int()
    assert found["auroc"].value == pytest.approx(float(reference.binary_auroc(score, defective)), abs=1e-6)
    average = float(reference.binary_average_precision(score, defective))
    assert found["average_precision"].value == pytest.approx(average, abs=1e-6)


SMALL = Columns(
    index=np.arange(6),
    label=np.array([0, 0, 0, 1, 1, 2]),
    score=np.array([0.1, 0.5, 0.7, 0.5, 0.9, 0.2]),
    argmax=np.array([0, 1, 1, 1, 2, 0]),
    probability=np.array(
        [[0.9, 0.1, 0], [0.5, 0.5, 0], [0.3, 0.5, 0.2], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6], [0.8, 0.1, 0.1]]
    ),
)


def test_figures_by_hand() -> None:
    found = metrics.figures(SMALL, task("ok", "dent", "hole"), 0.5)
    # Verdicts at 0.5: ok, dent, dent, dent, hole, ok; a score of exactly 0.5 is stopped.
    value = {name: figure.value for name, figure in found.items()}
    assert value["accuracy"] == pytest.approx(2 / 6)  # the first and the fourth
    assert value["argmax_accuracy"] == pytest.approx(2 / 6)
    assert value["defect_recall"] == pytest.approx(2 / 3)  # 0.5 and 0.9 of 0.5, 0.9, 0.2; which kind does not matter
    assert value["false_alarm_rate"] == pytest.approx(2 / 3)  # 0.5 and 0.7 of 0.1, 0.5, 0.7
    # Pairs (good, defective) in the right order: 0.1 three, 0.5 a half and one, 0.7 one: 5.5 of 9.
    assert value["auroc"] == pytest.approx(5.5 / 9)
    # From the top: 0.9 (1 of 1), 0.7, 0.5 (2 of 4), 0.2 (3 of 5): 1/3 * (1 + 2/4 + 3/5)
    assert value["average_precision"] == pytest.approx(0.7)
    assert [value[f"recall/{name}"] for name in ("ok", "dent", "hole")] == pytest.approx([1 / 3, 1 / 2, 0])
    assert [value[f"precision/{name}"] for name in ("ok", "dent", "hole")] == pytest.approx([1 / 2, 1 / 3, 0])
    assert value["balanced_accuracy"] == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    # Half the summed squares: (.02 + .5 + .78 + .62 + .86 + 1.46) / 2 over 6 images
    assert value["brier"] == pytest.approx((0.02 + 0.5 + 0.78 + 0.62 + 0.86 + 1.46) / 2 / 6)
    assert found["defect_recall"].n == 3 and found["accuracy"].n == 6
    low, high = wilson(2, 3)
    assert (found["defect_recall"].low, found["defect_recall"].high) == pytest.approx((low, high))


def test_the_calibration_error_by_hand() -> None:
    # Bins of 1/15: 0.61 and 0.65 lie in (0.6, 0.667], 0.9 in (0.867, 0.933], 1.0 in the last.
    confidence = np.array([0.61, 0.65, 0.9, 1.0])
    right = np.array([True, False, True, True])
    # |0.63 - 0.5| * 2/4 + |0.9 - 1| / 4 + 0 = 0.065 + 0.025
    assert weighted.ece(confidence, right)(np.ones((1, 4))) == pytest.approx([0.09])
    # An image that counts three times: |(0.61 + 3 * 0.65) / 4 - 1/4| * 4/6 + 0.1 / 6
    assert weighted.ece(confidence, right)(np.array([[1.0, 3, 1, 1]])) == pytest.approx([0.39 * 4 / 6 + 0.1 / 6])
    assert weighted.bins(np.array([0.0, 1 / 15, 0.2, 0.2000001, 1.0])).tolist() == [0, 0, 2, 3, 14]


def test_weights_are_repetitions() -> None:
    columns = made(8, n=40, k=3, ties=True)
    times = np.random.default_rng(0).integers(0, 4, 40)
    rows = np.repeat(np.arange(40), times)
    defective = columns.label > 0
    for make in (weighted.auroc, weighted.average_precision):
        heavy = make(columns.score, defective)(times[None].astype(float))
        assert heavy == pytest.approx(make(columns.score[rows], defective[rows])(np.ones((1, len(rows)))))


def check_shape(found: dict[str, Figure]) -> None:
    for name, figure in found.items():
        if figure.value is None:
            assert figure.low is None and figure.high is None
            assert figure.method.startswith("does not exist: "), name
        elif figure.low is None:
            assert "no interval" in figure.method, name
        else:
            assert figure.high is not None
            assert 0 <= figure.low <= figure.value + 1e-12 and figure.value <= figure.high + 1e-12 <= 1 + 1e-9, name


def test_every_interval_holds_its_figure_and_names_its_method() -> None:
    for seed in range(4):
        found = metrics.figures(made(seed, n=37), FOUR, 0.6)
        check_shape(found)
        assert found["accuracy"].method == "Wilson"
        assert found["f1"].method.startswith("bootstrap of images within each class, 1000 times")
    again = metrics.figures(made(3, n=37), FOUR, 0.6)
    assert again == found  # the bootstrap is seeded
    assert metrics.figures(made(3, n=37), FOUR, 0.6, seed=1)["f1"] != found["f1"]


def test_without_a_mistake_the_interval_is_not_certainty() -> None:
    label = np.array([0] * 90 + [1] * 60 + [2] * 30)
    p = np.full((180, 3), 0.1)
    p[np.arange(180), label] = 0.8
    found = metrics.figures(Columns(np.arange(180), label, 1 - p[:, 0], label, p), task("g", "a", "b"), 0.5)
    # balanced over 90, 60 and 30 images: as one share of 9 / (1/90 + 1/60 + 1/30) = 147.3 images
    assert found["balanced_accuracy"].low == pytest.approx(wilson(147.2727, 147.2727)[0], abs=1e-6)
    assert found["auroc"].low == pytest.approx(wilson(180, 180)[0])  # 90 good and 90 defective: 4 / (2/90) = 180
    assert found["f1/b"].low == pytest.approx(wilson(30, 30)[0])  # rests on 30 images, not on 180
    assert found["auroc"].method.startswith("Wilson, effective n 180.0")
    assert found["brier"].low is None and "do not differ" in found["brier"].method  # every image gives the same
    check_shape(found)


@pytest.mark.parametrize(
    ("labels", "name", "reason"),
    [
        ([0, 0, 0, 0], "auroc", "no defective images"),
        ([0, 0, 0, 0], "defect_recall", "no defective images"),
        ([0, 0, 0, 0], "auroc_macro", "fewer than two classes have images"),
        ([1, 1, 2, 1], "false_alarm_rate", "no good images"),
        ([1, 1, 2, 1], "average_precision", "no good images"),
        ([0, 0, 1, 1], "recall/b", "no images of this class"),
        ([0, 0, 1, 1], "f1/b", "no images of this class"),
        ([0, 0, 1, 1], "precision/b", "no image was judged to be of this class"),
    ],
)
def test_a_figure_that_does_not_exist_says_why(labels: list[int], name: str, reason: str) -> None:
    p = np.array([[0.8, 0.15, 0.05], [0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1]])
    columns = Columns(np.arange(4), np.array(labels), 1 - p[:, 0], p.argmax(axis=1), p)
    found = metrics.figures(columns, task("g", "a", "b"), 0.5)
    assert found[name].value is None
    assert found[name].method == f"does not exist: {reason}"
    check_shape(found)


def test_without_a_good_class_or_probabilities_or_images() -> None:
    kinds = metrics.figures(made(1), task("w", "x", "y", "z", has_good=False), None)
    for name in ("defect_recall", "false_alarm_rate", "auroc", "average_precision"):
        assert kinds[name].method == "does not exist: no good class"
    assert kinds["auroc_macro"].value is not None
    columns = made(1, k=2)
    bare = Columns(columns.index, columns.label, columns.score, columns.argmax)
    found = metrics.figures(bare, task("g", "a"), 0.5)
    assert found["brier"].value is None and "no probabilities" in found["brier"].method
    assert found["auroc"].value is not None
    nothing = Columns(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0, int))
    empty = metrics.figures(nothing, task("g", "a"), 0.5)
    assert all(figure.value is None for figure in empty.values())
    check_shape(found | empty)
    assert list(found) == list(empty)


def test_pictures_of_one_part_widen_every_interval() -> None:
    columns = made(2, n=40, k=2)
    rows = np.repeat(np.arange(40), 5)  # five times the same picture is no new knowledge
    many = Columns(
        np.arange(200),
        columns.label[rows],
        columns.score[rows],
        columns.argmax[rows],
        columns.probability[rows],  # type: ignore[index]
    )
    alone = metrics.figures(columns, task("g", "a"), 0.5)
    blind = metrics.figures(many, task("g", "a"), 0.5)
    told = metrics.figures(many, task("g", "a"), 0.5, parts=[f"part {row}" for row in rows])
    for name in ("accuracy", "defect_recall", "auroc", "f1", "brier"):
        width = {key: f[name].high - f[name].low for key, f in (("alone", alone), ("blind", blind), ("told", told))}  # type: ignore[operator]
        assert width["blind"] < 0.7 * width["alone"], name
        assert width["told"] == pytest.approx(width["alone"], rel=0.2), name
        assert told[name].value == pytest.approx(alone[name].value)
    assert "parts" in told["auroc"].method
    # A part of its own for each image is what there is without parts; an empty name is a part of its own.
    assert metrics.figures(columns, task("g", "a"), 0.5, parts=[""] * 40) == alone


def test_confusion_has_truth_in_rows() -> None:
    counts = metrics.confusion(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]


def test_the_interval_of_the_calibration_error_is_not_biased_upwards() -> None:
    """Calibrated models: the true error is 0, and the interval should reach down to it, or nearly."""
    rng = np.random.default_rng(7)
    lows = []
    for seed in range(8):
        confidence = rng.uniform(0.5, 1, 300)
        right = rng.random(300) < confidence
        p = np.stack([confidence, 1 - confidence], axis=1)
        label = np.where(right, 0, 1)
        found = metrics.figures(Columns(np.arange(300), label, p[:, 1], p.argmax(1), p), task("g", "a"), 0.5, seed=seed)
        check_shape({"ece": found["ece"]})
        lows.append(found["ece"].low)
    assert np.mean(lows) < 0.02

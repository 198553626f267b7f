"""What an uncertainty is worth, worked out by hand, by every order of ties, and by scikit-learn."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from zdd import weighted
from zdd.records import Columns, Record
from zdd.uncertainty import entropy, figures, ood_figures, risk_coverage, risk_figures

Floats = NDArray[np.float64]


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def by_hand(uncertainty: Floats, wrong: NDArray[np.bool_]) -> Floats:
    """Error rates among the k surest, the mean over every order that the uncertainty allows."""
    orders = [o for o in itertools.permutations(range(len(wrong))) if (np.diff(uncertainty[list(o)]) >= 0).all()]
    k = np.arange(1, len(wrong) + 1)
    return np.mean([np.cumsum(wrong[list(order)]) / k for order in orders], axis=0)


@pytest.mark.parametrize(
    ("known", "unknown", "auroc", "aupr", "fpr95"),
    [
        # All unknown above: told apart. 5 % of one image more than none: all known must be accepted, up to 0.2.
        ([0.1, 0.2], [0.8, 0.9], 1.0, 1.0, 0.0),
        # The wrong way round: precision at the two unknown is 1/3 and 2/4, each half of the recall.
        ([0.8, 0.9], [0.1, 0.2], 0.0, (1 / 3 + 2 / 4) / 2, 1.0),
        # Of 6 pairs 3 are the right way and one is a tie. From above: 0.9 (1 of 1 is unknown), the tie of one unknown
        # and one known (2 of 3), at last 0.1 (3 of 5). Both known must pass, up to 0.5, and with them two unknown.
        ([0.3, 0.5], [0.9, 0.5, 0.1], 3.5 / 6, (1 / 1 + 2 / 3 + 3 / 5) / 3, 2 / 3),
        # Constant: guessing. Precision is the share of unknown; whoever accepts a known one accepts all.
        ([0.5] * 4, [0.5], 0.5, 0.2, 1.0),
    ],
)
def test_unknown_from_known_by_hand(
    known: list[float], unknown: list[float], auroc: float, aupr: float, fpr95: float
) -> None:
    found = ood_figures(array(*known), array(*unknown))
    assert {name: figure.value for name, figure in found.items()} == pytest.approx(
        {"auroc": auroc, "aupr": aupr, "fpr95": fpr95}
    )


def test_fpr95_counts_unknown_images_that_pass_not_known_ones_that_fail() -> None:
    # 19 of 20 known must pass: the threshold is the 19th, 0.19, not 0.9. Of four unknown those at 0.05 and 0.19 pass.
    known = array(*(np.arange(1, 20) / 100), 0.9)
    unknown = array(0.05, 0.19, 0.2, 0.95)
    figure = ood_figures(known, unknown)["fpr95"]
    assert figure.value == 0.5 and figure.n == 24
    assert figure.low is not None and figure.high is not None and figure.low < 0.5 < figure.high
    # With one known image more, 20 of 21 must pass (0.95 x 21 = 19.95): the threshold is 0.2.
    assert ood_figures(np.append(known, 0.2), unknown)["fpr95"].value == 0.75


@pytest.mark.parametrize("n", [20, 40, 60, 100, 140, 300])
def test_exactly_95_percent_is_enough(n: int) -> None:
    # 0.95 n is a whole number, which floating point must not push past.
    known = np.arange(n) / n
    assert ood_figures(known, array(known[int(n * 19 / 20) - 1] + 0.5 / n, 2.0))["fpr95"].value == 0.0


def test_exactly_a_share_is_enough_where_floating_point_goes_too_far() -> None:
    assert 0.55 * 100 > 55  # and yet 55 of 100 are 55 %
    known = np.arange(100) / 100
    outside = np.append(np.full(100, False), True)
    assert weighted.accepted(np.append(known, 0.545), outside, 0.55)(np.ones((1, 101)))[0] == 0.0


def test_as_scikit_learn_has_it_with_ties() -> None:
    rng = np.random.default_rng(3)
    known, unknown = np.round(rng.normal(0, 1, 200), 1), np.round(rng.normal(1, 1.5, 70), 1)
    found = ood_figures(known, unknown)
    truth, score = np.repeat([0, 1], [200, 70]), np.concatenate([known, unknown])
    assert found["auroc"].value == pytest.approx(roc_auc_score(truth, score))
    assert found["aupr"].value == pytest.approx(average_precision_score(truth, score))
    # Liu et al. 2020: known is what is to be accepted, and the less uncertain the more.
    fpr, tpr, _ = roc_curve(1 - truth, -score, drop_intermediate=False)
    assert found["fpr95"].value == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
    for figure in found.values():
        assert figure.value is not None and figure.low is not None and figure.high is not None
        assert figure.low < figure.value < figure.high


def test_intervals_hold_what_they_promise() -> None:
    # AUROC of N(1, 1) against N(0, 1) is Phi(1 / sqrt 2) = 0.7602; 95 % of 60 intervals is 57, and 51 leaves room.
    rng, hits = np.random.default_rng(0), 0
    for seed in range(60):
        figure = ood_figures(rng.normal(0, 1, 60), rng.normal(1, 1, 40), seed=seed)["auroc"]
        assert figure.low is not None and figure.high is not None
        hits += figure.low <= 0.7602 <= figure.high
    assert hits >= 51


def test_perfect_detection_does_not_claim_certainty() -> None:
    found = ood_figures(array(0.1, 0.2, 0.3), array(0.7, 0.8))
    # As many as 2^2 / (1/3 + 1/2) = 4.8 images: n / (n + z^2)
    assert found["auroc"].low == pytest.approx(0.5555, abs=1e-3) and found["auroc"].high == 1.0
    assert found["fpr95"].low == 0.0 and found["fpr95"].high == pytest.approx(0.6576, abs=1e-3)  # z^2 / (2 + z^2)


def test_pictures_of_one_part_are_drawn_together() -> None:
    rng = np.random.default_rng(1)
    known, unknown = np.repeat(rng.normal(0, 1, 12), 5), np.repeat(rng.normal(1, 1, 6), 5)
    part = np.repeat(np.arange(18), 5)
    apart, together = ood_figures(known, unknown)["auroc"], ood_figures(known, unknown, part=part)["auroc"]
    assert apart.value == together.value
    assert None not in (apart.low, apart.high, together.low, together.high)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)  # type: ignore[operator]
    assert "parts" in together.method


def test_nothing_unknown_is_no_figure() -> None:
    found = ood_figures(array(0.1), array())
    assert {figure.value for figure in found.values()} == {None}
    assert found["fpr95"].method == "does not exist: no unknown images"
    assert ood_figures(array(), array(1.0))["aupr"].method == "does not exist: no known images"


def test_aurc_by_hand() -> None:
    # The second surest of four is wrong: 0/1, 1/2, 1/3, 1/4. At best it would come last: 0, 0, 0, 1/4.
    uncertainty, wrong = array(0.1, 0.2, 0.3, 0.4), np.array([False, True, False, False])
    coverage, risk = risk_coverage(uncertainty, wrong)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    found = risk_figures(uncertainty, wrong, np.zeros(4, np.int64))
    assert found["aurc"].value == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found["aurc_excess"].value == pytest.approx((1 / 2 + 1 / 3) / 4)


def test_the_order_of_the_rows_and_the_scale_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    uncertainty, wrong = np.round(rng.random(50), 1), rng.random(50) < 0.3
    mixed = rng.permutation(50)
    label = np.zeros(50, np.int64)
    one, other = risk_figures(uncertainty, wrong, label), risk_figures(uncertainty[mixed] ** 3, wrong[mixed], label)
    for name, figure in one.items():
        assert figure.value == pytest.approx(other[name].value)


@pytest.mark.parametrize("n", [1, 2, 5, 37])
def test_a_constant_uncertainty_has_the_error_rate(n: int) -> None:
    wrong = np.arange(n) % 3 == 0
    _, risk = risk_coverage(np.full(n, 0.3), wrong)
    assert risk.tolist() == pytest.approx([wrong.mean()] * n)
    found = risk_figures(np.full(n, 0.3), wrong, np.zeros(n, np.int64))
    assert found["aurc"].value == pytest.approx(wrong.mean())
    assert [found[f"accuracy_at_{p}"].value for p in (80, 90, 95)] == pytest.approx([1 - wrong.mean()] * 3)


@pytest.mark.parametrize("values", [(1, 1, 2, 2, 2, 3), (1, 2, 2, 2, 2, 2), (3, 1, 3, 1, 3, 1), (6, 5, 4, 3, 2, 1)])
def test_ties_are_the_mean_over_every_order(values: tuple[float, ...]) -> None:
    uncertainty = array(*values)
    for wrong in (np.array([1, 0, 1, 0, 0, 1]) > 0, np.array([0, 0, 0, 0, 1, 0]) > 0, np.full(6, True)):
        wanted = by_hand(uncertainty, wrong)
        assert risk_coverage(uncertainty, wrong)[1].tolist() == pytest.approx(wanted.tolist())
        value = weighted.aurc(uncertainty, wrong)(np.ones((1, 6)))[0]
        assert value == pytest.approx(wanted.mean())
        # 0.8 x 6 = 4.8 and 0.5 x 6 = 3: five and three images are judged.
        for coverage, k in ((0.8, 5), (0.5, 3), (1.0, 6)):
            accuracy = weighted.accuracy_at(coverage, uncertainty, wrong)(np.ones((1, 6)))[0]
            assert accuracy == pytest.approx(1 - wanted[k - 1])


def test_a_resample_is_as_if_the_images_were_there_so_often() -> None:
    rng = np.random.default_rng(2)
    uncertainty, wrong = np.round(rng.random(30), 1), rng.random(30) < 0.4
    weights = rng.integers(0, 4, (5, 30))
    unknown = rng.random(30) < 0.5
    for row in weights:
        copies = np.repeat(np.arange(30), row)
        for make in (
            lambda u, w: weighted.aurc(u, w),
            lambda u, w: weighted.least_aurc(w),
            lambda u, w: weighted.accuracy_at(0.9, u, w),
        ):
            whole = make(uncertainty[copies], wrong[copies])(np.ones((1, len(copies))))
            assert make(uncertainty, wrong)(row[None].astype(float)) == pytest.approx(whole)
        whole = weighted.accepted(uncertainty[copies], unknown[copies], 0.95)(np.ones((1, len(copies))))
        assert weighted.accepted(uncertainty, unknown, 0.95)(row[None].astype(float)) == pytest.approx(whole)


def test_a_resample_without_known_images_says_nothing() -> None:
    statistic = weighted.accepted(array(0.1, 0.2), np.array([False, True]), 0.95)
    assert np.isnan(statistic(np.array([[0.0, 2.0], [2.0, 0.0]]))).all()


def test_least_aurc_is_that_of_the_best_order() -> None:
    wrong = np.array([True, False, True, False, False])
    best = weighted.aurc(wrong.astype(float), wrong)  # hindsight ties the mistakes, which are last in any case
    ones = np.ones((1, 5))
    # 0, 0, 0, 1/4, 2/5
    assert weighted.least_aurc(wrong)(ones)[0] == pytest.approx((1 / 4 + 2 / 5) / 5)
    assert best(ones)[0] == pytest.approx((1 / 4 + 2 / 5) / 5)


def test_accuracy_of_the_surest() -> None:
    # Of ten the two least sure are wrong: eight of eight, eight of nine, and of 9.5 images, which is ten, eight.
    uncertainty, wrong = np.arange(10) / 10, np.arange(10) >= 8
    found = risk_figures(uncertainty, wrong, np.zeros(10, np.int64))
    values = [found[f"accuracy_at_{p}"].value for p in (80, 90, 95)]
    assert values == pytest.approx([1.0, 8 / 9, 0.8])
    assert [found[f"accuracy_at_{p}"].n for p in (80, 90, 95)] == [8, 9, 10]
    sure = risk_figures(uncertainty, wrong & False, np.zeros(10, np.int64))["accuracy_at_80"]
    assert sure.high == 1.0 and sure.low == pytest.approx(0.6756, abs=1e-3)  # Wilson, 8 of 8: 8 / (8 + z^2)


def test_no_mistake_and_no_image() -> None:
    found = risk_figures(array(0.1, 0.2), np.array([False, False]), np.zeros(2, np.int64))
    assert found["aurc"].value == 0.0 and found["aurc"].high == pytest.approx(0.6576, abs=1e-3)
    assert found["aurc_excess"].value is None
    nothing = risk_figures(array(), np.zeros(0, bool), np.zeros(0, np.int64))
    assert {figure.value for figure in nothing.values()} == {None}


def test_a_long_set_is_quick_and_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    uncertainty = rng.random(2000)
    wrong = rng.random(2000) < uncertainty / 5
    label = np.arange(2000) % 3
    one = risk_figures(uncertainty, wrong, label, seed=4)
    assert one == risk_figures(uncertainty, wrong, label, seed=4)
    assert one["aurc"].value == pytest.approx(risk_coverage(uncertainty, wrong)[1].mean())


def said(score: Floats) -> Columns:
    n = len(score)
    return Columns(np.arange(n), np.zeros(n, np.int64), score, np.zeros(n, np.int64), None, score, -score)


def test_every_figure_counts_whole_parts() -> None:
    # Twelve known parts and six unknown ones, five pictures of each; the figures are those of the pieces by hand.
    rng = np.random.default_rng(1)
    known, unknown = np.repeat(rng.normal(0, 1, 12), 5), np.repeat(rng.normal(1, 1, 6), 5)
    records = [Record(f"k{i}", 0, f"part {i // 5:02d}") for i in range(60)]
    others = [Record(f"u{i}", -1, f"part {12 + i // 5:02d}", kind="scratch" if i < 15 else "dent") for i in range(30)]
    predicted = (np.arange(60) % 7 == 0).astype(np.int64)
    found = figures(said(known), predicted, records, (said(unknown), others), seed=3)
    part = np.repeat(np.arange(18), 5)
    for name, sign in (("uncertainty", 1), ("energy", -1)):
        whole = ood_figures(sign * known, sign * unknown, part=part, seed=3)
        dents = ood_figures(sign * known, sign * unknown[15:], part=np.delete(part, np.arange(60, 75)), seed=3)
        assert found[f"ood_aupr/{name}"] == whole["aupr"] and "parts" in whole["aupr"].method
        assert found[f"ood_auroc/{name}/dent"] == dents["auroc"]
    assert found["aurc"] == risk_figures(known, predicted > 0, np.zeros(60, np.int64), part=part[:60], seed=3)["aurc"]
    assert found["argmax_aurc"].value == 0.0
    assert set(figures(said(known), predicted, records)) == {name for name in found if not name.startswith("ood_")}


def test_one_kind_of_unknown_images_is_all_of_them() -> None:
    others = [Record(f"u{i}", -1, kind="noise") for i in range(3)]
    records = [Record(f"k{i}", 0) for i in range(4)]
    found = figures(said(np.arange(4.0)), np.zeros(4, np.int64), records, (said(np.arange(3.0)), others))
    assert "ood_auroc/energy" in found and not any("noise" in name for name in found)


def test_entropy_by_hand() -> None:
    p = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert entropy(p).tolist() == pytest.approx([np.log(2), 0.0, np.log(3)])

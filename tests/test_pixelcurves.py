"""Curves of binned pixels: the bins' order and width, and scikit-learn's figures of values that are not rounded."""

import numpy as np
import pytest
from sklearn import metrics as reference

from zdd.pixelcurves import BINS, Histograms, bins
from zdd.poisson import draws


def test_bins_keep_the_order_and_the_ends() -> None:
    values = np.array([0, 1e-7, 1e-5, 0.1, 0.1001, 0.5, 0.5003, 0.9999, 0.99999, 0.9999999, 1, 1.001, 6e4, 65504, 1e9])
    where = bins(values.astype(np.float32))
    assert (np.diff(where[:-1]) > 0).all()
    assert where[0] == 0 and where[-1] == where[-2] == BINS - 1
    rising = bins(np.sort(np.random.default_rng(0).gamma(0.3, 1, 100_000)).astype(np.float32))
    assert (np.diff(rising) >= 0).all()


def test_a_bin_is_half_a_thousandth_wide() -> None:
    lower = np.geomspace(1e-3, 6e4, 10_000)
    assert (bins((1.001 * lower).astype(np.float32)) > bins(lower.astype(np.float32))).all()
    lacking = np.geomspace(1e-3, 0.4, 10_000)
    near_one = (1 - lacking).astype(np.float32)
    assert (bins((1 - lacking / 1.002).astype(np.float32)) > bins(near_one)).all()


@pytest.mark.parametrize("scale", [1.0, 40.0])  # probabilities that crowd at 0 and 1, and distances
def test_curves_of_values_that_are_not_rounded(scale: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(60_000) < 0.02
    logit = rng.normal(-6, 2, 60_000) + 8 * truth
    values = (scale / (1 + np.exp(-logit))).astype(np.float32)
    made = Histograms()
    for i, chosen in enumerate(np.array_split(np.arange(60_000), 40)):
        made.add(values[chosen], np.where(truth[chosen], 1.0, 0.0), draws(str(i), 0))
    curves = made.curves()
    again = made.curves()  # asking twice counts nothing twice
    assert all((curves[name][1] == again[name][1]).all() and curves[name][0] == again[name][0] for name in curves)
    for name, expected in (
        ("pixel_auroc", reference.roc_auc_score(truth, values)),
        ("pixel_average_precision", reference.average_precision_score(truth, values)),
    ):
        value, resampled = curves[name]
        assert value == pytest.approx(expected, abs=2e-4)
        assert abs(np.median(resampled) - value) < 0.2 * np.ptp(resampled)


def test_resamples_are_of_the_parts_that_they_drew() -> None:
    rng = np.random.default_rng(0)
    made, kept = Histograms(), []
    for i in range(45):  # one more than is waiting, and some
        truth = rng.random(500) < 0.1
        values = (rng.random(500) * 0.6 + 0.4 * truth * rng.random()).astype(np.float32)
        made.add(values, truth / 1.0, draws(str(i), 7))
        kept.append((truth, values, draws(str(i), 7)))
    again = made.curves()["pixel_auroc"][1]
    for b in (0, 1, 499):
        truth, values = (np.concatenate([image[k] for image in kept]) for k in (0, 1))
        times = np.repeat([image[2][b] for image in kept], 500)
        assert again[b] == pytest.approx(reference.roc_auc_score(truth, values, sample_weight=times), abs=1e-3)

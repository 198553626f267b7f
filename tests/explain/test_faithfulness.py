"""What a map foretells of the network: scores whose right map is known, captum itself, and maps that are wrong."""

import math
from collections.abc import Callable

import captum.metrics
import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn

from zdd.explain import faithfulness
from zdd.explain.base import BATCH
from zdd.explain.faithfulness import filled, infidelity, insertion_deletion, max_sensitivity, sparseness

SIDE = 20
WEIGHT = torch.zeros(3, SIDE, SIDE)
WEIGHT[:, 4:10, 6:12] = 1.0
WEIGHT[0, 4:10, 6:12] = 2.0
IMAGE = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) + 2 * (WEIGHT > 0)


def linear(images: Tensor) -> Tensor:
    """A score whose right map is known: each pixel's weight times by how much it differs from the filled one."""
    return (images * WEIGHT).sum((1, 2, 3)) + 5


def right(fill: faithfulness.Fill = "blur") -> np.ndarray:
    return (WEIGHT * (IMAGE - filled(IMAGE, fill))).sum(0).numpy()


def test_by_hand_of_four_pixels() -> None:
    image = torch.tensor([[1.0, 2.0], [3.0, -6.0]]).expand(3, 2, 2)  # its mean is 0, which is what pixels become
    values = np.array([[2.0, 1.0], [3.0, -1.0]])  # so the order of showing is 3, 1, 2, -6
    found = insertion_deletion(lambda x: x[:, 0].abs().sum((1, 2)), image, values, steps=4, fill="mean")
    # Shown: 0 3 4 6 12; taken away: 12 9 8 6 0; over 12; trapezoids of width 1/4.
    assert found == (pytest.approx((3 + 4 + 6 + 6) / 12 / 4), pytest.approx((6 + 9 + 8 + 6) / 12 / 4))


def test_the_right_map_is_better_than_chance_and_chance_than_its_contrary() -> None:
    rng = np.random.default_rng(0)
    best, worst = (insertion_deletion(linear, IMAGE, sign * right()) for sign in (1, -1))
    chance = [insertion_deletion(linear, IMAGE, rng.random((SIDE, SIDE))) for _ in range(20)]
    insertion, deletion = np.mean(chance, axis=0)
    assert best[0] > 0.9 > insertion > 0.1 > worst[0] and best[1] < 0.1 < deletion < 0.9 < worst[1]
    assert insertion == pytest.approx(0.5, abs=0.05) and deletion == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("fill", ["blur", "mean"])
def test_figures_do_not_depend_on_the_scale_or_the_offset_of_the_score(fill: faithfulness.Fill) -> None:
    plain = insertion_deletion(linear, IMAGE, right(fill), fill=fill)
    assert insertion_deletion(lambda x: 7 * linear(x) - 100, IMAGE, right(fill), fill=fill) == pytest.approx(plain)
    squares = infidelity(lambda x: 7 * linear(x) - 100, IMAGE, 0.01 * right(fill), fill=fill)
    assert squares == pytest.approx(infidelity(linear, IMAGE, right(fill), fill=fill), abs=1e-4)


def test_a_curve_that_overshoots_is_cut_off() -> None:
    image = torch.tensor([[2.0, -1.0], [-1.0, 0.0]]).expand(3, 2, 2)
    score: faithfulness.Score = lambda x: x[:, 0, 0, 0] + x[:, 0, 0, 1]  # noqa: E731 (1 of the image, 0 of the filled)
    found = insertion_deletion(score, image, np.array([[4.0, 3.0], [2.0, 1.0]]), steps=4, fill="mean")
    assert found == (pytest.approx((1 + 1 + 1 + 0.5) / 4), pytest.approx(0.5 / 4))  # 0 2 1 1 1 and 1 -1 0 0 0


def test_what_is_blurred_keeps_its_channels_apart() -> None:
    image = torch.zeros(3, SIDE, SIDE)
    image[1, ::2] = 1.0
    away = filled(image, "blur")
    assert away[1] == pytest.approx(0.5, abs=0.3) and not away[[0, 2]].any()
    assert filled(image, "mean")[:, 0, 0].tolist() == [0, 0.5, 0]


def test_a_score_that_nothing_can_be_taken_from_has_no_figure() -> None:
    constant: Callable[[Tensor], Tensor] = lambda x: torch.full((len(x),), 3.0)  # noqa: E731
    assert all(math.isnan(value) for value in insertion_deletion(constant, IMAGE, right()))
    assert all(math.isnan(value) for value in insertion_deletion(lambda x: -linear(x), IMAGE, right()))
    assert math.isnan(infidelity(constant, IMAGE, right()))


def test_a_uniform_map_takes_pixels_by_chance_not_row_by_row() -> None:
    half = torch.zeros(3, SIDE, SIDE)
    half[:, : SIDE // 2] = 1.0
    score: faithfulness.Score = lambda x: x[:, :, : SIDE // 2].sum((1, 2, 3))  # noqa: E731
    found = insertion_deletion(score, half, np.ones((SIDE, SIDE)), fill="mean")
    assert found == (pytest.approx(0.5, abs=0.05), pytest.approx(0.5, abs=0.05))  # row by row: 0.75 and 0.25


def test_infidelity_is_0_of_the_right_map_1_of_the_contrary_and_high_by_chance() -> None:
    assert infidelity(linear, IMAGE, right()) == pytest.approx(0, abs=1e-5)
    assert infidelity(linear, IMAGE, -right()) == 1.0
    assert infidelity(linear, IMAGE, np.zeros((SIDE, SIDE))) == 1.0
    assert infidelity(linear, IMAGE, np.random.default_rng(0).normal(size=(SIDE, SIDE))) > 0.5


def test_infidelity_is_captum_s_over_the_mean_square_of_the_losses() -> None:
    score: faithfulness.Score = lambda x: torch.tanh(linear(x) / 400)  # noqa: E731
    values = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    squares = torch.from_numpy(faithfulness._squares(40, (SIDE, SIDE), 3))[:, None].float().expand(-1, 3, -1, -1)
    covered = IMAGE * (1 - squares) + filled(IMAGE, "blur") * squares
    attribution = torch.from_numpy(values).expand(1, 3, -1, -1) / 3
    with torch.no_grad():
        lost = score(IMAGE[None]) - score(covered)
        raw = captum.metrics.infidelity(
            score, lambda _: (squares, covered), IMAGE[None], attribution, n_perturb_samples=40, normalize=True
        )
        assert lost @ (squares[:, 0] * torch.from_numpy(values)).sum((1, 2)) > 0
    expected = float(raw) / float((lost**2).mean())
    assert 0 < expected < 1
    assert infidelity(score, IMAGE, values, samples=40, seed=3) == pytest.approx(expected, rel=1e-3)


def test_sensitivity_by_hand_and_against_captum() -> None:
    steady = max_sensitivity(lambda x: torch.ones(len(x), 1, SIDE, SIDE), IMAGE)
    assert steady == 0.0
    # A map that is the image itself: each value moves by at most the radius, in the mean square by radius / sqrt(3).
    itself = max_sensitivity(lambda x: x, IMAGE, radius=0.1, samples=25)
    assert itself == pytest.approx(0.1 / 3**0.5 * (3 * SIDE**2) ** 0.5 / float(IMAGE.norm()), rel=0.1)
    plane = max_sensitivity(lambda x: x[:, :1], IMAGE, radius=0.1, samples=25)
    assert plane == pytest.approx(0.1 / 3**0.5 * SIDE / float(IMAGE[0].norm()), rel=0.1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 18**2, 1))
    gradient = Saliency(net)
    found = max_sensitivity(lambda x: gradient.attribute(x.requires_grad_()), IMAGE, radius=0.05, samples=60)
    theirs = captum.metrics.sensitivity_max(gradient.attribute, IMAGE[None], perturb_radius=0.05, n_perturb_samples=60)
    assert found == pytest.approx(float(theirs), rel=0.1)  # both the largest of 60 drawn by chance


def test_what_is_drawn_by_chance_is_the_same_again_and_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    random = np.random.default_rng(1).random((SIDE, SIDE))
    every = [
        lambda: insertion_deletion(linear, IMAGE, np.ones((SIDE, SIDE)))[0],
        lambda: infidelity(linear, IMAGE, random),
        lambda: max_sensitivity(lambda x: x, IMAGE),
    ]
    assert [figure() for figure in every] == [figure() for figure in every]
    assert torch.equal(state, torch.get_rng_state())


def test_the_network_never_sees_more_than_a_batch() -> None:
    seen = []

    def score(images: Tensor) -> Tensor:
        seen.append(len(images))
        return linear(images)

    insertion_deletion(score, IMAGE, right(), steps=50)
    infidelity(score, IMAGE, right(), samples=50)
    max_sensitivity(lambda x: score(x)[:, None, None, None].expand(-1, 1, 2, 2), IMAGE, samples=50)
    assert max(seen) == BATCH and sum(seen) >= 150


def test_sparseness_by_hand() -> None:
    assert sparseness(np.full((5, 5), -2.0)) == pytest.approx(0)
    one = np.zeros((5, 5))
    one[2, 3] = -7.0
    assert sparseness(one) == pytest.approx(1 - 1 / 25)
    assert sparseness(np.array([[0.0, 1.0], [0.0, -1.0]])) == pytest.approx(0.5)  # half of the pixels hold all
    assert math.isnan(sparseness(np.zeros((5, 5))))
    values = np.random.default_rng(0).normal(size=(9, 9))
    pairs = np.abs(np.abs(values).ravel()[:, None] - np.abs(values).ravel()).mean() / (2 * np.abs(values).mean())
    assert sparseness(values) == pytest.approx(pairs)  # half the relative mean difference: Gini's own definition

"""McNemar, Tango's interval and TOST against numbers by hand and against brute force."""

import numpy as np
import pytest
from scipy import optimize, special

from zdd.export import equivalence

Z = 1.6448536269514722  # of one-sided tests at 5 %


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 x 1/2
        (5, 0, 2 / 32),  # 2 x 1/2^5
        (0, 6, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),  # at most 2 heads in 10
        (3, 3, 1.0),  # 2 x 42/64 is more than 1
    ],
)
def test_mcnemar_is_a_coin_thrown_for_each_change(lost: int, gained: int, p: float) -> None:
    assert equivalence.mcnemar(lost, gained) == pytest.approx(p, rel=1e-12)


def test_tangos_score_is_that_of_his_contact_lenses() -> None:
    # Tango 1998: 44 pairs, one of them lost; that it is as much as 10 points worse: Z = 1.709.
    assert equivalence.score(1, 0, 44, -0.1) == pytest.approx(1.709, abs=5e-4)


@pytest.mark.parametrize(("lost", "gained", "n", "difference"), [(3, 7, 60, -0.05), (12, 2, 80, 0.02), (1, 0, 9, -0.3)])
def test_the_likeliest_share_is_the_likeliest(lost: int, gained: int, n: int, difference: float) -> None:
    def unlikely(loses: float) -> float:
        gains = loses + difference
        same = 1 - loses - gains
        return -float(
            special.xlogy(lost, loses) + special.xlogy(gained, gains) + special.xlogy(n - lost - gained, same)
        )

    low, high = max(0.0, -difference), (1 - difference) / 2
    loses = optimize.minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
    spread = np.sqrt(n * (2 * loses + difference - difference**2))
    wanted = (gained - lost - n * difference) / spread
    assert equivalence.score(lost, gained, n, difference) == pytest.approx(wanted, rel=1e-4)


def test_the_interval_without_a_change_is_z2_over_n_plus_z2() -> None:
    edge = Z**2 / (50 + Z**2)
    assert equivalence.interval(0, 0, 50) == pytest.approx((-edge, edge), rel=1e-9)


@pytest.mark.parametrize(("lost", "gained", "n"), [(1, 0, 44), (3, 9, 200), (40, 40, 90)])
def test_the_interval_ends_where_the_score_is_z(lost: int, gained: int, n: int) -> None:
    low, high = equivalence.interval(lost, gained, n)
    assert equivalence.score(lost, gained, n, low) == pytest.approx(Z, abs=1e-6)
    assert equivalence.score(lost, gained, n, high) == pytest.approx(-Z, abs=1e-6)
    assert equivalence.interval(gained, lost, n) == pytest.approx((-high, -low), abs=1e-9)  # the other way round


def test_the_interval_ends_at_the_end() -> None:
    assert equivalence.interval(50, 0, 50)[0] == -1.0 and equivalence.interval(0, 50, 50)[1] == 1.0


def test_equivalence_needs_as_many_images_as_it_says() -> None:
    # z^2 (1 - m) / m = 2.7055 x 49 = 132.6 for a margin of 2 points
    few, enough = (equivalence.change("recall", np.full(n, True), np.full(n, True)) for n in (132, 133))
    assert few is not None and enough is not None
    assert not few.equivalent and enough.equivalent and few.needed == enough.needed == 133
    assert "not shown" in few.line() and "takes 133 images" in few.line()
    assert "not shown" not in enough.line() and "takes" not in enough.line()


def test_neither_a_gain_nor_a_loss_beyond_the_margin_is_equivalence() -> None:
    some, every = np.arange(1000) >= 100, np.full(1000, True)
    for before, after in ((some, every), (every, some)):  # 0.9 to 1.0, and back
        found = equivalence.change("recall", before, after)
        assert found is not None and not found.equivalent and found.p_equivalent > 0.99 and found.p_differ < 1e-20
        assert found.lost + found.gained == 100


def test_what_changed_is_counted_image_by_image() -> None:
    before, after = np.array([1, 1, 1, 0, 0]) > 0, np.array([0, 0, 1, 1, 0]) > 0
    found = equivalence.change("recall", before, after)
    assert found is not None
    assert (found.lost, found.gained, found.n) == (2, 1, 5) and (found.reference, found.found) == (0.6, 0.4)
    assert equivalence.change("recall", before[:0], after[:0]) is None

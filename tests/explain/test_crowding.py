"""Where attribution crowds in one class's pictures: places planted in maps, and what is none."""

import numpy as np
import pytest

from zdd.explain import crowding
from zdd.explain.crowding import places

NAMES = ("good", "crack", "dent")
LABEL = np.arange(45) % 3


def noise(seed: int, size: tuple[int, int] = (32, 48)) -> list[np.ndarray]:
    """Maps with one bright spot anywhere, as of a defect."""
    rng = np.random.default_rng(seed)
    maps = []
    for _ in LABEL:
        values = rng.normal(0, 1, size)
        y, x = rng.integers(0, size[0] - 4), rng.integers(0, size[1] - 4)
        values[y : y + 4, x : x + 4] += 20
        maps.append(values)
    return maps


def marked(maps: list[np.ndarray], chosen: np.ndarray, height: float = 400) -> list[np.ndarray]:
    """The same, with a mark at the bottom left."""
    changed = [values.copy() for values in maps]
    for values, mine in zip(changed, chosen, strict=True):
        values[28:32, 0:4] += height * mine
    return changed


def test_a_mark_of_one_class_is_found_where_it_is() -> None:
    (place,) = places(marked(noise(0), LABEL == 2), LABEL, NAMES)
    assert place.name == "dent" and place.share > 0.7 and place.elsewhere is not None and place.elsewhere < 0.1
    assert place.box == (0, 14 / 16, 2 / 16, 1) and place.area == 1 / 64  # the smallest that holds all of it


def test_what_speaks_against_counts_and_the_scale_does_not() -> None:
    planted = marked(noise(0), LABEL == 2)
    (plain,), (other,) = places(planted, LABEL, NAMES), places([-1e-6 * values for values in planted], LABEL, NAMES)
    assert (other.name, other.box) == (plain.name, plain.box) and other.share == pytest.approx(plain.share)


def test_by_hand() -> None:
    maps = []
    for k in LABEL:
        values = np.ones((16, 16))
        values[0:2, 14:16] = 64 if k == 1 and len(maps) != 1 else 1  # one picture of them lacks the mark
        maps.append(values)
    (place,) = places(maps, LABEL, NAMES)
    assert place == crowding.Place("crack", (14 / 16, 0.0, 1.0, 2 / 16), pytest.approx(256 / 508), 1 / 64, 4 / 256)


@pytest.mark.parametrize("seed", range(10))
def test_defects_anywhere_are_no_place(seed: int) -> None:
    assert places(noise(seed), LABEL, NAMES) == []


def test_a_mark_in_every_class_is_said_to_be_one_of_every_class() -> None:
    (place,) = places(marked(noise(0), LABEL >= 0), LABEL, NAMES)
    assert place.name is None and place.elsewhere is None and place.share > 0.7
    (single,) = places(marked(noise(0), LABEL >= 0), LABEL * 0, NAMES)
    assert single == place


def test_a_mark_that_other_classes_have_less_clearly_is_no_class_s_own() -> None:
    planted = marked(marked(noise(0), LABEL == 2, 150), LABEL < 2, 100)
    (place,) = places(planted, LABEL, NAMES)
    assert place.name is None


def test_a_mark_of_the_most_frequent_class_is_told_once() -> None:
    label = np.where(np.arange(45) % 5, 2, 0)
    (place,) = places(marked(noise(0), label == 2), label, NAMES)
    assert place.name == "dent"


def test_what_crowds_by_chance_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, label = np.random.default_rng(0), np.repeat([0, 1, 2], 5)
    drawn = []
    for _ in range(30):
        maps = []
        for _ in label:
            values, (y, x) = np.full((16, 16), 0.01), rng.integers(0, 3, 2) * 5
            values[y : y + 5, x : x + 5] = 1  # in one of nine places: three of a class's five often in the same
            maps.append(values)
        drawn.append(maps)
    assert not any(places(maps, label, NAMES) for maps in drawn)
    monkeypatch.setattr(crowding, "ALARM", 0.5)
    assert sum(bool(places(maps, label, NAMES)) for maps in drawn) > 3  # that is what the permutations are for


def test_defects_that_always_lie_in_one_place_are_no_mark_where_masks_are_known() -> None:
    planted = marked(noise(0), LABEL == 2)
    mask = np.zeros((32, 48), dtype=bool)
    mask[28:32, 0:4] = True
    assert places(planted, LABEL, NAMES, [mask if k == 2 else None for k in LABEL]) == []
    assert len(places(planted, LABEL, NAMES, [None] * 45)) == 1


def test_few_pictures_or_a_mark_on_a_few_of_them_are_no_place() -> None:
    planted = marked(noise(0), LABEL == 2)
    few = [*np.flatnonzero(LABEL < 2), *np.flatnonzero(LABEL == 2)[:4]]
    assert places([planted[i] for i in few], LABEL[few], NAMES) == []
    some = (LABEL == 2) & (np.arange(45) < 18)  # 6 of 15
    assert places(marked(noise(0), some), LABEL, NAMES) == []


def test_an_empty_map_is_no_place() -> None:
    assert places([np.zeros((16, 16))] * 45, LABEL, NAMES) == []

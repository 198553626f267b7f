"""Maps against masks: by hand, against scikit-learn, and the three maps whose score is known beforehand."""

import math

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, precision_score, roc_auc_score

from zdd import regions
from zdd.explain import localisation
from zdd.explain.localisation import METRICS, SHARES, choose, measure

MASK = np.zeros((40, 50), dtype=bool)
MASK[5:15, 20:30] = True  # 100 of 2000 pixels
AREA = 0.05


@pytest.mark.parametrize("share", [SHARES[0], 0.05, 0.2, 0.5, 1.0])
def test_the_mask_itself_scores_1_at_whatever_threshold(share: float) -> None:
    assert measure(MASK.astype(np.float32), MASK, share) == dict.fromkeys(METRICS, 1.0)
    assert measure(MASK * 3.0 - 1, MASK, share) == dict.fromkeys(METRICS, 1.0)  # signed: against it elsewhere


@pytest.mark.parametrize("level", [0.0, 1.0, -2.0])
def test_a_uniform_map_scores_the_area_share(level: float) -> None:
    found = measure(np.full(MASK.shape, level), MASK, 0.1)
    assert found == {name: pytest.approx(0.5 if name == "pixel_auc" else AREA) for name in METRICS}


def test_a_random_map_scores_chance() -> None:
    rng = np.random.default_rng(0)
    every = [measure(rng.random(MASK.shape), MASK, 0.1) for _ in range(400)]
    mean = {name: np.mean([one[name] for one in every]) for name in METRICS}
    assert mean["pointing_game"] == pytest.approx(AREA, abs=0.03)  # sd of 400 hits: 0.011
    assert mean["energy_inside"] == pytest.approx(AREA, abs=0.001)
    assert mean["iop"] == pytest.approx(AREA, abs=0.003)
    assert mean["iou"] == pytest.approx(0.1 * AREA / (0.1 + AREA - 0.1 * AREA), abs=0.003)
    assert mean["pixel_auc"] == pytest.approx(0.5, abs=0.01)


def test_by_hand() -> None:
    values = np.array([[4.0, 3.0, 1.0], [0.0, -5.0, 2.0]])
    mask = np.array([[False, True, False], [False, True, True]])
    found = measure(values, mask, 0.5)  # the three highest: 4, 3, 2
    assert found["pointing_game"] == 0.0  # the 4 lies outside
    assert found["energy_inside"] == pytest.approx(5 / 10)  # 3 and 2 of 4+3+1+2; the -5 does not count
    assert found["iou"] == pytest.approx(2 / 4) and found["iop"] == pytest.approx(2 / 3)
    assert found["pixel_auc"] == pytest.approx(4 / 9)  # 3 is above 1 and 0, 2 too, -5 above none; 4 is above all


def test_against_scikit_learn() -> None:
    values = np.random.default_rng(1).normal(0, 1, MASK.shape) + MASK
    taken = values >= np.sort(values.ravel())[-200]  # a tenth of 2000
    found = measure(values, MASK, 0.1)
    assert found["pixel_auc"] == pytest.approx(roc_auc_score(MASK.ravel(), values.ravel()))
    assert found["iou"] == pytest.approx(jaccard_score(MASK.ravel(), taken.ravel()))
    assert found["iop"] == pytest.approx(precision_score(MASK.ravel(), taken.ravel()))
    assert localisation.overlap(values, MASK, 0.1) == (found["iou"], found["iop"])


def test_equal_peaks_share_the_point_and_equal_pixels_are_found_together() -> None:
    values = np.zeros((4, 4))
    values[0, :] = 1
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, 0] = True
    assert localisation.pointing_game(values, mask) == 0.25
    assert localisation.overlap(values, mask, 0.1) == (pytest.approx(1 / 7), 0.25)  # all four, though two were asked


def test_validation_chooses_the_share_of_the_best_mean_iou() -> None:
    rng = np.random.default_rng(2)
    values = [np.where(MASK, 1.0, 0.0) + rng.random(MASK.shape) for _ in range(5)]  # the defect's are the highest half
    share, iou = choose(values, [MASK] * 5)
    each = [np.mean([localisation.overlap(v, MASK, s)[0] for v in values]) for s in SHARES]
    assert iou == pytest.approx(max(each)) and share == SHARES[int(np.argmax(each))]
    assert abs(math.log(share / AREA)) < math.log(1.3)  # the nearest of the shares on offer


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        measure(np.ones((4, 4)), np.zeros((4, 4), dtype=bool), 0.1)
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(4, 5\)"):
        measure(np.ones((4, 4)), np.ones((4, 5), dtype=bool), 0.1)
    with pytest.raises(ValueError, match="no numbers"):
        measure(np.full((40, 50), np.nan), MASK, 0.1)
    with pytest.raises(ValueError, match="no validation image"):
        choose([], [])
    assert math.isnan(localisation.pixel_auc(np.ones((4, 4)), np.ones((4, 4), dtype=bool)))


@pytest.mark.parametrize(
    ("pixels", "size"),
    [(32**2 - 1, "small"), (32**2, "medium"), (96**2 - 1, "medium"), (96**2, "large")],  # COCO's, of a VGA picture
)
def test_sizes_are_those_of_regions(pixels: int, size: str) -> None:
    mask = (np.arange(640 * 480) < pixels).reshape(480, 640)
    assert localisation.size_class(mask, regions.SIZES) == size

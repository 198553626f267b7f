"""Thresholds and verdicts, every number by hand."""

import numpy as np
import pytest

from zdd import decide
from zdd.errors import ZddError
from zdd.records import Columns
from zdd.settings import ThresholdSettings


def rule(name: str, target: float | None = None) -> ThresholdSettings:
    return ThresholdSettings(rule=name, target=target)  # type: ignore[arg-type]


GOOD = [0.1, 0.2, 0.3, 0.7]
BAD = [0.25, 0.6, 0.8, 0.9]
SCORE, DEFECTIVE = np.array(GOOD + BAD), np.array([False] * 4 + [True] * 4)


@pytest.mark.parametrize(
    ("settings", "threshold", "missed", "false_alarms"),
    [
        (rule("youden"), 0.225, 0.0, 0.5),  # 0.5 wrong in all at 0.225, 0.45 and 0.75 alike: the one that misses least
        (rule("false_alarms", 0.0), 0.75, 0.5, 0.0),  # no good part may be stopped: above 0.7
        (rule("false_alarms", 0.25), 0.45, 0.25, 0.25),  # 0.7 may be: the defect at 0.6 is caught with it
        (rule("false_alarms", 0.5), 0.225, 0.0, 0.5),  # 0.3 too: now all are caught
        (rule("false_alarms", 1.0), 0.225, 0.0, 0.5),  # more may be stopped, but nothing is gained by it
        (rule("missed", 0.0), 0.225, 0.0, 0.5),  # every defect: below 0.25
        (rule("missed", 0.25), 0.45, 0.25, 0.25),
        (rule("missed", 0.5), 0.75, 0.5, 0.0),
        (rule("missed", 1.0), 0.75, 0.5, 0.0),  # all might be missed, but none stopped is reached here already
        (rule("fixed", 0.6), 0.6, 0.25, 0.25),  # a score equal to the threshold is a defect: 0.6 is caught
        (rule("fixed", 0.7), 0.7, 0.5, 0.25),  # and the good part at 0.7 stopped
    ],
)
def test_rules(settings: ThresholdSettings, threshold: float, missed: float, false_alarms: float) -> None:
    found = decide.choose(SCORE, DEFECTIVE, settings)
    assert (found.value, found.missed, found.false_alarms) == pytest.approx((threshold, missed, false_alarms))
    assert (found.n_good, found.n_defective, found.rule, found.target) == (4, 4, settings.rule, settings.target)
    assert decide.Threshold.from_dict(found.as_dict()) == found


def test_scores_that_are_apart_are_parted_in_the_middle_of_the_gap() -> None:
    for name, target in (("youden", None), ("false_alarms", 0.05), ("missed", 0.05)):
        found = decide.choose(np.array([0.0, 0.2, 0.6, 1.0]), np.array([False, False, True, True]), rule(name, target))
        assert found.value == pytest.approx(0.4)
        assert found.missed == found.false_alarms == 0
        assert found.missed_at_most == pytest.approx(1 - 0.05**0.5)  # 0 of 2: (1 - p)^2 = 0.05


def test_equal_scores_of_good_and_defective_go_to_one_side_together() -> None:
    score, defective = np.array([0.2, 0.5, 0.5, 0.5, 0.9]), np.array([False, False, True, True, True])
    assert decide.choose(score, defective, rule("youden")).value == pytest.approx(0.35)  # 0.5 wrong; at 0.7: 0.667
    assert decide.choose(score, defective, rule("false_alarms", 0.4)).value == pytest.approx(0.7)
    assert decide.choose(score, defective, rule("missed", 0.4)).value == pytest.approx(0.35)


def test_youden_misses_less_when_two_thresholds_are_equally_good() -> None:
    # Below 0.2: one of two good parts stopped; above 0.4: one of two defects missed.
    found = decide.choose(np.array([0.0, 0.4, 0.2, 0.6]), np.array([False, False, True, True]), rule("youden"))
    assert (found.value, found.missed) == pytest.approx((0.1, 0.0))


def test_a_useless_score_still_gives_a_threshold() -> None:
    one = decide.choose(np.full(4, 0.5), np.array([False, True, False, True]), rule("youden"))
    assert (one.missed, one.false_alarms) == (0.0, 1.0) and one.value < 0.5
    none = decide.choose(np.full(4, 0.5), np.array([False, True, False, True]), rule("false_alarms", 0.3))
    assert (none.missed, none.false_alarms) == (1.0, 0.0) and none.value > 0.5


def test_neighbouring_floats_are_still_parted() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    found = decide.choose(np.array([low, high]), np.array([False, True]), rule("youden"))
    assert (found.missed, found.false_alarms) == (0.0, 0.0)


def test_what_a_rule_lacks_is_said() -> None:
    with pytest.raises(ZddError, match=r"no good image.*\"fixed\""):
        decide.choose(np.array([0.1]), np.array([True]), rule("youden"))
    with pytest.raises(ZddError, match="no good and no defective"):
        decide.choose(np.zeros(0), np.zeros(0, dtype=bool), rule("missed", 0.1))
    with pytest.raises(ZddError, match=r"threshold\.target: the rule 'missed'"):
        decide.choose(SCORE, DEFECTIVE, rule("missed"))
    with pytest.raises(ValueError, match="finite"):
        decide.choose(np.array([0.1, np.nan]), np.array([True, False]), rule("youden"))
    alone = decide.choose(np.array([0.1]), np.array([True]), rule("fixed", 0.5))
    assert (alone.missed, alone.false_alarms, alone.false_alarms_at_most) == (1.0, None, 1.0)


def columns(score: list[float], probability: list[list[float]] | None, argmax: list[int]) -> Columns:
    n = len(score)
    p = None if probability is None else np.array(probability)
    return Columns(np.arange(n), np.zeros(n, dtype=np.int64), np.array(score), np.array(argmax), p)


def test_verdicts() -> None:
    p = [[0.6, 0.1, 0.3], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05]]
    said = columns([0.4, 0.39, 0.8, 0.1], p, [0, 0, 1, 0])
    # At the threshold it is a defect, though good is most probable: the more probable kind of defect is class 2.
    assert decide.verdict(said, 0.4).tolist() == [2, 0, 1, 0]
    assert decide.verdict(said, None).tolist() == [0, 0, 1, 0]  # no good class: the most probable one
    assert decide.verdict(columns([0.2, 3.0], None, [0, 0]), 1.0).tolist() == [0, 1]  # a score alone knows one kind


def test_good_images_alone_are_enough_where_nothing_is_asked_of_defects() -> None:
    score = np.arange(1.0, 21.0)  # 20 good images
    good = np.full(20, False)
    for asked in (rule("false_alarms", 0.1), rule("quantile", 0.9)):
        found = decide.choose(score, good, asked)
        assert (found.value, found.false_alarms, found.missed) == (18.5, 0.1, None)  # 19 and 20 are stopped
    assert decide.choose(score, good, rule("false_alarms", 0.0)).value == 20.5
    assert decide.choose(score, good, rule("quantile", 1.0)).value == 20.5
    assert decide.choose(score, good, rule("false_alarms", 0.14)).value == 18.5  # 3 of 20 would be too many
    with pytest.raises(ZddError, match=r"no defective image.*false_alarms"):
        decide.check(good, rule("youden"))
    mixed = decide.choose(np.append(score, 0.5), np.append(good, True), rule("quantile", 0.9))
    assert (mixed.value, mixed.missed) == (18.5, 1.0)  # a quantile is of the good ones alone


def test_the_pixel_s_threshold_is_passed_by_as_many_good_images_as_the_image_s() -> None:
    peak = np.arange(1.0, 21.0)
    assert decide.choose_pixel(peak, rule("false_alarms", 0.1)) == 18.5
    assert decide.choose_pixel(peak, rule("quantile", 0.9)) == 18.5
    assert decide.choose_pixel(peak, rule("youden")) == 19.5  # 5 in 100 where the rule says nothing
    assert decide.choose_pixel(peak, rule("fixed", 3.0)) == 19.5
    with pytest.raises(ValueError, match="no good image"):
        decide.choose_pixel(np.zeros(0), rule("youden"))

"""The gate on made-up outputs: each fault alone must be refused, and rounding must not."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zdd.export import parity
from zdd.export.base import Outputs
from zdd.export.parity import TOLERANCES, Parity, compare, compare_batches

N, K, SIDE = 40, 3, 8
LABELS = np.arange(N) % K
NAMES = [f"part {i}.png" for i in range(N)]
THRESHOLD = 0.5


def softmax(raw: np.ndarray) -> np.ndarray:
    p = np.exp(raw - raw.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def said(raw: np.ndarray) -> Outputs:
    """A classifier's outputs from logits (n, K)."""
    p = softmax(raw).astype(np.float32)
    return {
        "score": p[:, 1:].sum(1),
        "label": p.argmax(1),
        "probability": p,
        "uncertainty": 1 - p.max(1),
        "energy": -np.log(np.exp(raw).sum(1)).astype(np.float32),
        "raw": raw.astype(np.float32),
    }


@pytest.fixture
def raw() -> np.ndarray:
    """Logits that judge every image rightly, by a margin of 2 to 4."""
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 0, (N, K)) + 3 * np.eye(K)[LABELS]


def drawn(seed: int = 1) -> Outputs:
    """A segmentation's outputs: rising defects, no probability."""
    rng = np.random.default_rng(seed)
    map_ = rng.uniform(0, 0.4, (N, 1, SIDE, SIDE)).astype(np.float32)
    for i in range(N):
        map_[i, 0, : LABELS[i] * 2, :4] = 0.9
    raw = np.concatenate([1 - map_, map_], axis=1)
    area = (map_ >= 0.5).mean((1, 2, 3)).astype(np.float32)
    return {
        "score": area,
        "label": (area > 0).astype(np.int64),
        "map": map_,
        "pixels": np.ones((N, SIDE, SIDE), np.uint8),
        "raw": raw,
    }


def gate(reference: Outputs, found: Outputs, **options: Any) -> Parity:
    defaults: dict[str, Any] = {"labels": LABELS, "precision": "fp32", "threshold": THRESHOLD, "names": NAMES}
    return compare(reference, found, **defaults | options)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_the_same_passes(raw: np.ndarray, precision: str) -> None:
    found = gate(said(raw), said(raw), precision=precision)
    assert found.passed and found.answered == N and found.label_flips == found.threshold_flips == 0
    assert all(each.largest == 0 for each in found.differences.values())
    assert found.change is not None and found.change.n == 26 and found.change.reference == 1  # labels 1 and 2
    assert found.lines()[-1] == "  passed"


def test_rounding_passes(raw: np.ndarray) -> None:
    noise = np.random.default_rng(2).normal(0, 3e-6, raw.shape)
    assert gate(said(raw), said(raw + noise)).passed


def test_one_percent_of_noise_is_refused_in_fp32_and_passes_in_int8(raw: np.ndarray) -> None:
    noise = np.random.default_rng(2).normal(0, 0.01, raw.shape)
    strict = gate(said(raw), said(raw + noise))
    assert not strict.passed and any(reason.startswith("raw: differs") for reason in strict.refused)
    assert strict.label_flips == 0, "it is the numbers that tell"
    assert gate(said(raw), said(raw + noise), precision="int8").passed


def test_one_image_among_many_is_found_and_named(raw: np.ndarray) -> None:
    other = raw.copy()
    other[17] += [0.02, 0, 0]
    found = gate(said(raw), said(other))
    assert not found.passed and found.worst[0].row == 17 and "part 17.png" in found.lines()[-10]
    assert found.worst[0].output in ("raw", "probability", "score", "energy", "uncertainty")


def test_differences_are_measured_in_standard_deviations() -> None:
    # 0, 2, 0, 2, ...: mean 1, deviation 1; image 3 is off by 0.25
    score = np.tile([0.0, 2.0], N // 2).astype(np.float32)
    other = score.copy()
    other[3] += 0.25
    found = gate({"score": score}, {"score": other}, threshold=1.0).differences["score"]
    assert (found.scale, found.largest, found.mean) == (1.0, 0.25, 0.25 / N)
    assert found.allowed_largest == 1e-3 and found.allowed_mean == 1e-4


def test_the_worst_element_and_the_mean_of_all_are_held_apart() -> None:
    raw = np.tile([0.0, 60.0, 0.0, 60.0], (N, 1)).astype(np.float32)  # how much elements differ does not count
    raw[::2] += 20  # images do: deviation 10
    raw[:, 1::2] -= 30
    other = raw.copy()
    other[3, 2] += 4
    found = gate({"raw": raw}, {"raw": other}, threshold=None).differences["raw"]
    assert (found.scale, found.largest, found.mean) == (10.0, 4.0, 4 / (4 * N))  # RESOLVED x 50 is less
    assert found.allowed_largest == pytest.approx(0.01) and found.allowed_mean == pytest.approx(0.001)
    assert not found.within


def test_elements_that_vary_unevenly_count_by_their_mean_square() -> None:
    raw = np.zeros((N, 2), np.float32)
    raw[::2] = [2, 14]  # deviations 1 and 7: the mean square is 25
    assert gate({"raw": raw}, {"raw": raw}, threshold=None).differences["raw"].scale == pytest.approx(5.0)


def test_what_hardly_varies_is_measured_by_its_size() -> None:
    score = (20 + 1e-6 * np.arange(N)).astype(np.float64)
    found = gate({"score": score}, {"score": score + 1e-5}, threshold=None)
    assert found.differences["score"].scale == pytest.approx(1.0, rel=1e-4) and found.passed


def test_a_defect_that_is_no_longer_caught_is_a_drop_and_the_worst_image(raw: np.ndarray) -> None:
    other = raw.copy()
    other[4] = [3, 0, 0]  # label 1, now good; by far not the largest difference of logits
    other[0] += [30, 0, 0]  # a good one, even better
    found = gate(said(raw), said(other), precision="int8")
    assert found.label_flips == found.threshold_flips == 1
    assert found.change is not None and (found.change.lost, found.change.gained) == (1, 0)
    assert found.change.found == pytest.approx(25 / 26)
    assert found.worst[0].name == "part 4.png" and found.worst[0].verdict == "defective -> good"
    assert any("defect recall falls by 3.85 points" in reason for reason in found.refused)


def test_false_alarms_alone_are_refused(raw: np.ndarray) -> None:
    other = raw.copy()
    other[LABELS == 0] = [0, 2, 0]  # every part is defective: none is missed
    found = gate(said(raw), said(other), precision="int8", accept_drop=0.05)
    assert found.change is not None and found.change.found == 1
    assert not found.passed and any("14 of 40 images change sides" in reason for reason in found.refused)


def test_an_undecided_image_may_fall_either_way() -> None:
    score = np.linspace(0, 1, N).astype(np.float32)
    score[20] = 0.5  # the deviation is 0.3: up to 0.0003 is a tie
    for off, passes in ((1e-5, True), (2e-4, True), (1e-3, False)):
        other = score.copy()
        other[20] -= off
        found = gate({"score": score}, {"score": other}, threshold=0.5)
        assert found.threshold_flips == 1 and found.ties == 1 and found.passed == passes, off  # 0.001 is too far off
    p = np.tile([0.9, 0.1, 0.0], (N, 1)).astype(np.float32)
    p[::2] = [0.50005, 0.49995, 0]  # deviations 0.2, 0.2, 0, so 0.16 of all: up to 0.00016 is a tie
    p[8] = [0.6, 0.4, 0]
    other = np.where(np.arange(N) % 2 == 0, 1, 0)
    flipped = gate({"label": p.argmax(1), "probability": p}, {"label": other, "probability": p}, threshold=None)
    assert flipped.label_flips == N // 2 and flipped.ties == N // 2 - 1
    assert flipped.refused == ("1 of 40 images have another most probable class; 0.00% may",)
    score[20] = 0.502
    other = score.copy()
    other[20] = 0.499
    assert gate({"score": score}, {"score": other}, threshold=0.5).ties == 0


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("kept", [0, 1, 32, 39])
def test_a_dropped_batch_is_refused_whatever_is_accepted(raw: np.ndarray, precision: str, kept: int) -> None:
    whole = said(raw)
    short = {name: value[:kept] for name, value in whole.items()}
    for found in (
        gate(whole, short, precision=precision),
        gate(whole, short, precision=precision, accept_drop=1.0),
        compare_batches(
            [({k: v[:kept] for k, v in whole.items()}, short)] if kept else [],
            labels=LABELS,
            precision=precision,
            threshold=THRESHOLD,
        ),
    ):
        assert not found.passed and found.answered == kept and found.images == N
        assert not found.label_flips and not found.threshold_flips, "nothing was said, so nothing else was"
        assert f"{N - kept} of {N} images were not answered" in found.refused
        json.dumps(found.as_dict(), allow_nan=False)
        assert found.lines()
    named = gate(whole, short).worst
    assert [each.row for each in named] == list(range(kept, N))[: len(named)] or kept > 30
    assert named[0].verdict == "no answer" and named[0].row == kept


def test_a_defect_without_an_answer_is_missed(raw: np.ndarray) -> None:
    found = gate(said(raw), {name: value[:38] for name, value in said(raw).items()})  # 38, 39: labels 2, 0
    assert found.change is not None and found.change.lost == 1
    assert gate(said(raw), {k: v[:36] for k, v in said(raw).items()}, threshold=None).change.lost == 4  # type: ignore[union-attr]


def test_padding_that_was_left_on_is_refused(raw: np.ndarray) -> None:
    padded = {name: np.concatenate([value, value[:2]]) for name, value in said(raw).items()}
    assert any("padding was left on" in reason for reason in gate(said(raw), padded).refused)


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda o: {**o, "raw": np.repeat(o["raw"][:1], N, 0)}, "same answer"),
        (lambda o: {name: value for name, value in o.items() if name != "energy"}, "no output 'energy'"),
        (lambda o: {**o, "probability": o["probability"][:, :2]}, "[2] an image, not [3]"),
        (lambda o: {**o, "energy": np.where(np.arange(N) == 5, np.nan, o["energy"])}, "not a finite number"),
        (lambda o: {**o, "score": np.where(np.arange(N) == 5, np.inf, o["score"])}, "not a finite number"),
        (lambda o: {**o, "input": o["input"] ^ (np.arange(N)[:, None] == 5)}, "other pixels"),
    ],
    ids=["constant", "missing", "shape", "nan", "infinite", "pixels"],
)
def test_what_is_unfit_is_refused_at_every_precision_and_never_accepted(
    raw: np.ndarray, spoil: Callable[[Outputs], Outputs], says: str, precision: str
) -> None:
    whole = {"input": np.arange(N * 4, dtype=np.uint8).reshape(N, 4), **said(raw)}
    assert gate(whole, dict(whole), precision=precision).passed
    for accept in (None, 1.0):
        found = gate(whole, spoil(whole), precision=precision, accept_drop=accept)
        assert any(says in reason for reason in found.refused), found.refused
        assert not any(says in reason for reason in found.accepted)
        json.dumps(found.as_dict(), allow_nan=False)
        if says == "not a finite number":
            assert found.worst[0].row == 5 and found.worst[0].scales is None
            assert sum(each.largest is None for each in found.differences.values()) == 1


def test_the_line_of_an_image_says_what_is_wrong_with_it(raw: np.ndarray) -> None:
    whole = {"input": np.zeros((N, 4), np.uint8), **said(raw)}
    other = {name: value.copy() for name, value in whole.items()}
    other["energy"][7] += 3
    other["raw"][8] = np.nan
    other["input"][9] = 1
    other["score"][3] = 0.75  # a good one
    lines = {each.row: each.line() for each in gate(whole, other).worst}
    assert lines[3].startswith("part 3.png: good -> defective, score 0.0")
    assert "energy is off by" in lines[7] and "standard deviations" in lines[7]
    assert lines[8].endswith("its answer is not finite") and "standard" not in lines[8]
    assert lines[9].endswith("other pixels were read from the file")
    assert "off by" not in lines[0]


def test_an_infinity_that_the_reference_gives_too_is_the_same(raw: np.ndarray) -> None:
    whole = said(raw)
    whole["energy"][3] = -np.inf
    assert not gate(whole, {**whole, "energy": np.nan_to_num(whole["energy"])}).passed
    assert gate(whole, whole).differences["energy"].largest == 0


def test_constant_answers_are_found_over_batches_of_one(raw: np.ndarray) -> None:
    whole = said(raw)
    one = {name: value[:1] for name, value in whole.items()}
    pairs = [({name: value[i : i + 1] for name, value in whole.items()}, one) for i in range(N)]
    options: dict[str, Any] = {"labels": LABELS, "precision": "int8", "threshold": None}
    assert any("same answer" in reason for reason in compare_batches(pairs, **options).refused)
    alike = [(one, one)] * N
    assert compare_batches(alike, **options).passed, "of images that are all alike"


@pytest.mark.parametrize("name", ["score", "raw"])
@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_constants_are_found_where_all_images_are_good_and_no_verdict_can_change(name: str, noise: float) -> None:
    rng = np.random.default_rng(4)
    whole = said(rng.uniform(-1, 0, (N, K)) + 4 * np.eye(K)[0])
    options: dict[str, Any] = {"labels": np.zeros(N, np.int64), "precision": "int8", "accept_drop": 0.01}
    same = np.repeat(whole[name].mean(0, keepdims=True), N, 0) + noise * rng.normal(size=whole[name].shape)
    found = gate(whole, {**whole, name: same}, **options)
    assert found.label_flips == found.threshold_flips == 0
    assert any("same answer" in reason for reason in found.refused), found.lines()
    half = whole[name].mean(0) + 0.5 * (whole[name] - whole[name].mean(0))  # far off, but it varies
    assert gate(whole, {**whole, name: half}, **options).passed
    sure = {**whole, "score": np.where(np.arange(N) == 3, np.float32(1.2e-7), np.float32(0))}
    assert gate(sure, {**sure, "score": np.zeros(N, np.float32)}, **options).passed, "of nothing but rounding"


def test_where_no_image_is_defective_it_is_said_that_nothing_is_known_of_defects(raw: np.ndarray) -> None:
    line = "no defective image among them: whether defects are still caught is not known"
    assert line in "\n".join(gate(said(raw), said(raw), labels=np.zeros(N, np.int64)).lines())
    assert line not in "\n".join(gate(said(raw), said(raw)).lines())


def test_a_single_answer_is_not_the_same_answer(raw: np.ndarray) -> None:
    (reason,) = gate(said(raw), {name: value[:1] for name, value in said(raw).items()}, precision="int8").refused[:1]
    assert reason == "39 of 40 images were not answered"


def test_batches_say_what_all_at_once_say(raw: np.ndarray) -> None:
    whole = said(raw) | {name: value for name, value in drawn().items() if name in ("map", "pixels")}
    noise = np.random.default_rng(3).normal(0, 0.3, raw.shape)
    other = said(raw + noise) | {name: value for name, value in drawn(5).items() if name in ("map", "pixels")}
    cut = [slice(start, start + 16) for start in range(0, N, 16)]  # the last batch has 8
    pairs = [({k: v[at] for k, v in whole.items()}, {k: v[at] for k, v in other.items()}) for at in cut]
    together = gate(whole, other, pixel=0.5).as_dict()
    apart = compare_batches(
        iter(pairs), labels=LABELS, precision="fp32", threshold=THRESHOLD, names=NAMES, pixel=0.5
    ).as_dict()
    for name, each in together.pop("differences").items():
        assert apart["differences"][name] == {key: at and pytest.approx(at, rel=1e-6) for key, at in each.items()}
    apart.pop("differences")
    assert [row["row"] for row in together.pop("worst")] == [row["row"] for row in apart.pop("worst")]
    assert apart.pop("refused") != () and together.pop("refused") != ()
    assert together == apart


def test_pixels_are_compared_as_they_are_judged() -> None:
    whole = drawn()
    kind = whole["pixels"].copy()
    kind[:, SIDE - 1] = 2  # another kind where nothing is defective
    assert gate(whole, {**whole, "pixels": kind}, pixel=0.5, threshold=0.05).passed
    kind[1, 0, 0] = 2  # and one defective pixel of 2560: 0.04 %
    found = gate(whole, {**whole, "pixels": kind}, pixel=0.5, threshold=0.05)
    assert found.differences["defective pixels"].mean == 1 / (N * SIDE * SIDE)
    assert any("0.039% of all pixels" in reason for reason in found.refused)
    assert gate(whole, {**whole, "pixels": kind}, pixel=0.5, threshold=0.05, precision="bf16").passed


def test_small_defects_that_are_found_elsewhere_are_refused_though_they_are_few_pixels() -> None:
    side, rng = 64, np.random.default_rng(0)
    raw = rng.normal(-8, 0.05, (N, 1, side, side)).astype(np.float32)
    for i in np.flatnonzero(LABELS):
        y, x = rng.integers(0, 28, 2)
        raw[i, 0, y : y + 3, x : x + 3] = 4  # 9 of 4096 pixels: 0.1 % of all
    defective = raw >= 0
    score = defective.mean((1, 2, 3)).astype(np.float32)
    whole = {"score": score, "label": (score > 0).astype(np.int64), "map": 1 / (1 + np.exp(-raw)), "raw": raw}
    options: dict[str, Any] = {"precision": "int8", "pixel": 0.5, "threshold": 1e-4}
    mirrored = {**whole, **{name: whole[name][..., ::-1] for name in ("map", "raw")}}
    for accept in (None, 0.01):
        found = gate(whole, mirrored, accept_drop=accept, **options)
        assert [why for why in found.refused if "100% of all defective pixels" in why], found.lines()
    shifted = {**whole, **{name: np.roll(whole[name], 1, axis=3) for name in ("map", "raw")}}
    # Of 3 x 4 pixels that either finds, a column of 3 is lost and one gained: a half.
    assert gate(whole, shifted, **options).passed
    assert gate(whole, mirrored, accept_drop=1.0, **options).passed


def test_a_score_that_counts_pixels_may_move_by_those_that_fell_the_other_way() -> None:
    whole = drawn()
    whole["map"][5, 0, SIDE - 1, SIDE - 1] = 0.49999997  # undecided to the last digit
    other = {**whole, "map": whole["map"].copy(), "score": whole["score"].copy()}
    other["map"][5, 0, SIDE - 1, SIDE - 1] = 0.5
    step = 1 / SIDE**2
    other["score"][5] += np.float32(step)
    found = gate(whole, other, pixel=0.5, threshold=0.05)
    assert found.differences["score"].largest == pytest.approx(0, abs=1e-8)
    assert found.differences["defective pixels"].mean == pytest.approx(step / N)
    other["score"][5] += np.float32(step)  # two pixels' worth, and one fell
    assert gate(whole, other, pixel=0.5, threshold=0.05).differences["score"].largest == pytest.approx(step, rel=1e-3)


def test_the_uncertainty_is_measured_by_no_less_than_the_probabilities(raw: np.ndarray) -> None:
    # Sure of all images, so that the uncertainty hardly varies: the largest logit is 20 above the others, 8 of a few.
    sure = 20 * np.eye(K)[LABELS]
    sure[::9] *= 0.4
    reference, found = said(sure), said(sure)
    spread = float(np.sqrt(reference["probability"].var(0).mean()))
    assert reference["uncertainty"].std() < 0.01 * spread
    found["uncertainty"] = found["uncertainty"] + np.float32(0.02)
    differences = gate(reference, found, precision="bf16").differences
    assert differences["uncertainty"].scale == differences["probability"].scale == pytest.approx(spread, rel=1e-4)
    assert differences["uncertainty"].within  # 0.05 of about 0.47 may be
    assert not gate(reference, found).differences["uncertainty"].within


def test_without_pixels_the_map_alone_judges() -> None:
    whole = {name: value for name, value in drawn().items() if name != "pixels"}
    other = {**whole, "map": whole["map"] * np.float32(0.5)}  # 0.9 becomes 0.45
    found = gate(whole, other, pixel=0.5, threshold=0.05, precision="int8")
    defective = float((whole["map"] >= 0.5).mean())
    assert found.differences["defective pixels"].mean == pytest.approx(defective)


def test_an_accepted_drop_is_recorded_and_no_more_is_accepted(raw: np.ndarray) -> None:
    other = raw.copy()
    other[4] = [3, 0, 0]
    strict = gate(said(raw), said(other), precision="fp32")
    assert not strict.passed and strict.accepted == () and strict.accept_drop is None
    found = gate(said(raw), said(other), precision="fp32", accept_drop=0.04)  # 1 of 26 is 0.0385
    assert found.passed and found.accept_drop == 0.04 and len(found.accepted) == len(strict.refused)
    assert any("--accept-drop 0.04" in line for line in found.lines())
    assert not gate(said(raw), said(other), accept_drop=0.03).passed
    assert found.as_dict()["accept_drop"] == 0.04 and found.as_dict()["passed"] is True


def test_without_a_threshold_it_is_the_accuracy_that_may_not_fall(raw: np.ndarray) -> None:
    other = raw.copy()
    other[[0, 1]] = other[[1, 0]]
    found = gate(said(raw), said(other), threshold=None, precision="int8")
    assert found.threshold_flips is None and found.change is not None and found.change.what == "accuracy"
    assert found.change.lost == 2 and found.worst[0].verdict == "class 0 -> 1"


def test_a_method_that_gives_a_score_alone() -> None:
    score = np.linspace(0, 1, N).astype(np.float32)
    found = gate({"score": score, "raw": score}, {"score": score, "raw": score})
    assert found.passed and found.label_flips is None and found.change is not None
    assert gate({"score": score}, {"score": score}, threshold=None).change is None


def test_no_image_is_no_parity() -> None:
    assert not compare_batches([], labels=LABELS[:0], precision="fp32", threshold=0.5).passed


def test_more_answers_than_labels_is_the_callers_mistake(raw: np.ndarray) -> None:
    with pytest.raises(ValueError, match="40 images of 39"):
        gate(said(raw), said(raw), labels=LABELS[:39])


def test_the_dictionary_is_plain_and_whole(raw: np.ndarray) -> None:
    noise = np.random.default_rng(2).normal(0, 2, raw.shape)
    plain = json.loads(json.dumps(gate(said(raw), said(raw + noise)).as_dict(), allow_nan=False))
    assert set(plain) >= {"precision", "images", "answered", "differences", "change", "tolerance", "worst", "passed"}
    assert set(plain["differences"]["raw"]) == {"largest", "mean", "scale", "allowed_largest", "allowed_mean"}
    assert len(plain["worst"]) == 10 and plain["change"]["equivalent"] is False


@pytest.mark.parametrize("precision", TOLERANCES)
def test_an_engine_of_another_network_is_refused_at_every_precision_by_its_numbers(precision: str) -> None:
    mine, other = np.random.default_rng(0).normal(0, 1, (2, N, K))
    found = gate({"raw": mine}, {"raw": other}, precision=precision, threshold=None)
    assert found.label_flips is None and any(reason.startswith("raw: differs") for reason in found.refused)
    middle = np.repeat(mine.mean(0)[None], N, 0) + 1e-6 * other  # nearly the same to all: not the same, but useless
    assert not gate({"raw": mine}, {"raw": middle}, precision=precision, threshold=None).passed


def test_tolerances_grow_as_the_precision_falls() -> None:
    rows = [TOLERANCES[name] for name in ("fp32", "fp16", "bf16", "int8")]
    for finer, coarser in itertools.pairwise(rows):
        assert finer.mean < coarser.mean and finer.flips < coarser.flips and finer.drop <= coarser.drop
    assert TOLERANCES["fp32"].flips == TOLERANCES["fp32"].drop == 0
    assert parity.__doc__ and "compare_batches" in parity.__doc__

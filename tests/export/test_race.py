"""What a benchmark's calls are made of, what engines are given and how their answers are counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_run import finish, settings

from zdd import benchmarking, coldstart, contenders, decide, race
from zdd.contenders import Contender
from zdd.errors import ZddError
from zdd.race import Racer, Subject
from zdd.report import speed
from zdd.rundir import RunDir
from zdd.trained import load_trained


@pytest.fixture(scope="module")
def run(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("runs") / "small/start/run_0")
    finish(run, settings(parts))
    return run


def racer(run: RunDir, call: contenders.Run, largest: int | None = None) -> Racer:
    trained = load_trained(run)
    records = benchmarking._subjects([run])[0].records
    subject = Subject("small", run, trained, records)
    pixels = np.stack([trained.preprocess.load(path) for path in subject.files[:5]])
    return Racer(Contender(run, trained, "planted", call, 0.0, 1, largest), subject, pixels)


def test_images_come_in_turn_and_no_batch_is_short(run: RunDir) -> None:
    seen: list[np.ndarray] = []  # type: ignore[type-arg]
    each = racer(run, lambda pixels: seen.append(pixels) or {})  # type: ignore[func-returns-value]
    for batch in (2, 8):  # 5 images in memory: 2, 2, and over again; 8 are more than there are
        seen.clear()
        call = each.calls(batch)
        for _ in range(4):
            call()
        assert {len(pixels) for pixels in seen} == {batch}
        assert all(pixels.flags.c_contiguous for pixels in seen)
    seen.clear()
    call = each.calls(1)
    for _ in range(6):
        call()
    assert [np.array_equal(pixels[0], each.pixels[i % 5]) for i, pixels in enumerate(seen)] == [True] * 6


def test_an_engine_of_a_fixed_batch_judges_every_image(run: RunDir) -> None:
    sizes: list[int] = []
    memory = np.zeros(4, np.float32)  # used again by every call, as some engines do

    def call(pixels: np.ndarray) -> dict[str, Any]:  # type: ignore[type-arg]
        assert len(pixels) <= 4
        sizes.append(len(pixels))
        memory[: len(pixels)] = pixels[:, 0, 0, 0]
        return {"score": memory[: len(pixels)]}

    each = racer(run, call, largest=4)
    assert each.takes(4)
    assert not each.takes(5)
    pixels = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(3, 3)
    assert race._in_parts(each.contender, pixels)["score"].tolist() == list(range(10))
    assert sizes == [4, 4, 2]


def test_shares_by_hand(run: RunDir) -> None:
    truth, given = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 1, 2, 2, 0])
    found = race._shares(truth, given, racer(run, lambda _: {}))
    assert found["accuracy"] == 5 / 8
    assert found["interval"] == pytest.approx([0.3057, 0.8632], abs=1e-4)  # Wilson, 5 of 8
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    assert found["defect_recall"] == 3 / 4  # a defect taken for another is caught all the same
    assert found["false_alarm_rate"] == 1 / 4


@pytest.mark.parametrize("engine", ["channels_last", pytest.param("compile", marks=pytest.mark.slow)])
def test_torch_otherwise_says_the_same(run: RunDir, engine: str) -> None:
    trained = load_trained(run)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    pixels[1:] //= np.array([1, 3, 30], np.uint8)  # red: another order of the channels is another image
    eager, other = (contenders.load(run, trained, name, threads=1) for name in ("eager", engine))
    assert other.error is None
    for name, value in eager.call(pixels).items():
        np.testing.assert_allclose(other.call(pixels)[name], value, rtol=1e-5, atol=1e-6)


def test_what_failed_or_must_not_be_believed_is_not_on_the_front() -> None:
    def row(title: str, ms: float, right: float, **other: Any) -> dict[str, Any]:
        whole = {"p50_ms": ms, "fault": other.get("fault")}
        share = {"balanced_accuracy": right}
        facts = {"title": title, "error": None, "test_hash": other.get("test_hash", "a")}
        return {**facts, "end_to_end": whole, "accuracy": share}

    lying, broken = row("lies", 0.1, 1.0, fault="does not synchronise"), {"title": "broken", "error": "no memory"}
    others = row("of other images", 5, 0.5, test_hash="b")
    found = speed.marked([row("fast", 1, 0.9), lying, row("right", 2, 0.95), row("neither", 2, 0.9), broken, others])
    assert [each["title"] for each in found if each["pareto"]] == ["fast", "right", "of other images"]


@pytest.mark.parametrize(
    ("engines", "ticks", "named"),
    [
        ({"onnx-fp32": (2.43, 1.0)}, ["2", "5"], ["onnx-fp32"]),  # alone it is on no front
        ({"eager": (10.2, 1.0), "onnx-fp32": (2.43, 1.0)}, ["2", "5", "10", "20"], ["eager", "onnx-fp32", "front"]),
        (
            {"eager": (2400, 0.5), "onnx-fp32": (940, 1.0)},
            ["500", "1000", "2000", "5000"],
            ["eager", "onnx-fp32", "front"],
        ),
    ],
)
def test_the_plot_reaches_from_number_to_number_and_names_a_front_where_there_is_one(
    engines: dict[str, tuple[float, float]], ticks: list[str], named: list[str]
) -> None:
    rows = [
        {"title": name, "engine": name, "run": "a", "error": None, "test_hash": "a",
         "end_to_end": {"p50_ms": ms, "fault": None}, "accuracy": {"balanced_accuracy": right}}
        for name, (ms, right) in engines.items()
    ]  # fmt: skip
    axes = speed._axes(speed.marked(rows))
    axes.figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ticks
    assert axes.get_xlim() == (float(ticks[0]), float(ticks[-1]))
    assert [text.split(":")[0] for text in axes.get_legend_handles_labels()[1]] == named
    assert max(float(label.get_text()) for label in axes.get_yticklabels()) <= 100 < axes.get_ylim()[1]


def test_a_process_that_hangs_or_dies_is_an_error(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coldstart, "CODE", "import time; time.sleep(60)")
    with monkeypatch.context() as patch, pytest.raises(ZddError, match="gives no verdict"):
        patch.setattr(coldstart, "LIMIT_S", 0.5)
        coldstart.cold_start(run, "eager", Path("x.png"), threads=1)
    monkeypatch.setattr(coldstart, "CODE", "print('good', flush=True); raise SystemExit('out of memory')")
    with pytest.raises(ZddError, match="out of memory"):
        coldstart.cold_start(run, "eager", Path("x.png"), threads=1)


def test_from_file_to_verdict_reads_each_file_and_judges_it(run: RunDir) -> None:
    trained, seen = load_trained(run), []
    eager = contenders.load(run, trained, "eager", threads=1).call

    def call(pixels: race.Pixels) -> race.Said:
        seen.append(pixels)
        return eager(pixels)

    each = racer(run, call)
    files = each.subject.files[:4]
    judge, read = each.judges(), each.reads()
    given = [judge() for _ in files]
    pixels = np.stack([trained.preprocess.load(path) for path in files])
    assert np.array_equal(np.concatenate(seen), pixels)
    assert all(np.array_equal(read(), one) for one in pixels)  # type: ignore[arg-type]
    assert trained.threshold is not None
    expected = decide.verdict(race.columns(eager(pixels), np.zeros(4, np.int64)), trained.threshold.value)
    assert np.concatenate(given).tolist() == expected.tolist()

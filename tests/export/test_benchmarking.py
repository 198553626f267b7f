"""`zdd benchmark`: real runs and engines, small; and engines that must not be believed."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_run import finish, settings
from PIL import Image

from zdd import bench, benchmarking, cli, coldstart, contenders, examine, files, plugins, race, tables
from zdd.benchmarking import Wish, benchmark
from zdd.errors import ZddError
from zdd.export.graph import Whole
from zdd.report import speed
from zdd.rundir import RunDir
from zdd.trained import Trained, load_trained

SHORT = Wish(seconds=0.6, batches=(1, 3), threads=1, cold=False)


def exported(run: RunDir, trained: Trained, name: str = "onnx-fp32") -> Path:
    """Export as `zdd export` does, without its gate."""
    folder = run.path / "export" / name
    folder.mkdir(parents=True)
    preprocess = trained.preprocess
    whole = Whole(trained.model.net, trained.model.decode, preprocess.mean, preprocess.std)
    example = np.random.default_rng(0).integers(0, 256, (3, *preprocess.size, 3), dtype=np.uint8)
    plugins.load("export", "onnx")(whole, example, folder)
    stored = {
        name: files.read_json(run.model)[name] for name in ("classes", "threshold", "preprocess", "weights_sha256")
    }
    hashes = {path.name: files.sha256(path) for path in folder.iterdir()}
    known = {"format": 1, "engine": "onnx", "precision": "fp32", "files": hashes, "outputs": list(whole.names)}
    files.write_json(folder / "model.json", known | stored)
    return folder


@pytest.fixture(scope="module")
def raced(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, dict[str, Any]]:
    """A run with an engine, tested and timed."""
    run = RunDir(tmp_path_factory.mktemp("runs") / "small/start/run_0")
    exported(run, finish(run, settings(parts)))
    examine.examine_run(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmarking, "STARTS", 1)
        return run, benchmark([run.path], Wish(seconds=2, batches=(1, 3), threads=1, takt_ms=10_000))


@pytest.fixture
def run(parts: Path, tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "other/start/run_0")
    finish(run, settings(parts))
    return run


def copied(raced: tuple[RunDir, dict[str, Any]], run: RunDir) -> Path:
    """The engine of one run in another of the same weights."""
    return shutil.copytree(raced[0].path / "export/onnx-fp32", run.path / "export/onnx-fp32")


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["title"]: row for row in result["rows"]}


def test_every_figure_that_was_promised_is_there(raced: tuple[RunDir, dict[str, Any]]) -> None:
    run, result = raced
    assert json.loads(run.benchmark.read_text())["rows"] == result["rows"]
    assert list(rows(result)) == ["eager", "onnx-fp32"]
    for row in result["rows"]:
        for one in (row["end_to_end"], row["model"]["1"], row["model"]["3"]):
            times = [one[key] for key in ("p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms")]
            assert times == sorted(times)
            assert one["fault"] is None
            assert one["images_per_s"] > 0
        assert row["parameters"] > 0
        assert row["gflops"] > 0
        assert row["file_mb"] > 0
        assert row["error"] is None
        assert row["end_to_end"]["late_share"] == 0
        assert 0 < row["end_to_end"]["late_share_at_most"] < 1
        assert 0 < row["cold"]["load_s"] < row["cold"]["cold_start_s"]
        assert row["cold"]["peak_mib"] > 20
        assert row["joules_per_image"] is None or row["joules_per_image"] > 0
    assert result["machine"]["threads"] == 1
    assert result["machine"]["affinity"]
    assert "onnxruntime" in result["machine"]["versions"]
    assert "read small/run_0" in result["reading"]
    with Image.open(run.benchmark_plot) as plot:
        assert plot.width > 800


def test_from_file_to_verdict_takes_longer_than_reading_alone(raced: tuple[RunDir, dict[str, Any]]) -> None:
    # Both in the same rounds; the model alone had its own, and another load of the machine.
    assert raced[1]["reading"]["read small/run_0"]["p50_ms"] < rows(raced[1])["eager"]["end_to_end"]["p50_ms"]


def test_an_exact_engine_is_as_accurate_as_the_run_s_own_report_says(raced: tuple[RunDir, dict[str, Any]]) -> None:
    run, result = raced
    stored = files.read_json(run.metrics)["test"]
    for row in result["rows"]:
        for name in ("accuracy", "balanced_accuracy", "defect_recall", "false_alarm_rate"):
            assert row["accuracy"][name] == pytest.approx(stored[name]["value"]), (row["title"], name)
        assert row["accuracy"]["images"] == row["accuracy"]["of"] == 31  # the short last chunk is counted, too


def test_it_is_counted_as_a_look_at_the_test_images(raced: tuple[RunDir, dict[str, Any]]) -> None:
    lines = raced[0].looks.read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines[:2]] == ["31 images: test", "31 images: benchmark"]


def test_an_engine_starts_without_torch_and_needs_less(raced: tuple[RunDir, dict[str, Any]]) -> None:
    found = rows(raced[1])
    assert found["onnx-fp32"]["cold"]["peak_mib"] < found["eager"]["cold"]["peak_mib"] - 50
    order = {"run": str(raced[0].path), "name": "onnx-fp32", "threads": 1, "device": "cpu"}
    order["image"] = str(raced[0].benchmark_plot)
    code = (
        "import sys; from zdd.coldstart import first_verdict as go; go(sys.argv[1]); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(order)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] in load_trained(raced[0]).task.classes


def test_the_report_shows_it(raced: tuple[RunDir, dict[str, Any]]) -> None:
    page = raced[0].report.read_text()
    assert "<h2>Speed</h2>" in page
    assert "onnx-fp32" in page
    assert "On the front" in page
    examine.examine_run(raced[0])  # tested anew: the section stays
    assert "<h2>Speed</h2>" in raced[0].report.read_text()


def test_the_table_says_what_the_front_is(
    raced: tuple[RunDir, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    tables.speed(raced[1])
    assert "front: no other engine is both as fast" in capsys.readouterr().err
    tables.speed(raced[1] | {"rows": raced[1]["rows"][:1]})
    assert "front" not in capsys.readouterr().err


def test_an_engine_of_other_weights_is_not_timed(raced: tuple[RunDir, dict[str, Any]], run: RunDir) -> None:
    folder = copied(raced, run)
    stored = files.read_json(folder / "model.json")
    files.write_json(folder / "model.json", stored | {"weights_sha256": "0" * 64})
    result = benchmark([run.path], SHORT)
    assert "other weights" in rows(result)["onnx-fp32"]["error"]
    assert rows(result)["eager"]["error"] is None
    assert rows(result)["eager"]["pareto"]
    assert "zdd export" in "".join(result["messages"])


def test_a_damaged_engine_is_not_timed(raced: tuple[RunDir, dict[str, Any]], run: RunDir) -> None:
    folder = copied(raced, run)
    (folder / "model.onnx").write_bytes(b"no engine")
    result = benchmark([run.path], SHORT)
    assert "SHA-256" in rows(result)["onnx-fp32"]["error"]
    with pytest.raises(ZddError, match="SHA-256"):
        coldstart.cold_start(run, "onnx-fp32", Path("x.png"), threads=1)


def test_an_engine_that_is_not_there_says_how_it_is_made(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZddError, match=r"zdd export .* --engine onnx --precision int8"):
        benchmark([run.path], Wish(engines=("onnx-int8",)))
    with pytest.raises(ZddError, match="there is no engine 'onyx'"):
        benchmark([run.path], Wish(engines=("onyx",)))
    with pytest.raises(ZddError, match=r"there is no engine 'onnx-fp23' .*must be one of \"fp32\", \"int8\""):
        benchmark([run.path], Wish(engines=("onnx-fp23",)))
    assert cli.main(argv=["benchmark", str(run.path), "--engines", "onyx"]) == 2
    assert "onyx" in capsys.readouterr().err
    assert not run.benchmark.exists()


def test_an_engine_that_fills_its_outputs_later_is_not_timed(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    score, due = np.zeros(1, np.float32), list[float]()

    def queue(pixels: np.ndarray) -> dict[str, Any]:  # type: ignore[type-arg]
        due.append(pixels.mean())
        return {"score": score}

    # The device is done while somebody waits: by the real clock a busy machine could be later than any wait.
    monkeypatch.setattr(bench.time, "sleep", lambda _: score.fill(due.pop()) if due else None)
    monkeypatch.setitem(contenders.LIVE, "channels_last", lambda *_: queue)
    result = benchmark([run.path], Wish(**vars(SHORT) | {"engines": ("eager", "channels_last")}))
    assert "does not synchronise" in rows(result)["channels_last"]["error"]
    assert rows(result)["eager"]["error"] is None


def test_a_lazy_engine_has_a_fault_and_is_not_on_the_front(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy:
        def __init__(self, value: np.ndarray) -> None:  # type: ignore[type-arg]
            self.value = value

        def __array__(self, *_: object, **__: object) -> np.ndarray:  # type: ignore[type-arg]
            time.sleep(0.01)
            return self.value

        def astype(self, kind: Any) -> np.ndarray:  # type: ignore[type-arg]
            return self.value.astype(kind)

    said = {"score": Lazy(np.zeros(1)), "probability": np.full((1, 3), 1 / 3), "label": np.zeros(1, np.int64)}
    monkeypatch.setitem(contenders.LIVE, "channels_last", lambda *_: lambda pixels: dict(said))
    said_of_all = {"balanced_accuracy": 1.0, "interval": [0.9, 1.0]}
    monkeypatch.setattr(race, "accuracy", lambda racers, n: dict.fromkeys(racers, said_of_all))
    wish = Wish(seconds=0.6, batches=(1,), cold=False, engines=("eager", "channels_last"))
    row = rows(benchmark([run.path], wish))["channels_last"]
    assert "does not synchronise" in row["model"]["1"]["fault"]


def test_runs_are_compared_and_named_apart(parts: Path, tmp_path: Path, run: RunDir) -> None:
    second = RunDir(tmp_path / "other/later/run_0")
    finish(second, settings(parts), seed=1)
    result = benchmark([run.path, second.path, run.path], SHORT)
    assert list(rows(result)) == ["other/start/run_0 eager", "other/later/run_0 eager"]
    assert all(row["end_to_end"]["times_eager"] == 1 for row in result["rows"])  # each against its own
    assert len({row["test_hash"] for row in result["rows"]}) == 1
    assert not any("different test images" in message for message in result["messages"])
    (unstable,) = [message for message in result["messages"] if "give it longer" in message]  # one command for all
    assert all(f"{name} (" in unstable for name in rows(result))
    assert second.benchmark.is_file()
    assert run.benchmark.is_file()


def test_what_breaks_the_measurement_is_said(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (8.0, 8.0, 8.0))
    messages = "\n".join(benchmark([run.path], replace(SHORT, images=5))["messages"])
    assert "other programs used the processor (load 8.0" in messages
    again = f"zdd benchmark {run.path} --seconds"  # a whole command: test.py --calc_speed has no --seconds
    assert "unstable" in messages and f"give it longer: {again} {2 * SHORT.seconds:g}" in messages
    assert f"for more: {again} " in messages
    assert "judged rightly is a share of 5 of the 31 test images" in messages
    assert "no engine was exported" in messages
    assert "<td>eager</td>" in speed.section(run) and "ront" not in speed.section(run)  # what is alone beats nothing
    assert f"zdd export {run.path} --engine onnx" in messages


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--takt", "soon"], "must be a time"),
        (["--takt", "0"], "--takt 0: must be greater than 0"),
        (["--seconds", "nan"], "--seconds nan: must be greater than 0"),
        (["--batches", "4", "0"], "--batches 0"),
        (["--threads", "-1"], "--threads -1"),
    ],
)
def test_wrong_options_are_refused(
    run: RunDir, option: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv=["benchmark", str(run.path), *option]) == 2
    assert said in capsys.readouterr().err


def test_takt_is_read_with_its_unit() -> None:
    from zdd.engineverbs import _takt

    assert [_takt(text) for text in ("50ms", "50", "0.05s")] == [50, 50, 50]


def test_calc_speed_times_after_the_test(
    run: RunDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zdd.benchmarking.Wish", lambda **_: SHORT)
    assert cli.main("test", [str(run.path), "--calc_speed"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.strip().splitlines()[-1])
    assert result["speed"]["rows"][0]["engine"] == "eager"
    assert "file to verdict" in captured.err
    assert "eager, batch 3" in captured.err


def test_torch_gets_its_threads_back(run: RunDir) -> None:
    before = torch.get_num_threads()
    benchmark([run.path], Wish(seconds=0.5, batches=(1,), threads=before + 1, cold=False, images=1))
    assert torch.get_num_threads() == before

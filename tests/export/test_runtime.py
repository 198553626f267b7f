"""An engine at work without torch: the rows of `zdd predict` on the run, and nothing that was meddled with."""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.finished_run import finish, settings
from zdd import cli, files, predict, runtime
from zdd.errors import ZddError
from zdd.exporting import Wish, export
from zdd.preprocess import Preprocess
from zdd.records import Columns
from zdd.rows import Judge, verdict
from zdd.rundir import RunDir

ROOT = Path(__file__).parents[2]
BLOCKED = ("torch", "torchvision", "pytorch_lightning", "torchmetrics", "scipy", "pydantic", "rich", "onnx", "timm")


@pytest.fixture(scope="module")
def run(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    made = RunDir(tmp_path_factory.mktemp("runs") / "small" / "start" / "run_0")
    finish(made, settings(parts))
    return made


@pytest.fixture(scope="module")
def folder(run: RunDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine alone, far from its run."""
    made = export(run.path, Wish("onnx", example_images=5))
    return Path(shutil.copytree(made.folder, tmp_path_factory.mktemp("line") / "engine of line 3"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_same_rows_as_those_of_the_run(run: RunDir, folder: Path, parts: Path, tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.png", tmp_path / "empty.png"
    broken.write_bytes(b"no image")
    empty.touch()
    images = [parts / "test", broken, empty]  # 31 images, no multiple of a batch
    one = predict.predict(run.path, images, out=tmp_path / "run.jsonl", device="cpu")
    other = runtime.predict(folder, images, out=tmp_path / "engine.jsonl")
    assert one | {"run": "", "out": ""} == other | {"run": "", "out": ""} and one["errors"] == 2
    for expected, said in zip(rows(tmp_path / "run.jsonl"), rows(tmp_path / "engine.jsonl"), strict=True):
        assert list(said) == list(expected)
        for name in ("image", "verdict", "predicted", "threshold", "error"):
            assert said[name] == expected[name]
        if not said["error"]:
            assert said["score"] == pytest.approx(expected["score"], abs=1e-5)
            assert said["uncertainty"] == pytest.approx(expected["uncertainty"], abs=1e-5)
            assert said["probability"] == pytest.approx(expected["probability"], abs=1e-5)


def test_the_same_table(run: RunDir, folder: Path, parts: Path, tmp_path: Path) -> None:
    for name, source in (("run", run.path), ("engine", folder)):
        assert (
            cli.main(None, ["predict", str(source), str(parts / "test/good"), "--out", f"{tmp_path}/{name}.csv"]) == 0
        )
    tables = [list(csv.DictReader((tmp_path / f"{name}.csv").open(newline=""))) for name in ("run", "engine")]
    assert list(tables[0][0]) == list(tables[1][0]) and len(tables[0]) == len(tables[1]) == 13
    assert [row["verdict"] for row in tables[0]] == [row["verdict"] for row in tables[1]]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_it_works_and_starts_quickly_where_nothing_of_torch_is(
    name: str, run: RunDir, folder: Path, parts: Path
) -> None:
    pytest.importorskip(name)
    folder = folder if name == "onnx" else export(run.path, Wish(name, example_images=5)).folder
    image = next(iter(sorted((parts / "test" / "crack").iterdir())))
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"  # None: an import of it fails
        "from zdd import cli\n"
        f"code = cli.main(None, ['predict', {str(folder)!r}, {str(image)!r}])\n"
        f"print(sorted(name for name in {BLOCKED!r} if sys.modules[name] is not None), code)"
    )
    said, took_s = timed(code)
    first, summary, last = said.stdout.splitlines()
    assert last == "[] 0", said.stderr
    assert json.loads(first)["verdict"] in ("good", "defective") and json.loads(summary)["images"] == 1
    if took_s >= 2:  # a slow machine: then by what the libraries alone take on it
        library = {"onnx": "onnxruntime"}.get(name, name)
        assert took_s < 4 * timed(f"import numpy, PIL.Image, {library}")[1]


def timed(code: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run it, and get the processor's time: tests run side by side, on a machine of its own it takes as long."""
    before = os.times()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    after = os.times()
    return said, after.children_user + after.children_system - before.children_user - before.children_system


def test_what_was_meddled_with_is_refused(copy: Path) -> None:
    about = files.read_json(copy / "model.json")
    for change, line in (
        ({"format": 2}, "not an engine of format 1"),
        ({"engine": "onyx"}, "there is no engine 'onyx'"),
        ({"outputs": ["score"]}, "the engine says score, label, probability"),
        ({"files": {"model.onnx": "0" * 64}}, r"model\.onnx: not the file that model\.json names"),
        ({"files": {"model.bin": "0" * 64}}, r"model\.bin: there is no such file; copy the whole folder"),
    ):
        files.write_json(copy / "model.json", about | change)
        with pytest.raises(ZddError, match=line):
            runtime.load(copy)
    files.write_json(copy / "model.json", {"format": 1, "engine": "onnx", "classes": [], "preprocess": {}})
    with pytest.raises(ZddError, match=r"model\.json: lacks files, outputs, threshold; export anew"):
        runtime.load(copy)
    files.write_json(copy / "model.json", about)
    assert runtime.load(copy).classes == ("good", "crack", "dent mark")
    with (copy / "model.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01\x02\x03")
    with pytest.raises(ZddError, match="SHA-256 differs"):
        runtime.load(copy)


def test_only_an_engines_folder_is_taken_for_one(run: RunDir, folder: Path, tmp_path: Path) -> None:
    assert runtime.is_engine(folder)
    assert not runtime.is_engine(run.path) and not runtime.is_engine(run.path / "model")
    assert not runtime.is_engine(tmp_path / "nowhere")


def test_it_is_found_below_latest_as_the_examples_of_predict_name_it(folder: Path, parts: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "start/run_0/export/onnx-fp32")
    (tmp_path / "latest").write_text("start\n")
    named, out = tmp_path / "latest/run_0/export/onnx-fp32", tmp_path / "said.csv"
    assert cli.main(None, ["predict", str(named), str(parts / "test/good"), "--out", str(out)]) == 0
    assert out.is_file()
    assert runtime.load(named).folder == tmp_path / "start/run_0/export/onnx-fp32"


def test_a_device_is_not_taken(folder: Path, parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(None, ["predict", str(folder), str(parts / "test"), "--device", "cuda"]) == 2
    assert "--device cuda: an engine runs where it was exported for" in capsys.readouterr().err


def test_mistakes_are_those_of_predict(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ZddError, match=r"said\.txt: must end in \.csv or \.jsonl"):
        runtime.predict(folder, [tmp_path], out=tmp_path / "said.txt")
    with pytest.raises(ZddError, match="no image in"):
        runtime.predict(folder, [tmp_path], out=None)
    with pytest.raises(ZddError, match=r"prat\.png: there is no such file or folder"):
        runtime.predict(folder, [tmp_path, tmp_path / "prat.png"], out=None)


class Fixed:
    """A runner of a largest batch, that says the mean of the pixels."""

    names = ("score",)

    def __init__(self, largest: int | None, *, wrong: bool = False) -> None:
        self.largest_batch, self.wrong, self.batches = largest, wrong, list[int]()

    def __call__(self, pixels: Any) -> dict[str, Any]:
        self.batches.append(len(pixels))
        return {"score": pixels.astype(np.float32).mean((1, 2, 3)) * (np.nan if self.wrong else 1)}


PREPROCESS = Preprocess((8, 8), "squeeze", "rgb", "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(("largest", "batches"), [(3, [3, 3, 3, 2]), (None, [8, 3]), (100, [8, 3])])
def test_no_more_images_at_a_time_than_the_engine_takes(
    largest: int | None, batches: list[int], parts: Path, tmp_path: Path
) -> None:
    runner = Fixed(largest)
    engine = runtime.Engine(tmp_path, runner, PREPROCESS, ("good", "defect"), 100.0)
    images = sorted((parts / "test" / "crack").iterdir())  # 11
    said = list(engine.rows(images))
    assert runner.batches == batches and [row["image"] for row in said] == [str(path) for path in images]
    means = [PREPROCESS.load(path).astype(np.float64).mean() for path in images]
    assert [row["score"] for row in said] == pytest.approx(means, rel=1e-5)
    assert all(row["predicted"] == ("defect" if row["score"] >= 100 else "good") for row in said)


def test_a_kind_is_given_without_probabilities(tmp_path: Path) -> None:
    class Kinds(Fixed):
        def __call__(self, pixels: Any) -> dict[str, Any]:
            return {"score": np.array([0.9, 0.1, 0.8], np.float32), "label": np.array([2, 1, 0], np.int64)}

    engine = runtime.Engine(tmp_path, Kinds(None), PREPROCESS, ("good", "crack", "dent mark"), 0.5)
    said = engine.say(np.zeros((3, 8, 8, 3), np.uint8))
    # The second is below the threshold; the third is not, so it is some defect whatever its label.
    assert verdict(said, engine.threshold).tolist() == [2, 0, 1]


def test_no_number_is_no_verdict(parts: Path, tmp_path: Path) -> None:
    engine = runtime.Engine(tmp_path, Fixed(None, wrong=True), PREPROCESS, ("good", "defect"), 100.0)
    with pytest.raises(ZddError, match="the engine's score is not a finite number"):
        list(engine.rows(list((parts / "test" / "crack").iterdir())))


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_many_images_are_judged_by_several_threads_at_once_and_nothing_changes(
    name: str, run: RunDir, folder: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    folder = folder if name == "onnx" else export(run.path, Wish(name, example_images=5)).folder
    monkeypatch.setattr(runtime, "CORES", 2)
    monkeypatch.setattr(runtime, "AT_ONCE", 3)
    monkeypatch.setattr(runtime, "MANY", 12)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = sorted((parts / "test").rglob("*.png"))
    images[5:5] = [broken] * 5  # more than a call takes: one of its calls has nothing to judge
    one, many = runtime.load(folder), runtime.load(folder, images=len(images))
    assert (one.at_once, many.at_once) == (1, 3) and many.batch <= 4 < one.batch
    threads, calls, together = set[str](), itertools.count(), threading.Barrier(3, timeout=60)
    say = type(many).say

    def watched(self: runtime.Engine, pixels: Any) -> Any:
        threads.add(threading.current_thread().name)
        if next(calls) < 3:
            together.wait()  # none goes on before three are at work
        return say(self, pixels)

    expected = list(one.rows(images))
    monkeypatch.setattr(runtime.Engine, "say", watched)
    said = list(many.rows(images))
    assert len(threads) == 3
    assert [row["image"] for row in said] == [str(path) for path in images]
    for row, was in zip(said, expected, strict=True):
        for key in ("verdict", "predicted", "threshold", "error"):
            assert row[key] == was[key]
        if not was["error"]:
            assert row["score"] == pytest.approx(was["score"], abs=1e-5)
    assert runtime.load(folder, threads=2, images=1000).at_once == 1  # who sets the threads gets them


def test_files_are_decoded_while_the_engine_works() -> None:
    at_work, decoded = threading.Event(), threading.Event()
    seen: list[bool] = []

    def load(path: Path) -> Any:
        if path.name != "0.png":
            seen.append(at_work.wait(30))  # the engine has begun, and does not end before this file is decoded
            decoded.set()
        return np.zeros((2, 2, 3), np.uint8)

    def say(_: Any) -> Columns:
        at_work.set()
        seen.append(decoded.wait(30))
        return Columns(index=zero, label=zero, score=np.zeros(1))

    zero = np.zeros(1, np.int64)
    judge = Judge(("good", "defect"), 0.5, load, say, 1)
    assert len(list(judge.rows([Path(f"{n}.png") for n in range(20)]))) == 20
    assert all(seen)

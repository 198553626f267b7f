"""`zdd export`: what is written, and that an engine which says something else is not kept."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.finished_run import finish, finish_group, settings
from zdd import cli, files, reading, runtime
from zdd.data import dataset as datasets
from zdd.errors import ZddError
from zdd.export import onnx as engine
from zdd.export.base import Outputs
from zdd.exporting import Wish, _spread, export, gate
from zdd.records import Record
from zdd.rundir import RunDir
from zdd.trained import load_trained

ONNX = Wish("onnx", example_images=5)


@pytest.fixture(scope="module")
def run(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    made = RunDir(tmp_path_factory.mktemp("runs") / "small" / "start" / "run_0")
    finish(made, settings(parts))
    return made


class Torn(engine.Session):
    """An engine that finds every second part too bad and the others too good, whatever the threshold."""

    def __call__(self, pixels: Any) -> Outputs:
        said = super().__call__(pixels)
        return said | {"score": said["score"] + (-1) ** np.arange(len(pixels), dtype=np.float32)}


def test_all_that_a_verdict_needs_is_written(run: RunDir) -> None:
    made = export(run.path, ONNX)
    assert made.parity.passed and made.parity.images == 31 and made.folder == run.path / "export" / "onnx-fp32"
    assert sorted(path.name for path in made.folder.iterdir()) == ["model.json", "model.onnx"]
    assert [path.name for path in (run.path / "export").iterdir()] == ["onnx-fp32"]
    about, trained = files.read_json(made.folder / "model.json"), load_trained(run)
    assert (about["format"], about["engine"], about["precision"]) == (1, "onnx", "fp32")
    assert about["files"] == {"model.onnx": files.sha256(made.folder / "model.onnx")}
    assert about["weights_sha256"] == files.sha256(run.weights) and about["run"] == "small/start/run_0"
    assert about["classes"] == ["good", "crack", "dent mark"] and about["has_good"] is True
    assert about["image_size"] == [32, 32] and about["preprocess"] == trained.preprocess.as_dict()
    assert trained.threshold and about["threshold"]["value"] == trained.threshold.value
    assert about["inputs"] == ["input"]
    assert about["outputs"] == ["score", "label", "probability", "uncertainty", "energy", "raw"]
    assert about["parity"]["passed"] and about["parity"]["images"] == 31
    assert {"zdd", "torch", "onnxruntime"} <= about["versions"].keys()
    stored = engine.load(made.folder).session.get_modelmeta().custom_metadata_map  # type: ignore[attr-defined]
    assert json.loads(stored["classes"]) == about["classes"] and json.loads(stored["threshold"]) == about["threshold"]


def test_an_engine_that_says_something_else_is_refused(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = files.read_json(export(run.path, ONNX).folder / "model.json")
    monkeypatch.setattr(engine, "load", lambda folder, **_: Torn(folder / "model.onnx"))
    monkeypatch.setattr("zdd.export.graph.differs", lambda *_: None)  # the exporter's own look
    code = cli.main(None, ["export", str(run.path), "--engine", "onnx", "--calibration-images", "5"])
    out, err = capfd.readouterr()
    assert code == 1 and list(json.loads(out)["failed"]) == ["onnx-fp32"] and out.count("\n") == 1
    assert "refused: " in err and "shot 1.png" in err.split("worst images:")[1]
    assert [path.name for path in (run.path / "export").iterdir()] == ["onnx-fp32"]  # the good one, as it was
    assert files.read_json(run.path / "export/onnx-fp32/model.json") == before
    assert not export(run.path, Wish("onnx", accept_drop=0.0, example_images=5)).parity.passed
    made = export(run.path, Wish("onnx", accept_drop=1.0, example_images=5))
    about = files.read_json(made.folder / "model.json")["parity"]
    assert about["accept_drop"] == 1.0 and about["accepted"] and not about["refused"]


def test_a_test_image_that_can_not_be_read_any_more_is_a_line(parts: Path, tmp_path: Path) -> None:
    images = Path(shutil.copytree(parts, tmp_path / "images"))
    run = RunDir(tmp_path / "small" / "start" / "run_0")
    finish(run, settings(images))
    trained, dataset = load_trained(run), datasets.load(run.data)
    records = dataset.split("test")
    made = export(run.path, ONNX)
    assert len(run.looks.read_text().splitlines()) == 1 and "31 images: parity of onnx-fp32" in run.looks.read_text()
    for record, data in ((records[3], b"no image"), (records[20], b"")):
        Path(record.path).write_bytes(data)
    with pytest.raises(ZddError) as caught:
        gate(trained, runtime.load(made.folder), records, ONNX, "fp32")
    assert [line.split(":")[0] for line in caught.value.lines] == [records[3].path]  # 20 comes with a later batch
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZddError) as every:
        reading.pixels(trained.preprocess, [record.path for record in records], pool)
    assert [line.split(":")[0] for line in every.value.lines] == [records[3].path, records[20].path]


def test_methods_that_know_good_parts_alone_are_calibrated_with_anomalies(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def see(whole: Any, example: Any, folder: Path, **_: Any) -> None:
        seen[folder.parent.parent.parent.parent.name] = example
        assert whole.threshold is not None
        raise ZddError("seen")

    monkeypatch.setattr(engine, "export", see)
    for name in ("classifier", "autoencoder"):
        run = RunDir(tmp_path / name / "start" / "run_0")
        model = {"backbone": "luna"} if name == "classifier" else {}
        finish(run, settings(parts, model={"name": name, **model}, threshold={"rule": "false_alarms", "target": 0.2}))
        with pytest.raises(ZddError, match="seen"):
            export(run.path, ONNX)
    assert [len(seen[name]) for name in ("classifier", "autoencoder")] == [5, 10]
    changed = (seen["autoencoder"][:5] != seen["autoencoder"][5:]).any(axis=(1, 2, 3))
    assert changed.all()


def test_a_refused_int8_says_what_to_try(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "load", lambda folder, **_: Torn(folder / "model.onnx"))
    monkeypatch.setattr("zdd.export.graph.differs", lambda *_: None)  # the exporter's own look
    words = ["--engine", "onnx", "--precision", "int8", "--set", "largest_drop=null", "--calibration-images", "4"]
    assert cli.main(None, ["export", str(run.path), *words]) == 1
    assert "try: --set largest_drop=0.002, for more layers in float32" in capfd.readouterr().err


def test_a_broken_export_leaves_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zdd.exporting.gate", fail)
    with pytest.raises(KeyboardInterrupt):
        export(run.path, Wish("onnx", ("precision=int8",), example_images=5))
    assert not (run.path / "export/onnx-int8").exists()
    assert not list((run.path / "export").glob(".*"))


def test_int8_by_the_command_line(run: RunDir, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--engine", "onnx", "--precision", "int8", "--accept-drop", "1", "--parity-images", "10"]
    code = cli.main(None, ["export", str(run.path), *words])
    out, err = capfd.readouterr()
    assert code == 0 and json.loads(out)["engine"] == str(run.path / "export" / "onnx-int8")
    assert "10 of 10 images answered" in err and f"next: zdd predict {run.path}/export/onnx-int8" in err
    assert files.read_json(run.path / "export/onnx-int8/model.json")["precision"] == "int8"


@pytest.mark.parametrize(
    ("wish", "line"),
    [
        (("onx",), "there is no engine 'onx'; did you mean 'onnx'?"),
        (("onnx", ("precision=fp64",)), r"engine.precision = \"fp64\" \(command line\): must be"),
        (("onnx", ("opset=3",)), "engine.opset"),
        (("onnx", ("precision",)), "--set precision: wants KEY=VALUE"),
    ],
)
def test_mistakes_are_said_before_anything_is_loaded(wish: tuple[Any, ...], line: str, tmp_path: Path) -> None:
    with pytest.raises(ZddError, match=line):
        export(tmp_path / "nowhere", Wish(*wish))


def test_shares_and_numbers_are_checked() -> None:
    with pytest.raises(ZddError, match="--accept-drop 2: must be from 0 to 1"):
        Wish("onnx", accept_drop=2)
    with pytest.raises(ZddError, match="--parity-images 0: must be at least 1"):
        Wish("onnx", parity_images=0)
    with pytest.raises(ZddError, match="--calibration-images -1"):
        Wish("onnx", example_images=-1)


def test_of_a_group_the_first_finished_run_is_exported(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = finish_group(tmp_path / "small" / "start", settings(parts), n=2)
    made = export(group.path, Wish("onnx", parity_images=4, example_images=3))
    assert made.run.path == group.run(0).path and made.parity.images == 4
    assert "using run_0; there are also run_1" in capsys.readouterr().err


def test_images_are_taken_evenly_from_the_classes() -> None:
    records = [Record(f"{i}.png", label) for i, label in enumerate([1] * 4 + [0] * 8)]
    taken = _spread(records, 6)
    # In order of the label 0 x 8, 1 x 4; places 0, 2.2, 4.4, 6.6, 8.8, 11.
    assert [record.label for record in taken] == [0, 0, 0, 0, 1, 1] and len({record.path for record in taken}) == 6
    assert len(_spread(records, None)) == len(_spread(records, 99)) == 12

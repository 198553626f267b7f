"""Verdicts on new images: the same as in testing, and no bad image stops the rest."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from finished_run import finish, finish_group, settings
from PIL import Image

from zdd import cli
from zdd.errors import ZddError
from zdd.examine import examine_run
from zdd.predict import predict
from zdd.predict import rows as predicted_rows
from zdd.rows import find_images
from zdd.rundir import Group, RunDir
from zdd.trained import load_trained


@pytest.fixture(scope="module")
def run(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    made = RunDir(tmp_path_factory.mktemp("runs") / "small" / "start" / "run_0")
    finish(made, settings(parts))
    return made


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_predicting_says_what_testing_says(run: RunDir, tmp_path: Path) -> None:
    tested = examine_run(run)
    paths = [Path(record.path) for record in tested.records]
    result = predict(run.path, paths, out=tmp_path / "said.jsonl")
    rows = lines(tmp_path / "said.jsonl")
    assert [row["image"] for row in rows] == [str(path) for path in paths]
    assert [row["score"] for row in rows] == pytest.approx(tested.columns.score.tolist(), abs=1e-6)
    assert [row["predicted"] for row in rows] == [tested.task.classes[k] for k in tested.predicted]
    assert [row["verdict"] == "good" for row in rows] == [bool(k == 0) for k in tested.predicted]
    assert result["images"] == 31 and result["errors"] == 0 and sum(result["predicted"].values()) == 31
    first = rows[0]["probability"]
    assert isinstance(first, dict) and list(first) == list(tested.task.classes)


def test_a_bad_image_is_a_row_and_the_rest_is_judged(run: RunDir, parts: Path, tmp_path: Path) -> None:
    good = sorted((parts / "test" / "good").iterdir())
    broken, torn, empty = tmp_path / "broken.png", tmp_path / "torn one.png", tmp_path / "empty.png"
    empty.touch()
    broken.write_bytes(b"this is no image")
    torn.write_bytes(good[0].read_bytes()[:200])
    wanted = [good[0], broken, torn, *good[1:9], empty, good[9]]
    result = predict(run.path, wanted, out=tmp_path / "said.csv")
    with (tmp_path / "said.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(path) for path in wanted]
    errors = {row["image"]: row["error"] for row in rows if row["error"]}
    assert list(errors) == [str(broken), str(torn), str(empty)]
    assert "not an image" in errors[str(broken)] and "not an image" in errors[str(empty)]
    assert all(row["score"] == "" and row["verdict"] == "" for row in rows if row["error"])
    assert all(float(row["score"]) >= 0 and row["verdict"] for row in rows if not row["error"])
    assert (result["images"], result["errors"]) == (13, 3)
    alone = predict(run.path, [good[9]], out=tmp_path / "one.jsonl")
    assert alone["errors"] == 0
    assert lines(tmp_path / "one.jsonl")[0]["score"] == pytest.approx(float(rows[-1]["score"]), abs=1e-6)


def test_a_batch_of_bad_images_only(run: RunDir, tmp_path: Path) -> None:
    for i in range(9):
        (tmp_path / f"{i}.png").touch()
    result = predict(run.path, [tmp_path], out=tmp_path / "said.jsonl")
    assert result["errors"] == 9 and all(row["error"] for row in lines(tmp_path / "said.jsonl"))


def test_an_image_that_went_while_others_were_judged_is_a_row(run: RunDir, parts: Path, tmp_path: Path) -> None:
    good = sorted((parts / "test" / "good").iterdir())[0]
    said = list(predicted_rows(load_trained(run), [tmp_path / "gone.png", good]))
    assert said[0]["error"].endswith("there is no such file") and said[1]["error"] is None and said[1]["verdict"]


def test_a_name_that_was_mistyped_is_refused_before_anything_is_judged(
    run: RunDir, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "said.csv"
    names = [str(parts / "test" / "good"), str(tmp_path / "prat.png"), str(tmp_path / "new parts")]
    assert cli.main(None, ["predict", str(run.path), *names, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"zdd predict: {name}: there is no such file or folder" for name in names[1:]]
    assert said.out == "" and not out.exists()


def test_every_kind_of_image_is_read(run: RunDir, tmp_path: Path) -> None:
    picture = Image.effect_noise((50, 70), 60)
    for name, image in (
        ("grey.png", picture),
        ("palette.gif", picture.convert("RGB").quantize(16)),
        ("clear.png", picture.convert("RGBA")),
        ("print.tif", picture.convert("CMYK")),
        ("wide.png", picture.convert("I;16")),
        ("UPPER.JPG", picture.convert("RGB")),
    ):
        image.save(tmp_path / name)
    result = predict(run.path, [tmp_path], out=tmp_path / "said.jsonl")
    assert (result["images"], result["errors"]) == (6, 0)


def test_folders_are_searched_through_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a/z/1.JPEG", "c.txt", ".hidden/3.png", "b/.4.png", "d.tiff"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [str(path.relative_to(tmp_path)) for path in find_images([tmp_path, tmp_path / "c.txt"])]
    assert found == ["a/z/1.JPEG", "b/10.png", "b/2.png", "d.tiff", "c.txt"]  # what is named is tried, whatever it is


def test_standard_output_is_json_lines(run: RunDir, parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = predict(run.path, [parts / "test" / "dent mark"], out=None)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 7 and all(json.loads(line)["error"] is None for line in out)
    assert result["out"] is None and json.dumps(result)


def test_a_file_is_replaced_only_when_all_is_written(
    run: RunDir, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "said.csv"
    out.write_text("of yesterday")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zdd.rows.Judge._judge", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(run.path, [parts / "test"], out=out)
    assert out.read_text() == "of yesterday" and [p.name for p in tmp_path.iterdir()] == ["said.csv"]


def test_what_cannot_be_done_is_refused_before_anything_is_loaded(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(ZddError, match=r"said\.txt: must end in \.csv or \.jsonl"):
        predict(run.path, [tmp_path], out=tmp_path / "said.txt")
    with pytest.raises(ZddError, match="no image in"):
        predict(run.path, [tmp_path], out=None)
    with pytest.raises(ZddError, match="there is no such run"):
        predict(tmp_path / "nowhere", [tmp_path / "a.png"], out=None)


def test_of_a_group_the_first_finished_run_is_used_and_named(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group: Group = finish_group(tmp_path / "small" / "start", settings(parts), n=3)
    shutil.move(group.run(0).path / "DONE", tmp_path / "DONE")
    result = predict(group.path, [parts / "test" / "good"], out=tmp_path / "said.csv")
    assert result["run"].endswith("run_1")
    assert "using run_1; there are also run_2" in capsys.readouterr().err


def test_without_a_good_class_there_is_no_verdict(parts: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run_0")
    finish(run, settings(parts, dataset={"name": "folder", "root": str(parts), "good_class": None}))
    predict(run.path, [parts / "test" / "good"], out=tmp_path / "said.jsonl")
    rows = lines(tmp_path / "said.jsonl")
    assert all(row["verdict"] is None and row["threshold"] is None and row["predicted"] for row in rows)

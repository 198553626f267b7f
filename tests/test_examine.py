"""Testing a run and a group, on files as a user finds them."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from finished_run import finish, finish_group, settings
from PIL import Image

from zdd import files
from zdd.data import dataset as datasets
from zdd.errors import ZddError
from zdd.examine import examine
from zdd.rundir import Group, RunDir
from zdd.trained import load_trained, save_trained


@pytest.fixture(scope="module")
def group(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Group:
    """Two runs, tested."""
    made = finish_group(tmp_path_factory.mktemp("runs") / "small" / "20261121-010000", settings(parts))
    examine(made.path, device="cpu")
    return made


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_are_one_row_an_image_with_names(group: Group) -> None:
    run = group.run(0)
    rows, records = read(run.predictions), datasets.load(run.data).split("test")
    assert [row["image"] for row in rows] == [record.path for record in records]
    assert len(rows) == 31  # 13 + 11 + 7: three batches of eight and a short one
    trained = load_trained(run)
    assert list(rows[0])[:5] == ["image", "label", "predicted", "score", "argmax"]
    assert list(rows[0])[5:] == [*(f"probability/{name}" for name in trained.task.classes), "uncertainty", "energy"]
    assert trained.threshold is not None
    for row, record in zip(rows, records, strict=True):
        assert row["label"] == Path(record.path).parent.name
        p = [float(row[f"probability/{name}"]) for name in trained.task.classes]
        assert sum(p) == pytest.approx(1, abs=1e-5)
        assert (row["predicted"] == "good") == (float(row["score"]) < trained.threshold.value)
        if row["predicted"] != "good":
            assert row["predicted"] == trained.task.classes[1 + int(np.argmax(p[1:]))]


def test_figures_are_those_of_the_rows(group: Group) -> None:
    run = group.run(1)
    rows, stored = read(run.predictions), files.read_json(run.metrics)
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert stored["test"]["accuracy"]["value"] == pytest.approx(right / 31)
    stopped = sum(row["predicted"] != "good" for row in rows if row["label"] != "good")
    assert stored["test"]["defect_recall"]["value"] == pytest.approx(stopped / 18)
    assert {"val", "test", "threshold", "training"} <= stored.keys()  # what training wrote is still there
    assert stored["threshold"] == files.read_json(run.model)["threshold"]  # testing chooses none of its own


def test_every_mistake_is_a_picture_the_most_confident_first(group: Group) -> None:
    run = group.run(0)
    wrong = [row for row in read(run.predictions) if row["label"] != row["predicted"]]
    pictures = sorted(run.mistakes.iterdir())
    assert len(pictures) == len(wrong) > 0
    sure = [float(row[f"probability/{row['predicted']}"]) for row in wrong]
    first = wrong[int(np.argmax(sure))]
    words = first["predicted"].replace(" ", "-")
    assert pictures[0].name.startswith(f"0001_{first['label'].replace(' ', '-')}_as_{words}_{max(sure):.3f}_")
    with Image.open(pictures[0]) as image:
        assert image.width == 640 and image.height > 640 * 36 // 44  # the whole image, below its bar
    report = files.read_json(run.report_json)
    assert [m["confidence"] for m in report["mistakes"]] == sorted(sure, reverse=True)


def test_the_summary_and_the_groups_report(group: Group) -> None:
    summary = json.loads(group.summary.read_text())
    values = [files.read_json(run.metrics)["test"]["accuracy"]["value"] for run in group.runs]
    assert summary["test"]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert summary["test"]["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert "| accuracy | 2 |" in group.summary_text.read_text()
    page = group.report.read_text()
    assert 'href="run_0/report.html"' in page and 'href="run_1/report.html"' in page
    assert page.count("Confusions of run_") == 4  # title and alternative text of either


def test_a_run_that_is_tested_again_renews_what_its_group_says(group: Group, parts: Path, tmp_path: Path) -> None:
    copy = Group(shutil.copytree(group.path, tmp_path / "copy"))
    other = finish(RunDir(tmp_path / "other"), settings(parts), seed=5)  # as if run_1 had been trained anew
    save_trained(copy.run(1), other)
    figures = examine(copy.run(1).path, device="cpu")["runs"]["run_1"]
    stale, summary = files.read_json(group.summary), files.read_json(copy.summary)
    was, now = (each["test"]["auroc"] for each in (stale, summary))
    assert now["values"] == [was["values"][0], figures["auroc"]] and now["values"] != was["values"]
    mean = np.mean(now["values"])
    assert f"| auroc | 2 | {mean:.4g} |" in copy.summary_text.read_text()
    assert f">{mean:.4f}<" in copy.report.read_text() and f">{mean:.4f}<" not in group.report.read_text()
    row = copy.report.read_text().split('href="run_1/report.html"')[1].split("</tr>")[0]
    assert re.findall(r">(\d+)<", row)[-1] == "2"  # looks at the test images


def test_each_look_at_the_test_images_is_counted(group: Group, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(group.run(0).path, tmp_path / "run_0"))
    shutil.copy(group.plan, tmp_path)
    assert len(run.looks.read_text().splitlines()) == 1
    before = run.predictions.read_bytes()
    result = examine(run.path)
    assert set(result) == {"runs", "report"} and json.dumps(result, allow_nan=False)
    assert run.predictions.read_bytes() == before  # the same model and images give the same rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "run_0"]  # no report of an untested group
    assert files.read_json(run.report_json)["looks"] == 2
    assert "looked at 2 times" in run.report.read_text()
    assert "looked at" not in group.run(0).report.read_text().split("<h2>")[0]


def test_a_run_that_is_not_finished_is_refused_in_a_group_left_out(group: Group, tmp_path: Path) -> None:
    copy = Group(shutil.copytree(group.path, tmp_path / "copy"))
    (copy.run(1).path / "DONE").unlink()
    assert set(examine(copy.path)["runs"]) == {"run_0"}
    assert files.read_json(copy.summary)["test"]["accuracy"]["low"] is None  # one run has no interval
    with pytest.raises(ZddError, match="not a finished run"):
        examine(copy.run(1).path)


def test_changed_and_missing_images_are_all_named(parts: Path, tmp_path: Path) -> None:
    own = shutil.copytree(parts, tmp_path / "own parts")
    run = RunDir(tmp_path / "run_0")
    finish(run, settings(own))
    first, second = sorted((own / "test" / "crack").iterdir())[:2]
    first.unlink()
    Image.new("RGB", (44, 36)).save(second)
    with pytest.raises(ZddError) as caught:
        examine(run.path)
    assert any(first.name in line for line in caught.value.lines)
    assert any(second.name in line for line in caught.value.lines)
    assert not run.looks.exists() and not run.predictions.exists()


def test_no_test_images_is_said(parts: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run_0")
    finish(run, settings(parts))
    rows = run.data.read_text().splitlines()
    run.data.write_text("\n".join(row for row in rows if ",test," not in row))
    with pytest.raises(ZddError, match="no test images"):
        examine(run.path)


def test_without_a_good_class_there_is_no_threshold_and_all_the_rest(parts: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "kinds" / "start" / "run_0")
    finish(run, settings(parts, dataset={"name": "folder", "root": str(parts), "good_class": None}))
    examine(run.path)
    report, page = files.read_json(run.report_json), run.report.read_text()
    assert report["threshold"] is None and report["claims"] is None
    assert report["test"]["auroc"]["method"] == "does not exist: no good class"
    assert report["test"]["auroc_macro"]["value"] is not None
    assert "Tells 3 kinds of defect apart" in page and "Confusions" in page and "(ROC)" not in page
    assert {m["kind"] for m in report["mistakes"]} == {"wrong kind"}
    assert all(row["predicted"] == row["argmax"] for row in read(run.predictions))


def test_pictures_of_one_part_count_together(parts: Path, tmp_path: Path) -> None:
    # `part01` is then a part of ten pictures; that the splits tear some parts is not the point here.
    grouped = {"name": "folder", "root": str(parts), "group": r"(part\d\d)", "leakage": "ignore"}
    run = RunDir(tmp_path / "run_0")
    finish(run, settings(parts, dataset=grouped))
    examine(run.path)
    report = files.read_json(run.report_json)
    assert "effective n" in report["test"]["accuracy"]["method"]
    assert report["claims"]["missed"]["unit"] == "parts" and report["claims"]["missed"]["n"] < 18
    assert any("count parts" in text for text in report["verdict"]["cautions"])


def test_the_threshold_stored_is_the_one_used(group: Group, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(group.run(0).path, tmp_path / "run_0"))
    stored = files.read_json(run.model)
    stored["threshold"] |= {"value": -1.0, "rule": "fixed", "target": 0.0}
    files.write_json(run.model, stored)
    examine(run.path)
    assert all(row["predicted"] != "good" for row in read(run.predictions))  # every score is above -1
    assert files.read_json(run.metrics)["test"]["false_alarm_rate"]["value"] == 1.0

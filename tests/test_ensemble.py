"""A group tested as one model, against averages taken by hand."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_run import finish_group, settings
from PIL import Image

from zdd import cli, config, decide, ensemble, examine, files
from zdd.data import dataset as datasets
from zdd.data.module import DataModule
from zdd.ensemble import average
from zdd.errors import ZddError
from zdd.evaluate import evaluate
from zdd.models.classifier import Classifier
from zdd.records import Columns, Prediction
from zdd.rundir import Group
from zdd.trained import load_trained


def columns(p: list[list[float]], **changes: Any) -> Columns:
    probability = np.array(p)
    known = {
        "index": np.arange(len(p)),
        "label": np.zeros(len(p), np.int64),
        "score": probability[:, 1:].sum(axis=1),
        "argmax": probability.argmax(axis=1),
        "probability": probability,
        "uncertainty": 1 - probability.max(axis=1),
        "energy": np.arange(len(p), dtype=float),
    }
    return Columns(**known | changes)


def test_the_average_by_hand() -> None:
    one = columns([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]])
    other = columns([[0.1, 0.2, 0.7], [0.0, 0.4, 0.6]], energy=np.array([4.0, 3.0]))
    found = average([one, other])
    assert found.probability is not None and found.uncertainty is not None and found.energy is not None
    np.testing.assert_allclose(found.probability, [[0.5, 0.15, 0.35], [0.3, 0.4, 0.3]])
    assert found.argmax is not None and found.argmax.tolist() == [0, 1]  # the second is what neither holds likeliest
    # Sure, and of different things: 1 - max of the mean is 0.5, the mean of the two uncertainties only 0.2.
    assert found.uncertainty.tolist() == pytest.approx([0.5, 0.6])
    assert found.score.tolist() == pytest.approx([0.5, 0.7])
    assert found.energy.tolist() == pytest.approx([2.0, 2.0])


def test_an_uncertainty_of_its_own_is_averaged_itself() -> None:
    # DUQ far from every centre: the shares are sure, the distance is not.
    one = columns([[0.9, 0.1]], uncertainty=np.array([0.8]))
    other = columns([[0.7, 0.3]], uncertainty=np.array([0.6]))
    assert average([one, other]).uncertainty == pytest.approx(0.7)


def test_what_a_member_lacks_the_ensemble_lacks() -> None:
    found = average([columns([[0.9, 0.1]], energy=None), columns([[0.7, 0.3]])])
    assert found.energy is None
    assert average([columns([[0.9, 0.1]], uncertainty=None)] * 2).uncertainty == pytest.approx(0.1)
    with pytest.raises(ValueError, match="without probabilities"):
        average([columns([[0.9, 0.1]]), columns([[0.7, 0.3]], probability=None)])
    with pytest.raises(ValueError, match="different images"):
        average([columns([[0.9, 0.1]]), columns([[0.7, 0.3]], label=np.array([1]))])


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of no class."""
    folder = tmp_path_factory.mktemp("other things")
    for i in range(6):
        Image.new("RGB", (40, 30), (40 * i, 250 - 30 * i, 20)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def group(parts: Path, strange: Path, tmp_path_factory: pytest.TempPathFactory) -> Group:
    """Three runs of random weights with a folder of no class, tested as one."""
    dataset = {"name": "folder", "root": str(parts), "ood": str(strange)}
    made = finish_group(tmp_path_factory.mktemp("runs") / "small" / "start", settings(parts, dataset=dataset), n=3)
    examine.examine(made.path, device="cpu")
    ensemble.examine(made.path, device="cpu")
    return made


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def said(group: Group, split: Any) -> list[Columns]:
    found = []
    for run in group.runs:
        trained, dataset = load_trained(run), datasets.load(run.data)
        data = DataModule(dataset, trained.preprocess, trained.config)
        loader = data.loader_of(dataset.unknown) if split == "unknown" else data.loader(split)
        found.append(evaluate(trained.model.net, trained.model.decode, loader))
    return found


@pytest.mark.parametrize("split", ["test", "unknown"])
def test_rows_are_the_means_of_the_runs_rows(group: Group, split: str) -> None:
    path = group.ensemble.predictions if split == "test" else group.ensemble.unknown
    rows, each = read(path), [read(run.predictions if split == "test" else run.unknown) for run in group.runs]
    assert len(rows) == (31 if split == "test" else 6)
    for i, row in enumerate(rows):
        assert {member[i]["image"] for member in each} == {row["image"]}
        for name in ("score", "energy", "probability/good", "probability/crack", "probability/dent mark"):
            assert float(row[name]) == pytest.approx(np.mean([float(member[i][name]) for member in each]), abs=1e-9)
        p = max(float(value) for name, value in row.items() if name.startswith("probability/"))
        assert float(row["uncertainty"]) == pytest.approx(1 - p)


def test_the_threshold_is_chosen_on_the_averaged_validation_images(group: Group) -> None:
    val = said(group, "val")
    score, label = np.mean([one.score for one in val], axis=0), val[0].label
    rule = load_trained(group.run(0)).config.threshold
    wanted = decide.choose(score, label > 0, rule)
    stored = files.read_json(group.ensemble.metrics)
    assert stored["threshold"] == wanted.as_dict()
    own = [files.read_json(run.metrics)["threshold"]["value"] for run in group.runs]
    assert wanted.value not in own and wanted.value != pytest.approx(np.mean(own), abs=1e-9)
    for row in read(group.ensemble.predictions):
        assert (row["predicted"] == "good") == (float(row["score"]) < wanted.value)
    verdict = np.where(score < wanted.value, 0, 1)
    assert stored["val"]["defect_recall"]["value"] == pytest.approx(verdict[label > 0].mean())


def test_figures_are_those_of_the_average(group: Group) -> None:
    test, other = (average(said(group, split)) for split in ("test", "unknown"))
    stored = files.read_json(group.ensemble.metrics)["test"]
    assert test.uncertainty is not None and other.uncertainty is not None
    pairs = test.uncertainty[:, None] < other.uncertainty
    assert stored["ood_auroc/uncertainty"]["value"] == pytest.approx(pairs.mean())
    assert {"aurc", "ood_aupr/energy", "ood_fpr95/entropy", "accuracy_at_90"} <= stored.keys()


def test_the_runs_own_figures_stay_and_stand_beside(group: Group) -> None:
    stored = files.read_json(group.ensemble.metrics)
    for run in group.runs:
        own = files.read_json(run.metrics)["test"]
        assert stored["members"][run.path.name] == {name: figure["value"] for name, figure in own.items()}
    page = group.ensemble.report.read_text()
    section = page.split("<h2>The ensemble and its members</h2>")[1].split("<h2>")[0]
    mean = np.mean([member["accuracy"] for member in stored["members"].values()])
    assert f"{stored['test']['accuracy']['value']:.4f}" in section and f"{mean:.4f}" in section
    assert f"python test.py {group.path} --ensemble" in page and "../run_2/report.html" in page
    assert "How sure is it?" in page and "Test report" in page
    assert "ensemble/report.html" in group.report.read_text()


def test_the_ensemble_is_no_run_of_the_group(group: Group) -> None:
    assert [run.path.name for run in group.runs] == ["run_0", "run_1", "run_2"]
    with pytest.raises(ZddError, match="is not a run"):
        examine.examine(group.ensemble.path)


def test_tested_again_it_says_the_same_and_counts(group: Group, tmp_path: Path) -> None:
    copy = Group(shutil.copytree(group.path, tmp_path / "copy"))
    looks = len(copy.ensemble.looks.read_text().splitlines())
    before = copy.ensemble.predictions.read_bytes()
    own = copy.run(1).metrics.read_bytes(), copy.run(1).looks.read_bytes()
    result = ensemble.examine(copy.path)
    assert copy.ensemble.predictions.read_bytes() == before
    assert len(copy.ensemble.looks.read_text().splitlines()) == looks + 1
    assert (copy.run(1).metrics.read_bytes(), copy.run(1).looks.read_bytes()) == own
    assert result["members"] == ["run_0", "run_1", "run_2"] and json.dumps(result, allow_nan=False)


def test_members_that_were_not_tested_are_named(group: Group, tmp_path: Path) -> None:
    copy = Group(shutil.copytree(group.path, tmp_path / "copy"))
    stored = files.read_json(copy.run(1).metrics)
    files.write_json(copy.run(1).metrics, {name: value for name, value in stored.items() if name != "test"})
    (copy.run(2).path / "DONE").unlink()
    assert ensemble.examine(copy.path)["members"] == ["run_0", "run_1"]
    assert "Not tested by themselves yet: run_1." in copy.ensemble.report.read_text()


def test_one_run_is_no_ensemble(group: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main("test", [str(group.run(0).path), "--ensemble"]) == 2
    assert capsys.readouterr().err == (
        f"test.py: {group.run(0).path}: --ensemble averages the runs of a group; this is one run of {group.path}\n"
    )
    copy = Group(shutil.copytree(group.path, tmp_path / "copy"))
    for i in (0, 2):
        (copy.run(i).path / "DONE").unlink()
    with pytest.raises(ZddError, match="averages several runs; only run_1 is finished"):
        ensemble.examine(copy.path)


def test_members_of_another_split_are_refused(group: Group, tmp_path: Path) -> None:
    copy = Group(shutil.copytree(group.path, tmp_path / "copy"))
    text = copy.run(2).data.read_text()
    copy.run(2).data.write_text(text.replace(",val,", ",test,", 1))
    before = copy.ensemble.metrics.read_bytes()
    with pytest.raises(ZddError) as caught:
        ensemble.examine(copy.path)
    assert caught.value.lines == (
        f"{copy.path}: the runs of an ensemble must share images, split and classes; the data.csv of run_2 differs "
        "from that of run_0",
    )
    assert copy.ensemble.metrics.read_bytes() == before


def test_models_without_probabilities_are_refused(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "decode", lambda _, raw, image: Prediction(score=raw[:, 1]))
    with pytest.raises(ZddError, match="averages class probabilities, and the model 'classifier' gives none"):
        ensemble.examine(group.path)


def test_without_a_good_class_there_is_no_threshold(parts: Path, tmp_path: Path) -> None:
    dataset = {"name": "folder", "root": str(parts), "good_class": None}
    kinds = finish_group(tmp_path / "kinds" / "start", settings(parts, dataset=dataset))
    ensemble.examine(kinds.path)
    assert files.read_json(kinds.ensemble.metrics)["threshold"] is None
    assert all(row["predicted"] == row["argmax"] for row in read(kinds.ensemble.predictions))
    assert not kinds.report.exists()  # the runs were not tested by themselves


def test_kernels_are_averaged_as_such(parts: Path, strange: Path, tmp_path: Path) -> None:
    # Long-sighted kernels, so that a network without training is not equally unsure of everything.
    model = {"name": "duq", "backbone": "luna", "length_scale": 1.0, "embedding_size": 8}
    dataset = {"name": "folder", "root": str(parts), "ood": str(strange)}
    made = finish_group(tmp_path / "duq" / "start", settings(parts, dataset=dataset, model=model))
    ensemble.examine(made.path)
    for split, path in (("test", made.ensemble.predictions), ("unknown", made.ensemble.unknown)):
        each = [one.uncertainty for one in said(made, split)]
        assert [float(row["uncertainty"]) for row in read(path)] == pytest.approx(np.mean(each, axis=0).tolist())
        assert "energy" not in read(path)[0]
    found = files.read_json(made.ensemble.metrics)["test"]
    assert {"ood_fpr95/uncertainty", "ood_fpr95/entropy", "aurc"} <= found.keys() and "ood_auroc/energy" not in found
    assert "Energy of known" not in made.ensemble.report.read_text()


def test_a_method_without_probabilities_is_refused_by_its_name(parts: Path, tmp_path: Path) -> None:
    made = finish_group(tmp_path / "ae" / "start", settings(parts, model={"name": "autoencoder"}))
    with pytest.raises(ZddError, match="the model 'autoencoder' gives none"):
        ensemble.examine(made.path)


def test_the_rule_is_the_configurations(parts: Path, tmp_path: Path) -> None:
    value = settings(parts, threshold={"rule": "false_alarms", "target": 0.1})
    made = finish_group(tmp_path / "small" / "start", value)
    ensemble.examine(made.path)
    stored = files.read_json(made.ensemble.metrics)["threshold"]
    assert stored["rule"] == "false_alarms" and stored["false_alarms"] <= 0.1
    assert config.from_dict(files.read_json(made.run(0).config)).threshold.rule == "false_alarms"

"""`zdd explain`: pictures of finished runs, resumed, scored, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_run import finish, finish_group, settings
from PIL import Image
from torch import Tensor

from zdd import cli, examine, explaining, plugins, scoring
from zdd.attributions import Look, attribute, judge, subject_of
from zdd.errors import ZddError
from zdd.explain.base import Attribution, Subject, Unfit
from zdd.explaining import Wish, evenly, explain
from zdd.records import Record
from zdd.rundir import Group, RunDir
from zdd.trained import load_trained

FEW = Wish(("saliency",), n=5)


@pytest.fixture
def run(parts: Path, tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "group/run_0")
    finish(run, settings(parts))
    return run


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark squares with a bright spot, and where the spot is."""
    root = tmp_path_factory.mktemp("marked")
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("val", 8), ("test", 10)):
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True)
        for i in range(n):
            pixels, mask = rng.normal(60, 5, (36, 48)), np.zeros((36, 48), np.uint8)
            if i % 2:
                y, x = rng.integers(2, 26), rng.integers(2, 38)
                pixels[y : y + 8, x : x + 8], mask[y : y + 8, x : x + 8] = 220, 255
            Image.fromarray(pixels.astype(np.uint8)).save(root / split / f"images/{i:02d}.png")
            Image.fromarray(mask).save(root / split / f"masks/{i:02d}.png")
    return root


def lines(run: RunDir, variant: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / f"explain/{variant}/explained.jsonl").read_text().splitlines()]


def test_a_run_is_explained_with_pictures_and_facts(run: RunDir) -> None:
    result = explain(run.path, Wish(("saliency", "grad_cam"), n=5))
    about = result["runs"]["run_0"]["saliency"]
    assert about["n"] == 5 and about["targets"] == ["defect"] and about["scale"] > 0 and not about["signed"]
    rows = lines(run, "saliency")
    assert len(rows) == 5
    for row in rows:
        with Image.open(run.path / row["picture"]) as picture:
            assert picture.width > 3 * 100
        assert row["target"] == "defect" and row["true"] and 0 <= row["probability"] <= 1
    assert Image.open(run.path / "explain/grad_cam/sheet.png").width > 200
    assert Image.open(run.path / "explain/beside.png").width > 200
    assert not list((run.path / "explain").rglob("*.npy"))
    events = list(run.log.glob("*tfevents*"))
    assert len(events) == 1 and b"explain/saliency" in events[0].read_bytes()


def test_the_values_kept_are_the_gradient(run: RunDir) -> None:
    explain(run.path, Wish(("saliency",), n=3, raw=True))
    trained = load_trained(run)
    for row in lines(run, "saliency"):
        kept = np.load((run.path / row["picture"]).with_suffix(".npy"))
        pixels = trained.preprocess.normalise(trained.preprocess.load(row["image"])[None])
        image = torch.from_numpy(pixels).requires_grad_()
        logits = trained.model.net(image)
        (logits[:, 1:].logsumexp(1) - logits[:, 0]).sum().backward()
        assert image.grad is not None
        np.testing.assert_allclose(kept, image.grad[0].abs().amax(0).numpy(), rtol=1e-3, atol=1e-6)
        assert row["score"] == pytest.approx(logits.detach()[0, 1:].logsumexp(0).item() - logits[0, 0].item(), abs=1e-4)


def test_the_report_shows_what_was_explained_before_and_after_the_test(run: RunDir) -> None:
    examine.examine(run.path)
    assert "Where does it look?" not in run.report.read_text()
    explain(run.path, FEW)
    assert "Where does it look?" in run.report.read_text()
    assert json.loads(run.report_json.read_text())["explained"]["variants"][0]["variant"] == "saliency"


def test_a_test_adds_what_the_configuration_names(parts: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run_0")
    finish(run, settings(parts, explain=["saliency"]))
    examine.examine(run.path)
    assert "Where does it look?" in run.report.read_text()


class Counting:
    """An explainer that counts the images it is asked about, and stops after some."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.asked, self.left = 0, stop_after

    def __call__(self, subject: Subject, image: Tensor, target: Tensor) -> Attribution:
        self.left -= len(image)
        if self.left < 0:
            raise KeyboardInterrupt
        self.asked += len(image)
        return Attribution(image.abs().mean(1, keepdim=True))


def test_what_was_stopped_goes_on_and_another_target_begins_anew(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load = plugins.load
    counting = Counting(stop_after=4)
    monkeypatch.setattr("zdd.attributions.BATCH", 2)
    monkeypatch.setattr(plugins, "load", lambda kind, name: counting if kind == "explain" else load(kind, name))
    with pytest.raises(KeyboardInterrupt):
        explain(run.path, FEW)
    assert counting.asked == 4
    counting.left = 1000
    explain(run.path, FEW)
    assert counting.asked == 5
    explain(run.path, FEW)
    assert counting.asked == 5  # nothing is worked out twice
    explain(run.path, Wish(("saliency",), "predicted", n=5))
    assert counting.asked == 10


def test_what_is_unreliable_is_not_drawn(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(subject: Subject, image: Tensor, target: Tensor) -> Attribution:
        return Attribution(image.mean(1, keepdim=True), torch.full((len(image),), 0.17))

    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: wrong if kind == "explain" else load(kind, name))
    about = explain(run.path, FEW)["runs"]["run_0"]["saliency"]
    assert about["unreliable"] and "unreliable for this network" in about["message"] and "17 %" in about["message"]
    assert not list((run.path / "explain/saliency").glob("*.png"))
    assert "unreliable for this network" in capsys.readouterr().err


def test_what_can_t_be_right_says_so_and_the_others_go_on(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    result = explain(run.path, Wish(("attention_rollout", "own_map", "saliency"), n=2))
    said = result["runs"]["run_0"]
    assert "no attention" in said["attention_rollout"]["message"] and "no map" in said["own_map"]["message"]
    assert said["saliency"]["message"] is None
    assert "attention_rollout" in capsys.readouterr().err
    assert cli.main(None, ["explain", str(run.path), "--variant", "attention_rollout", "--n", "2"]) == 0
    assert "no pictures: try another --variant" in capsys.readouterr().err


def test_other_images_and_folders(run: RunDir, parts: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    photographs = sorted(parts.rglob("*.png"))[:2]
    explain(run.path, Wish(("saliency",), "predicted", images=tuple(photographs)))
    rows = lines(run, "saliency")
    assert [row["image"] for row in rows] == [str(path) for path in photographs]
    assert all(row["true"] is None for row in rows)
    with pytest.raises(ZddError, match="--class true: the true class"):
        explain(run.path, Wish(("saliency",), "true", images=tuple(photographs)))
    with pytest.raises(ZddError, match="no image in"):
        explain(run.path, Wish(("saliency",), images=(tmp_path / "empty",)))


def test_targets_are_the_classes_named(run: RunDir) -> None:
    trained = load_trained(run)
    records = _test_records(run)[:4]
    looks = [Look(record.path, record.label) for record in records]
    targets = trained.model.targets
    assert targets == (*trained.task.classes, "defect")
    assert judge(run, trained, looks, None).target.tolist() == [len(targets) - 1] * 4
    assert judge(run, trained, looks, "true").target.tolist() == [record.label for record in records]
    predicted = judge(run, trained, looks, "predicted")
    assert predicted.target.tolist() == predicted.given.tolist()
    assert judge(run, trained, looks, targets[1]).target.tolist() == [1] * 4


def _test_records(run: RunDir) -> list[Record]:
    from zdd.data import dataset

    return dataset.load(run.data).split("test")


def test_images_are_taken_in_turn_from_the_classes() -> None:
    records = [Record(f"{k}{i}", k) for k, n in ((0, 6), (1, 1), (2, 3)) for i in range(n)]
    assert [record.path for record in evenly(records, 5)] == ["00", "01", "10", "20", "21"]
    assert len(evenly(records, 100)) == 10


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--variant", "integrated_gradient"], "did you mean 'integrated_gradients'"),
        (["--class", "scratch"], "--class scratch: there is no such class"),
        (["--n", "0"], "--n = 0: must be at least 1"),
        (["--score", "--images", "x.png"], "--images: scores are of test images"),
    ],
)
def test_one_line_and_exit_code_2(run: RunDir, argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main("explain", [str(run.path), *argv]) == 2
    said = capsys.readouterr().err
    assert line in said and "Traceback" not in said


def test_a_group_stands_side_by_side(parts: Path, tmp_path: Path) -> None:
    group: Group = finish_group(tmp_path / "group", settings(parts), n=2)
    result = explain(group.path, FEW)
    assert set(result["runs"]) == {"run_0", "run_1"}
    assert Image.open(group.path / "explain/saliency/sheet.png").width > 200


@pytest.fixture
def watched(marked: Path, tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "group/run_0")
    finish(run, settings(marked, dataset={"name": "masks", "root": str(marked)}))
    return run


def test_scores_against_masks_and_without(watched: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "FOR_SENSITIVITY", 1)
    result = scoring.score(watched.path, Wish(("saliency", "grad_cam", "own_map")))["runs"]["run_0"]
    assert result["n"] == result["masks"] == 5  # the defective ones alone
    assert set(result["variants"]) == {"saliency", "grad_cam"}
    assert "own_map" in result["messages"]
    figures = result["variants"]["saliency"]
    assert {"pointing_game", "energy_inside", "iou", "insertion", "deletion", "infidelity"} <= set(figures)
    assert figures["max_sensitivity"]["n"] == 1 and figures["pointing_game"]["n"] == 5
    assert set(result["sanity"]) == {"saliency", "grad_cam"}
    assert json.loads((watched.path / "explain/scores.json").read_text()) == result
    monkeypatch.setattr("zdd.explain.faithfulness.infidelity", lambda *_, **__: pytest.fail("worked out twice"))
    again = scoring.score(watched.path, Wish(("saliency", "grad_cam", "own_map")))["runs"]["run_0"]
    assert again["variants"] == result["variants"]


def test_the_mask_itself_scores_one(watched: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """An oracle in an explainer's place, through all of the scoring."""
    load = plugins.load
    trained = load_trained(watched)

    def oracle(subject: Subject, image: Tensor, target: Tensor) -> Attribution:
        mean, std = trained.preprocess.mean[0], trained.preprocess.std[0]
        return Attribution(((image[:, :1] * std + mean) > 0.5).float())  # the spot is what is bright

    monkeypatch.setattr(plugins, "load", lambda kind, name: oracle if kind == "explain" else load(kind, name))
    monkeypatch.setattr(scoring, "FOR_SENSITIVITY", 0)
    figures = scoring.score(watched.path, Wish(("saliency",)))["runs"]["run_0"]["variants"]["saliency"]
    assert figures["pointing_game"]["value"] > 0.95  # masks and pictures are made smaller each in its way
    assert figures["energy_inside"]["value"] > 0.9 and figures["pixel_auc"]["value"] > 0.9  # masks grow by a rim


def test_seeds_that_agree(marked: Path, tmp_path: Path) -> None:
    group = finish_group(tmp_path / "group", settings(marked, dataset={"name": "masks", "root": str(marked)}), n=2)
    result = scoring.score(group.path, Wish(("saliency",)))
    assert set(result["agreement"]["saliency"]) == {"spearman", "top_iou"}
    stored = json.loads((group.path / "explain/scores.json").read_text())
    assert stored["agreement"] == result["agreement"]


def test_copies_of_a_subject_ask_themselves(watched: RunDir) -> None:
    import copy

    subject = subject_of(load_trained(watched).model)
    fresh = copy.deepcopy(subject)
    for parameter in fresh.net.parameters():
        parameter.data.mul_(0)
    image, target = torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)
    assert not torch.allclose(subject.score(image, target), fresh.score(image, target))


def test_the_model_is_left_as_it_was(run: RunDir) -> None:
    trained = load_trained(run)
    before = {name: value.clone() for name, value in trained.model.net.state_dict().items()}
    judged = judge(run, trained, [Look(record.path) for record in _test_records(run)][:2], None)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        said = trained.model.net(image)
    for section in explaining.sections_of(["deeplift", "guided_backpropagation", "grad_cam"], []):
        try:
            attribute(trained, judged, section, run.path / "explain" / section.name)
        except Unfit as unfit:
            pytest.fail(str(unfit))
    with torch.no_grad():
        assert torch.equal(trained.model.net(image), said)
    assert all(torch.equal(before[name], value) for name, value in trained.model.net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in trained.model.net.modules())


def test_help_names_every_explainer() -> None:
    from zdd import verbs

    missing = [name for name in plugins.available("explain") if name not in verbs.EXPLAINERS]
    assert missing == ["saliency_map"]  # another name of saliency

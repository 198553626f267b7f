"""What every method must keep, whatever it is: a new file in zdd/models is under test the day it is added."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import draw_part
from zdd import cli, experiment, files, plugins, predict
from zdd import config as configuration
from zdd.data import dataset as datasets
from zdd.data.module import DataModule
from zdd.examine import examine
from zdd.models.base import predict_batch
from zdd.rundir import Group, find
from zdd.trained import Trained, load_trained
from zdd.training.board import KeepLast

SMALL: dict[str, dict[str, Any]] = {  # what makes a method small enough for seconds; the others are small as they are
    "classifier": {"backbone": "luna"},
    "duq": {"backbone": "luna", "embedding_size": 8},
    "unet": {"width": 0.25},
    "patchcore": {"weights": "none"},
    "gan": {"generator": [8, 4], "discriminator": [4, 4], "latent_size": 3},
}
SIZE = 48
COUNTS = {"train": (11, 6, 4), "val": (5, 3, 2), "test": (5, 4, 3)}  # good, crack, dent mark; nothing divides by 4
ALL = list(plugins.available("model"))
DRAWING = [name for name in ALL if plugins.load("model", name).generative]
METHODS = [name for name in ALL if name not in DRAWING]  # those that judge images


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plates with masks in a CSV file; in each split one crack has no mask, and no good plate has one."""
    root = tmp_path_factory.mktemp("plates of steel")
    rows, seed = [], 0
    for split, counts in COUNTS.items():
        for kind, n in zip(("good", "crack", "dent mark"), counts, strict=True):
            for i in range(n):
                seed += 1
                name = f"{split} {kind} {i}.png"
                draw_part(kind, seed).save(root / name)
                mask = "" if kind == "good" or (kind == "crack" and i == 0) else f"mask of {name}"
                if mask:
                    drawn = np.zeros((36, 44), np.uint8)
                    drawn[8:20, 10 : 14 + seed % 20] = 255
                    Image.fromarray(drawn).save(root / mask)
                rows.append({"image": name, "label": kind, "mask": mask, "split": split})
    with (root / "plates.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return root


def settings(root: Path, method: str, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "csv", "root": str(root)},
        "image_size": SIZE,
        "augmentation": "simple",
        "model": {"name": method, **SMALL.get(method, {})},
        "optimizer": {"name": "AdamW", "lr": 0.002},
        "threshold": {"rule": "false_alarms", "target": 0.2},
        "epochs": 3,
        "batch_size": 4,
        "early_limit": 0,
        "loader": {"workers": 0},
        "trainer": {"accelerator": "cpu", "threads": 1},
        **changes,
    }


def train(value: dict[str, Any], runs: Path) -> Group:
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / "small.json"
    path.write_text(json.dumps(value))
    said = experiment.run_experiment(configuration.load(str(path)), n_runs=1, runs=runs)
    assert said["failed"] == {}, said["failed"]
    group = find(Path(said["group"]))
    assert isinstance(group, Group)
    return group


@pytest.fixture(scope="module", params=METHODS)
def trained(request: pytest.FixtureRequest, plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Group:
    return train(settings(plates, request.param), tmp_path_factory.mktemp(request.param))


def images(one: Trained, group: Group) -> torch.Tensor:
    dataset = datasets.load(group.runs[0].data)
    data = DataModule(dataset, one.preprocess, one.config)
    return torch.cat([batch["image"] for batch in data.loader("test")])


def test_tested_and_predicted_alike(trained: Group, plates: Path, tmp_path: Path) -> None:
    said = examine(trained.path, device="cpu")
    figures = files.read_json(trained.runs[0].metrics)["test"]
    assert figures["auroc"]["value"] is not None
    assert figures["defect_recall"]["n"] == 7 and figures["false_alarm_rate"]["n"] == 5
    assert Path(said["report"]).is_file()
    with trained.runs[0].predictions.open() as file:
        tested = {row["image"]: row for row in csv.DictReader(file)}
    assert len(tested) == 12
    paths = sorted(plates.glob("test *.png"))
    predict.predict(trained.runs[0].path, paths, out=tmp_path / "said.jsonl", device="cpu")
    for line in (tmp_path / "said.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["predicted"] == tested[row["image"]]["predicted"]
        assert row["score"] == pytest.approx(float(tested[row["image"]]["score"]), rel=1e-4, abs=1e-6)


def test_saved_and_loaded_exactly_and_one_image_is_as_many(trained: Group) -> None:
    one, other = load_trained(trained.runs[0]), load_trained(trained.runs[0])
    image = images(one, trained)
    with torch.no_grad():
        raw = one.model.net(image)
        assert torch.equal(raw, other.model.net(image))
    whole = predict_batch(one.model, image)
    for i in range(len(image)):
        alone = predict_batch(one.model, image[i : i + 1])
        torch.testing.assert_close(alone.score[0], whole.score[i], rtol=1e-4, atol=1e-5)
        if alone.map is not None and whole.map is not None:
            torch.testing.assert_close(alone.map[0], whole.map[i], rtol=1e-3, atol=1e-4)


def test_a_prediction_has_the_shapes_of_the_noun(trained: Group) -> None:
    one = load_trained(trained.runs[0])
    said = predict_batch(one.model, images(one, trained)[:5])
    k = one.task.n_classes
    assert said.score.shape == (5,) and torch.isfinite(said.score).all()
    assert said.label is None or (said.label.shape == (5,) and int(said.label.max()) < k)
    if said.probability is not None:
        torch.testing.assert_close(said.probability.sum(1), torch.ones(5))
    assert said.uncertainty is None or said.uncertainty.shape == (5,)
    assert one.model.pixelwise == (said.map is not None)
    if said.map is not None:
        assert said.map.shape == (5, 1, SIZE, SIZE) and float(said.map.min()) >= 0
    assert said.pixels is None or (said.pixels.shape == (5, SIZE, SIZE) and said.pixels.dtype == torch.uint8)
    assert said.pixels is None or 1 <= int(said.pixels.min()) <= int(said.pixels.max()) < k
    assert said.picture is None or said.picture.shape == (5, 3, SIZE, SIZE)


@pytest.mark.parametrize("method", ALL)
def test_a_stopped_run_goes_on_to_the_same_bits(
    method: str, plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(settings(plates, method), tmp_path / "whole")
    keep = KeepLast.on_train_epoch_end

    def stop(self: KeepLast, trainer: Any, module: Any) -> None:
        keep(self, trainer, module)
        if trainer.current_epoch == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(KeepLast, "on_train_epoch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        train(settings(plates, method), tmp_path / "cut")
    monkeypatch.undo()
    group = find(tmp_path / "cut" / "small" / "latest")
    assert isinstance(group, Group) and not group.finished
    assert experiment.resume(group.path)["failed"] == {}
    assert files.sha256(group.runs[0].weights) == files.sha256(whole.runs[0].weights)


@pytest.mark.parametrize("method", ALL)
def test_a_batch_of_good_images_alone_is_learnt_from(method: str, plates: Path, tmp_path: Path) -> None:
    from zdd.models import build

    path = tmp_path / "small.json"
    path.write_text(json.dumps(settings(plates, method)))
    config = configuration.load(str(path)).config
    made = build.method(config.model)
    if made.one_pass:
        pytest.skip("it learns without gradients")
    dataset, _ = experiment._prepare(config)
    task = dataset.task(config.image_size)
    torch.manual_seed(0)
    model = build.build(config.model, task)
    model.recipe = build.recipe(config, task)
    model.train()
    data = DataModule(dataset, experiment._preprocess(config), config, masks=model.masks)
    good = [record for record in dataset.split("test") if record.label == 0]
    batch = next(iter(data.loader_of(good, masks=model.masks)))
    loss = model.loss(batch)
    loss.backward()
    gradients = [p.grad for p in model.net.parameters() if p.grad is not None]
    assert torch.isfinite(loss) and gradients and all(torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


@pytest.fixture(scope="module", params=DRAWING)
def drawing(request: pytest.FixtureRequest, plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Group:
    return train(settings(plates, request.param), tmp_path_factory.mktemp(request.param))


def test_what_draws_keeps_its_last_weights_and_has_neither_threshold_nor_figures(drawing: Group) -> None:
    run = drawing.runs[0]
    stored = files.read_json(run.metrics)
    assert stored["val"] == {} and stored["threshold"] is None
    assert stored["training"]["best_epoch"] == stored["training"]["epochs"] == 3
    last = torch.load(run.last, weights_only=True)["state_dict"]
    for name, tensor in load_trained(run, generative=True).model.net.state_dict().items():
        assert torch.equal(tensor, last[f"net.{name}"])


WORDS = (
    ["test"],
    ["predict", "."],
    ["explain"],
    ["explain", "--score"],
    ["export", "--engine", "onnx"],
    ["benchmark"],
)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_what_draws_says_in_one_line_what_it_is_for(
    drawing: Group, words: list[str], capsys: pytest.CaptureFixture[str], plates: Path
) -> None:
    given = [str(plates) if word == "." else word for word in words]
    assert cli.main(None, [given[0], str(drawing.path), *given[1:]]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    run = drawing.runs[0].path
    name = files.read_json(drawing.plan)["config"]["model"]["name"]
    assert said[-1].endswith(f"{run}: a '{name}' draws images and judges none; try: zdd data gan {run} OUT")
    assert len(said) == 1


def test_a_method_that_judges_draws_nothing(trained: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(None, ["data", "gan", str(trained.path), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.strip().endswith("judges images and draws none; name a run with the model 'gan'")
    assert not (tmp_path / "out").exists()

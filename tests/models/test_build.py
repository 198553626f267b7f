"""What is wrong with model, criterion, optimizer and scheduler is told before any data is read, all of it at once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zdd import config as configuration
from zdd.models import build
from zdd.models.base import ZddModel
from zdd.models.classifier import Classifier
from zdd.plugins import available
from zdd.records import Task

GOOD = {
    "dataset": {"name": "folder", "root": "not/there"},
    "image_size": 64,
    "model": {"name": "classifier", "backbone": "luna"},
    "optimizer": {"name": "SGD", "lr": 0.01, "momentum": 0.9},
    "epochs": 6,
}


@pytest.fixture
def check(tmp_path: Path):
    def run(**settings: Any) -> list[str]:
        path = tmp_path / "e.json"
        path.write_text(json.dumps({**GOOD, **settings}))
        return build.check(configuration.load(str(path)).config)

    return run


def test_a_right_configuration_has_no_mistakes(check) -> None:
    assert check() == []
    assert check(model={"name": "classifier", "backbone": "resnet18", "transfer": {"name": "two_stage"}}) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"optimizer": {"name": "SGD", "lr": 0.1, "nestorov": True}}, "did you mean 'nesterov'"),
        ({"scheduler": {"name": "StepLR"}}, "scheduler.step_size: StepLR needs it"),
        ({"model": {"name": "classifier", "weights": "nowhere.pth"}}, "'nowhere.pth': there is no such"),
        ({"model": {"name": "classifier", "backbone": "luna", "weights": "imagenet"}}, "luna has none"),
        ({"model": {"name": "classifier", "backbone": "alexnet"}, "image_size": 48}, "from 63 x 63 pixels"),
        ({"model": {"name": "classifier", "backbone": "timm/resnet_18"}}, "did you mean 'timm/resnet18'"),
        ({"model": {"name": "classifier", "backbone": "resnet18", "dropout": 0.5}}, "resnet18 has no dropout"),
        ({"model": {"name": "classifier", "transfer": {"name": "two_stage", "stage_epochs": 6}}}, "the stages before"),
        ({"optimizer": {"name": "Muon"}}, "Muon only supports 2D"),
    ],
)
def test_a_mistake_is_one_line(check, settings: dict, line: str) -> None:
    (found,) = check(**settings)
    assert line in found


def test_all_mistakes_are_told_at_once(check) -> None:
    lines = check(
        model={"name": "classifier", "backbone": "alexnet"},
        image_size=32,
        dataset={**GOOD["dataset"], "classes": ["good", "a", "b"]},
        criterion={"name": "cross_entropy", "class_weights": [1.0, 2.0]},
        optimizer={"name": "SGD", "lr": 0.1, "weight_decay": "much"},
        scheduler={"name": "CosineAnnealingLR", "Tmax": 3},
    )
    assert len(lines) == 4
    assert [line.split(" ")[0].split(".")[0].rstrip(":") for line in lines] == [
        "criterion", "image_size", "optimizer", "scheduler",
    ]  # fmt: skip


def test_given_class_weights_are_counted_where_the_classes_are_known(check) -> None:
    criterion = {"name": "cross_entropy", "class_weights": [1.0, 2.0]}
    assert check(criterion=criterion) == []  # only the data will tell
    dataset = {**GOOD["dataset"], "classes": ["good", "a", "b"], "good_class": "good"}
    (line,) = check(criterion=criterion, dataset=dataset)
    assert "2 weights for 3 classes" in line


def test_weights_that_do_not_fit_are_told_before_the_data(check, tmp_path: Path) -> None:
    torch.save({"stem.weight": torch.zeros(2)}, tmp_path / "w.pth")
    lines = check(model={"name": "classifier", "backbone": "resnet18", "weights": str(tmp_path / "w.pth")})
    assert "does not fit resnet18" in lines[0]
    assert lines[2] == "1 unexpected in the file: stem.weight"


def test_a_check_draws_no_random_numbers(check) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check(model={"name": "classifier", "backbone": "resnet18"}, scheduler="OneCycleLR")
    assert torch.equal(torch.get_rng_state(), before)


def test_every_model_of_the_folder_keeps_the_seam() -> None:
    task = Task(("good", "bad"), True, (64, 64), (2, 1))
    assert "classifier" in available("model")
    for name in available("model"):
        section = configuration.from_dict({**GOOD, "model": {"name": name}}).model
        model = build.build(section, task, trained=True)  # without the pretrained weights that it would ask for
        assert isinstance(model, ZddModel)
        assert isinstance(model.net, torch.nn.Module)


def test_the_recipe_holds_all_that_training_needs() -> None:
    config = configuration.from_dict(
        {**GOOD, "monitor": "val/f1", "scheduler": "ReduceLROnPlateau", "criterion": "bce"}
    )
    recipe = build.recipe(config, Task(("good", "bad"), True, (64, 64)))
    assert (recipe.monitor, recipe.epochs, type(recipe.criterion).__name__) == ("val/f1", 6, "BCE")
    assert (recipe.optimizer, recipe.scheduler) == (config.optimizer, config.scheduler)


def test_a_trained_model_needs_no_pretrained_weights() -> None:
    section = configuration.from_dict({**GOOD, "model": {"name": "classifier", "weights": "gone.pth"}}).model
    model = build.build(section, Task(("a", "b"), False, (64, 64)), trained=True)
    assert isinstance(model, Classifier)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "patchcore", "epochs": 7}, "epochs = 7: the model 'patchcore' goes through the images once"),
        ({"model": "patchcore", "optimizer": {"name": "Adam", "lr": 0.1}}, 'optimizer = {"name": "Adam", "lr": 0.1}: '),
        ({"model": "patchcore", "scheduler": {"name": "StepLR", "step_size": 3}}, 'scheduler = {"name": "StepLR"'),
        ({"model": "patchcore", "early_limit": 3}, "early_limit = 3: "),
        ({"model": "patchcore", "replacement_limit": 3}, "replacement_limit = 3: "),
        ({"mm_per_pixel": 0.1}, "mm_per_pixel = 0.1: the model 'classifier' does not say which pixels are defective"),
        ({"model": "duq", "grades": [{"name": "A", "above_percent": 1, "discount_percent": 5}]}, "grades = [{"),
        ({"model": {"name": "unet", "overlap": 8}}, "model.overlap = 8: does nothing without model.tile"),
        ({"model": {"name": "autoencoder", "score": "mean", "top_share": 0.5}}, "model.top_share = 0.5: does nothing"),
    ],
)
def test_what_would_do_nothing_is_refused(check, settings: dict[str, Any], said: str) -> None:
    idle = {"optimizer": "SGD", "epochs": 40} if settings.get("model") == "patchcore" else {}
    model = settings.get("model", GOOD["model"])
    model = {"name": model} if isinstance(model, str) else dict(model)
    model |= {"weights": "none"} if model["name"] == "patchcore" else {}
    lines = check(**{**idle, **settings, "model": model})
    assert len(lines) == 1 and lines[0].startswith(said), lines


def test_defaults_and_what_is_off_may_stand_there(check) -> None:
    patchcore = {"name": "patchcore", "weights": "none", "score": "maximum", "top_share": 0.005}
    off = {"scheduler": None, "epochs": 1, "early_limit": 0, "replacement_limit": 0, "optimizer": "SGD", "grades": []}
    assert check(model=patchcore, **off) == []
    assert check(model={"name": "unet", "tile": 32, "overlap": 8}, mm_per_pixel=0.1) == []

"""configs/schema.json is up to date, and an editor that uses it agrees with zdd."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from zdd import config, schema

ROOT = Path(__file__).parent.parent
LAYERS = [path for path in ROOT.glob("experiments/**/*.json") if path.parent.name != "suites"]  # those: tests/suite
FILES = [*LAYERS, ROOT / "configs/DEFAULT.json"]


@pytest.fixture(scope="module")
def editor() -> jsonschema.Draft202012Validator:
    built = schema.build()
    jsonschema.Draft202012Validator.check_schema(built)
    return jsonschema.Draft202012Validator(built)


def test_up_to_date() -> None:
    stored = json.loads((ROOT / "configs/schema.json").read_text())
    assert stored == schema.build(), "run: make schema"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_passes_and_names_the_schema(path: Path, editor: jsonschema.Draft202012Validator) -> None:
    value = json.loads(path.read_text())
    assert not [error.message for error in editor.iter_errors(value)]
    assert (path.parent / value["$schema"]).resolve() == schema.path()


@pytest.mark.parametrize("name", ["casting_mobilenet", "demo"])
def test_complete_configurations_pass(name: str, editor: jsonschema.Draft202012Validator) -> None:
    loaded = config.load(name, ["model.transfer=two_stage", "scheduler=null"])
    editor.validate({**config.as_dict(loaded.config), "$origin": loaded.origin})


@pytest.mark.parametrize(
    "value",
    [
        {"extends": ["a", "b"]},
        {"model": {"backbone": "timm/resnet10t"}},
        {"model": {"name": "classifier", "transfer": {"name": "partial", "share": 0.25}}},
        {"criterion": "focal"},
        {"criterion": {"gamma": 3}},  # whose it is, the layer below says
        {"augmentation": ["simple", {"name": "RandomRotation", "degrees": 5}]},
        {"optimizer": {"betas": [0.9, 0.99]}},
        {"scheduler": None},
        {"image_size": 96},
        {"image_size": [96, 128]},
    ],
)
def test_layers_that_are_right(value: dict[str, Any], editor: jsonschema.Draft202012Validator) -> None:
    editor.validate(value)


@pytest.mark.parametrize(
    "value",
    [
        {"epoch": 3},
        {"epochs": 0},
        {"epochs": "3"},
        {"model": {"name": "classifier", "gamma": 2}},
        {"model": {"backbone": "resnet81"}},
        {"model": {"name": "classifier", "transfer": {"name": "full", "share": 0.5}}},
        {"criterion": {"name": "bce", "gamma": 2}},
        {"criterion": "focall"},
        {"dataset": {"split": {"val": 2}}},
        {"dataset": {"name": "folder", "options": {}}},
        {"optimizer": {"lr": -1}},
        {"image_size": [96]},
        {"image_size": 4},
        {"monitor": "val/auc"},
        {"trainer": {"device": 1}},
        {"extends": 3},
    ],
)
def test_layers_that_are_wrong(value: dict[str, Any], editor: jsonschema.Draft202012Validator) -> None:
    assert not editor.is_valid(value)


def test_settings_are_described_with_their_defaults() -> None:
    properties = schema.build()["properties"]
    assert properties["epochs"]["default"] == 40
    assert properties["trainer"]["properties"]["accumulate"]["description"].startswith("batches whose gradients")
    [_, classifier] = properties["model"]["anyOf"]
    takes = {each["if"]["properties"]["name"]["const"]: each["then"] for each in classifier["allOf"]}
    backbone = takes["classifier"]["properties"]["backbone"]
    assert backbone["default"] == "mobilenet_v2"
    assert backbone["description"]

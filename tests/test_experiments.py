"""Every experiment that is shipped can be loaded, and an editor finds nothing wrong with it."""

import json
from pathlib import Path

import jsonschema
import pytest

from zdd import config

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.json"))
# Suites have a form of their own, which tests/suite holds.


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_loads_and_its_resolved_form_is_an_experiment_too(path: Path) -> None:
    loaded = config.load(str(path))
    assert config.from_dict(config.as_dict(loaded.config)) == loaded.config
    assert len(path.read_text().splitlines()) <= 25
    assert loaded.config.about.startswith(("python train.py", "make demo")), "`about` gives the command"


def test_an_editor_finds_what_is_wrong() -> None:
    schema = json.loads((ROOT / "configs" / "schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"epochs": 0})

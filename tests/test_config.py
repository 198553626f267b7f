"""From a file's name to a checked configuration, who set what, and back to a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zdd import config, plugins
from zdd.errors import ZddError
from zdd.settings import Config, Section

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted(ROOT.glob("experiments/*.json"))
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write `mine.json` in the current folder: one line a top-level setting, from line 2 on."""
    monkeypatch.chdir(tmp_path)

    def make(**value: Any) -> str:
        settings = {"dataset": {"name": "folder", "root": "x"}, **value}
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(part)}" for name, part in settings.items())
        Path("mine.json").write_text("{\n" + lines + "\n}")
        return "mine"

    return make


def refused(name: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ZddError) as error:
        config.load(name, overrides)
    return error.value.lines


def test_the_four_lines_of_the_issue_suffice(tmp_path: Path) -> None:
    path = tmp_path / "four.json"
    path.write_text(
        """{"dataset": {"name": "folder", "root": "data/casting"}, "image_size": 224,
        "model": {"name": "classifier", "backbone": "mobilenet_v2", "weights": "imagenet"},
        "optimizer": {"name": "SGD", "lr": 0.01, "momentum": 0.9}, "epochs": 20, "seed": 0}"""
    )
    loaded = config.load(str(path))
    assert loaded.name == "four"
    assert loaded.config.epochs == 20
    assert loaded.config.model.options["weights"] == "imagenet"


def test_every_setting_says_what_set_it(write: Write) -> None:
    name = write(model={"name": "classifier", "transfer": "partial"}, optimizer={"lr": 0.5})
    loaded = config.load(name, ["optimizer.lr=0.25", "batch_size=8"])
    assert loaded.config.optimizer.options["lr"] == 0.25
    default_lines = (ROOT / "configs/DEFAULT.json").read_text().splitlines()
    assert loaded.origin["optimizer.lr"] == "command line"
    assert loaded.origin["batch_size"] == "command line"
    assert loaded.origin["dataset.root"] == "mine.json:2"
    assert loaded.origin["model.transfer.name"] == "mine.json:3"
    file, _, line = loaded.origin["optimizer.momentum"].rpartition(":")
    assert file == "configs/DEFAULT.json"
    assert "momentum" in default_lines[int(line) - 1]
    # a plug-in's own default is a line of its source
    file, _, line = loaded.origin["model.transfer.share"].rpartition(":")
    assert file == "zdd/models/transfer/partial.py"
    assert "share" in (ROOT / file).read_text().splitlines()[int(line) - 1]
    assert loaded.origin["model.backbone"].startswith("zdd/models/classifier.py:")
    assert {name for name, _, _ in loaded.rows()} == set(loaded.origin)


def test_mistakes_name_file_and_line_in_order_and_the_command_line(write: Write) -> None:
    name = write(epochs="many", model={"name": "classifier", "bakbone": "luna"}, seed=-1)
    assert refused(name, "batch_size=0") == (
        "batch_size = 0 (command line): must be a whole number of at least 1",
        'epochs = "many" (mine.json:3): must be a whole number of at least 1',
        "model.bakbone = \"luna\" (mine.json:4): the model 'classifier' takes no bakbone; did you mean 'backbone'?",
        "seed = -1 (mine.json:5): must be a whole number of at least 0",
    )


def test_a_mistake_is_blamed_on_the_layer_that_made_it(write: Write, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text('{\n\n"optimizer": {"lr": -1}}')
    name = write(extends="base", epochs=3)
    assert refused(name) == ("optimizer.lr = -1 (base.json:3): must be a number greater than 0",)
    assert config.load(name, ["optimizer.lr=1"]).config.epochs == 3


def test_what_is_missing_is_looked_for_in_its_section(write: Write) -> None:
    assert refused(write(dataset={"name": "folder"})) == ("dataset.root (mine.json:2): must be given: a text",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("optimizer.lr = -1: no", "optimizer.lr = -1 (command line): no"),
        ("optimizer.lr: no", "optimizer.lr (command line): no"),
        ("dataset.root = 'a: b': no", "dataset.root = 'a: b' (mine.json:2): no"),
        ("dataset.classes = ['a', 'b: c']: no", "dataset.classes = ['a', 'b: c'] (configs/DEFAULT.json:7): no"),
        ("augmentation[1].degrees = 3: no", "augmentation[1].degrees = 3 (mine.json:3): no"),
        ("optimizer (SGD): no", "optimizer (configs/DEFAULT.json:29) (SGD): no"),
        ("model.transfer: no", "model.transfer (mine.json:4): no"),
        ("the disk is full", "the disk is full"),
        ("", ""),
    ],
)
def test_lines_from_later_checks_are_given_their_place(write: Write, line: str, said: str) -> None:
    model = {"name": "classifier", "transfer": "partial"}
    loaded = config.load(write(augmentation=["simple", "RandomRotation"], model=model), ["optimizer.lr=3"])
    assert loaded.located(line) == said


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_shipped_experiments_are_right_and_short(path: Path) -> None:
    loaded = config.load(path.stem)
    assert loaded.config.about
    assert len(path.read_text().splitlines()) <= 25


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_a_complete_configuration_is_an_experiment_that_means_the_same(path: Path, tmp_path: Path) -> None:
    loaded = config.load(path.stem, ["scheduler=null", 'explain=["saliency"]', "image_size=[64, 96]"])
    complete = config.as_dict(loaded.config)
    assert config.from_dict(complete) == loaded.config
    assert json.loads(json.dumps(complete)) == complete  # plain JSON
    printed = tmp_path / "printed.json"
    printed.write_text(json.dumps({**complete, "$origin": loaded.origin, "$schema": "x"}))
    assert config.load(str(printed)).config == loaded.config


@pytest.mark.parametrize("kind", ["model", "criterion", "augmentation", "transfer", "explain"])
def test_every_plug_in_survives_being_written_and_read(write: Write, kind: str) -> None:
    for name in plugins.available(kind):
        setting = "model.transfer" if kind == "transfer" else kind
        loaded = config.load(write(), [f"{setting}={name}"])
        assert config.from_dict(config.as_dict(loaded.config)) == loaded.config


def test_there_and_back_to_the_default_s_optimizer_is_read_the_same(write: Write, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text('{"optimizer": {"name": "Adam", "lr": 0.5}}')
    loaded = config.load(write(extends="base", optimizer={"name": "SGD", "lr": 0.125}))
    (tmp_path / "printed.json").write_text(json.dumps(config.as_dict(loaded.config)))
    assert config.load("printed").config == loaded.config


def test_from_dict_adds_to_no_section_that_names_what_it_is(write: Write) -> None:
    loaded = config.load(write())
    bare = loaded.config.model_copy(update={"optimizer": Section(name="SGD", options={"lr": 1.0})})
    assert config.from_dict(config.as_dict(bare)) == bare  # without the default's momentum


def test_a_run_of_an_older_zdd_has_the_defaults_of_what_it_lacks(write: Write) -> None:
    complete = config.as_dict(config.load(write()).config)
    older = {**complete, "trainer": {"devices": 1}}
    del older["loader"]
    assert config.from_dict(older) == config.from_dict(complete)


def test_from_dict_refuses_too() -> None:
    with pytest.raises(ZddError) as error:
        config.from_dict({"dataset": {"name": "folder", "root": "x"}, "epochs": 0, "x": 1})
    assert len(error.value.lines) == 2


def test_an_about_is_the_experiment_s_own(write: Write, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text('{"about": "the base"}')
    assert config.load(write(extends="base")).config.about == ""
    assert config.load(write(extends="base", about="mine")).config.about == "mine"


def test_defaults_live_once() -> None:
    """A shared setting has its default in DEFAULT.json, and no model of zdd/settings.py has one."""
    with_default = [name for name, field in Config.model_fields.items() if not field.is_required()]
    assert with_default == []
    default = json.loads((ROOT / "configs/DEFAULT.json").read_text())
    assert set(Config.model_fields) == set(default) - {"$schema"}


def test_every_setting_is_in_the_docs(write: Write) -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    shared = [name for name, _, _ in config.load(write()).rows() if not name.startswith(("model.", "criterion."))]
    missing = [name for name in shared if f"`{name}`" not in text]
    for kind in plugins.FOLDERS:
        for plugin in plugins.available(kind).values():
            missing += [f"{kind} {plugin.name}" for name in [plugin.name] if f"`{name}`" not in text]
            missing += [f"{kind} {plugin.name}.{name}" for name in plugin.options if f"`{name}`" not in text]
    assert not missing


def test_line_10_comes_after_line_9(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text('{"dataset": {"name": "folder", "root": "x"}' + "".join(f',\n"x{i}": {i}' for i in range(12)) + "}")
    assert [line.split(" ")[0] for line in refused(str(path))] == [f"x{i}" for i in range(12)]


def test_a_printed_configuration_can_be_read_as_a_run_s_own(write: Write) -> None:
    loaded = config.load(write())
    printed = {"$schema": "x", **config.as_dict(loaded.config), "$origin": loaded.origin}
    assert config.from_dict(printed) == loaded.config

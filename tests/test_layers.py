"""Which layer wins, and what it does to the ones below."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zdd import layers
from zdd.errors import ZddError
from zdd.located import branch, origins, plain

DEFAULT = {
    "dataset": {"good_class": "auto", "split": {"val": 0.15, "seed": 0}},
    "optimizer": {"name": "SGD", "lr": 0.01, "momentum": 0.9},
    "scheduler": {"name": "StepLR", "step_size": 3},
    "augmentation": "simple",
    "epochs": 40,
}
Write = Callable[..., Path]


def merged(*values: dict[str, Any]) -> Any:
    default = branch(DEFAULT, "DEFAULT")
    node: Any = default
    for number, value in enumerate(values):
        node = layers.merge(node, branch(value, f"layer {number}"), default)
    return node


@pytest.mark.parametrize(
    ("values", "section", "expected"),
    [
        # the same name, or none: key by key
        ([{"optimizer": {"lr": 0.1}}], "optimizer", {"name": "SGD", "lr": 0.1, "momentum": 0.9}),
        ([{"optimizer": {"name": "SGD", "lr": 0.1}}], "optimizer", {"name": "SGD", "lr": 0.1, "momentum": 0.9}),
        # another name: SGD's momentum must not reach Adam
        ([{"optimizer": {"name": "Adam", "lr": 0.1}}], "optimizer", {"name": "Adam", "lr": 0.1}),
        ([{"optimizer": "Adam"}], "optimizer", {"name": "Adam"}),
        ([{"optimizer": "Adam"}, {"optimizer": {"lr": 0.2}}], "optimizer", {"name": "Adam", "lr": 0.2}),
        # there and back: SGD is what the defaults say of SGD, so that a printed configuration means the same when read
        (
            [{"optimizer": {"name": "Adam", "lr": 3}}, {"optimizer": {"name": "SGD", "lr": 0.5}}],
            "optimizer",
            {"name": "SGD", "lr": 0.5, "momentum": 0.9},
        ),
        # null is a value like any other
        ([{"scheduler": None}], "scheduler", None),
        ([{"scheduler": None}, {"scheduler": "LinearLR"}], "scheduler", {"name": "LinearLR"}),
        # another data set: its own keys go, what the defaults say of every data set comes back
        (
            [
                {"dataset": {"name": "folder", "root": "a", "good_class": "ok", "split": {"val": 0.3}}},
                {"dataset": {"name": "csv", "root": "b"}},
            ],
            "dataset",
            {"name": "csv", "root": "b", "good_class": "auto", "split": {"val": 0.15, "seed": 0}},
        ),
        (
            [{"dataset": {"name": "folder", "root": "a"}}, {"dataset": {"split": {"val": 0.3}}}],
            "dataset",
            {"name": "folder", "root": "a", "good_class": "auto", "split": {"val": 0.3, "seed": 0}},
        ),
        # lists are replaced, never joined
        ([{"augmentation": ["a", "b"]}, {"augmentation": ["c"]}], "augmentation", ["c"]),
        ([{"augmentation": {"p": 0.1}}], "augmentation", {"name": "simple", "p": 0.1}),
        # a plug-in within a plug-in follows the same rule
        (
            [
                {"model": {"name": "classifier", "transfer": {"name": "partial", "share": 0.2}}},
                {"model": {"transfer": "two_stage"}},
                {"model": {"transfer": {"stage_epochs": 2}}},
            ],
            "model",
            {"name": "classifier", "transfer": {"name": "two_stage", "stage_epochs": 2}},
        ),
        ([{"model": {"name": "a", "x": 1}}, {"model": {"name": "b"}}], "model", {"name": "b"}),
    ],
)
def test_sections(values: list[dict[str, Any]], section: str, expected: Any) -> None:
    result = plain(merged(*values))
    assert result[section] == expected
    assert result["epochs"] == 40  # what no layer speaks of stays


def test_who_set_what_follows_the_values() -> None:
    places = origins(merged({"optimizer": {"lr": 0.1}}, {"epochs": 3}))
    assert places["optimizer", "lr"] == "layer 0"
    assert places["optimizer", "momentum"] == "DEFAULT"
    assert places["epochs",] == "layer 1"
    gone = origins(merged({"optimizer": {"name": "Adam"}}))
    assert ("optimizer", "momentum") not in gone


def test_merging_changes_no_layer() -> None:
    default = branch(DEFAULT, "DEFAULT")
    layers.merge(default, branch({"dataset": {"split": {"val": 0.5}}, "optimizer": "Adam"}, "x"), default)
    assert plain(default) == DEFAULT


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer.lr=0.001"], {"optimizer": {"lr": 0.001}}),
        (["a=3", "b=3.5", "c=true", "d=null", "e=[1, 2]", 'f="3"'],
         {"a": 3, "b": 3.5, "c": True, "d": None, "e": [1, 2], "f": "3"}),
        # not JSON: a text, with whatever is in it
        (["a=resnet18", "b=True", "c=x=y", "d=", "e=NaN", "f=1e999"],
         {"a": "resnet18", "b": "True", "c": "x=y", "d": "", "e": "NaN", "f": "1e999"}),
        (["a=1", "a=2"], {"a": 2}),
        # in whatever order
        (["optimizer.lr=1", "optimizer.name=Adam"], {"optimizer": {"lr": 1, "name": "Adam"}}),
        (["optimizer.lr=1", "optimizer=Adam"], {"optimizer": {"lr": 1, "name": "Adam"}}),
        (["optimizer=Adam", "optimizer.lr=1"], {"optimizer": {"lr": 1, "name": "Adam"}}),
        (['optimizer={"name": "Adam", "lr": 2}', "optimizer.lr=1"], {"optimizer": {"name": "Adam", "lr": 1}}),
        (["model.transfer.p=1", "model.transfer=partial"], {"model": {"transfer": {"p": 1, "name": "partial"}}}),
    ],
)  # fmt: skip
def test_command_line(overrides: list[str], expected: dict[str, Any]) -> None:
    layer = layers.overridden(overrides)
    assert plain(layer) == expected
    assert set(origins(layer).values()) == {"command line"}


def test_malformed_settings_are_all_named() -> None:
    with pytest.raises(ZddError) as error:
        layers.overridden(["lr", "=3", "a..b=1", "fine=1"])
    assert [line.split(" ")[0] for line in error.value.lines] == ["'lr'", "'=3'", "'a..b=1'"]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def make(name: str, **value: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return make


def laid(path: Path) -> dict[str, Any]:
    node: Any = branch({}, "")
    for layer in layers.extended(path):
        node = layers.merge(node, layer, None)
    value: dict[str, Any] = plain(node)
    return value


def test_several_bases_in_order_and_the_experiment_last(write: Write) -> None:
    write("experiments/sets/a.json", x=1, y=1, z=1, about="of a")
    write("experiments/nets/b.json", y=2, z=2)
    path = write("experiments/c.json", extends=["sets/a", "nets/b.json"], z=3)
    assert laid(path) == {"x": 1, "y": 2, "z": 3}  # and a's "about" is a's alone


def test_a_base_is_looked_up_beside_the_file_then_in_experiments(write: Write) -> None:
    write("experiments/base.json", where="experiments")
    path = write("elsewhere/mine.json", extends="base")
    assert laid(path) == {"where": "experiments"}
    write("elsewhere/base.json", where="beside")
    assert laid(path) == {"where": "beside"}


def test_a_base_of_two_bases_counts_once_and_first(write: Write) -> None:
    write("root.json", x="root")
    write("left.json", extends="root", x="left")
    write("right.json", extends="root", y="right")
    path = write("top.json", extends=["left", "right"])
    assert laid(path) == {"x": "left", "y": "right"}  # root must not come back over left


def test_what_extends_itself_says_the_chain(write: Write) -> None:
    write("a.json", extends="b")
    path = write("b.json", extends="a")
    with pytest.raises(ZddError, match=r"extends itself: b.json -> a.json -> b.json"):
        layers.extended(path)


@pytest.mark.parametrize(
    ("extends", "said"),
    [
        ("bse", r'extends = "bse" \(experiments/c.json:1\): bse: there is no such experiment.*did you mean \'base\''),
        ([1], r"extends \(experiments/c.json:1\): must be the name of an experiment, or a list of such names"),
        (None, "must be the name of an experiment"),
        ({"a": "b"}, "must be the name of an experiment"),
    ],
)
def test_a_base_that_is_none(write: Write, extends: Any, said: str) -> None:
    write("experiments/base.json")
    with pytest.raises(ZddError, match=said):
        layers.extended(write("experiments/c.json", extends=extends))


def test_experiments_are_found_as_given_then_in_experiments(write: Write, tmp_path: Path) -> None:
    shipped = Path(__file__).parent.parent / "experiments/demo.json"
    assert layers.find("demo") == shipped  # from another folder, too
    mine = write("experiments/my own.json")
    for name in ("my own", "my own.json", "experiments/my own", str(mine)):
        assert layers.find(name).samefile(mine)
    (tmp_path / "my own").mkdir()  # a folder is no experiment
    assert layers.find("my own").samefile(mine)
    nearer = write("my own.json")
    assert layers.find("my own").samefile(nearer)

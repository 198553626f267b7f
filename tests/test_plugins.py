"""What there is and what it takes, read from the source; over every plug-in that is there."""

import inspect
from pathlib import Path

import pytest

from zdd import checks, options, plugins
from zdd.errors import ZddError
from zdd.settings import Section

EVERY = [plugin for kind in plugins.FOLDERS for plugin in plugins.available(kind).values()]

CLASS = '''
class Shiny:
    """A model of tests.

    Args:
        task: What is asked.
        layers: How many, and
            a second line.
        rate: How fast.

    Raises:
        ValueError: Never.
    """

    def __init__(self, task, *, layers: Count = 3, rate: float = -0.5, transfer: Section = Section(name="full"),
                 weights: Literal["a", "b"] | list[float] | None = None, needed: str):
        pass
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose folder of models is empty."""
    models = tmp_path / "zdd/models"
    models.mkdir(parents=True)
    monkeypatch.setattr(plugins, "PACKAGE", tmp_path / "zdd")
    plugins.available.cache_clear()
    options.model.cache_clear()
    yield models
    plugins.available.cache_clear()
    options.model.cache_clear()


def test_a_new_file_is_a_plug_in(folder: Path) -> None:
    (folder / "shiny.py").write_text(CLASS)
    plugin = plugins.available("model")["shiny"]
    assert (plugin.export, plugin.about, plugin.where) == ("Shiny", "A model of tests.", "zdd/models/shiny.py")
    found = {name: (option.default, option.about, option.line) for name, option in plugin.options.items()}
    assert found == {
        "layers": (3, "How many, and a second line.", 15),
        "rate": (-0.5, "How fast.", 15),
        "transfer": ({"name": "full"}, "", 15),
        "weights": (None, "", 16),
        "needed": (plugins.REQUIRED, "", 16),
    }
    assert [name for name, option in plugin.options.items() if option.is_section] == ["transfer"]


def test_nothing_of_a_plug_in_is_run_to_read_it(folder: Path) -> None:
    (folder / "shiny.py").write_text("raise SystemExit('run')\n" + CLASS)
    assert "layers" in plugins.available("model")["shiny"].options


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("base.py", CLASS),  # exports no class Base
        ("_shiny.py", CLASS),
        ("shiny.txt", CLASS),
        ("shiny.py", "shiny = 3\n"),
        ("shiny.py", '"""class Shiny: no"""\n    # class Shiny\n'.replace("    #", "#")),
    ],
)
def test_other_files_are_none(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    assert not plugins.available("model")


def test_file_names_find_their_class(folder: Path) -> None:
    (folder / "two_stage.py").write_text("class Other: ...\nclass TwoStage: ...\n")
    (folder / "duq.py").write_text("class DUQ: ...\n")
    assert {p.name: p.export for p in plugins.available("model").values()} == {"two_stage": "TwoStage", "duq": "DUQ"}
    assert plugins.available("model")["duq"].options == {}  # no __init__, no settings


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("x: os.PathLike = None", "the setting 'x' has the type os.PathLike"),
        ("x: set[int] = None", "has the type set"),
        ("x=3", "the setting 'x' has no type"),
        ("x: int = __import__('os').system('false')", "malformed node"),
    ],
)
def test_what_no_setting_may_be_is_told_to_the_developer(folder: Path, signature: str, said: str) -> None:
    (folder / "shiny.py").write_text(f"class Shiny:\n    def __init__(self, *, {signature}): ...\n")
    with pytest.raises(ValueError, match=said):
        options.model("model", "shiny")


@pytest.mark.parametrize("plugin", EVERY, ids=lambda plugin: f"{plugin.kind} {plugin.name}")
def test_source_and_object_agree(plugin: plugins.Plugin) -> None:
    """What ast reads is what Python sees: names, order, defaults."""
    export = plugins.load(plugin.kind, plugin.name)
    target = export.__init__ if inspect.isclass(export) else export
    seen = {
        name: parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert list(seen) == list(plugin.options)
    for name, option in plugin.options.items():
        default = seen[name].flat() if isinstance(seen[name], Section) else seen[name]
        if option.default is plugins.REQUIRED:
            assert default is inspect.Parameter.empty
        else:
            assert option.default == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("plugin", EVERY, ids=lambda plugin: f"{plugin.kind} {plugin.name}")
def test_defaults_pass_the_plug_in_s_own_check(plugin: plugins.Plugin) -> None:
    found: list[object] = []
    required = {n: o for n, o in plugin.options.items() if o.default is plugins.REQUIRED}
    if not required:
        checks.plugin_section(plugin.kind, (plugin.kind,), {"name": plugin.name}, found)  # type: ignore[arg-type]
        assert not found


@pytest.mark.parametrize("plugin", EVERY, ids=lambda plugin: f"{plugin.kind} {plugin.name}")
def test_every_plug_in_says_what_it_is(plugin: plugins.Plugin) -> None:
    assert len(plugin.about) > 10
    missing = [name for name, option in plugin.options.items() if not option.about]
    assert not missing, f"{plugin.where}: no line in Args: of {missing}"


def test_the_kinds_that_the_issue_names_are_there() -> None:
    assert set(plugins.available("dataset")) >= {"folder", "csv", "labels"}
    assert set(plugins.available("criterion")) >= {"cross_entropy", "focal", "bce"}
    assert set(plugins.available("transfer")) >= {
        "full", "feature_extraction", "partial", "two_stage", "layer_wise",
    }  # fmt: skip
    assert set(plugins.available("augmentation")) >= {
        "none", "simple", "rand_augment", "auto_augment", "random_choice", "categorical",
    }  # fmt: skip
    assert "classifier" in plugins.available("model")


def test_loading_what_is_not_there() -> None:
    with pytest.raises(ZddError, match="there is no criterion 'focall'; did you mean 'focal'"):
        plugins.load("criterion", "focall")


@pytest.mark.parametrize(
    ("word", "choices", "near"),
    [
        ("lern_rate", ["learn_rate", "momentum"], "learn_rate"),
        ("batchsize", ["batch_size", "epochs"], "batch_size"),
        ("resnet-18", ["resnet18", "resnet50"], "resnet18"),
        ("sgd", ["SGD", "Adam"], "SGD"),
        ("x", ["batch_size"], None),
        ("x", [], None),
    ],
)
def test_nearest(word: str, choices: list[str], near: str | None) -> None:
    assert plugins.nearest(word, choices) == near

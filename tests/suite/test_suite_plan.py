"""What a suite file may say, and the cells that it makes."""

from pathlib import Path

import pytest
from small_suites import planned, write

from zdd import cli, config, files
from zdd.errors import ZddError
from zdd.suite import form
from zdd.suite.parts import distinct
from zdd.suite.plan import Suite, Wish, plan, queue
from zdd.suite.run import steps_of

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "experiments/suites").glob("*.json"))
DATA = {"real": {"use": {"name": "folder", "root": "anywhere"}}}


def small(tmp_path: Path, part: dict[str, object], **more: object) -> Suite:
    return planned(write(tmp_path / "s.json", data=DATA, parts={"a": part}, **more), tmp_path / "runs")


def test_settings_are_crossed_and_each_cell_is_a_whole_configuration(tmp_path: Path) -> None:
    grid = {"optimizer.lr": [0.1, 0.2], "how": {"short": {"epochs": 2}, "long": {"epochs": 5, "batch_size": 4}}}
    suite = small(tmp_path, {"grid": grid, "set": {"seed": 7}})
    assert [cell.name for cell in suite.cells] == ["0.1_short", "0.1_long", "0.2_short", "0.2_long"]
    last = suite.cells[-1].loaded.config
    assert (last.optimizer.options["lr"], last.epochs, last.batch_size, last.seed) == (0.2, 5, 4, 7)
    assert last.dataset.root == "anywhere"
    assert suite.cells[0].values == {"lr": "0.1", "how": "short"}
    assert {cell.n_runs for cell in suite.cells} == {1}


def test_another_name_drops_what_was_said_of_the_first(tmp_path: Path) -> None:
    grid = {"with": {"Adam": {"optimizer": {"name": "Adam", "lr": 0.5}}, "plain": {}}}
    adam, plain = small(tmp_path, {"grid": grid}).cells
    assert adam.loaded.config.optimizer.flat() == {"name": "Adam", "lr": 0.5}
    assert plain.loaded.config.optimizer.name == "AdamW"


def test_the_baseline_is_the_same_cell_but_for_what_it_says(tmp_path: Path) -> None:
    grid = {"seed": [1, 2], "epochs": [3, 4]}
    suite = small(tmp_path, {"grid": grid, "baseline": {"epochs": "3"}})
    assert [(cell.name, cell.baseline) for cell in suite.cells] == [
        ("1_3", None), ("1_4", "1_3"), ("2_3", None), ("2_4", "2_3"),
    ]  # fmt: skip


def test_cells_of_one_configuration_are_trained_once_with_the_most_seeds(tmp_path: Path) -> None:
    parts = {"a": {"grid": {"epochs": [3, 4]}}, "b": {"grid": {"n": {"x": {"epochs": 3}}}, "n_runs": 5}}
    suite = planned(write(tmp_path / "s.json", data=DATA, parts=parts), tmp_path / "runs")
    found = list(distinct(suite.cells))
    assert [(cell.loaded.config.epochs, cell.n_runs) for cell in found] == [(3, 5), (4, 1)]


def test_a_cell_of_two_parts_gets_the_steps_of_both(tmp_path: Path) -> None:
    explain = {"name": "explain", "n": 4}
    parts = {"a": {"grid": {"seed": [1, 2]}}, "b": {"grid": {"seed": [2]}, "steps": ["test", explain]}}
    suite = planned(write(tmp_path / "s.json", data=DATA, parts=parts), tmp_path / "runs")
    steps = steps_of(suite)
    assert [[step.name for step in steps[cell.key]] for cell in suite.parts[0].cells] == [["test"], ["test", "explain"]]


def test_a_part_without_steps_has_none(tmp_path: Path) -> None:
    parts = {"a": {"steps": []}, "b": {}}
    suite = planned(write(tmp_path / "s.json", data=DATA, parts=parts, steps=["test"]), tmp_path / "runs")
    assert [[step.name for step in part.steps] for part in suite.parts] == [[], ["test"]]


def test_a_model_that_judges_nothing_is_trained_and_no_more(tmp_path: Path) -> None:
    gan = {"model": {"name": "gan"}, "early_limit": 0, "scheduler": None}
    suite = small(tmp_path, {"grid": {"n": {"draws": gan, "judges": {}}}})
    draws, judges = suite.cells
    assert steps_of(suite)[draws.key] == [] and [step.name for step in steps_of(suite)[judges.key]] == ["test"]


def test_fast_replaces_axes_and_recipes_and_keeps_their_order(tmp_path: Path) -> None:
    fast = {"base": {"epochs": 1}, "parts": {"a": {"grid": {"seed": [9]}}}}
    path = write(
        tmp_path / "s.json", data=DATA, parts={"a": {"grid": {"seed": [1, 2], "batch_size": [4, 8]}}}, fast=fast
    )
    full, small = planned(path, tmp_path / "runs"), planned(path, tmp_path / "runs", fast=True)
    assert (full.name, small.name) == ("s", "s-fast")
    assert [cell.name for cell in small.cells] == ["9_4", "9_8"]
    assert small.cells[0].loaded.config.epochs == 1
    with pytest.raises(ZddError, match="has no section 'fast'"):
        planned(write(tmp_path / "t.json", data=DATA, parts={"a": {}}), tmp_path / "runs", fast=True)


def test_the_command_line_is_the_last_layer(tmp_path: Path) -> None:
    path = write(tmp_path / "s.json", data=DATA, parts={"a": {"grid": {"epochs": [3]}}, "b": {"grid": {"epochs": [4]}}})
    suite = planned(path, tmp_path / "runs", settings=("epochs=9",), n_runs=2, only=("b",))
    assert [(cell.part, cell.loaded.config.epochs, cell.n_runs) for cell in suite.cells] == [("b", 9, 2)]


def test_a_set_of_the_users_takes_the_place_of_the_drawn_one(tmp_path: Path) -> None:
    data = {
        "real": {"make": "labels", "per_class": 4},
        "half": {"make": "synthesise", "of": "real", "train": 2, "train_ratio": 0.5},
    }
    grid = {"images": {"real": {"data": "real"}, "half": {"data": "half"}}}
    path = write(tmp_path / "s.json", data=data, parts={"a": {"grid": grid}})
    (tmp_path / "mine").mkdir()
    drawn, mine = planned(path, tmp_path / "runs"), planned(path, tmp_path / "runs", data=str(tmp_path / "mine"))
    assert drawn.cells[0].loaded.config.dataset.name == "labels"
    assert mine.cells[0].loaded.config.dataset.root == str(tmp_path / "mine")
    assert [source.make is None for source in mine.sources.values()] == [True, False]
    # What is made from other images lies in another folder, and labels are still never mirrored.
    assert drawn.cells[1].loaded.config.dataset.root != mine.cells[1].loaded.config.dataset.root
    assert not drawn.cells[1].loaded.config.dataset.mirror_safe
    set_of = planned(path, tmp_path / "runs", data="sets/casting")
    assert set_of.cells[0].loaded.config.dataset.good_class == "ok_front"
    with pytest.raises(ZddError, match="--data nowhere: neither a folder or table nor an experiment"):
        planned(path, tmp_path / "runs", data="nowhere")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"parts": {"a": {"gird": {}}}}, r"parts\.a\.gird.*did you mean 'grid'"),
        ({"parts": {"a": {"grid": {"epochs": 3}}}}, r"parts\.a\.grid\.epochs = 3.*must be a list"),
        ({"parts": {"a": {"grid": {"n": {"x": 3}}}}}, r"parts\.a\.grid\.n\.x = 3.*must be settings"),
        ({"parts": {"a": {"grid": {"epochs": [0]}}}}, r"epochs = 0 .*at least 1"),
        ({"parts": {"a": {"grid": {"data": ["reel"]}}}}, r"data = 'reel'.*no such recipe; there are: real"),
        ({"parts": {"a": {"grid": {"seed": [1]}, "baseline": {"seed": "2"}}}}, r"baseline\.seed = \"2\".*there are: 1"),
        ({"parts": {"a": {"grid": {"n": {"x y": {}, "x-y": {}}}}}}, "two cells would be called x-y"),
        ({"parts": {"a": {"steps": ["tset"]}}}, r"steps\.0 = \"tset\".*there are: test, explain, speed"),
        ({"parts": {"a": {}}, "data": {"r": {"make": "label"}}}, r"data\.r\.make = \"label\".*there are: labels"),
        ({"parts": {"a": {}}, "data": {"r": {"make": "labels"}}}, r"data\.r\.per_class.*must be given"),
        (
            {"parts": {"a": {}}, "data": {"r": {"make": "choose", "of": "q"}}},
            r"data\.r\.of = \"q\".*no such recipe",
        ),
        ({"parts": {"a": {}}, "n_runs": 0}, r"n_runs = 0 .*at least 1"),
        ({"parts": {}}, r"parts = \{\} \(.*s\.json:\d+\): must hold one part or more"),
        ({"parts": {"a": {"grid": {"seed": [1]}, "baseline": {"sed": "1"}}}}, r"no axis 'sed'; there are: seed"),
        ({"parts": {"a": {}}, "figures": ["balanced_acuracy"]}, r"figures = .*did you mean 'balanced_accuracy'"),
        (
            {"parts": {"a": {"steps": [{"name": "explain", "variant": ["gradcam"]}]}}},
            r"parts\.a\.steps\.0\.variant = \"gradcam\".*did you mean 'grad_cam'",
        ),
        (
            {"parts": {"a": {}}, "steps": ["test", {"name": "speed", "engines": ["eager", "eagr"]}]},
            r"^steps\.1\.engines = \"eagr\" \(.*s\.json:1\): there is no engine 'eagr'; did you mean 'eager'\?$",
        ),
        (
            {"parts": {"a": {"steps": [{"name": "speed", "engines": ["onnx-fp23"]}]}}},
            r"^parts\.a\.steps\.0\.engines = .* there is no engine 'onnx-fp23' \(its precision must be one of \"fp32\"",
        ),
        (
            {"parts": {"a": {"steps": [{"name": "speed", "engines": ["onnx"]}]}}},
            "there is no engine 'onnx'; did you mean 'onnx-fp32'",
        ),
        (
            {"parts": {"a": {"steps": [{"name": "speed", "engines": []}]}}},
            r"steps\.0\.engines = \[\].*name one or more",
        ),
        ({"parts": {"a": {}}, "figures": []}, r"^figures = \[\] \(.*s\.json:1\): must name one or more"),
        ({"parts": {"a/b": {}}}, r'^parts = "a/b" .*names a folder: letters, digits'),
        ({"parts": {"a": {}}, "data": {"../r": {"use": {}}}}, r'^data = "\.\./r" .*names a folder'),
        ({"parts": {"a": {"grid": {"n": {"..": {}}}}}}, r'^parts\.a\.grid = "\.\." .*a cell\'s name names a folder'),
        (
            {"parts": {"a": {}}, "data": {**DATA, "s": {"make": "synthesise", "of": "real", "train_ratio": 0.5}}},
            r"data\.s: how many images",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, changed: dict[str, object], line: str) -> None:
    path = write(tmp_path / "s.json", **{"data": DATA, **changed})
    with pytest.raises(ZddError, match=line):
        planned(path, tmp_path / "runs")


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZddError, match=r"--only 1A: s has no such part; did you mean '1a'"):
        planned(write(tmp_path / "s.json", data=DATA, parts={"1a": {}}), tmp_path / "runs", only=("1A",))


def test_another_suite_of_the_same_name_does_not_go_on_with_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"a": {"grid": {"epochs": [3]}}}
    mine = write(tmp_path / "one/s.json", data=DATA, parts=parts)
    record = tmp_path / "runs/suites/s/suite.json"
    files.write_json(record, {"file": planned(mine, tmp_path / "runs").file})
    write(mine, data=DATA, parts={"a": {"grid": {"epochs": [4]}}})
    assert planned(mine, tmp_path / "runs").cells[0].loaded.config.epochs == 4  # one's own file may be edited
    copy, other = (write(tmp_path / name / "s.json", data=DATA, parts=parts) for name in ("copy", "other"))
    assert planned(copy, tmp_path / "runs")  # as it was run, at another place
    write(other, data=DATA, parts={"a": {"grid": {"epochs": [5]}}})
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(None, ["suite", str(other), "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"zdd suite: {other}: {record.parent} is of another suite of this name, {mine}; rename the file or name "
        f"another --runs (if it is the same suite, moved and edited: delete {record})"
    ]
    assert cli.main(None, ["suite", str(mine), str(other), "--runs", str(tmp_path / "empty")]) == 2
    assert capsys.readouterr().err == f"zdd suite: {mine} and {other}: two suites of this name; rename one\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_suite_or_an_experiment_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert form.is_suite(form.find("experiment_1")) and not form.is_suite(form.find("casting_luna"))
    with pytest.raises(ZddError, match="did you mean 'experiment_1'"):
        form.find("experimnt_1")


def test_experiments_in_a_queue_are_compared_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    suite = queue([ROOT / "experiments/casting_luna.json", ROOT / "experiments/neu_luna.json"], Wish())
    assert (suite.name, [cell.baseline for cell in suite.cells]) == ("casting_luna+neu_luna", [None, "casting_luna"])
    assert suite.cells[0].loaded.config == config.load("casting_luna").config
    with pytest.raises(ZddError, match="two experiments of this name"):
        queue([ROOT / "experiments/neu_luna.json"] * 2, Wish())


@pytest.mark.parametrize("fast", [False, True], ids=["full", "fast"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_suite_can_be_planned(path: Path, fast: bool, tmp_path: Path) -> None:
    suite = plan(path, Wish(tmp_path, fast=fast))
    assert suite.about and suite.cells
    for part in suite.parts:
        assert part.about and len({cell.name for cell in part.cells}) == len(part.cells)
    if fast:
        assert all(cell.n_runs == 1 and cell.loaded.config.epochs <= 60 for cell in suite.cells)

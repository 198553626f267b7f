"""Suites from the file to the table: tiny ones, most of them in this process."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_suites import BASE, inside, planned, two_classes, write

from zdd import cli, files
from zdd.rundir import RunDir
from zdd.suite import cell, run
from zdd.suite.cell import Children

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[list[list[str]]]:
    """Cells run in this process; gives the commands of each, as they are begun."""
    said: list[list[list[str]]] = []

    def noted(children: Children, command: list[str], log: Path, threads: int, lock: int) -> int:
        said.append(json.loads(command[-1]))
        return inside(children, command, log, threads, lock)

    monkeypatch.setattr(Children, "run", noted)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # a worker's thread may set no handler
    return said


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("pictures"))


def data(pictures: Path) -> dict[str, Any]:
    return {"real": {"use": {"name": "folder", "root": str(pictures)}}}


def words(of: list[list[list[str]]]) -> list[list[str]]:
    """The verbs of each cell's commands."""
    return [[command[0] for command in commands] for commands in of]


def table_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_suite_goes_on_where_it_was(tmp_path: Path, pictures: Path, here: list[list[list[str]]]) -> None:
    parts = {"a": {"about": "Rates.", "grid": {"optimizer.lr": [0.003, 0.02]}, "baseline": {"lr": "0.003"}}}
    path = write(tmp_path / "s.json", data=data(pictures), parts=parts)
    result = run.run(planned(path, tmp_path), tmp_path, jobs=1)
    folder = tmp_path / "suites/s"
    assert words(here) == [["train", "test"], ["train", "test"]] and not result["failed"]
    assert files.read_json(folder / "suite.json")["file"] == {"path": str(path), "sha256": files.sha256(path)}
    assert [path.name for path in sorted(folder.iterdir())] == [
        "cells", "plots", "runs", "suite.json", "table.csv", "table.md", "table.tex",
    ]  # fmt: skip
    assert [Path(path).name for path in result["plots"]] == ["a_quality.png", "a_loss.png"]
    assert all(Image.open(path).size[0] > 400 for path in result["plots"])
    assert not list(folder.rglob("checkpoints")) and len(list(folder.rglob("model.safetensors"))) == 2

    here.clear()
    run.run(planned(path, tmp_path), tmp_path, jobs=1)
    assert here == []  # all is there
    more = planned(path, tmp_path, n_runs=2)
    next((folder / "runs/a/0.02").glob("*/run_0/DONE")).unlink()  # as if it had been stopped
    run.run(more, tmp_path, jobs=1)
    assert [commands[0][:2] for commands in here] == [["train", "--resume"]] * 2
    assert {len(list((folder / "runs/a" / name).glob("*/run_*/DONE"))) for name in ("0.003", "0.02")} == {2}
    rows = table_of(folder / "table.csv")
    first = next(row for row in rows if (row["cell"], row["split"], row["figure"]) == ("0.02", "test", "accuracy"))
    runs = sorted((folder / "runs/a/0.02").glob("*/run_*/metrics.json"))
    values = [files.read_json(path)["test"]["accuracy"]["value"] for path in runs]
    assert (first["n_runs"], first["n_images"], first["baseline"]) == ("2", "24", "0.003")
    assert float(first["mean"]) == pytest.approx(np.mean(values))

    here.clear()
    other = planned(path, tmp_path, settings=("batch_size=8",))
    run.run(other, tmp_path, jobs=1)
    assert [commands[0][2] for commands in here] == ["--n_runs"] * 2  # another configuration is trained anew
    assert len(list((folder / "runs/a/0.02").glob("*/plan.json"))) == 2


def test_what_fails_costs_nothing_else(tmp_path: Path, pictures: Path, here: list[list[list[str]]]) -> None:
    (tmp_path / "empty").mkdir()
    recipes = {
        **data(pictures),
        "none": {"use": {"name": "folder", "root": str(tmp_path / "empty")}},
        "few": {"make": "choose", "of": "real", "train": 99},
    }
    grid = {"images": {name: {"data": name} for name in ("none", "few", "real")}}
    path = write(tmp_path / "s.json", data=recipes, parts={"a": {"grid": grid, "baseline": {"images": "real"}}})
    code = cli.main(None, ["suite", str(path), "--runs", str(tmp_path)])
    assert code == 1
    told = files.read_json(tmp_path / "suites/s/suite.json")["parts"]["a"]
    assert {name: one["status"] for name, one in told.items()} == {"none": "failed", "few": "failed", "real": "done"}
    assert "99 are wanted" in told["few"]["failed"] and "exit code 2" in told["none"]["failed"]
    text = (tmp_path / "suites/s/table.md").read_text()
    assert "## What failed" in text and "| none | 0 | 0 | no run |" in text and "| real | 1 | 24 |" in text


def test_experiments_one_after_another(
    tmp_path: Path, pictures: Path, here: list[list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        value = {**BASE, "dataset": {"name": "folder", "root": str(pictures)}, "seed": seed}
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    assert cli.main(None, ["train", str(tmp_path / "first.json"), "--runs", str(tmp_path / "runs")]) == 0
    argv = ["suite", str(tmp_path / "first.json"), str(tmp_path / "second.json"), "--runs", str(tmp_path / "runs")]
    assert cli.main(None, argv) == 0
    assert words(here) == [["test"], ["train", "test"]]  # the finished one is taken
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["suites"]["first+second"]
    rows = [row for row in table_of(Path(result["tables"][0])) if row["figure"] == "accuracy"]
    assert {(row["experiment"], row["baseline"]) for row in rows} == {("first", ""), ("second", "first")}
    assert len(list((tmp_path / "runs").rglob("last.ckpt"))) == 2  # runs of experiments keep theirs


def test_steps_are_done_once(tmp_path: Path, pictures: Path, here: list[list[list[str]]]) -> None:
    steps = ["test", {"name": "explain", "variant": ["saliency"], "n": 2}, {"name": "speed", "seconds": 0.1}]
    part = {"grid": {"model.backbone": ["luna"]}, "steps": steps}
    path = write(tmp_path / "s.json", data=data(pictures), parts={"a": part})
    result = run.run(planned(path, tmp_path), tmp_path, jobs=1)
    assert words(here) == [["train", "test", "explain"], ["benchmark"]] and not result["failed"]
    assert all(float(row["latency_ms"]) > 0 for row in table_of(tmp_path / "suites/s/table.csv"))
    here.clear()
    run.run(planned(path, tmp_path), tmp_path, jobs=1)
    assert here == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["run_0 epoch 1/1", "next: zdd data gan", "zdd test: run_0: no"], "zdd test: run_0: no"),
        (["  File x", "RuntimeError: out of memory"], "RuntimeError: out of memory"),
        ([], ""),  # killed before it said anything
    ],
)
def test_why_a_cell_failed_is_its_last_words_of_this_time(tmp_path: Path, lines: list[str], said: str) -> None:
    log = tmp_path / "x.log"
    log.write_text("\n".join(["$ zdd: [1]", "zdd test: an older mistake", "$ zdd: [2]", *lines]))
    assert cell._why(log, 2, 0) == f"a step failed (exit code 2): {said} ({log})"


def test_what_the_configuration_explains_is_not_explained_again(tmp_path: Path) -> None:
    steps = [{"name": "explain"}]
    parts = {"a": {"set": {"explain": ["saliency"]}, "steps": steps}, "b": {"steps": steps}}
    suite = planned(write(tmp_path / "s.json", data=data(tmp_path), parts=parts), tmp_path)
    files.write_json(tmp_path / "explain/saliency/about.json", {})
    said = [cell._explained(RunDir(tmp_path), part.steps[0], part.cells[0]) for part in suite.parts]
    assert said == [True, False]


def test_a_cell_that_is_still_at_work_is_waited_for(tmp_path: Path) -> None:
    lock, said = tmp_path / ".one.lock", list[str]()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl; f=open({str(lock)!r},'a'); fcntl.flock(f,2); print(1,flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None and holder.stdout is not None and holder.stdout.readline() == b"1\n"

    def say(text: str) -> None:
        said.append(text)
        assert holder.poll() is None  # it holds the lock until it is told that somebody waits
        holder.communicate(b"\n", timeout=60)

    with cell._alone(lock, Children(say)):
        assert holder.returncode == 0
    assert said == ["one: another process is still at work on it; waiting"]


def test_a_stop_ends_the_children(tmp_path: Path) -> None:
    children = Children(print)
    code: list[int] = []
    listen = "signal.signal(2, signal.default_int_handler)"  # a suite in the background would ignore it
    sleep = [sys.executable, "-c", f"import signal, time; {listen}; print(6 * 7, flush=True); time.sleep(200)"]
    thread = threading.Thread(target=lambda: code.append(children.run(sleep, tmp_path / "log", 1, 0)))
    thread.start()
    while not (tmp_path / "log").is_file() or "\n42\n" not in (tmp_path / "log").read_text():
        time.sleep(0.01)  # until it listens
    children.stop()
    thread.join(60)
    assert code and code[0] != 0
    assert children.run(sleep, tmp_path / "log", 1, 0) == 130  # nothing is begun any more


def test_a_suite_that_was_killed_goes_on_where_it_was(tmp_path: Path, pictures: Path) -> None:
    grid = {"grid": {"seed": [1, 2]}}
    path = write(tmp_path / "s.json", data=data(pictures), parts={"a": grid})
    command = [sys.executable, "-m", "zdd.cli", "suite", str(path), "--runs", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    suite = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    runs = tmp_path / "suites/s/runs/a"
    while not list(runs.glob("2/*/plan.json")):  # the second cell has begun
        assert suite.poll() is None
        time.sleep(0.05)
    suite.send_signal(signal.SIGKILL)
    suite.wait()
    before = next(runs.glob("1/*/run_0/metrics.json")).stat().st_mtime_ns
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "a, 1: there already" in done.stderr
    assert next(runs.glob("1/*/run_0/metrics.json")).stat().st_mtime_ns == before
    assert [len(list(runs.glob(f"{name}/*/run_0/DONE"))) for name in "12"] == [1, 1]
    assert len(list(runs.glob("2/*"))) == 2  # one group, and `latest`
    assert (tmp_path / "suites/s/cells/a/2.log").stat().st_size > 100
    rows = table_of(tmp_path / "suites/s/table.csv")
    for name in "12":
        found = files.read_json(next(runs.glob(f"{name}/*/run_0/metrics.json")))["test"]["accuracy"]["value"]
        first = next(row for row in rows if (row["cell"], row["split"], row["figure"]) == (name, "test", "accuracy"))
        assert float(first["mean"]) == found
    assert all(float(row["gflops"]) > 0 and row["latency_ms"] == "" for row in rows)


def test_noise_brings_no_gain_and_the_table_says_so(
    tmp_path: Path, pictures: Path, here: list[list[list[str]]]
) -> None:
    """Real training images with as many of pure noise, half of them called good."""
    rng = np.random.default_rng(1)
    real = [(path, path.parent.name, path.parent.parent.name) for path in sorted(pictures.rglob("*.png"))]
    lines = [f"{path},{label},{split}" for path, label, split in real]
    for number in range(24):
        noise = tmp_path / f"noise_{number:02d}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(noise)
        lines.append(f"{noise},{('good', 'dark')[number % 2]},train")
    (tmp_path / "noise.csv").write_text("\n".join(["image,label,split", *lines]) + "\n")
    recipes = {**data(pictures), "noise": {"use": {"name": "csv", "root": str(tmp_path / "noise.csv")}}}
    grid = {"images": {"real": {"data": "real"}, "with noise": {"data": "noise"}}}
    part = {"grid": grid, "baseline": {"images": "real"}, "figures": ["auroc"]}
    path = write(tmp_path / "s.json", data=recipes, parts={"a": part}, n_runs=3, base={"epochs": 4})
    assert not run.run(planned(path, tmp_path), tmp_path, jobs=1)["failed"]
    rows = table_of(tmp_path / "suites/s/table.csv")
    said = {row["figure"]: row["verdict"] for row in rows if (row["cell"], row["split"]) == ("with-noise", "test")}
    assert said["auroc"] in ("no difference shown", "loss", "no spread over seeds: can't be said")
    assert said["balanced_accuracy"] != "gain"


@pytest.mark.parametrize("number", range(1, 6))
def test_an_experiment_of_the_five_in_its_small_form(
    number: int, tmp_path: Path, here: list[list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(None, ["suite", f"experiment_{number}", "--fast", "--runs", str(tmp_path)]) == 0
    assert here and "train" in words(here)[0]
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["suites"][f"experiment_{number}-fast"]
    assert not result["failed"] and len(result["plots"]) >= 2
    assert "no run" not in Path(result["tables"][1]).read_text()

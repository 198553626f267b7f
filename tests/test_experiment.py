"""Whole trainings on small pictures: reproducible, resumable, honest about failures."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zdd import config, files
from zdd.experiment import resume, run_experiment
from zdd.rundir import Group, RunDir, find
from zdd.trained import load_trained

Experiment = Callable[..., str]
ROOT = Path(__file__).parents[1]


def train(path: str, runs: Path, *, n_runs: int = 1) -> tuple[dict[str, Any], Group]:
    said = run_experiment(config.load(path), n_runs=n_runs, runs=runs)
    return said, Group(Path(said["group"]))


def rows(run: RunDir) -> list[dict[str, str]]:
    """metrics.csv without what is a matter of time."""
    with run.epochs.open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("speed/")} for row in csv.DictReader(file)]


def test_a_run_directory_holds_what_it_should(experiment: Experiment, tmp_path: Path) -> None:
    said, group = train(experiment(), tmp_path / "runs", n_runs=2)
    assert said["failed"] == {}
    assert [run.path.name for run in group.finished] == ["run_0", "run_1"]
    assert find(tmp_path / "runs" / "small" / "latest") == group
    run = group.runs[0]
    for path in (
        run.config,
        run.environment,
        run.data,
        run.audit,
        run.best,
        run.last,
        run.weights,
        run.model,
        run.epochs,
    ):
        assert path.is_file(), path
    assert list(run.log.glob("events.out.tfevents.*"))
    metrics = files.read_json(run.metrics)
    assert "test" not in metrics  # training never looks at the test split
    assert metrics["training"]["epochs"] == 3
    assert group.summary.is_file()
    assert group.summary_text.is_file()
    assert not list(group.path.rglob("*.part"))


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(experiment: Experiment, tmp_path: Path) -> None:
    _, first = train(experiment(), tmp_path / "a", n_runs=2)
    _, again = train(experiment(), tmp_path / "b")
    one, two, other = first.runs[0], again.runs[0], first.runs[1]
    assert files.sha256(one.weights) == files.sha256(two.weights)
    assert rows(one) == rows(two)
    assert one.data.read_bytes() == two.data.read_bytes()
    assert files.sha256(one.weights) != files.sha256(other.weights)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_ends_bit_equal_to_one_that_was_not(
    stop: signal.Signals, experiment: Experiment, tmp_path: Path
) -> None:
    model = {"name": "classifier", "backbone": "squeezenet1_1"}  # has dropout, which draws random numbers
    settings = {"model": model, "image_size": 48, "epochs": 6, "scheduler": {"name": "OneCycleLR", "max_lr": 0.001}}
    path = experiment(**settings, replacement_limit=1, early_limit=4)
    _, whole = train(path, tmp_path / "whole")
    command = [sys.executable, str(ROOT / "train.py"), path, "--runs", str(tmp_path / "cut")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip
    table, deadline = None, time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        table = next((tmp_path / "cut").glob("small/*/run_0/log/metrics.csv"), None)
        if table is not None and len(table.read_text().splitlines()) >= 3:
            break
        time.sleep(0.005)
    process.send_signal(stop)
    _, said = process.communicate(timeout=200)
    assert process.returncode == (-signal.SIGKILL if stop == signal.SIGKILL else 130), said
    group = find(tmp_path / "cut" / "small" / "latest")
    assert isinstance(group, Group)
    assert not group.finished, "the run was over before it could be stopped: give it more epochs"
    if stop == signal.SIGINT:
        assert "--resume" in said
    assert resume(group.path)["failed"] == {}
    assert rows(group.runs[0]) == rows(whole.runs[0])
    assert files.sha256(group.runs[0].weights) == files.sha256(whole.runs[0].weights)


def test_a_loss_that_is_no_number_names_the_files_and_leaves_the_other_runs(
    experiment: Experiment, tmp_path: Path
) -> None:
    said, group = train(experiment(optimizer={"name": "SGD", "lr": 1e30}), tmp_path / "runs", n_runs=2)
    assert set(said["failed"]) == {"run_0", "run_1"}
    assert "part" in said["failed"]["run_0"]
    assert "optimizer.lr" in group.run(0).failure.read_text()
    assert group.finished == []


def test_resuming_a_group_takes_up_the_run_that_is_missing(experiment: Experiment, tmp_path: Path) -> None:
    _, group = train(experiment(), tmp_path / "runs", n_runs=2)
    kept = files.sha256(group.run(1).weights)
    untouched = group.run(0).weights.stat().st_mtime_ns
    (group.run(1).path / "DONE").unlink()
    group.run(1).weights.unlink()
    assert len(resume(group.path)["done"]) == 2
    assert files.sha256(group.run(1).weights) == kept
    assert group.run(0).weights.stat().st_mtime_ns == untouched


def test_a_damaged_checkpoint_is_named(experiment: Experiment, tmp_path: Path) -> None:
    _, group = train(experiment(epochs=1), tmp_path)
    run = group.runs[0]
    (run.path / "DONE").unlink()
    whole = run.last.read_bytes()
    run.last.write_bytes(whole[: len(whole) // 2])
    assert resume(group.path)["failed"] == {
        "run_0": f"{run.last}: is damaged, so the run can't go on from it; delete it to begin the run anew"
    }
    run.last.unlink()
    assert resume(group.path)["failed"] == {}


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_what_was_trained_in_another_precision_is_kept_in_single(
    experiment: Experiment, tmp_path: Path, precision: str
) -> None:
    trainer = {"accelerator": "cpu", "threads": 1, "precision": precision}
    result, group = train(experiment(epochs=1, trainer=trainer), tmp_path)
    assert result["failed"] == {}
    assert {weight.dtype for weight in load_trained(group.runs[0]).model.parameters()} == {torch.float32}


def test_the_model_that_is_kept_is_the_best_and_not_the_last(experiment: Experiment, tmp_path: Path) -> None:
    _, group = train(experiment(epochs=4, optimizer={"name": "SGD", "lr": 0.3}), tmp_path / "runs")
    run = group.runs[0]
    table = rows(run)
    best = min(table, key=lambda row: float(row["val/loss"]))
    metrics = files.read_json(run.metrics)
    assert metrics["training"]["best_epoch"] == int(float(best["epoch"]))
    kept = torch.load(run.best, map_location="cpu", weights_only=True)["state_dict"]
    net = load_trained(run).model.net.state_dict()
    assert all(torch.equal(net[name], kept[f"net.{name}"]) for name in net)


def test_two_processes_give_the_figures_of_one(experiment: Experiment, tmp_path: Path) -> None:
    model = {"name": "classifier", "backbone": "squeezenet1_1", "dropout": 0.0}  # no batch norm, no dropout
    settings: dict[str, Any] = {"model": model, "augmentation": "none", "image_size": 48, "epochs": 2}
    settings["optimizer"] = {"name": "SGD", "lr": 0.01}
    _, one = train(experiment(**settings), tmp_path / "one")
    said, two = train(
        experiment(**settings, trainer={"accelerator": "cpu", "threads": 1, "devices": 2}), tmp_path / "two"
    )
    assert said["failed"] == {}
    assert len(two.runs) == 1
    assert len(list(two.runs[0].log.glob("events.*"))) == len(list(one.runs[0].log.glob("events.*")))
    for a, b in zip(rows(one.runs[0]), rows(two.runs[0]), strict=True):
        assert {k: float(v) for k, v in a.items()} == pytest.approx(
            {k: float(v) for k, v in b.items()}, rel=1e-3, abs=1e-4
        )

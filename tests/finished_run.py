"""A finished run without an hour of training: a network at its random start, with all that a run holds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zdd import config as configuration
from zdd import decide, environment, evaluate, files, metrics
from zdd.data import dataset as datasets
from zdd.data.module import DataModule
from zdd.models import build
from zdd.preprocess import from_settings
from zdd.rundir import Group, RunDir
from zdd.trained import Trained, save_trained

Write = Callable[..., str]


def settings(root: Path, **changes: Any) -> dict[str, Any]:
    """An experiment on the images at `root`, small enough for a second."""
    return {
        "dataset": {"name": "folder", "root": str(root)},
        "image_size": 32,
        "augmentation": "none",
        "model": {"name": "classifier", "backbone": "luna"},
        "epochs": 1,
        "batch_size": 8,
        "loader": {"workers": 0},
        "trainer": {"accelerator": "cpu", "threads": 1},
        **changes,
    }


def finish(run: RunDir, value: dict[str, Any], *, seed: int = 0) -> Trained:
    """Write a finished run of the experiment `value` into `run`."""
    run.path.mkdir(parents=True)
    source = run.path / "experiment.json"
    source.write_text(json.dumps(value | {"seed": seed}))
    config = configuration.load(str(source)).config
    preprocess = from_settings(config.image_size, config.preprocess)
    dataset, audit = datasets.prepare(config.dataset, preprocess, cache=config.loader)
    torch.manual_seed(seed)
    task = dataset.task(config.image_size)
    model = build.build(config.model, task).eval()
    model.recipe = build.recipe(config, task)
    columns = evaluate.evaluate(model.net, model.decode, DataModule(dataset, preprocess, config).loader("val"))
    threshold = decide.choose(columns.score, columns.label != 0, config.threshold) if dataset.has_good else None
    figures = metrics.figures(columns, model.task, threshold.value if threshold else None)
    trained = Trained(model, preprocess, threshold, config)
    save_trained(run, trained)
    datasets.save(dataset, run.data)
    files.write_json(run.config, configuration.as_dict(config))
    files.write_json(run.audit, audit.as_dict())
    files.write_json(run.environment, environment.describe())
    stored = {"val": {name: figure.as_dict() for name, figure in figures.items()}}
    stored["threshold"] = threshold.as_dict() if threshold else None  # type: ignore[assignment]
    files.write_json(run.metrics, stored | {"training": {"epochs": 1, "best_epoch": 1, "took_s": 0.5}})
    files.write_text(run.epochs, "epoch,train/loss,val/loss,val/accuracy,best\n1,0.9,0.8,0.5,1\n")
    run.finish()
    return trained


def finish_group(path: Path, value: dict[str, Any], *, n: int = 2) -> Group:
    """A group of `n` finished runs."""
    group = Group(path)
    path.mkdir(parents=True)
    files.write_json(group.plan, {"n_runs": n, "config": value})
    for number in range(n):
        finish(group.run(number), value, seed=number)
    return group

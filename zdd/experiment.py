"""An experiment: one configuration, several seeds, each in a run directory of its own."""

import shlex
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from rich.console import Console

from zdd import config as configuration
from zdd import decide, environment, evaluate, files, metrics, stats, weighted
from zdd.area import Scale
from zdd.config import Loaded
from zdd.data import dataset as datasets
from zdd.data.audit import Audit
from zdd.data.dataset import Dataset
from zdd.data.module import DataModule
from zdd.decide import Threshold
from zdd.errors import ZddError
from zdd.models import build
from zdd.models.base import ZddModel
from zdd.pixelwise import Tally
from zdd.preprocess import Preprocess
from zdd.preprocess import from_settings as preprocess_from
from zdd.records import Columns
from zdd.report.summarise import summarise
from zdd.report.tested import Tested
from zdd.rundir import Group, RunDir, find, new_group
from zdd.settings import Config, ThresholdSettings
from zdd.stats import Figure
from zdd.trained import Trained, save_trained
from zdd.training import feasible
from zdd.training.board import read_epochs
from zdd.training.final import write_final
from zdd.training.fit import fit

err = Console(stderr=True, highlight=False, soft_wrap=True)


def run_experiment(loaded: Loaded, *, n_runs: int, runs: Path) -> dict[str, Any]:
    """Train `n_runs` seeds (seed, seed + 1, ...) into a new group of runs.

    Returns:
        What the command prints: the group, the runs done and failed, the summary.

    Raises:
        ZddError: If the data or the device can't be used; then no directory is made.
    """
    config = loaded.config
    feasible.check_machine(config.trainer)
    dataset, audit = _prepare(config)
    group = new_group(runs, loaded.name)
    files.write_json(group.plan, {"n_runs": n_runs, "config": configuration.as_dict(config)})
    return _run_group(group, range(n_runs), dataset, audit.as_dict())


def resume(path: Path) -> dict[str, Any]:
    """Take up again what was stopped or failed: one run, or every unfinished run of a group."""
    found = find(path)
    group = found if isinstance(found, Group) else Group(found.path.parent)
    if not group.plan.is_file():
        raise ZddError(f"{path}: its group has no {group.plan.name}; a run is resumed where it was made")
    plan = files.read_json(group.plan)
    if not plan.keys() >= {"n_runs", "config"}:
        raise ZddError(f"{group.plan}: not what zdd wrote: n_runs and config were expected")
    wanted = range(plan["n_runs"]) if isinstance(found, Group) else [int(found.path.name.removeprefix("run_"))]
    config = configuration.from_dict(plan["config"])
    feasible.check_machine(config.trainer)
    dataset, audit = _dataset_of(group, config)
    return _run_group(group, wanted, dataset, audit)


def _dataset_of(group: Group, config: Config) -> tuple[Dataset, dict[str, Any]]:
    # The split of the run that was begun, never a new one: files may have been added since.
    for run in group.runs:
        if run.data.is_file() and run.audit.is_file():
            return datasets.load(run.data), files.read_json(run.audit)
    dataset, audit = _prepare(config)
    return dataset, audit.as_dict()


def _prepare(config: Config) -> tuple[Dataset, Audit]:
    """The data, as the model wants it; that it suffices for a training is seen to before hours are spent."""
    made = build.method(config.model)
    preprocess = _preprocess(config)
    dataset, audit = datasets.prepare(config.dataset, preprocess, cache=config.loader, one_class=made.one_class)
    feasible.check(dataset, config.monitor, masks=made.masks)
    if dataset.has_good and not made.generative:
        labels = np.array([record.label for record in dataset.split("val")])
        decide.check(labels != 0, config.threshold)
    return dataset, audit


def _run_group(group: Group, numbers: Sequence[int], dataset: Dataset, audit: dict[str, Any]) -> dict[str, Any]:
    plan = files.read_json(group.plan)
    failed: dict[str, str] = {}
    for number in numbers:
        run = group.run(number)
        if run.done:
            err.print(f"{run.path}: finished already", markup=False)
            continue
        config = configuration.from_dict({**plan["config"], "seed": plan["config"]["seed"] + number})
        try:
            run_once(config, run, dataset, audit)
        except Exception as error:  # one run's failure must not cost the others; it is written down and shown
            text = str(error) if isinstance(error, ZddError) else traceback.format_exc()
            files.write_text(run.failure, text + "\n")
            failed[run.path.name] = text
            err.print(f"{run.path} failed: {text}", markup=False)  # a path may hold what looks like markup
    done = [str(run.path) for run in group.finished]
    result: dict[str, Any] = {"group": str(group.path), "done": done, "failed": failed}
    if done:
        means = {name: row["mean"] for name, row in summarise(group)["val"].items()}
        result |= {"mean": means, "summary": str(group.summary)}
        draws = build.method(configuration.from_dict(plan["config"]).model).generative
        named = shlex.quote(str(group.path))
        result["next"] = f"zdd data gan {named} OUT" if draws else f"python test.py {named}"
    return result


def run_once(config: Config, run: RunDir, dataset: Dataset, audit: dict[str, Any]) -> None:
    """Train one seed into `run`, or go on with it; the test split is not looked at."""
    files.write_json(run.config, configuration.as_dict(config))
    if not run.environment.is_file():  # of a resumed run it tells how it was begun
        files.write_json(run.environment, environment.describe())
    files.write_json(run.audit, audit)
    datasets.save(dataset, run.data)
    pl.seed_everything(config.seed, verbose=False)
    preprocess = _preprocess(config)
    task = replace(dataset.task(config.image_size), mean=preprocess.mean, std=preprocess.std)
    model = build.build(config.model, task)
    model.recipe = build.recipe(config, task)
    data = DataModule(dataset, preprocess, config, masks=model.masks)
    fit(model, data, config, run)
    best = torch.load(run.last if model.generative else run.best, map_location="cpu", weights_only=True)
    model.load_state_dict(best["state_dict"])
    model.float().cpu().eval()  # judged and kept in single precision, whatever it was trained in
    keep = _keep_generative if model.generative else _keep
    keep(run, Trained(model, data.preprocess, None, config), data)
    run.finish()


def _keep(run: RunDir, trained: Trained, data: DataModule) -> None:
    """Judge the validation split, choose the threshold by it, and write down the model and its figures."""
    model, task, config = trained.model, trained.task, trained.config
    records = data.dataset.split("val")
    tally = Tally(
        task,
        pixel_threshold=model.pixel_threshold,
        images=records,
        preprocess=data.preprocess,
        seed=config.seed,
        scale=Scale.of(config),
    )
    watch = [tally] if model.pixelwise and model.pixel_threshold is not None else []
    loader = data.loader("val", masks=bool(watch))
    columns = evaluate.evaluate(model.net, model.decode, loader, title="validation", watch=watch)
    if task.has_good:
        trained.threshold = _threshold(model, columns, config.threshold)
    save_trained(run, trained)
    value = trained.threshold.value if trained.threshold else None
    parts = [record.group for record in records]
    figures = metrics.figures(columns, task, value, parts=parts, seed=config.seed)
    figures |= tally.figures() if watch else {}
    if model.one_class:
        figures |= _planted(trained, data, columns)
    epochs = read_epochs(run.epochs)
    files.write_json(run.metrics, _metrics(trained, figures, epochs))
    write_final(Tested(run, task, trained.threshold, columns, records, figures), config, len(epochs))


def _keep_generative(run: RunDir, trained: Trained, _: DataModule) -> None:
    """Write down a model that judges no image: it has no threshold, and what it draws is judged when it draws."""
    save_trained(run, trained)
    epochs = read_epochs(run.epochs)
    files.write_json(run.metrics, _metrics(trained, {}, epochs))


def _planted(trained: Trained, data: DataModule, columns: Columns) -> dict[str, Figure]:
    """How many anomalies that were planted in the good validation images are found: where no defect is known yet."""
    assert trained.threshold is not None
    records = [record for record in data.dataset.split("val") if record.label == 0]
    said = evaluate.evaluate(trained.model.net, trained.model.decode, data.planted(records), title="planted anomalies")
    score = np.concatenate([columns.score[columns.label == 0], said.score])
    bad = np.arange(len(score)) >= len(records)
    auroc = float(weighted.auroc(score, bad)(np.ones((1, len(score))))[0])
    method = "no interval: planted anomalies are no sample of real ones"
    return {
        "planted_found": replace(stats.share(said.score >= trained.threshold.value), method="Wilson, of planted ones"),
        "planted_auroc": Figure(auroc, None, None, method, len(records)),
    }


def _threshold(model: ZddModel, columns: Columns, settings: ThresholdSettings) -> Threshold:
    """The image's threshold, and the pixel's where the method gives a map."""
    threshold = decide.choose(columns.score, columns.label != 0, settings)
    pixel = model.pixel_threshold
    if pixel is None and columns.peak is not None:
        pixel = decide.choose_pixel(columns.peak[columns.label == 0], settings)
    return replace(threshold, pixel=pixel)


def _metrics(trained: Trained, figures: dict[str, Figure], epochs: list[dict[str, float]]) -> dict[str, Any]:
    best = max((row for row in epochs if row["best"]), key=lambda row: row["epoch"], default=epochs[0])
    return {
        "val": {name: figure.as_dict() for name, figure in figures.items()},
        "threshold": trained.threshold.as_dict() if trained.threshold else None,
        "training": {
            "epochs": len(epochs),
            "best_epoch": int(best["epoch"]),
            "took_s": round(sum(row["speed/epoch_s"] for row in epochs), 1),
            "images_per_s": round(sum(row["speed/images_per_s"] for row in epochs) / len(epochs), 1),
        },
    }


def _preprocess(config: Config) -> Preprocess:
    return preprocess_from(config.image_size, config.preprocess)

"""A deep ensemble: what the runs of a group say together (Lakshminarayanan et al. 2017)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd import decide, files, metrics
from zdd.data.dataset import Dataset
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.evaluate import device_of, evaluate
from zdd.examine import brief, conclude, images_of
from zdd.records import Columns, Record
from zdd.report import page_of_group
from zdd.report.tested import Tested
from zdd.rundir import Group, RunDir, finished_runs
from zdd.trained import Trained, load_trained


def examine(path: Path, *, device: str = "auto", ood: str | None = None) -> dict[str, Any]:
    """Test the finished runs of a group as one model: what they say is averaged, image by image.

    The threshold is chosen by the configuration's rule on the average of what they say of the validation images.
    Writes `<group>/ensemble/` as a run's test does; the runs' own figures stay.

    Args:
        path: A group, or `<experiment>/latest`.
        device: `auto`, `cpu`, `cuda`.
        ood: A folder of images of no class, in place of the configuration's `dataset.ood`.

    Returns:
        The members, the figures by name, and where the report lies.

    Raises:
        ZddError: If it is a single run, or the runs don't share images, split and classes, or give no probabilities.
    """
    group, runs = finished_runs(path)
    if group is None:
        raise ZddError(f"{path}: --ensemble averages the runs of a group; this is one run of {runs[0].path.parent}")
    if len(runs) < 2:
        raise ZddError(f"{path}: --ensemble averages several runs; only {runs[0].path.name} is finished")
    _check(group, runs)
    members = [load_trained(run) for run in runs]
    dataset, others = images_of(runs[0], members[0], ood)
    where = device_of(device)
    said = [_said(run, one, dataset, others, where) for run, one in zip(runs, members, strict=True)]
    val, test, *unknown = (average(columns) for columns in zip(*said, strict=True))
    trained = members[0]
    tested = _validated(group.ensemble, trained, val, dataset.split("val"))
    _note(group, runs, tested)
    tested = replace(tested, columns=test, records=dataset.split("test"), figures={})
    if unknown:
        tested = replace(tested, unknown=replace(tested, columns=unknown[0], records=others))
    tested = conclude(tested, seed=trained.config.seed)
    if group.report.is_file():
        page_of_group.write(group, files.read_json(group.summary))  # with a link to the ensemble
    names = [run.path.name for run in runs]
    return {"members": names, "figures": brief(tested), "report": str(group.ensemble.report)}


def _check(group: Group, runs: Sequence[RunDir]) -> None:
    """An average needs the same images in the same places; data.csv names images, split and classes."""
    first = runs[0].data.read_bytes()
    others = [run.path.name for run in runs[1:] if run.data.read_bytes() != first]
    if others:
        raise ZddError(
            f"{group.path}: the runs of an ensemble must share images, split and classes; the data.csv of "
            f"{', '.join(others)} differs from that of {runs[0].path.name}"
        )


def _said(run: RunDir, trained: Trained, dataset: Dataset, others: list[Record], device: str) -> list[Columns]:
    """What one run says of the validation, the test and, if there are any, the unknown images."""
    if trained.task.classes != dataset.classes:
        raise ZddError(f"{run.model}: its classes are not those of its data.csv")
    model = trained.model.to(device)
    data = DataModule(dataset, trained.preprocess, trained.config)
    loaders = {"val": data.loader("val"), "test": data.loader("test")}
    if others:
        loaders["unknown"] = data.loader_of(others)
    said = []
    for name, loader in loaders.items():
        said.append(evaluate(model.net, model.decode, loader, device=device, title=f"{name} {run.path.name}"))
        if said[-1].probability is None:
            method = trained.config.model.name
            raise ZddError(f"{run.path}: --ensemble averages class probabilities, and the model '{method}' gives none")
    return said


def _validated(run: RunDir, trained: Trained, val: Columns, records: list[Record]) -> Tested:
    """The average on the validation images, with the threshold that is chosen there."""
    task, config = trained.task, trained.config
    threshold = decide.choose(val.score, val.label != 0, config.threshold) if task.has_good else None
    parts, value = [record.group for record in records], threshold.value if threshold else None
    figures = metrics.figures(val, task, value, parts=parts, seed=config.seed)
    return Tested(run, task, threshold, val, records, figures)


def _note(group: Group, runs: Sequence[RunDir], validated: Tested) -> None:
    """Begin the ensemble's metrics.json: who its members are, and what was found on the validation images."""
    folder, threshold = group.ensemble, validated.threshold
    members = {run.path.name: files.read_json(run.metrics).get("test", {}) for run in runs}
    files.write_json(
        folder.metrics,
        {
            "members": {name: {key: figure["value"] for key, figure in test.items()} for name, test in members.items()},
            "val": {name: figure.as_dict() for name, figure in validated.figures.items()},
            "threshold": threshold.as_dict() if threshold else None,
        },
    )
    for old, new in ((runs[0].audit, folder.audit), (runs[0].environment, folder.environment)):
        if old.is_file():
            files.write_json(new, files.read_json(old))


def average(members: Sequence[Columns]) -> Columns:
    """What several models say of the same images, averaged.

    Returns:
        The means of probability, score and energy; the most probable class of the mean; and how unsure that is, 1 - max
        of the mean probability. Of models whose own uncertainty is not that of their probabilities (DUQ's is that of
        the nearest centre), the mean of those.

    Raises:
        ValueError: If they are not of the same images, or one gives no probabilities.
    """
    first = members[0]
    if any((one.index != first.index).any() or (one.label != first.label).any() for one in members):
        raise ValueError("predictions of different images can't be averaged")
    probability = _mean([one.probability for one in members])
    if probability is None:
        raise ValueError("a model without probabilities can't be averaged")
    unsure = 1 - probability.max(axis=1)
    own = _mean([one.uncertainty for one in members])
    if own is not None and not all(_of_probability(one) for one in members):
        unsure = own
    score = np.mean([one.score for one in members], axis=0)
    energy = _mean([one.energy for one in members])
    return Columns(first.index, first.label, score, probability.argmax(axis=1), probability, unsure, energy)


def _mean(values: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    there = [value for value in values if value is not None]
    return np.mean(there, axis=0) if len(there) == len(values) else None


def _of_probability(columns: Columns) -> bool:
    """Whether the uncertainty is that of the most probable class."""
    p, u = columns.probability, columns.uncertainty
    return p is not None and u is not None and np.allclose(u, 1 - p.max(axis=1), atol=1e-5)

"""Test finished runs on their stored test split, and write down what was found."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from zdd import explaining, files, metrics, uncertainty
from zdd.area import Scale
from zdd.data import dataset as datasets
from zdd.data import unknown as unknowns
from zdd.data.dataset import Dataset
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.evaluate import device_of, evaluate
from zdd.pixelwise import Tally
from zdd.records import Record
from zdd.report import page_of_group, page_of_run, review
from zdd.report.summarise import summarise
from zdd.report.tested import Tested, write_predictions
from zdd.rundir import Group, RunDir, finished_runs
from zdd.trained import Trained, load_trained

EXPLAINED = 16  # test images of which the configuration's explainers show what they say
err = Console(stderr=True, highlight=False, soft_wrap=True)


def examine(path: Path, *, device: str = "auto", ood: str | None = None) -> dict[str, Any]:
    """Test one run, or every finished run of a group and the summary over them.

    A group that was tested before gets its summary and report anew, too, where one of its runs is tested alone.

    Args:
        path: A run, a group, or `<experiment>/latest`.
        device: `auto`, `cpu`, `cuda`.
        ood: A folder of images of no class, in place of the configuration's `dataset.ood`.

    Returns:
        Each run's figures by name, where the report lies, and of a group the summary.

    Raises:
        ZddError: If no run is finished, an image changed since training, or there are no test images.
    """
    group, runs = finished_runs(path)
    where = device_of(device)
    tested = {run.path.name: brief(examine_run(run, device=where, ood=ood)) for run in runs}
    if group is None:
        _renew(Group(runs[0].path.parent))
        return {"runs": tested, "report": str(runs[0].report)}
    unfinished = [run.path.name for run in group.runs if not run.done]
    if unfinished:
        err.print(f"{group.path}: not finished and so not tested: {', '.join(unfinished)}", markup=False)
    summary = summarise(group)
    page_of_group.write(group, summary)
    means = {name: row["mean"] for name, row in summary["test"].items()}
    return {"runs": tested, "mean": means, "summary": str(group.summary), "report": str(group.report)}


def _renew(group: Group) -> None:
    """Write a tested group's summary and report anew: the figures of one of its runs in them have changed."""
    if group.plan.is_file() and group.report.is_file():
        page_of_group.write(group, summarise(group))


def examine_run(run: RunDir, *, device: str = "cpu", ood: str | None = None) -> Tested:
    """Test one finished run and write predictions.csv, mistakes/, metrics.json, report.json and report.html."""
    trained = load_trained(run)
    dataset, others = images_of(run, trained, ood)
    records = dataset.split("test")
    model = trained.model.to(device)
    pixel = trained.threshold.pixel if trained.threshold else None
    tally = Tally(
        trained.task,
        pixel_threshold=pixel,
        images=records,
        preprocess=trained.preprocess,
        seed=trained.config.seed,
        scale=Scale.of(trained.config),
    )
    data = DataModule(dataset, trained.preprocess, trained.config)
    loader = data.loader("test", masks=model.pixelwise)
    watch = [tally] if model.pixelwise else []
    columns = evaluate(model.net, model.decode, loader, device=device, title=f"test {run.path.name}", watch=watch)
    tested = Tested(run, trained.task, trained.threshold, columns, records, tally.figures() if watch else {})
    if watch:
        tested = _reviewed(replace(tested, tally=tally), trained, data, device)
    if others:
        said = evaluate(model.net, model.decode, data.loader_of(others), device=device, title="unknown")
        blank = replace(tested, figures={}, tally=None, review={})
        tested = replace(tested, unknown=replace(blank, columns=said, records=others))
    if trained.config.explain:
        explaining.explain_run(run, explaining.Wish(n=EXPLAINED), device=device)
    return conclude(tested, seed=trained.config.seed)


def _reviewed(tested: Tested, trained: Trained, data: DataModule, device: str) -> Tested:
    """Draw chosen images into review/; the network sees them once more, for the maps of all are too large to keep."""
    rows = review.select(tested)
    files, keep = review.folder(tested.run.review, tested, rows)
    painter = review.Painter(tested, rows, trained.preprocess, keep)
    loader = data.loader_of([tested.records[row] for row in rows], masks=True)
    evaluate(trained.model.net, trained.model.decode, loader, device=device, title="review", watch=[painter])
    return replace(tested, review=files)


def images_of(run: RunDir, trained: Trained, ood: str | None) -> tuple[Dataset, list[Record]]:
    """The stored data of a run, as it was split, and the images of no class: with `ood`, those of that folder instead.

    Raises:
        ZddError: If an image changed since training, there are no test images, or no image lies in the folder.
    """
    dataset = datasets.load(run.data)
    _check(run, dataset, trained.task.classes)
    if ood is None:
        return dataset, list(dataset.unknown)
    held_out = [record for record in dataset.unknown if record.kind == trained.config.dataset.held_out]
    return dataset, [*held_out, *unknowns.folder(ood, setting="--ood")]


def conclude(tested: Tested, *, seed: int) -> Tested:
    """Work out every figure of what was said of the test images and write it down; `tested` may bring some figures."""
    run, columns, records = tested.run, tested.columns, tested.records
    for each in filter(None, (tested, tested.unknown)):
        if each.columns.index.tolist() != list(range(len(each.records))):
            raise RuntimeError(f"{each.columns.n} of {len(each.records)} images were judged")
    threshold = tested.threshold.value if tested.threshold else None
    parts = [record.group for record in records]
    figures = metrics.figures(columns, tested.task, threshold, parts=parts, seed=seed)
    others = (tested.unknown.columns, tested.unknown.records) if tested.unknown else None
    figures |= tested.figures | uncertainty.figures(columns, tested.predicted, records, others, seed=seed)
    tested = replace(tested, figures=figures, looks=count_look(run, columns.n))
    write_predictions(run.predictions, tested)
    run.unknown.unlink(missing_ok=True)
    if tested.unknown:
        write_predictions(run.unknown, tested.unknown)
    stored = files.read_json(run.metrics)
    files.write_json(run.metrics, stored | {"test": {name: figure.as_dict() for name, figure in figures.items()}})
    page_of_run.write(tested)
    return tested


def _check(run: RunDir, dataset: Dataset, classes: tuple[str, ...]) -> None:
    if not dataset.split("test"):
        raise ZddError(f"{run.data}: there are no test images in it; set dataset.split.test above 0 and train anew")
    if dataset.classes != classes:
        raise ZddError(
            f"{run.data}: its classes are {', '.join(dataset.classes)}; the model's are {', '.join(classes)}"
        )


def count_look(run: RunDir, n: int, why: str = "test") -> int:
    """Note that the test split was looked at, and say how often by now: figures that guide changes grow optimistic.

    Args:
        run: The run.
        n: Number of test images.
        why: What looked at them.
    """
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    with run.looks.open("a", encoding="utf-8") as file:
        file.write(f"{at} {n} images: {why}\n")
    return len(run.looks.read_text(encoding="utf-8").splitlines())


def brief(tested: Tested) -> dict[str, float | None]:
    """Each figure's value."""
    return {name: figure.value for name, figure in tested.figures.items()}

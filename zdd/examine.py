"""Test finished runs on their stored test split, and write down what was found."""

from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from zdd import files, metrics
from zdd.data import dataset as datasets
from zdd.data.dataset import Dataset
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.evaluate import device_of, evaluate
from zdd.pixelwise import Tally
from zdd.report import page_of_group, page_of_run
from zdd.report.summarise import summarise
from zdd.report.tested import Tested, write_predictions
from zdd.rundir import RunDir, finished_runs
from zdd.trained import load_trained

err = Console(stderr=True, highlight=False, soft_wrap=True)


def examine(path: Path, *, device: str = "auto") -> dict[str, Any]:
    """Test one run, or every finished run of a group and the summary over them.

    Args:
        path: A run, a group, or `<experiment>/latest`.
        device: `auto`, `cpu`, `cuda`.

    Returns:
        Each run's figures by name, where the report lies, and of a group the summary.

    Raises:
        ZddError: If no run is finished, an image changed since training, or there are no test images.
    """
    group, runs = finished_runs(path)
    where = device_of(device)
    tested = {run.path.name: _brief(examine_run(run, device=where)) for run in runs}
    if group is None:
        return {"runs": tested, "report": str(runs[0].report)}
    unfinished = [run.path.name for run in group.runs if not run.done]
    if unfinished:
        err.print(f"{group.path}: not finished and so not tested: {', '.join(unfinished)}", markup=False)
    summary = summarise(group)
    page_of_group.write(group, summary)
    means = {name: row["mean"] for name, row in summary["test"].items()}
    return {"runs": tested, "mean": means, "summary": str(group.summary), "report": str(group.report)}


def examine_run(run: RunDir, *, device: str = "cpu") -> Tested:
    """Test one finished run and write predictions.csv, mistakes/, metrics.json, report.json and report.html."""
    trained = load_trained(run)
    dataset = datasets.load(run.data)
    records = dataset.split("test")
    _check(run, dataset, trained.task.classes)
    model = trained.model.to(device)
    pixel = trained.threshold.pixel if trained.threshold else None
    tally = Tally(trained.task, pixel_threshold=pixel, images=records, preprocess=trained.preprocess)
    loader = DataModule(dataset, trained.preprocess, trained.config).loader("test", masks=model.pixelwise)
    watch = [tally] if model.pixelwise else []
    columns = evaluate(model.net, model.decode, loader, device=device, title=f"test {run.path.name}", watch=watch)
    if columns.index.tolist() != list(range(len(records))):
        raise RuntimeError(f"{columns.n} of {len(records)} test images were judged")
    threshold = trained.threshold.value if trained.threshold else None
    parts = [record.group for record in records]
    figures = metrics.figures(columns, trained.task, threshold, parts=parts, seed=trained.config.seed)
    figures |= tally.figures() if watch else {}
    looks = _count_look(run, columns.n)
    tested = Tested(run, trained.task, trained.threshold, columns, records, figures, looks)
    write_predictions(run.predictions, tested)
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


def _count_look(run: RunDir, n: int) -> int:
    """Note that the test split was looked at, and say how often by now: figures that guide changes grow optimistic."""
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    with run.looks.open("a", encoding="utf-8") as file:
        file.write(f"{at} {n} images\n")
    return len(run.looks.read_text(encoding="utf-8").splitlines())


def _brief(tested: Tested) -> dict[str, float | None]:
    return {name: figure.value for name, figure in tested.figures.items()}

"""`zdd explain`: where finished runs look, as pictures; of a group, whether its seeds look at the same place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from zdd import checks, explained, files
from zdd.attributions import Look, attribute, judge
from zdd.data import dataset as datasets
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.evaluate import device_of
from zdd.explained import Truth
from zdd.records import UNKNOWN, Record
from zdd.report import contact, page_of_group, page_of_run
from zdd.report.contact import Shown
from zdd.rows import find_images
from zdd.rundir import Group, RunDir, finished_runs
from zdd.settings import Section
from zdd.trained import Trained, load_trained
from zdd.training.final import write_explained
from zdd.wording import Mistake

err = Console(stderr=True, highlight=False, soft_wrap=True)
DEFAULT = "integrated_gradients"


@dataclass(frozen=True)
class Wish:
    """What is to be explained and how.

    Args:
        variants: The explainers; none: the configuration's, or integrated gradients.
        which: The class that is explained (`attributions.judge`).
        n: At most so many test images, as evenly from the classes as there are.
        images: Other images instead.
        raw: Whether the values are kept, as .npy beside each picture.
    """

    variants: tuple[str, ...] = ()
    which: str | None = None
    n: int = 100
    images: tuple[Path, ...] = ()
    raw: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ZddError(f"--n = {self.n}: must be at least 1")


def explain(path: Path, wish: Wish, *, device: str = "auto") -> dict[str, Any]:
    """Explain what one run, or every finished run of a group, says of images.

    Args:
        path: A run, a group, or `<experiment>/latest`.
        wish: What is to be explained.
        device: `auto`, `cpu`, `cuda`.

    Returns:
        For each run and explainer what about.json holds, and the folders.

    Raises:
        ZddError: If no run is finished, there is no such explainer or class, or an image can't be read.
    """
    group, runs = finished_runs(path)
    where = device_of(device)
    done = {run.path.name: explain_run(run, wish, device=where) for run in runs}
    about = {run: {name: each.about for name, each in shown.items()} for run, shown in done.items()}
    for message in {each["message"]: None for run in about.values() for each in run.values() if each["message"]}:
        err.print(message, markup=False)
    if group is not None and len(runs) > 1:
        _side_by_side(group, runs, done)
        page_of_group.refresh(group)
    folder = (group.path if group is not None and len(runs) > 1 else runs[0].path) / "explain"
    return {"runs": about, "folder": str(folder)}


def explain_run(run: RunDir, wish: Wish, *, device: str = "cpu") -> dict[str, Shown]:
    """Explain one run; the pictures lie in `explain/<explainer>/`.

    Returns:
        What each explainer said.

    Raises:
        ZddError: As `explain`.
    """
    trained = load_trained(run)
    trained.model.to(device)
    sections = sections_of(wish.variants, trained.config.explain)
    looks, truth = _looks(run, trained, wish)
    judged = judge(run, trained, looks, wish.which)
    shown = {}
    for section in sections:
        folder = run.path / "explain" / section.name
        said = attribute(trained, judged, section, folder, title=f"{run.path.name} ")
        shown[section.name] = explained.write(run, trained, judged, said, truth, raw=wish.raw)
    drawn = {name: each for name, each in shown.items() if each.rows}
    if len(drawn) > 1:
        with files.replacing(run.path / "explain/beside.png") as temporary:
            contact.beside("The same images by each explainer", drawn, trained.preprocess).save(temporary, "PNG")
    write_explained(run)
    page_of_run.refresh(run)
    return shown


def sections_of(names: Sequence[str], configured: Sequence[Section]) -> list[Section]:
    """The explainers by name, with the configuration's settings where it has some.

    Raises:
        ZddError: If there is no such explainer; the message names the nearest.
    """
    known = {section.name: section for section in configured}
    wanted = list(names) or list(known) or [DEFAULT]
    found: list[Mistake] = []
    made = [known.get(name) or checks.plugin_section("explain", ("--variant",), name, found) for name in wanted]
    if found:
        raise ZddError(*(f"--variant {mistake.value}: {mistake.text}" for mistake in found))
    return made


def evenly(records: Sequence[Record], n: int) -> list[Record]:
    """At most n records, in turn from each class, the defects first; in the records' order."""
    queues = [[i for i, record in enumerate(records) if record.label == k] for k in _labels(records)]
    chosen: list[int] = []
    while len(chosen) < min(n, len(records)):
        for queue in queues:
            if queue and len(chosen) < n:
                chosen.append(queue.pop(0))
    return [records[i] for i in sorted(chosen)]


def _labels(records: Sequence[Record]) -> list[int]:
    return sorted({record.label for record in records}, key=lambda label: (label == 0, label))


def _looks(run: RunDir, trained: Trained, wish: Wish) -> tuple[list[Look], Truth]:
    """The images, and what is true of their pixels where that is known."""
    if wish.images:
        return [Look(str(path)) for path in find_images(wish.images)], {}
    dataset = datasets.load(run.data)
    if not dataset.split("test"):
        raise ZddError(f"{run.data}: there are no test images in it; name some with --images")
    records = evenly(dataset.split("test"), wish.n)
    data = DataModule(dataset, trained.preprocess, trained.config)
    return [Look(record.path, record.label) for record in records], truth_of(data, records)


def truth_of(data: DataModule, records: Sequence[Record]) -> Truth:
    """Number -> (H, W) true classes of the network's input, of the images whose defects are known."""
    if not any(record.mask for record in records):
        return {}
    known: Truth = {}
    for batch in data.loader_of(records, masks=True):
        for index, mask in zip(batch["index"].tolist(), batch["mask"][:, 0].numpy(), strict=True):
            if not (mask == UNKNOWN).any():
                known[index] = mask
    return known


def _side_by_side(group: Group, runs: Sequence[RunDir], done: dict[str, dict[str, Shown]]) -> None:
    """Of each explainer that all runs could be explained by, a sheet of the same images, a column a run."""
    trained = load_trained(runs[0])
    for name in next(iter(done.values())):
        shown = {run: each[name] for run, each in done.items() if each[name].rows}
        if len(shown) < 2:
            continue
        folder = group.path / "explain" / name
        with files.replacing(folder / "sheet.png") as temporary:
            title = f"{name}: do the runs look at the same place?"
            contact.beside(title, shown, trained.preprocess).save(temporary, "PNG")

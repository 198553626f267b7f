"""`zdd explain --score`: how far each explainer can be trusted for this model on this data, in numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zdd import files, plugins, ranking, seeds, shortcuts
from zdd.area import place
from zdd.attributions import Explained, Judged, Look, attribute, batch_of, judge, subject_of
from zdd.data import dataset as datasets
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.evaluate import bar, device_of
from zdd.explain import faithfulness, localisation, sanity
from zdd.explain.base import Subject
from zdd.explained import Truth
from zdd.explaining import Wish, evenly, sections_of, truth_of
from zdd.ranking import Scored
from zdd.records import Split
from zdd.regions import SIZES
from zdd.report import page_of_group, page_of_run
from zdd.rundir import RunDir, finished_runs
from zdd.settings import Section
from zdd.trained import Trained, load_trained

WITHOUT_MASKS, FOR_SENSITIVITY, FOR_SANITY = 24, 6, 4  # images at most: what costs hundreds of looks at each
STAGES = 5  # of networks whose weights are drawn anew
NAMES = ("saliency_map",)  # other names of an explainer that is scored already
Numbers = dict[str, float]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Case:
    """One run's defective images of a split, judged, with what is true of their pixels."""

    run: RunDir
    trained: Trained
    judged: Judged
    truth: Truth

    @cached_property
    def masked(self) -> list[int]:
        """Rows with a mask that has a defect in it."""
        return [row for row, mask in self.truth.items() if (mask > 0).any()]

    def maps(self, section: Section, split: str) -> Explained:
        """The attributions by one explainer."""
        folder = self.run.path / "explain" / "scored" / split / section.name
        return attribute(self.trained, self.judged, section, folder, title=f"{self.run.path.name} {split} ")

    def seen(self, row: int, plane: NDArray[T]) -> NDArray[T]:
        """(H, W) of the network's input -> what of it shows the picture: padding is no place to be right or wrong."""
        return place(self.judged.looks[row].path, self.trained.preprocess).cut(plane)

    def image(self, row: int) -> Tensor:
        """(3, H, W) normalised."""
        return batch_of(self.trained, [self.judged.looks[row]])["image"][0]

    def score(self, row: int) -> Callable[[Tensor], Tensor]:
        """Images (B, 3, H, W) -> (B,) evidence for the target of an image."""
        subject, target = subject_of(self.trained.model), int(self.judged.target[row])
        return lambda image: subject.score(image, torch.full((len(image),), target, device=image.device))

    def again(self, said: Explained, row: int) -> Callable[[Tensor], Tensor]:
        """Images (B, 3, H, W) -> (B, 1, H, W), explained for the target of an image."""
        subject, target = subject_of(self.trained.model), int(self.judged.target[row])
        explain = plugins.load("explain", said.section.name)

        def attributed(image: Tensor) -> Tensor:
            column = torch.full((len(image),), target, device=image.device)
            values: Tensor = explain(subject, image, column, **said.section.options).values
            return values

        return attributed


def score(path: Path, wish: Wish, *, device: str = "auto") -> dict[str, Any]:
    """Score explainers on one run, or on every finished run of a group.

    Args:
        path: A run, a group, or `<experiment>/latest`.
        wish: Which explainers (none: all), which class, and at most how many images.
        device: `auto`, `cpu`, `cuda`.

    Returns:
        For each run what `explain/scores.json` holds.

    Raises:
        ZddError: If no run is finished, there is no such explainer or class, or no defective test image.
    """
    if wish.images:
        raise ZddError("--images: scores are of test images; leave it out")
    group, runs = finished_runs(path)
    where = device_of(device)
    done, said = {}, dict[str, list[Explained]]()
    for run in runs:
        test, done[run.path.name] = score_run(run, wish, device=where)
        for section in _sections(wish, test.trained):
            said.setdefault(section.name, []).append(test.maps(section, "test"))
    result: dict[str, Any] = {"runs": done}
    if group is not None and len(runs) > 1:
        result["agreement"] = seeds.agree(said, len(test.judged.looks))
        files.write_json(group.path / "explain/scores.json", {"agreement": result["agreement"]})
        page_of_group.refresh(group)
    return result


def score_run(run: RunDir, wish: Wish, *, device: str = "cpu") -> tuple[Case, dict[str, Any]]:
    """Score explainers on a run's defective test images, and write `explain/scores.json`.

    Attributions and numbers are kept image by image, so that a stopped call goes on.

    Returns:
        The test images, and what scores.json holds.

    Raises:
        ZddError: If there is no such explainer or class, or no defective test image.
    """
    trained = load_trained(run)
    trained.model.to(device)
    sections = {section.name: section for section in _sections(wish, trained)}
    test, val = (_case(run, trained, wish, split) for split in ("test", "val"))
    scored = {name: _scored(test, val, section) for name, section in sections.items()}
    result = {"n": len(test.judged.looks), "masks": len(test.masked), **ranking.conclude(scored)}
    best = sections.get(result["best"])
    result["shortcut"] = shortcuts.find(run, trained, best, which=wish.which, n=wish.n) if best else None
    files.write_json(run.path / "explain/scores.json", result)
    page_of_run.refresh(run)
    return test, result


def _sections(wish: Wish, trained: Trained) -> list[Section]:
    names = wish.variants or tuple(name for name in plugins.available("explain") if name not in NAMES)
    return sections_of(names, trained.config.explain)


def _case(run: RunDir, trained: Trained, wish: Wish, split: Split) -> Case:
    dataset = datasets.load(run.data)
    defective = [record for record in dataset.split(split) if record.label > 0 or not trained.task.has_good]
    if not defective and split == "test":
        raise ZddError(f"{run.data}: there is no defective test image whose explanation could be scored")
    records = evenly(defective, wish.n)
    looks = [Look(record.path, record.label) for record in records]
    truth = truth_of(DataModule(dataset, trained.preprocess, trained.config), records)
    return Case(run, trained, judge(run, trained, looks, wish.which), truth)


def _scored(test: Case, val: Case, section: Section) -> Scored:
    said = test.maps(section, "test")
    if said.message:
        return Scored(message=said.message)
    share = None
    if test.masked and val.masked:
        before = val.maps(section, "val")
        maps = [val.seen(row, before.values(row)) for row in val.masked]
        share, _ = localisation.choose(maps, [val.seen(row, val.truth[row] > 0) for row in val.masked])
    rows = [_numbers(test, said, row, share) for row in _progress(test, section.name)]
    return Scored(rows, _falls(test, section))


def _numbers(case: Case, said: Explained, row: int, share: float | None) -> Numbers:
    """Every figure of one image's map; what takes long is on disk after the first time."""
    kept, values = said.raw / f"{row:05d}.json", said.values(row)
    if not kept.is_file():
        costly = _costly(case, said, row)
        files.write_json(kept, {name: None if np.isnan(value) else value for name, value in costly.items()})
    found: Numbers = {name: np.nan if value is None else value for name, value in files.read_json(kept).items()}
    found["sparseness"] = faithfulness.sparseness(values)
    if row in case.masked and share is not None:
        values, mask = case.seen(row, values), case.seen(row, case.truth[row] > 0)
        found |= localisation.measure(values, mask, share)
        found[f"energy_inside/{localisation.size_class(mask, SIZES)}"] = found["energy_inside"]
    return found


def _costly(case: Case, said: Explained, row: int) -> Numbers:
    """What needs hundreds of looks at an image: of the first ones alone."""
    found: Numbers = {}
    if row < WITHOUT_MASKS:
        image, score, values = case.image(row), case.score(row), said.values(row)
        found["insertion"], found["deletion"] = faithfulness.insertion_deletion(score, image, values)
        found["infidelity"] = faithfulness.infidelity(score, image, values)
    if row < FOR_SENSITIVITY:
        found["max_sensitivity"] = faithfulness.max_sensitivity(case.again(said, row), case.image(row), samples=4)
    return found


def _falls(case: Case, section: Section) -> list[Any]:
    """Correlations with the maps of networks whose weights are drawn anew, a stage each."""
    explain = plugins.load("explain", section.name)
    rows = list(range(min(FOR_SANITY, len(case.judged.looks))))
    image = batch_of(case.trained, [case.judged.looks[row] for row in rows])["image"]

    def explained(subject: Subject, image: Tensor, target: Tensor) -> Tensor:
        values: Tensor = explain(subject, image, target, **section.options).values
        return values

    target = torch.from_numpy(case.judged.target[rows]).to(image.device)
    return [each for _, each in sanity.cascade(subject_of(case.trained.model), explained, image, target, stages=STAGES)]


def _progress(case: Case, name: str) -> Iterator[int]:
    with bar() as progress:
        yield from progress.track(range(len(case.judged.looks)), description=f"score {name}")

"""Attributions of many images by one explainer, each kept on disk as soon as it is there: what is stopped goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zdd import decide, files, plugins
from zdd.errors import ZddError
from zdd.evaluate import bar, collect
from zdd.explain.base import UNRELIABLE, Subject, Unfit
from zdd.models.base import ZddModel, predict_batch
from zdd.records import Batch, Columns
from zdd.rundir import RunDir
from zdd.settings import Section
from zdd.trained import Trained

BATCH = 16  # images at a time; what an explainer does with each is bounded in zdd/explain/
TRUE, PREDICTED = "true", "predicted"


@dataclass(frozen=True)
class Look:
    """An image to be explained."""

    path: str
    label: int | None = None  # its true class; None: not known

    @property
    def stamp(self) -> list[Any]:
        """What changes when the file does."""
        found = Path(self.path).stat()
        return [self.path, found.st_size, found.st_mtime_ns]

    def pixels(self, trained: Trained) -> NDArray[np.uint8]:
        """(H, W, 3) as the network sees it, before it is normalised; ZddError if the file can't be read."""
        try:
            return trained.preprocess.load(self.path)
        except OSError as error:
            raise ZddError(str(error)) from None


@dataclass(frozen=True)
class Judged:
    """Images, what the run says of them, and the target that each is explained for."""

    looks: Sequence[Look]
    columns: Columns
    given: NDArray[np.int64]  # (N,) class
    target: NDArray[np.int64]  # (N,) column of the evidence
    model: str  # SHA-256 of its weights


@dataclass
class Explained:
    """What one explainer said of one run's images; (H, W) float32 each, read from disk when asked for."""

    folder: Path
    section: Section
    signed: bool
    message: str | None = None  # why there is nothing to see, in one line
    errors: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def unreliable(self) -> bool:
        """Whether the values fail to add up to what they promise, for most images."""
        return bool(self.errors) and float(np.median(self.errors)) > UNRELIABLE

    def values(self, row: int) -> NDArray[np.float32]:
        """(H, W) of an image, on the network's input."""
        with np.load(self._file(row)) as kept:
            return np.asarray(kept["values"])

    @property
    def raw(self) -> Path:
        """Where they lie."""
        return self.folder / "raw"

    def keep(self, row: int, values: NDArray[np.float32], score: float, error: float | None) -> None:
        """Write an image's attribution, whole or not at all."""
        facts = np.array([score, np.nan if error is None else error])
        with files.replacing(self._file(row)) as temporary, temporary.open("wb") as file:
            np.savez(file, values=values, facts=facts)

    def facts(self, row: int) -> tuple[float, float | None] | None:
        """Score and error of completeness of an image; None: it was not explained yet."""
        try:
            with np.load(self._file(row)) as kept:
                score, error = (float(value) for value in kept["facts"])
        except (OSError, ValueError, KeyError, EOFError):
            return None
        return score, None if np.isnan(error) else error

    def _file(self, row: int) -> Path:
        return self.raw / f"{row:05d}.npz"


def subject_of(model: ZddModel) -> Subject:
    """What explainers are given of a model."""

    black = tuple(-mean / std for mean, std in zip(model.task.mean, model.task.std, strict=True))
    # No closure: a copy of the subject, whose weights are changed, must not ask the trained model.
    return Subject(model.net, model.evidence, partial(_own, model) if model.pixelwise else None, black)


def _own(model: ZddModel, image: torch.Tensor) -> torch.Tensor:
    said = model.decode(model.net(image), image).map
    assert said is not None
    return said


def judge(run: RunDir, trained: Trained, looks: Sequence[Look], which: str | None) -> Judged:
    """What the run says of the images, and which column of the evidence each is explained for.

    Args:
        run: The run.
        trained: Its model.
        looks: The images.
        which: `defect`, `predicted`, `true`, or a class's name; None: any defect, or the predicted class where every
            class is a defect.

    Raises:
        ZddError: If there is no such class, or the true class is wanted and not known.
    """
    targets = trained.model.targets
    batches = (batch_of(trained, part, start) for start, part in _parts(looks))
    columns = collect((batch, predict_batch(trained.model, batch["image"])) for batch in batches)
    given = decide.verdict(columns, trained.threshold.value if trained.threshold else None)
    which = which or ("defect" if "defect" in targets else PREDICTED)
    target = _targets(targets, looks, given, which)
    return Judged(looks, columns, given, target, files.read_json(run.model)["weights_sha256"])


def _targets(
    targets: tuple[str, ...], looks: Sequence[Look], given: NDArray[np.int64], which: str
) -> NDArray[np.int64]:
    column = {name: at for at, name in enumerate(targets)}
    if which in column:
        return np.full(len(looks), column[which])
    if which not in (TRUE, PREDICTED):
        names = plugins.one_of([*targets, PREDICTED, TRUE])
        raise ZddError(f"--class {which}: there is no such class; {names}")
    if len(targets) == 1:
        raise ZddError(f"--class {which}: this method tells good from defective only; take defect")
    if which == PREDICTED:
        return given
    unknown = [look.path for look in looks if look.label is None]
    if unknown:
        raise ZddError(f"--class true: the true class of {unknown[0]} is not known; take predicted or a class's name")
    return np.array([look.label for look in looks], np.int64)


def attribute(trained: Trained, judged: Judged, section: Section, folder: Path, *, title: str = "") -> Explained:
    """Explain images by one explainer, going on where an earlier call for the same was stopped.

    Args:
        trained: The model, on its device.
        judged: The images and their targets.
        section: The explainer and its settings.
        folder: Of this explainer; what was kept for another model, images or settings is dropped.
        title: What the progress bar says before the explainer's name.
    """
    explainer = plugins.load("explain", section.name)
    result = Explained(folder, section, bool(plugins.module("explain", section.name).SIGNED))
    _claim(result, trained, judged)
    missing = [row for row in range(len(judged.looks)) if result.facts(row) is None]
    subject = subject_of(trained.model)
    explain = partial(explainer, subject, **section.options)
    with bar() as progress:
        shown = progress.add_task(f"{title}{section.name}", total=len(judged.looks))
        progress.advance(shown, len(judged.looks) - len(missing))
        for start in range(0, len(missing), BATCH):
            rows = missing[start : start + BATCH]
            try:
                _explain(result, subject, explain, trained, judged, rows)
            except Unfit as unfit:
                result.message = str(unfit)
                return result
            progress.advance(shown, len(rows))
    _read(result, len(judged.looks))
    return result


def _explain(
    result: Explained, subject: Subject, explain: Any, trained: Trained, judged: Judged, rows: list[int]
) -> None:
    """One batch."""
    batch = batch_of(trained, [judged.looks[row] for row in rows])
    target = torch.from_numpy(judged.target[rows]).to(batch["image"].device)
    said = explain(batch["image"], target)
    with torch.no_grad():
        score = subject.score(batch["image"], target)
    for at, row in enumerate(rows):
        error = None if said.error is None else float(said.error[at])
        result.keep(row, said.values[at, 0].detach().float().cpu().numpy(), float(score[at]), error)


def _read(result: Explained, n: int) -> None:
    for row in range(n):
        score, error = result.facts(row) or (np.nan, None)
        result.scores.append(score)
        if error is not None:
            result.errors.append(error)
    if result.unreliable:
        result.message = (
            f"{result.section.name}: unreliable for this network: its values miss the score by "
            f"{100 * float(np.median(result.errors)):.0f} % (median of {n} images; {100 * UNRELIABLE:g} % would do)"
        )


def _claim(result: Explained, trained: Trained, judged: Judged) -> None:
    """Drop what lies there unless it is of the same model, images, targets and settings."""
    claim = {
        "section": result.section.model_dump(mode="json"),
        "preprocess": trained.preprocess.hash(),
        "model": judged.model,
        "images": [look.stamp for look in judged.looks],
        "target": judged.target.tolist(),
    }
    path = result.raw / "of.json"
    if path.is_file() and files.read_json(path) == claim:
        return
    for old in result.raw.glob("*.npz"):
        old.unlink()
    files.write_json(path, claim)


def _parts(looks: Sequence[Look]) -> Iterator[tuple[int, Sequence[Look]]]:
    for start in range(0, len(looks), BATCH):
        yield start, looks[start : start + BATCH]


def batch_of(trained: Trained, looks: Sequence[Look], start: int = 0) -> Batch:
    """Images as a batch on the model's device, numbered from `start`."""
    pixels = np.stack([look.pixels(trained) for look in looks])
    image = torch.from_numpy(trained.preprocess.normalise(pixels)).to(trained.model.device)
    index = torch.arange(start, start + len(looks))
    label = torch.tensor([-1 if look.label is None else look.label for look in looks])
    return {"image": image, "label": label, "index": index}

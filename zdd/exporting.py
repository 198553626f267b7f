"""`zdd export`: a run's model as an engine, read back, held to what the trained model says, and only then kept."""

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zdd import checks, files, plugins, reading, runtime
from zdd.data.planted import plant
from zdd.errors import ZddError
from zdd.evaluate import bar
from zdd.examine import count_look, images_of
from zdd.export import parity
from zdd.export.base import Outputs
from zdd.export.graph import OUTPUTS, Whole
from zdd.export.parity import Parity
from zdd.predict import one_run
from zdd.records import Record
from zdd.rundir import RunDir
from zdd.settings import Section
from zdd.trained import Trained, load_trained
from zdd.wording import Mistake

PACKAGES = (
    *("zdd", "torch", "numpy", "pillow", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf"),
    *("tensorrt", "torch_tensorrt", "torch2trt"),
)  # whose versions model.json names, those that are installed
# In the file itself, too.
DESCRIBED = ("run", "weights_sha256", "classes", "has_good", "image_size", "preprocess", "threshold")


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Args:
        engine: A file of zdd/export.
        options: Its settings, precision among them, as KEY=VALUE.
        accept_drop: Loss of defect recall that is accepted; None: the gate's own tolerance.
        parity_images: At most so many test images for the gate, spread evenly; None: all.
        example_images: Training images for tracing and calibration, spread evenly.
    """

    engine: str
    options: tuple[str, ...] = ()
    accept_drop: float | None = None
    parity_images: int | None = None
    example_images: int = 64

    def __post_init__(self) -> None:
        if self.accept_drop is not None and not 0 <= self.accept_drop <= 1:
            raise ZddError(f"--accept-drop {self.accept_drop:g}: must be from 0 to 1")
        numbers = (("--parity-images", self.parity_images), ("--calibration-images", self.example_images))
        for name, value in numbers:
            if value is not None and value < 1:
                raise ZddError(f"{name} {value}: must be at least 1")


@dataclass(frozen=True)
class Exported:
    """An engine that was exported, or refused by the gate: then `folder` is as it was before."""

    run: RunDir
    folder: Path
    parity: Parity


def export(path: Path, wish: Wish) -> Exported:
    """Export a finished run; of a group, its first finished run.

    Written is `<run>/export/<engine>-<precision>/`, as a whole, or nothing where the engine fails the gate.

    Args:
        path: A run or a group.
        wish: What is asked for.

    Raises:
        ZddError: If there is no finished run, engine or setting of that name, a library is missing, or the network
            can't be exported.
    """
    section = _section(wish)
    run = one_run(path)
    trained = load_trained(run)
    dataset, _ = images_of(run, trained, None)
    precision = str(section.options["precision"])
    folder = run.path / "export" / f"{section.name}-{precision}"
    made = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        about = _write(made, run, trained, section, _spread(dataset.split("train"), wish.example_images))
        found = gate(trained, runtime.load(made), _spread(dataset.split("test"), wish.parity_images), wish, precision)
        count_look(run, found.images, f"parity of {folder.name}")
        if found.passed:
            files.write_json(made / "model.json", about | {"parity": found.as_dict()})
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Exported(run, folder, found)


def gate(trained: Trained, engine: runtime.Engine, records: Sequence[Record], wish: Wish, precision: str) -> Parity:
    """Hold an engine, from files through the runtime, to what the trained model says of them.

    Args:
        trained: The model, on the CPU.
        engine: As it was read back.
        records: Test images.
        wish: With `accept_drop`.
        precision: What the engine is held to.

    Raises:
        ZddError: If a test image can't be read any more.
    """
    threshold = trained.threshold
    return parity.compare_batches(
        _pairs(trained, engine, [Path(record.path) for record in records]),
        labels=np.array([record.label for record in records], np.int64),
        precision=precision,
        threshold=threshold.value if threshold else None,
        pixel=threshold.pixel if threshold else None,
        names=[record.path for record in records],
        accept_drop=wish.accept_drop,
    )


def _section(wish: Wish) -> Section:
    """The engine's settings, checked and complete."""
    given: dict[str, Any] = {"name": wish.engine}
    for option in wish.options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ZddError(f"--set {option}: wants KEY=VALUE, as in largest_drop=0.02")
        try:
            given[key] = json.loads(text)
        except json.JSONDecodeError:
            given[key] = text
    found: list[Mistake] = []
    section = checks.plugin_section("export", ("engine",), given, found)
    if found:
        raise ZddError(*(mistake.line("command line") for mistake in found))
    return section


def _write(folder: Path, run: RunDir, trained: Trained, section: Section, records: Sequence[Record]) -> dict[str, Any]:
    """Have the engine's files written, and a model.json without a verdict; what that says."""
    if not records:
        raise ZddError(f"{run.data}: there are no training images in it, which an engine is traced and calibrated with")
    preprocess, model = trained.preprocess, trained.model
    with ThreadPoolExecutor() as pool:
        example = reading.pixels(preprocess, [record.path for record in records], pool)
    if model.one_class:
        # The ranges of int8 must hold what a defect does, too, and these methods' training images show none.
        example = np.concatenate([example, np.stack([plant(image, seed)[0] for seed, image in enumerate(example)])])
    threshold = trained.threshold.value if trained.threshold else None
    whole = Whole(model.net, model.decode, preprocess.mean, preprocess.std, threshold=threshold)
    whole.run(example[:1])  # from here on it knows its outputs
    module = plugins.module("export", section.name)
    module.export(whole, example, folder, **section.options)
    about = _about(run, trained, section) | {"outputs": list(whole.names)}
    if hasattr(module, "describe"):
        module.describe(folder, {key: json.dumps(about[key]) for key in DESCRIBED})
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    about["files"] = {path.relative_to(folder).as_posix(): files.sha256(path) for path in written}
    files.write_json(folder / "model.json", about)
    return about


def _about(run: RunDir, trained: Trained, section: Section) -> dict[str, Any]:
    task, threshold = trained.task, trained.threshold
    return {
        "format": runtime.FORMAT,
        "engine": section.name,
        **section.options,
        "run": "/".join(run.path.resolve().parts[-3:]),
        "weights_sha256": files.sha256(run.weights),
        "method": trained.config.model.name,
        "classes": list(task.classes),
        "has_good": task.has_good,
        "image_size": list(task.image_size),
        "preprocess": trained.preprocess.as_dict(),
        "threshold": threshold.as_dict() if threshold else None,
        "mm_per_pixel": trained.config.mm_per_pixel,
        "grades": [grade.model_dump() for grade in trained.config.grades],
        "inputs": ["input"],
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "parity": None,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _spread(records: Sequence[Record], n: int | None) -> list[Record]:
    """At most n, spread evenly over the records by their classes."""
    ordered = sorted(records, key=lambda record: record.label)
    if n is None or len(ordered) <= n:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, n).round().astype(int)]


def _pairs(trained: Trained, engine: runtime.Engine, paths: Sequence[Path]) -> Iterator[tuple[Outputs, Outputs]]:
    """Of each batch what the trained model says, and what the engine says, each of the pixels that it read itself."""
    chunks = _chunks(paths, engine.batch)
    with ThreadPoolExecutor() as pool, bar() as progress:
        for chunk in progress.track(chunks, description="parity"):
            mine = reading.pixels(trained.preprocess, chunk, pool)
            its = reading.pixels(engine.preprocess, chunk, pool)
            yield {"input": mine, **_reference(trained, mine)}, {"input": its, **engine.runner(its)}


def _chunks(paths: Sequence[Path], size: int) -> list[Sequence[Path]]:
    """One image and `size` of them by turns: at the line they come one by one, which an engine may compute otherwise.

    OpenVINO compiles single images apart, TensorRT picks kernels by the batch.
    """
    starts = [start for first in range(0, len(paths), size + 1) for start in (first, first + 1)]
    found = [paths[a:b] for a, b in itertools.pairwise([*starts, len(paths)])]
    return [chunk for chunk in found if chunk]


def _reference(trained: Trained, pixels: NDArray[np.uint8]) -> Outputs:
    """What the trained model says; not by the graph that was exported, else a fault of it would be in both."""
    model = trained.model
    image = torch.from_numpy(trained.preprocess.normalise(pixels))
    with torch.no_grad():
        raw = model.net(image)
        said = model.decode(raw, image)
    found = {name: raw if name == "raw" else getattr(said, name) for name in OUTPUTS}
    return {name: value.numpy() for name, value in found.items() if value is not None}

"""An exported engine at work, alone: no torch, no lightning, no run; what it says is what the trained model says.

For onnx and openvino it needs numpy, Pillow and the engine's library. From Python:

    engine = runtime.load("runs/casting/latest/run_0/export/onnx-fp32")
    for row in engine.rows([Path("part.png")]): ...
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zdd import files, plugins, rundir
from zdd.ahead import CORES
from zdd.area import Areas, Scale
from zdd.errors import ZddError
from zdd.grades import Line
from zdd.preprocess import Preprocess
from zdd.progress import counted
from zdd.rows import Judge, Pixels, Row, Said, See, check_out, find_images, write

FORMAT = 1
NEEDED = ("files", "outputs", "classes", "threshold", "preprocess")  # of model.json, beside format and engine
BATCH = 8  # images at a time, where the engine takes any number
Drawn = Callable[[See | None, tuple[str, ...], Sequence[Path]], See]  # areas, classes, files -> what draws, too
AT_ONCE = CORES + max(1, CORES // 2)  # threads that call an engine which computes on each core: some decode meanwhile
MANY = 4 * CORES  # images from which on the engine is called by several threads, where it can be


@dataclass(frozen=True)
class Engine:
    """A Runner with all that makes verdicts of what it says."""

    folder: Path
    runner: Any  # zdd.export.base.Runner
    preprocess: Preprocess
    classes: tuple[str, ...]
    threshold: float | None  # None: there is no good class
    most: int = BATCH  # images at a time
    at_once: int = 1  # calls by threads at the same time
    see: See | None = None  # of methods with maps: what measures them

    @property
    def batch(self) -> int:
        """Images that the engine is given at a time."""
        return min(self.most, self.runner.largest_batch or self.most)

    def rows(self, paths: Sequence[Path]) -> Iterator[Row]:
        """The verdict of each image, in order; files are decoded while the engine works."""
        return self.judge.rows(paths)

    @property
    def judge(self) -> Judge:
        """What makes the rows."""
        load = self.preprocess.load
        return Judge(self.classes, self.threshold, load, self.say, self.batch, self.at_once, self.see)

    def say(self, pixels: Pixels) -> Said:
        """(B, H, W, 3) uint8 -> what the engine says of each image.

        Raises:
            ZddError: If a score or a probability is not a finite number.
        """
        said = self.runner(pixels)
        columns = {
            name: said[name].astype(np.float64) for name in ("score", "probability", "uncertainty") if name in said
        }
        for name, value in columns.items():
            if not np.isfinite(value).all():
                raise ZddError(f"{self.folder}: the engine's {name} is not a finite number")
        index = np.arange(len(pixels), dtype=np.int64)
        maps = {"map": said["map"][:, 0], "kinds": said.get("pixels")} if "map" in said else {}
        return Said(index=index, label=np.zeros_like(index), argmax=said.get("label"), **columns, **maps)


def is_engine(folder: Path) -> bool:
    """Whether an exported engine lies in `folder`."""
    path = rundir.newest(folder) / "model.json"
    return path.is_file() and "engine" in files.read_json(path)


def load(folder: str | Path, *, threads: int | None = None, images: int = 1) -> Engine:
    """Read an engine that `zdd export` wrote.

    Args:
        folder: Where it lies.
        threads: Of the processor; None: all.
        images: How many it will be given. All cores work on one image; of many images each core works on its own, where
            the engine can do that: no core waits for another then, and decoding goes on beside.

    Raises:
        ZddError: If a file is missing, of another format or not the one that model.json names, or the engine's library
            is not installed.
    """
    folder = rundir.newest(Path(folder))
    about = files.read_json(folder / "model.json")
    if not isinstance(about, dict) or about.get("format") != FORMAT or "engine" not in about:
        raise ZddError(f"{folder / 'model.json'}: not an engine of format {FORMAT}, which this zdd reads")
    if lacking := [key for key in NEEDED if key not in about]:
        raise ZddError(f"{folder / 'model.json'}: lacks {', '.join(lacking)}; export anew")
    for name, sha256 in about["files"].items():
        if not (folder / name).is_file():
            raise ZddError(f"{folder / name}: there is no such file; copy the whole folder")
        if files.sha256(folder / name) != sha256:
            raise ZddError(f"{folder / name}: not the file that model.json names (its SHA-256 differs); export anew")
    module = plugins.module("export", about["engine"])
    many = images >= MANY and threads is None and hasattr(module, "AT_ONCE")
    runner = module.load(folder, at_once=CORES) if many else module.load(folder, threads=threads)
    if list(runner.names) != about["outputs"]:
        raise ZddError(f"{folder}: the engine says {', '.join(runner.names)}; model.json other things; export anew")
    threshold = about["threshold"]["value"] if about["threshold"] else None
    how, classes = Preprocess.from_dict(about["preprocess"]), tuple(about["classes"])
    most, at_once = (module.AT_ONCE, AT_ONCE) if many else (BATCH, 1)
    return Engine(folder, runner, how, classes, threshold, most, at_once, _areas(about, how))


def _areas(about: dict[str, Any], preprocess: Preprocess) -> Areas | None:
    if "map" not in about["outputs"]:
        return None
    pixel = about["threshold"].get("pixel") if about["threshold"] else None
    lines = [Line(**line) for line in about.get("grades", [])]
    return Areas(preprocess, pixel, Scale(about.get("mm_per_pixel"), lines))


def predict(folder: Path, images: list[Path], *, out: Path | None, drawn: Drawn | None = None) -> dict[str, Any]:
    """Judge images with an exported engine; arguments and result as those of `zdd.predict.predict`.

    Args:
        folder: Of the engine.
        images: Files and folders.
        out: A .csv or .jsonl file; None: JSON lines on standard output.
        drawn: What draws each image, beside measuring its map (`zdd.report.found.album` of a folder); None: nothing.
    """
    check_out(out)
    paths = find_images(images)
    engine = load(folder, images=len(paths))
    if drawn is not None:
        engine = replace(engine, see=drawn(engine.see, engine.classes, paths))
    rows = counted(engine.rows(paths), len(paths), "predict")
    return {"run": str(engine.folder), **write(rows, out, engine.classes)}

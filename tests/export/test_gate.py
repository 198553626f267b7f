"""Engines with a planted fault, read back from disk and run from image files on: each must be refused."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.finished_run import finish, settings
from zdd import contenders, files, runtime
from zdd.data import dataset as datasets
from zdd.errors import ZddError
from zdd.export import onnx as engine_onnx
from zdd.export.base import Outputs
from zdd.export.graph import Whole
from zdd.export.parity import Parity
from zdd.exporting import Wish, gate
from zdd.rundir import RunDir
from zdd.trained import Trained, load_trained

N_TEST = 31  # of tests/conftest.py: 13 + 11 + 7; a prime: the last batch is short


@dataclass
class Made:
    """A run, its model as it is read back, and an engine of it."""

    run: RunDir
    trained: Trained
    folder: Path
    whole: Whole


def whole_of(trained: Trained) -> Whole:
    return Whole(trained.model.net, trained.model.decode, trained.preprocess.mean, trained.preprocess.std)


def write_engine(run: RunDir, whole: Whole, folder: Path, *, precision: str = "fp32") -> None:
    """An engine's folder, whatever is in `whole`; model.json says that all is well."""
    folder.mkdir(parents=True)
    records = datasets.load(run.data).split("train")
    preprocess = load_trained(run).preprocess
    example = np.stack([preprocess.load(record.path) for record in records[::5]])
    engine_onnx.export(whole, example, folder, precision=precision)  # type: ignore[arg-type]
    describe(run, whole, folder, precision)


def describe(run: RunDir, whole: Whole, folder: Path, precision: str) -> None:
    stored = files.read_json(run.model)
    kept = ("classes", "has_good", "image_size", "preprocess", "threshold", "weights_sha256")
    about = {name: stored[name] for name in kept} | {"format": 1, "engine": "onnx", "precision": precision}
    about |= {"files": {"model.onnx": files.sha256(folder / "model.onnx")}, "outputs": list(whole.names)}
    files.write_json(folder / "model.json", about)


@pytest.fixture(scope="module")
def made(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    run = RunDir(tmp_path_factory.mktemp("runs of a line") / "run_0")
    finish(run, settings(parts, threshold={"rule": "false_alarms", "target": 0.3}))
    trained = load_trained(run)
    folder = run.path / "export" / "onnx-fp32"
    whole = whole_of(trained)
    write_engine(run, whole, folder)
    return Made(run, trained, folder, whole)


def judged(made: Made, engine: runtime.Engine, *, precision: str = "fp32") -> Parity:
    """All test images, from their files on."""
    return gate(made.trained, engine, datasets.load(made.run.data).split("test"), Wish("onnx"), precision)


def refused(made: Made, engine: runtime.Engine, *, precision: str = "fp32") -> str:
    found = judged(made, engine, precision=precision)
    assert not found.passed
    json.dumps(found.as_dict(), allow_nan=False)
    assert Path(found.worst[0].name).is_file(), "the worst image is named"
    return "\n".join(found.refused)


def test_the_engine_of_the_run_passes_and_every_image_was_asked(made: Made) -> None:
    engine = runtime.load(made.folder, threads=1)
    sizes = []

    def counted(pixels: np.ndarray) -> Outputs:
        sizes.append(len(pixels))
        return engine.runner(pixels)

    counted.names, counted.largest_batch = engine.runner.names, None  # type: ignore[attr-defined]
    found = judged(made, replace(engine, runner=counted))  # type: ignore[arg-type]
    assert found.passed, found.refused
    assert found.answered == found.images == N_TEST and sizes == [1, 8, 1, 8, 1, 8, 1, 3]
    assert set(found.differences) == {"input", "score", "label", "probability", "uncertainty", "energy", "raw"}
    assert found.change is not None and found.change.n == 18 and found.change.lost == 0


@pytest.mark.parametrize("single", [True, False])
def test_an_engine_that_is_wrong_for_single_images_alone_or_for_batches_alone(made: Made, single: bool) -> None:
    engine = runtime.load(made.folder, threads=1)

    def two_ways(pixels: np.ndarray) -> Outputs:
        wrong = (len(pixels) == 1) is single
        return engine.runner(np.ascontiguousarray(pixels[:, ::-1]) if wrong else pixels)

    two_ways.largest_batch = None  # type: ignore[attr-defined]
    assert "raw: differs" in refused(made, replace(engine, runner=two_ways))  # type: ignore[arg-type]


def test_a_small_largest_batch_is_kept(made: Made) -> None:
    engine = runtime.load(made.folder, threads=1)

    def small(pixels: np.ndarray) -> Outputs:
        assert len(pixels) <= 3
        return engine.runner(pixels)

    small.largest_batch = 3  # type: ignore[attr-defined]
    assert judged(made, replace(engine, runner=small)).passed  # type: ignore[arg-type]


def test_bgr_for_rgb_when_files_are_read(made: Made) -> None:
    class Blue(type(made.trained.preprocess)):  # type: ignore[misc]
        def load(self, path: str | Path) -> np.ndarray:
            return np.ascontiguousarray(super().load(path)[..., ::-1])

    engine = runtime.load(made.folder, threads=1)
    for precision in ("fp32", "int8"):  # whatever the rounding
        says = refused(made, replace(engine, preprocess=Blue(**vars(engine.preprocess))), precision=precision)
        assert "reads other pixels" in says
        assert "raw: differs" in says or precision == "int8"


def test_bgr_for_rgb_in_the_engine(made: Made) -> None:
    engine = runtime.load(made.folder, threads=1)

    def swapped(pixels: np.ndarray) -> Outputs:
        return engine.runner(np.ascontiguousarray(pixels[..., ::-1]))

    swapped.largest_batch = None  # type: ignore[attr-defined]
    says = refused(made, replace(engine, runner=swapped))  # type: ignore[arg-type]
    assert "raw: differs" in says and "reads other pixels" not in says


@pytest.mark.parametrize("interpolation", ["bicubic", "lanczos", "nearest"])
def test_a_resize_by_another_filter(made: Made, interpolation: str, tmp_path: Path) -> None:
    folder = tmp_path / "onnx-fp32"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((made.folder / "model.onnx").read_bytes())
    about = files.read_json(made.folder / "model.json")
    assert about["preprocess"]["interpolation"] == "bilinear"
    about["preprocess"]["interpolation"] = interpolation
    files.write_json(folder / "model.json", about)
    engine = runtime.load(folder, threads=1)
    says = refused(made, engine)
    assert "reads other pixels" in says and "raw: differs" in says


def test_a_missing_normalisation(made: Made, tmp_path: Path) -> None:
    net, decode = made.trained.model.net, made.trained.model.decode
    write_engine(made.run, Whole(net, decode, (0, 0, 0), (1, 1, 1)), tmp_path / "bare")
    assert "raw: differs" in refused(made, runtime.load(tmp_path / "bare", threads=1))


def noisy(made: Made, folder: Path, share: float) -> runtime.Engine:
    """The engine with noise on the weights of one convolution: `share` of their standard deviation."""
    folder.mkdir()
    model = onnx.load(str(made.folder / "model.onnx"))
    weights = [each for each in model.graph.initializer if len(each.dims) == 4]
    values = numpy_helper.to_array(weights[2]).copy()
    values += np.random.default_rng(0).normal(0, share * values.std(), values.shape).astype(np.float32)
    weights[2].CopyFrom(numpy_helper.from_array(values, weights[2].name))
    onnx.save(model, str(folder / "model.onnx"))
    describe(made.run, made.whole, folder, "fp32")
    return runtime.load(folder, threads=1)


def test_noise_of_one_percent_on_a_layer(made: Made, tmp_path: Path) -> None:
    assert "raw: differs" in refused(made, noisy(made, tmp_path / "noisy", 0.01))
    quiet = noisy(made, tmp_path / "quiet", 1e-7)
    assert judged(made, quiet).passed, "of noise as small as rounding"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_dropped_last_batch(made: Made, precision: str) -> None:
    engine = runtime.load(made.folder, threads=1)

    def fixed(pixels: np.ndarray) -> Outputs:  # of an engine that takes 8 at a time, or none
        return {name: value[: len(pixels) // 8 * 8] for name, value in engine.runner(pixels).items()}

    fixed.largest_batch = 8  # type: ignore[attr-defined]
    says = refused(made, replace(engine, runner=fixed), precision=precision)  # type: ignore[arg-type]
    assert f"7 of {N_TEST} images were not answered" in says  # 31 = 3 x (1 + 8) + 1 + 3


def test_constants(made: Made) -> None:
    engine = runtime.load(made.folder, threads=1)
    once = engine.runner(np.zeros((1, 32, 32, 3), np.uint8))

    def baked(pixels: np.ndarray) -> Outputs:
        return {name: np.repeat(value, len(pixels), axis=0) for name, value in once.items()}

    baked.largest_batch = None  # type: ignore[attr-defined]
    assert "same answer" in refused(made, replace(engine, runner=baked), precision="int8")  # type: ignore[arg-type]


def test_a_stale_engine_of_another_run(made: Made, parts: Path, tmp_path: Path) -> None:
    assert contenders.load(made.run, made.trained, "onnx-fp32", threads=1).error is None
    other = RunDir(tmp_path / "run_1")
    trained = finish(other, settings(parts), seed=1)
    shutil.copytree(made.folder, other.path / "export" / "onnx-fp32")
    says = contenders.load(other, trained, "onnx-fp32", threads=1).error
    assert says is not None and "other weights than the run's" in says


def test_an_engine_of_another_run_is_refused_by_its_answers_too(made: Made, parts: Path, tmp_path: Path) -> None:
    other = RunDir(tmp_path / "run_1")
    finish(other, settings(parts), seed=1)
    trained = load_trained(other)
    says = refused(replace(made, trained=trained), runtime.load(made.folder, threads=1))
    assert "raw: differs" in says


def test_another_file_in_the_folder_is_refused_by_its_hash(made: Made, tmp_path: Path) -> None:
    noisy(made, tmp_path / "noisy", 0.01)
    (tmp_path / "noisy" / "model.json").write_bytes((made.folder / "model.json").read_bytes())
    with pytest.raises(ZddError, match="SHA-256"):
        runtime.load(tmp_path / "noisy")

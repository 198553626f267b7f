"""torch.export programs: the same numbers, and nothing that is unpickled."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from zdd.errors import ZddError
from zdd.export import pt2
from zdd.export.base import probes
from zdd.export.graph import Whole, differs
from zdd.models.base import Recipe
from zdd.models.classifier import Classifier
from zdd.models.criteria.cross_entropy import CrossEntropy
from zdd.models.duq import Duq
from zdd.records import Task
from zdd.settings import Section

SIZE = 32
TASK = Task(("good", "crack", "dent"), True, (SIZE, SIZE))


def example() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def whole() -> Whole:
    torch.manual_seed(0)
    model = Classifier(TASK, backbone="luna")
    model.recipe = Recipe(CrossEntropy(TASK), Section(name="SGD"), None, 1, "")
    whole = Whole(model.net, model.decode, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    whole.run(example())
    return whole


def test_float32_is_exact_at_every_batch_size(whole: Whole, tmp_path: Path) -> None:
    pt2.export(whole, example(), tmp_path)
    engine = pt2.load(tmp_path)
    assert engine.names == whole.names and engine.largest_batch is None
    assert differs(engine, whole, [*probes(example()), example()]) is None


def test_bf16_is_near_and_leaves_the_kernels_of_duq_in_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Duq(TASK, backbone="luna")
    whole = Whole(model.net, model.decode, (0.5,) * 3, (0.5,) * 3)
    expected = whole.run(example())
    pt2.export(whole, example(), tmp_path, precision="bf16")
    said = pt2.load(tmp_path)(example())
    assert said["raw"].dtype == np.float32 and said["uncertainty"].dtype == np.float64
    off = np.abs(said["raw"] / expected["raw"] - 1).max()
    assert 1e-6 < off < 0.05  # bf16 was computed; distances of 100 in bf16 would come in steps of 0.5
    assert differs(pt2.Program(lambda pixels: whole(pixels), whole.names), whole, probes(example())) is None


def test_it_holds_no_pickle(whole: Whole, tmp_path: Path) -> None:
    pt2.export(whole, example(), tmp_path)
    with zipfile.ZipFile(tmp_path / "model.pt2") as file:
        pickled = [i.filename for i in file.infolist() if file.read(i)[:2] in (b"\x80\x02", b"\x80\x04", b"PK")]
    assert pickled == []


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as file:
        records = {name: file.read(name) for name in file.namelist()}
    change(records)
    with zipfile.ZipFile(path, "w") as file:
        for name, value in records.items():
            file.writestr(name, value)


def marks(folder: Path) -> bytes:
    """A pickle that leaves a file behind where it is read."""

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (folder / "harmed",)

    buffer = io.BytesIO()
    torch.save(Harm(), buffer)
    return buffer.getvalue()


def named(records: dict[str, bytes], end: str) -> str:
    return next(name for name in records if name.endswith(end))


@pytest.mark.parametrize("way", ["sample inputs", "weights", "constants", "legacy", "library"])
def test_a_file_with_a_pickle_or_a_library_is_not_read(whole: Whole, tmp_path: Path, way: str) -> None:
    pt2.export(whole, example(), tmp_path)
    harm = marks(tmp_path)

    def change(records: dict[str, bytes]) -> None:
        root = named(records, "archive_format").removesuffix("archive_format")
        if way == "sample inputs":
            records[named(records, "sample_inputs/model.pt")] = harm
        elif way in ("weights", "constants"):
            name = named(records, f"model_{way}_config.json")
            config = json.loads(records[name])
            entry = next(iter(config["config"].values()))
            entry["use_pickle"] = way == "weights"
            if way == "constants":  # what neither is called a tensor is unpickled, whatever it says of itself
                entry["path_name"] = "opaque_obj_0"
                records[f"{root}data/constants/opaque_obj_0"] = harm
            else:
                records[f"{root}data/weights/{entry['path_name']}"] = harm
            records[name] = json.dumps(config).encode()
        elif way == "legacy":
            records[f"{root}data/weights/model.pt"] = harm
        else:
            records[f"{root}data/aotinductor/model/model.so"] = b"\x7fELF"

    rewrite(tmp_path / "model.pt2", change)
    with pytest.raises(ZddError, match="holds more than numbers and a graph"):
        pt2.load(tmp_path)
    assert not (tmp_path / "harmed").exists()


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ZddError, match="there is no such file; export the run anew"):
        pt2.load(tmp_path)
    (tmp_path / "model.pt2").write_bytes(b"PK no archive")
    with pytest.raises(ZddError, match=r"not a file of torch.export"):
        pt2.load(tmp_path)

"""ONNX: exact in float32 at every batch size, checked before it is kept; small in int8, and its scores still fine."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.export import onnx as engine
from zdd.export import onnx_int8
from zdd.export.graph import Whole
from zdd.models import patchcore_bank
from zdd.models.luna import LunaNet
from zdd.records import Prediction

EXAMPLE = np.random.default_rng(3).integers(0, 256, (11, 32, 48, 3), dtype=np.uint8)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def decode(raw: Tensor, image: Tensor) -> Prediction:
    share = raw.softmax(1)
    return Prediction(score=share[:, 1:].sum(1), label=share.argmax(1), probability=share)


def whole(*, seed: int = 0, mean: tuple[float, ...] = MEAN) -> Whole:
    torch.manual_seed(seed)
    made = Whole(LunaNet(4, (32, 48)), decode, mean, STD)
    made.run(EXAMPLE[:1])
    return made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    engine.export(whole(), EXAMPLE, folder)
    return folder


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_any_batch_size_says_what_torch_says(exported: Path, n: int) -> None:
    runner, expected = engine.load(exported, threads=1), whole().run(EXAMPLE[-n:])
    said = runner(EXAMPLE[-n:])
    assert runner.names == tuple(said) == ("score", "label", "probability", "raw") and runner.largest_batch is None
    for name, value in expected.items():
        assert said[name].shape == value.shape and said[name].dtype == value.dtype
        np.testing.assert_allclose(said[name], value, rtol=1e-4, atol=1e-5)


def test_one_file_with_its_facts_in_it(exported: Path) -> None:
    engine.describe(exported, {"classes": '["good", "crack"]'})
    assert [path.name for path in exported.iterdir()] == ["model.onnx"]  # no weights beside it
    model = onnx.load(exported / "model.onnx")
    assert {each.key: each.value for each in model.metadata_props} == {"classes": '["good", "crack"]'}
    assert [each.name for each in model.graph.input] == ["input"]
    onnx.checker.check_model(model)


def test_nothing_is_said_on_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine.export(whole(), EXAMPLE[:2], tmp_path, precision="int8")
    # What the older exporter can't do it tells from within C++, at length.
    unknown = Whole(LunaNet(4, (32, 48)), lambda raw, _: Prediction(score=torch.expm1(raw[:, 0])), MEAN, STD)
    assert "expm1" in str(engine._exported(unknown, EXAMPLE, tmp_path / "model.onnx", dynamo=False))
    print("the result")
    assert capfd.readouterr().out == "the result\n"


def plant(monkeypatch: pytest.MonkeyPatch, faults: dict[bool, Any]) -> list[bool]:
    """Have one of torch's exporters, or both, write a graph of another network or fail."""
    write, tried = engine._write, []

    def written(made: Whole, example: Any, path: Path, *, dynamo: bool) -> None:
        tried.append(dynamo)
        fault = faults.get(dynamo)
        if isinstance(fault, Exception):
            raise fault
        write(fault or made, example, path, dynamo=dynamo)

    monkeypatch.setattr(engine, "_write", written)
    return tried


@pytest.mark.parametrize("fault", [{"mean": (0.0, 0.0, 0.0)}, {"seed": 1}, RuntimeError("no such operation\nat all")])
def test_the_older_exporter_steps_in(fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = fault if isinstance(fault, Exception) else whole(**fault)
    tried = plant(monkeypatch, {True: wrong})
    engine.export(whole(), EXAMPLE, tmp_path)
    assert tried == [True, False]
    said = engine.load(tmp_path)(EXAMPLE[:5])
    np.testing.assert_allclose(said["raw"], whole().run(EXAMPLE[:5])["raw"], rtol=1e-4, atol=1e-5)


def test_where_both_exporters_are_wrong_there_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, {True: whole(seed=2), False: RuntimeError("no such operation\nat all")})
    with pytest.raises(ZddError) as caught:
        engine.export(whole(), EXAMPLE, tmp_path)
    first, dynamo, older = caught.value.lines
    assert first == "this network can't be exported to ONNX:"
    assert "torch's exporter: of 1 images at once, score: off by" in dynamo
    assert older == "  torch's older exporter: no such operation"


def test_without_the_library_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ZddError, match=r'onnxscript is not installed; install it with: pip install "zdd\[onnx\]"'):
        engine.export(whole(), EXAMPLE, tmp_path)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ZddError, match="not an ONNX file that onnxruntime can run"):
        (tmp_path / "model.onnx").write_bytes(b"no graph")
        engine.load(tmp_path)


def test_int8_is_small_near_and_its_first_and_last_layer_are_not_rounded(exported: Path, tmp_path: Path) -> None:
    engine.export(whole(), EXAMPLE, tmp_path, precision="int8")  # 11 images, no multiple of 8
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    expected, said = whole().run(EXAMPLE), engine.load(tmp_path)(EXAMPLE)
    assert said["raw"].dtype == np.float32
    assert 0 < np.abs(said["raw"] - expected["raw"]).max() < 0.3 * expected["raw"].std()
    graph = onnx.load(tmp_path / "model.onnx").graph
    nodes, lengths = graph.node, {each.name: each.dims[0] for each in graph.initializer if each.dims}
    made_by = {output: node.op_type for node in nodes for output in node.output}
    first, *convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert len(convolutions) == 7  # four blocks of two, but for the first
    assert {made_by.get(name) for name in first.input} & {"QuantizeLinear", "DequantizeLinear"} == set()
    assert all(made_by.get(node.input[1]) == "DequantizeLinear" for node in convolutions)
    scales = {node.output[0]: node.input[1] for node in nodes if node.op_type == "DequantizeLinear"}
    assert [lengths[scales[node.input[1]]] for node in convolutions] == [8, 16, 16, 32, 32, 64, 64]  # a channel each
    (head,) = [node for node in nodes if node.op_type == "Gemm"]
    assert made_by.get(head.input[1]) != "DequantizeLinear"
    after = {node.op_type for node in nodes[list(nodes).index(head) :]}
    assert not after & {"QuantizeLinear", "DequantizeLinear"}


class Stem(nn.Module):
    """As a ResNet begins and ends."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Conv2d(3, 8, 7, 2, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        pooled = nn.functional.max_pool2d(self.first(image).relu(), 3, 2, 1)
        return self.head(self.second(pooled).relu().mean((2, 3)))  # type: ignore[no-any-return]


def test_what_int8_leaves_in_float32_stays_there_in_onnxruntime(tmp_path: Path) -> None:
    made = Whole(Stem(), decode, MEAN, STD)
    made.run(EXAMPLE[:1])
    engine.export(made, EXAMPLE, tmp_path, precision="int8")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, str(tmp_path / "as it runs.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "as it runs.onnx").graph.node
    made_by = {output: node.op_type for node in nodes for output in node.output}
    (pool,) = [node for node in nodes if node.op_type == "MaxPool"]
    assert made_by[pool.input[0]] in ("Relu", "FusedConv")  # in integers it would take forty times as long
    (rounded,) = [node for node in nodes if node.op_type == "QLinearConv"]
    assert made_by[rounded.input[0]] == "QuantizeLinear"


def test_int8_takes_its_ranges_from_the_example(tmp_path: Path) -> None:
    wide, narrow = tmp_path / "wide", tmp_path / "narrow"
    for folder, example in ((wide, EXAMPLE), (narrow, EXAMPLE // 16 + 120)):
        folder.mkdir()
        engine.export(whole(), example, folder, precision="int8")
    expected = whole().run(EXAMPLE)["raw"]
    error = {folder: np.abs(engine.load(folder)(EXAMPLE)["raw"] - expected).mean() for folder in (wide, narrow)}
    assert error[narrow] > 2 * error[wide]


def test_activations_that_never_vary_have_a_range_too(tmp_path: Path) -> None:
    """As of random weights, where a histogram had too many bins for so small a range."""
    made = whole()
    _, second, *_ = (layer for layer in made.net.modules() if isinstance(layer, nn.Conv2d))
    with torch.no_grad():
        second.weight.zero_()
    engine.export(made, EXAMPLE, tmp_path, precision="int8", largest_drop=None)
    expected, said = made.run(EXAMPLE)["raw"], engine.load(tmp_path)(EXAMPLE)["raw"]
    np.testing.assert_allclose(said, expected, atol=0.02 * np.abs(expected).max())


def test_every_image_is_read_for_the_ranges_however_many_there_are() -> None:
    reader = onnx_int8._Reader(EXAMPLE, np.uint8)
    assert len(reader) == 16  # 11 and the first 5 once more
    read = []
    for start in range(0, 16, 8):
        reader.set_range(start_index=start, end_index=start + 8)
        while (given := reader.get_next()) is not None:
            read.append(given["input"])
    assert [each.shape[0] for each in read] == [1] * 16
    assert np.array_equal(np.concatenate(read), np.concatenate([EXAMPLE, EXAMPLE[:5]]))


class Nearest(nn.Module):
    """The mean distance of an image's rows to a memory."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.rand(50, 3 * 48))

    def forward(self, image: Tensor) -> Tensor:
        rows = image.permute(0, 2, 1, 3).reshape(-1, 3 * 48)
        return patchcore_bank.nearest(rows, self.memory, 2).reshape(len(image), -1)


def test_a_memory_is_searched_in_any_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchcore_bank, "CHUNK", 50 * 10)  # in torch: ten rows at a time, seven times for two images
    made = Whole(Nearest(), lambda raw, image: Prediction(score=raw.mean(1)), MEAN, STD)
    made.run(EXAMPLE[:1])
    engine.export(made, EXAMPLE, tmp_path)
    for n in (1, 2, 9):
        said = engine.load(tmp_path)(EXAMPLE[:n])
        np.testing.assert_allclose(said["raw"], made.run(EXAMPLE[:n])["raw"], rtol=1e-4)

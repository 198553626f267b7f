"""TensorRT without a GPU: a fake with its calls and refusals; onnxruntime computes. See scripts/verify_tensorrt.py."""

import importlib.util
import io
import json
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_tensorrt
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from zdd import cli, engineverbs, examine, exporting, plugins, tables
from zdd.errors import ZddError
from zdd.export import tensorrt, tensorrt_engine, tensorrt_graph
from zdd.export.graph import Whole
from zdd.export.pieces import with_known_relu6
from zdd.models.duq import Duq
from zdd.records import Prediction, Task

ROOT = Path(__file__).parents[2]
SIZE = 32
HERE = tensorrt_engine.Gpu("NVIDIA H100", "9.0", "13.2", "cpu")
Install = Callable[..., types.ModuleType]


class Small(nn.Module):
    """A net with what breaks: ReLU6, a batch norm behind a convolution without bias, a mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8)
        self.relu, self.head = nn.ReLU6(), nn.Linear(8, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu(self.norm(self.conv(image))).mean((2, 3)))


def decode(raw: torch.Tensor, image: torch.Tensor) -> Prediction:
    """With a double and 8-bit numbers, which TensorRT lacks."""
    probability = raw.softmax(1)
    unsure = -torch.expm1(raw.amax(1).double().clamp(max=0))
    pixels = (image.mean(1) > 0).to(torch.uint8)
    return Prediction(probability[:, 1], raw.argmax(1), probability, uncertainty=unsure, pixels=pixels)


@pytest.fixture(scope="module")
def whole() -> Whole:
    torch.manual_seed(0)
    whole = Whole(Small().eval(), decode, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    whole.run(example())
    return whole


def example() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    """The ONNX files of `whole` by precision, each written once: 2 to 4 s."""
    return {}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, whole: Whole, graphs: dict[str, bytes]) -> Install:
    """A GPU, and TensorRT of a version."""
    write = tensorrt_graph.write

    def write_once(of: Whole, images: np.ndarray, path: Path, *, precision: str) -> None:
        if of is whole and precision in graphs:
            path.write_bytes(graphs[precision])
            return
        write(of, images, path, precision=precision)
        if of is whole:
            graphs[precision] = path.read_bytes()

    monkeypatch.setattr(tensorrt_graph, "write", write_once)
    streams: list[int] = []

    @contextmanager
    def on_stream(device: torch.device) -> Iterator[int]:
        yield 7
        streams.append(7)

    def put(version: str = "11.4.0.106", **faults: Any) -> types.ModuleType:
        module = fake_tensorrt.make(version, **faults)
        module.streams = streams  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        return module

    monkeypatch.setattr(tensorrt_engine, "gpu", lambda: HERE)
    monkeypatch.setattr(tensorrt_engine, "on_stream", on_stream)
    return put


def test_without_a_gpu_one_line_says_what_is_missing_and_how_to_get_it(whole: Whole, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ZddError) as error:
        tensorrt.export(whole, example(), tmp_path)
    (line,) = error.value.lines
    assert (
        "needs a CUDA GPU" in line
        and "pip install tensorrt" in line
        and "zdd export RUN --engine onnx, or openvino" in line
    )
    assert list(tmp_path.iterdir()) == []


def test_without_tensorrt_one_line_says_how_to_get_it(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_engine, "gpu", lambda: HERE)
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # as if it were not installed
    with pytest.raises(ZddError, match=r"^[^\n]*pip install tensorrt, from NVIDIA's own package index[^\n]*$"):
        tensorrt.export(whole, example(), tmp_path)


def test_a_tensorrt_without_named_tensors_is_too_old(whole: Whole, tmp_path: Path, install: Install) -> None:
    trt = install("8.6.1")
    trt.IExecutionContext = object
    with pytest.raises(ZddError, match=r"8\.5 or newer"):
        tensorrt.export(whole, example(), tmp_path)


@pytest.mark.parametrize("version", ["8.6.1", "10.9.0.34", "11.4.0.106"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_says_what_the_network_says(
    whole: Whole, tmp_path: Path, install: Install, version: str, precision: str
) -> None:
    trt = install(version)
    tensorrt.export(whole, example(), tmp_path, precision=precision, largest_batch=4, usual_batch=2)
    engine = tensorrt.load(tmp_path)
    ((network, config),) = trt.built
    named = {"8": 1, "10": 3, "11": 2}[version.split(".")[0]]  # explicit batch; both; strongly typed
    assert network.flags == named
    old = {"fp32": set(), "fp16": {0, 7}, "int8": {1, 7}}[precision] if version < "9" and version[0] == "8" else None
    assert config.flags == (old if old is not None else set() if precision == "fp32" else {7})  # 7: TF32
    assert config.profiles[0].shapes["input"] == ((1, 32, 32, 3), (2, 32, 32, 3), (4, 32, 32, 3))
    assert config.pools == {fake_tensorrt.MemoryPoolType.WORKSPACE: 4 * 2**30}
    expected, said = whole.run(example()), engine(example())  # five images, cut into four and one
    assert engine.names == whole.names == tuple(said) and engine.largest_batch == 4
    assert len(trt.streams) >= 2
    for name, value in expected.items():
        assert said[name].dtype == value.dtype and said[name].shape == value.shape
        tolerance = {"fp32": 1e-5, "fp16": 5e-3, "int8": 0.1}[precision]
        assert np.abs(said[name].astype(float) - value.astype(float)).max() <= tolerance, name


def test_half_precision_is_written_into_the_graph_and_quantisation_is_symmetric(whole: Whole, tmp_path: Path) -> None:
    def kinds(precision: str) -> tuple[list[str], set[int]]:
        path = tmp_path / "model.onnx"
        tensorrt_graph.write(whole, example(), path, precision=precision)
        graph = onnx.shape_inference.infer_shapes(onnx.load(str(path))).graph
        types_ = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
        ops = [node.op_type for node in graph.node]
        return ops, {types_.get(node.output[0], 0) for node in graph.node if node.op_type in ("Conv", "Gemm")}

    kind = onnx.TensorProto
    assert kinds("fp32")[1] <= {kind.FLOAT, 0}
    half = kinds("fp16")[1]
    assert half <= {kind.FLOAT16, 0} and kind.FLOAT16 in half
    assert kind.BFLOAT16 in kinds("bf16")[1]
    ops = kinds("int8")[0]
    assert ops.count("QuantizeLinear") >= 2  # of the convolution: its image and its weights; the head stays float32


def test_kernels_of_duq_stay_in_float32_under_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Duq(Task(("good", "crack"), True, (SIZE, SIZE)), backbone="luna").eval()
    duq = Whole(model.net, model.decode, (0.5,) * 3, (0.5,) * 3)
    expected = duq.run(example())
    tensorrt_graph.write(duq, example(), tmp_path / "model.onnx", precision="fp16")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    said = dict(zip(duq.names, session.run(None, {"input": example().astype(np.float32)}), strict=True))
    # Distances of 0.1 to 1000 would be infinite or steps of 0.5 in float16.
    assert np.abs(said["raw"] / expected["raw"] - 1).max() < 0.02


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"parser": ["node 3: no importer for Einsum", "node 4: bad"]}, "no importer for Einsum; node 4: bad"),
        ({"unbuilt": True}, "no tactic fits into the workspace"),
        ({"foreign": True}, "can't read the engine"),
        ({"constants": True}, "off by"),
    ],
)
def test_what_tensorrt_says_reaches_the_user(
    whole: Whole, tmp_path: Path, install: Install, faults: dict[str, Any], said: str
) -> None:
    install(**faults)
    with pytest.raises(ZddError, match=said):
        tensorrt.export(whole, example(), tmp_path, backend="tensorrt")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_that_answers_with_constants_is_refused(
    whole: Whole, tmp_path: Path, install: Install, precision: str
) -> None:
    install(constants=True)
    reason = "off by" if precision == "fp32" else "the same of every image"
    with pytest.raises(ZddError, match=reason):
        tensorrt.export(whole, example(), tmp_path, backend="tensorrt", precision=precision)


def test_every_way_is_tried_and_every_reason_told(whole: Whole, tmp_path: Path, install: Install) -> None:
    install(parser=["no importer for Einsum"])
    with pytest.raises(ZddError) as error:
        tensorrt.export(whole, example(), tmp_path)
    ways = [line.partition(":")[0] for line in error.value.lines]
    assert ways == ["tensorrt", "torch_tensorrt", "torch2trt"]
    assert "pip install torch-tensorrt" in error.value.lines[1]
    assert "knows TensorRT up to 10" in error.value.lines[2]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("gpu", "NVIDIA A100", r"built for GPU NVIDIA A100 \(9.0\); here is NVIDIA H100 \(9.0\)"),
        ("capability", "8.0", r"\(8.0\); here"),
        ("tensorrt", "10.9.0.34", r"TensorRT 10.9.0.34; here is 11.4.0.106"),
        ("engine_sha256", "0" * 64, "another run or export"),
        ("source_sha256", "0" * 64, "another run or export"),
        ("format", 9, "not of format 1"),
    ],
)
def test_an_engine_of_another_gpu_version_or_run_is_refused(
    whole: Whole, tmp_path: Path, install: Install, key: str, value: Any, said: str
) -> None:
    install()
    tensorrt.export(whole, example(), tmp_path, largest_batch=1)
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ZddError, match=said):
        tensorrt.load(tmp_path)


def test_a_profile_must_hold_the_usual_batch(whole: Whole, tmp_path: Path, install: Install) -> None:
    install()
    with pytest.raises(ZddError, match="usual_batch = 8: must be at most largest_batch, 4"):
        tensorrt.export(whole, example(), tmp_path, usual_batch=8, largest_batch=4)


def build(trt: Any, module: nn.Module, given: torch.Tensor, shapes: list[tuple[int, ...]]) -> bytes:
    """What a converter would build of a module, by the fake's own builder."""
    file = io.BytesIO()
    torch.onnx.export(
        module, (given,), file, dynamo=False, input_names=["input_0"], output_names=["output_0"],
        dynamic_axes={"input_0": {0: "b"}, "output_0": {0: "b"}},
    )  # fmt: skip
    builder = trt.Builder(trt.Logger())
    network = builder.create_network(1)
    parser = trt.OnnxParser(network, trt.Logger())
    assert parser.parse(file.getvalue()), parser.errors
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("input_0", *shapes)
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


def fake_torch2trt(trt: Any, *, says: str = "", bakes: bool = False) -> types.ModuleType:
    """Converts a net; or prints what it leaves out, or bakes an input in as constants."""

    class Baked(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.net(image * 0)

    def convert(module: nn.Module, inputs: list[torch.Tensor], **options: Any) -> Any:
        assert not any(isinstance(child, nn.ReLU6) for child in module.modules()), "it would be dropped"
        assert options["use_onnx"] is False
        shapes = [options[name][0] for name in ("min_shapes", "opt_shapes", "max_shapes")]
        if says:
            print(says)
        plan = build(trt, Baked(module) if bakes else module, inputs[0].repeat(2, 1, 1, 1), shapes)
        return types.SimpleNamespace(engine=types.SimpleNamespace(serialize=lambda: bytearray(plan)))

    tool = types.ModuleType("torch2trt")
    tool.torch2trt = convert  # type: ignore[attr-defined]
    return tool


def test_torch2trt_converts_the_net_and_torch_reads_its_output(
    whole: Whole, tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = install("10.9.0.34")
    monkeypatch.setitem(sys.modules, "torch2trt", fake_torch2trt(trt))
    tensorrt.export(whole, example(), tmp_path, backend="torch2trt", largest_batch=4)
    engine = tensorrt.load(tmp_path)
    for name, value in whole.run(example()).items():
        assert np.allclose(engine(example())[name], value, atol=1e-5), name
    assert any(isinstance(child, nn.ReLU6) for child in whole.modules()), "the network itself was changed"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"says": "Warning: Encountered known unsupported method torch.permute"}, "leaves out.*torch.permute"),
        ({"bakes": True}, "off by"),
    ],
)
def test_what_torch2trt_leaves_out_or_bakes_in_is_refused(
    whole: Whole, tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch, options: Any, said: str
) -> None:
    trt = install("10.9.0.34")
    monkeypatch.setitem(sys.modules, "torch2trt", fake_torch2trt(trt, **options))
    with pytest.raises(ZddError, match=said):
        tensorrt.export(whole, example(), tmp_path, backend="torch2trt", largest_batch=4)


def test_a_replaced_relu6_is_the_same() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 50), nn.Sequential(nn.ReLU6())), 9 * torch.randn(8, 4)
    before = net(x)
    assert torch.equal(with_known_relu6(net)(x), before) and not isinstance(net[1][0], nn.ReLU6)


def test_torch_tensorrt_is_given_the_profile_and_the_graphs_own_types(
    whole: Whole, tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = install()
    tool = types.ModuleType("torch_tensorrt")
    asked: dict[str, Any] = {}

    def convert(program: Any, *, arg_inputs: Any, use_explicit_typing: bool = False, truncate_double: bool = False):
        asked.update(given=arg_inputs[0], explicit=use_explicit_typing, truncate=truncate_double)
        folder = tmp_path / "of the fake"
        folder.mkdir()
        tensorrt_graph.write(whole, example(), folder / "model.onnx", precision="fp32")
        builder = trt.Builder(trt.Logger())
        network = builder.create_network(0)
        trt.OnnxParser(network, trt.Logger()).parse((folder / "model.onnx").read_bytes())
        config, profile = builder.create_builder_config(), builder.create_optimization_profile()
        profile.set_shape("input", *(asked["given"][name] for name in ("min_shape", "opt_shape", "max_shape")))
        config.add_optimization_profile(profile)
        return builder.build_serialized_network(network, config)

    tool.Input = dict  # type: ignore[attr-defined]
    tool.dynamo = types.SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_tensorrt", tool)
    tensorrt.export(whole, example(), tmp_path, backend="torch_tensorrt", largest_batch=4)
    assert asked["explicit"] and asked["truncate"]
    assert asked["given"]["max_shape"] == (4, SIZE, SIZE, 3) and asked["given"]["dtype"] == torch.float32
    assert tensorrt.load(tmp_path).names == whole.names
    with pytest.raises(ZddError, match="has no int8 here"):
        tensorrt.export(whole, example(), tmp_path, backend="torch_tensorrt", precision="int8")


def test_it_is_a_plug_in_with_these_settings() -> None:
    options = plugins.available("export")["tensorrt"].options
    assert list(options) == ["precision", "backend", "largest_batch", "usual_batch", "workspace_gb"]


def test_the_script_that_verifies_prints_a_line_a_way_and_says_what_failed(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("verify", ROOT / "scripts/verify_tensorrt.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.NETS, script.SIZE = ("luna",), 56
    command = ["verify_tensorrt.py", "--precision", "fp32", "--ways", "tensorrt", "torch_tensorrt"]
    monkeypatch.setattr(sys, "argv", command)
    install()
    assert script.main() == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("NVIDIA H100 (9.0), CUDA 13.2") and said[0].endswith("TensorRT 11.4.0.106")
    assert said[2].split()[:3] == ["luna", "tensorrt", "fp32"] and "0/40" in said[2]
    assert "refused: torch_tensorrt: torch_tensorrt is not installed" in said[3]
    install(constants=True)
    assert script.main() == 1
    assert "does not do all" in capsys.readouterr().out


def test_convert_trt_is_refused_in_a_line_but_the_other_engines_are_timed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def lacking(path: Path, wish: Any) -> None:
        done.append(f"{wish.engine} {wish.options}")
        raise ZddError("TensorRT needs a CUDA GPU")

    def timed(args: Any, runs: list[Path]) -> dict[str, Any]:
        done.append("timed")
        return {}

    def examine_(path: Path, **_: Any) -> dict[str, Any]:
        done.append("examined")
        return {"runs": {}, "report": str(tmp_path / "report.html")}

    monkeypatch.setattr(exporting, "export", lacking)
    monkeypatch.setattr(engineverbs, "timed", timed)
    monkeypatch.setattr(examine, "examine", examine_)
    monkeypatch.setattr(tables, "run", lambda path: None)
    assert cli.main("test", ["run", "--convert_trt"]) == 2
    assert done == ["tensorrt ('backend=auto',)"]  # nothing else is waited for
    done.clear()
    assert cli.main("test", ["run", "--convert_trt", "torch2trt", "--calc_speed"]) == 2
    assert done == ["tensorrt ('backend=torch2trt',)", "examined", "timed"]
    assert capsys.readouterr().err.splitlines().count("test.py: TensorRT needs a CUDA GPU") == 2

"""TensorRT without a GPU: its calls, types and refusals as 8.6, 10 and 11 have them; onnxruntime computes.

An engine reads and writes by address, as the real one does: a wrong type, shape or forgotten address shows.
"""

import ctypes
import enum
import importlib.machinery
import json
import types
from typing import Any

import numpy as np
import onnx
import onnxruntime

KINDS = {  # of ONNX, those that TensorRT computes with
    onnx.TensorProto.FLOAT: "FLOAT",
    onnx.TensorProto.FLOAT16: "HALF",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.BOOL: "BOOL",
}
CREATION = {8: {"EXPLICIT_BATCH": 0}, 10: {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 11: {"STRONGLY_TYPED": 1}}
FLAGS = {
    8: {"FP16": 0, "INT8": 1, "TF32": 7},
    10: {"FP16": 0, "BF16": 17, "INT8": 1, "TF32": 7},
    11: {"TF32": 7},
}


class DataType(enum.Enum):
    FLOAT, HALF, INT8, INT32, BOOL, UINT8, INT64, BF16 = range(8)


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    ERROR = Severity.ERROR

    def log(self, severity: Any, message: str) -> None: ...


class Logger(ILogger):
    def __init__(self, severity: Any = None) -> None:
        self.severity = severity


class Network:
    def __init__(self, flags: int) -> None:
        self.flags, self.model = flags, None

    def get_input(self, index: int) -> Any:
        return self.model.graph.input[index]  # type: ignore[attr-defined]


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, min: Any, opt: Any, max: Any) -> None:
        if not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError("Dimensions are not in order")
        self.shapes[name] = (tuple(min), tuple(opt), tuple(max))


class Config:
    def __init__(self, faults: dict[str, Any]) -> None:
        self.flags, self.pools, self.profiles, self.faults = {7}, {}, [], faults  # TF32 is on by default

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert isinstance(pool, MemoryPoolType) and isinstance(size, int)
        self.pools[pool] = size

    def set_flag(self, flag: Any) -> None:
        self.flags.add(int(flag))

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(int(flag))

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Context:
    def __init__(self, engine: "CudaEngine") -> None:
        self.engine, self.shapes, self.addresses = engine, {}, {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.engine.profile[name]
        if len(shape) != len(low) or not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            return False
        self.shapes[name] = shape
        self.said: dict[str, Any] = {}
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch = self.shapes[self.engine.inputs[0]][0]
        dims = [d.dim_value or -1 for d in self.engine.values[name].type.tensor_type.shape.dim]
        return (batch, *dims[1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self.engine.values and isinstance(address, int)
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle, "the default stream"
        assert set(self.addresses) == set(self.engine.values), "a tensor without an address"
        name = self.engine.inputs[0]
        given = self._array(name, np.dtype(np.float32), self.shapes[name])
        if self.engine.faults.get("constants"):
            given = np.full_like(given, 100)
        said = self.engine.session.run(self.engine.outputs, {name: given})
        for output, value in zip(self.engine.outputs, said, strict=True):
            kind = np.dtype(self.engine.numpy(output))
            self._array(output, kind, value.shape)[...] = value
        return True

    def _array(self, name: str, kind: np.dtype, shape: tuple[int, ...]) -> Any:
        size = int(np.prod(shape)) * kind.itemsize
        memory = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(memory, kind).reshape(shape)


class CudaEngine:
    def __init__(self, plan: bytes, major: int, faults: dict[str, Any]) -> None:
        head, _, model = plan.partition(b"\n")
        about = json.loads(head)
        self.about, self.major, self.faults = about, major, faults
        self.profile = {name: [tuple(shape) for shape in shapes] for name, shapes in about["profile"].items()}
        graph = onnx.load_from_string(model).graph
        self.inputs, self.outputs = [v.name for v in graph.input], [v.name for v in graph.output]
        self.values = {v.name: v for v in [*graph.input, *graph.output]}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.num_io_tensors = len(self.values)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        kind = KINDS[self.values[name].type.tensor_type.elem_type]
        return DataType["INT32" if kind == "INT64" and self.major < 10 else kind]  # 8 knows no 64-bit integers

    def numpy(self, name: str) -> str:
        kinds = {"FLOAT": "f4", "HALF": "f2", "INT32": "i4", "INT64": "i8", "BOOL": "?"}
        return kinds[self.get_tensor_dtype(name).name]

    def create_execution_context(self) -> Context:
        return Context(self)


def make(version: str = "11.4.0.106", **faults: Any) -> types.ModuleType:
    """The module tensorrt of a version; faults: constants, parser (lines), unbuilt, foreign."""
    major = int(version.split(".")[0])
    trt = types.ModuleType("tensorrt")
    trt.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)  # torch looks for it
    built: list[tuple[Network, Config]] = []

    class OnnxParser:
        def __init__(self, network: Network, logger: Any) -> None:
            self.network, self.errors = network, list(faults.get("parser", []))

        @property
        def num_errors(self) -> int:
            return len(self.errors)

        def get_error(self, index: int) -> Any:
            return types.SimpleNamespace(desc=lambda: self.errors[index])

        def parse(self, model: bytes) -> bool:
            assert isinstance(model, bytes)
            if major < 10 and not self.network.flags & 1:
                self.errors.append("network must be of explicit batch")
            self.network.model = onnx.load_from_string(model)
            self.errors += refusals(self.network.model)
            return not self.errors

    class Builder:
        def __init__(self, logger: Any) -> None:
            assert isinstance(logger, ILogger)
            self.logger = logger

        def create_network(self, flags: int = 0) -> Network:
            known = sum(1 << bit for bit in CREATION[major].values())
            assert not flags & ~known, "a flag that this version does not know"
            return Network(flags)

        def create_builder_config(self) -> Config:
            return Config(faults)

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> Any:
            built.append((network, config))
            wrong = unbuildable(network, config, major)
            if wrong or faults.get("unbuilt"):
                self.logger.log(ILogger.Severity.ERROR, wrong or "no tactic fits into the workspace")
                return None
            profile = config.profiles[0].shapes
            head = {"version": version, "profile": profile, "flags": sorted(config.flags)}
            return bytearray(json.dumps(head).encode() + b"\n" + network.model.SerializeToString())

    class Runtime:
        def __init__(self, logger: Any) -> None: ...

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            return None if faults.get("foreign") else CudaEngine(plan, major, faults)

    trt.__dict__.update(
        __version__=version, Builder=Builder, OnnxParser=OnnxParser, Runtime=Runtime, ILogger=ILogger, Logger=Logger,
        DataType=DataType, TensorIOMode=TensorIOMode, MemoryPoolType=MemoryPoolType, IExecutionContext=Context,
        NetworkDefinitionCreationFlag=enum.IntEnum("NetworkDefinitionCreationFlag", CREATION[major]),
        BuilderFlag=enum.IntEnum("BuilderFlag", FLAGS[major]), built=built,
    )  # fmt: skip
    if major <= 10:
        trt.CalibrationAlgoType = object  # type: ignore[attr-defined]  # what torch2trt asks for
    return trt


def refusals(model: Any) -> list[str]:
    """What TensorRT's parser says of types and quantisation that it lacks."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    kinds |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    said = [f"{name}: unsupported type {kind}" for name, kind in kinds.items() if kind and kind not in KINDS]
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in inferred.initializer}
    for node in inferred.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            zero = constants[node.input[2]]
            if zero.dtype != np.int8 or zero.any():
                said.append(f"{node.name}: zero points must be 0, of int8")
        if node.op_type == "CastLike":
            said.append(f"{node.name}: no importer for CastLike")
    return said


def unbuildable(network: Network, config: Config, major: int) -> str:
    """Why the builder gives nothing back."""
    strong = major >= 11 or bool(network.flags & 2)
    if strong and config.flags & {0, 1, 17}:
        return "precision flags are not allowed in a strongly typed network"
    inferred = onnx.shape_inference.infer_shapes(network.model).graph
    kinds = {value.type.tensor_type.elem_type for value in inferred.value_info}
    if not strong and onnx.TensorProto.FLOAT16 in kinds and 0 not in config.flags:
        return "half tensors, and FP16 is not set"
    if not strong and onnx.TensorProto.INT8 in kinds and 1 not in config.flags:
        return "Q/DQ, and INT8 is not set"
    if not config.profiles:
        return "network has dynamic inputs, but no optimization profile"
    for value in network.model.graph.input:  # type: ignore[attr-defined]
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        for shape in config.profiles[0].shapes[value.name]:
            if any(dim and dim != size for dim, size in zip(dims, shape, strict=True)):
                return f"{value.name}: the profile {shape} does not fit {dims}"
    return ""

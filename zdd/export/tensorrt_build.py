"""From a model to a serialised TensorRT engine, three ways; TensorRT is probed by attribute, 8.5 to 11."""

from __future__ import annotations

import copy
import inspect
import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zdd.errors import ZddError
from zdd.export.base import library

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zdd.export.graph import Whole

INSTALL = {
    "torch_tensorrt": "pip install torch-tensorrt, from NVIDIA's own package index",
    "torch2trt": "pip install --no-build-isolation git+https://github.com/NVIDIA-AI-IOT/torch2trt",
}
FLAGS = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
COMPLAINTS = ("warning", "unsupported", "not supported")  # what torch2trt prints of what it then leaves out


@dataclass(frozen=True)
class Plan:
    """What is built.

    Args:
        shape: (H, W, 3) of an image.
        precision: fp32, fp16, bf16 or int8.
        usual_batch: What the kernels are chosen for.
        largest_batch: What the engine takes at most.
        workspace_gb: Memory that building may use.
    """

    shape: tuple[int, int, int]
    precision: str
    usual_batch: int
    largest_batch: int
    workspace_gb: float


def from_onnx(trt: Any, source: bytes, plan: Plan) -> bytes:
    """Build with TensorRT's own parser.

    Args:
        trt: The module tensorrt.
        source: An ONNX file's bytes, its types and Q/DQ written into it; see `tensorrt_graph.write`.
        plan: What is built.

    Raises:
        ZddError: If the parser or the builder refuses; the lines say why.
    """
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(_creation(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(source):
        said = [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
        raise ZddError("TensorRT's parser refuses the network:", *(f"  {line}" for line in said or logger.said))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(plan.workspace_gb * 2**30))
    _choose_types(trt, config, plan.precision)
    profile = builder.create_optimization_profile()
    sizes = [(batch, *plan.shape) for batch in (1, plan.usual_batch, plan.largest_batch)]
    try:
        profile.set_shape(network.get_input(0).name, *sizes)
    except ValueError as error:
        raise ZddError(f"TensorRT refuses the shapes {sizes}: {error}") from None
    if config.add_optimization_profile(profile) < 0:
        raise ZddError(f"TensorRT refuses the profile of shapes {sizes}", *(f"  {line}" for line in logger.said))
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise ZddError(
            "TensorRT can't build the engine:", *(f"  {line}" for line in logger.said or ["(it gave no reason)"])
        )
    return bytes(built)


def from_torch_tensorrt(whole: Whole, plan: Plan, device: str) -> bytes:
    """Build with Torch-TensorRT, the whole graph or nothing (no part of it left to torch).

    Raises:
        ZddError: If torch_tensorrt is not installed, is asked for int8, or can't convert the network.
    """
    import torch

    from zdd.export.half import halved

    library_ = library("torch_tensorrt", install=INSTALL["torch_tensorrt"])
    if plan.precision == "int8":
        raise ZddError("backend = 'torch_tensorrt': has no int8 here; use backend = tensorrt")
    if plan.precision in ("fp16", "bf16"):
        whole = halved(whole, torch.float16 if plan.precision == "fp16" else torch.bfloat16)
    there = copy.deepcopy(whole).to(device)
    pixels = torch.zeros((2, *plan.shape), device=device)
    try:
        with torch.no_grad():
            batch = torch.export.Dim("batch", min=1, max=max(2, plan.largest_batch))
            program = torch.export.export(there, (pixels,), dynamic_shapes=({0: batch},))
        sizes = [(size, *plan.shape) for size in (1, plan.usual_batch, plan.largest_batch)]
        given = library_.Input(min_shape=sizes[0], opt_shape=sizes[1], max_shape=sizes[2], dtype=torch.float32)
        convert = library_.dynamo.convert_exported_program_to_serialized_trt_engine
        wanted = {
            "truncate_double": True,  # DUQ's uncertainty is a double
            "use_explicit_typing": True,  # the graph's own types
            "disable_tf32": plan.precision == "fp32",
            "workspace_size": int(plan.workspace_gb * 2**30),
        }
        return bytes(convert(program, arg_inputs=[given], **_known(convert, wanted)))
    except Exception as error:  # converters raise nearly anything
        raise ZddError(f"torch_tensorrt can't convert the network: {_first(error)}") from None


def from_torch2trt(trt: Any, net: nn.Module, images: Tensor, plan: Plan, device: str) -> bytes:
    """Build the net alone with torch2trt, which knows TensorRT up to 10 and no softmax of ours.

    Args:
        trt: The module tensorrt.
        net: Normalised images (B, 3, H, W) -> raw.
        images: (N, 3, H, W) normalised training images, for int8.
        plan: What is built.
        device: torch's name of the GPU.

    Raises:
        ZddError: If torch2trt is not installed, TensorRT is too new for it, or it leaves anything out.
    """
    if not hasattr(trt, "CalibrationAlgoType"):
        raise ZddError(f"torch2trt knows TensorRT up to 10; here is {trt.__version__}; use backend = tensorrt")
    if plan.precision == "bf16":
        raise ZddError("backend = 'torch2trt': has no bf16; use fp16, or backend = tensorrt")
    tool = library("torch2trt", install=INSTALL["torch2trt"])
    from zdd.export.pieces import with_known_relu6

    there = with_known_relu6(copy.deepcopy(net)).to(device).eval()
    size = (3, *plan.shape[:2])
    options = {
        "fp16_mode": plan.precision == "fp16",
        "int8_mode": plan.precision == "int8",
        "int8_calib_dataset": [[image[None]] for image in images.to(device)] if plan.precision == "int8" else None,
        "max_batch_size": plan.largest_batch,
        "min_shapes": [(1, *size)],
        "opt_shapes": [(plan.usual_batch, *size)],
        "max_shapes": [(plan.largest_batch, *size)],
        "use_onnx": False,  # it fails with torch 2.9 and newer
    }
    try:
        made, said = _heard(lambda: tool.torch2trt(there, [images[:1].to(device)], **options))
        left_out = [line for line in said if any(word in line.lower() for word in COMPLAINTS)]
        if left_out:
            raise ZddError("torch2trt leaves out a part of the network:", *(f"  {line}" for line in left_out[:5]))
        return bytes(made.engine.serialize())
    except ZddError:
        raise
    except Exception as error:  # converters raise nearly anything
        raise ZddError(f"torch2trt can't convert the network: {_first(error)}") from None


def _heard(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What a call returns, and every line that it printed or warned of."""
    said = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, redirect_stdout(said), redirect_stderr(said):
        warnings.simplefilter("always", UserWarning)
        found = call()
    return found, [*said.getvalue().splitlines(), *(str(each.message) for each in warned)]


def _creation(trt: Any) -> int:
    """Flags of a network: explicit batch up to TensorRT 9, strongly typed from 9.1; 11 knows nothing else."""
    names = ("EXPLICIT_BATCH", "STRONGLY_TYPED")
    flags = [getattr(trt.NetworkDefinitionCreationFlag, name, None) for name in names]
    return sum(1 << int(flag) for flag in flags if flag is not None)


def _choose_types(trt: Any, config: Any, precision: str) -> None:
    """What a strongly typed network says of itself must be said to an older TensorRT, and float32 be float32."""
    if precision == "fp32" and hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default: three digits in place of seven
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") or not hasattr(trt.BuilderFlag, "FP16"):
        return
    if precision in FLAGS:
        flag = getattr(trt.BuilderFlag, FLAGS[precision], None)
        if flag is None:
            raise ZddError(f"precision = '{precision}': TensorRT {trt.__version__} has none; use fp16")
        config.set_flag(flag)


def _logger(trt: Any) -> Any:
    """A logger that keeps what went wrong, for the message."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the module is known only here
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.said.append(message)

    return Logger()


def _known(function: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of the keywords that this version of a function has."""
    return {name: value for name, value in wanted.items() if name in inspect.signature(function).parameters}


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

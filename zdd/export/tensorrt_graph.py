"""The ONNX graph that TensorRT is given: no types that it lacks, half precision or 8 bits written into it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zdd.export import onnx as onnx_engine
from zdd.export import onnx_int8
from zdd.export.base import library

if TYPE_CHECKING:
    from zdd.export.graph import Whole

INSTALL = onnx_engine.INSTALL
INPUT = "input"
SIGNED = {  # what TensorRT wants of Q/DQ: signed, symmetric, biases left in float32, weights with a pair of their own
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "AddQDQPairToWeight": True,
}


def write(whole: Whole, example: NDArray[np.uint8], path: Path, *, precision: str) -> None:
    """Write the ONNX file that an engine is built from; its input is float32 pixels (B, H, W, 3), 0 to 255.

    Args:
        whole: The model, on the CPU.
        example: (N, H, W, 3) training images: to compare on, and what int8's ranges are taken from.
        path: An ONNX file; "model.onnx" in an existing folder.
        precision: "fp32", "fp16", "bf16", "int8".

    Raises:
        ZddError: If onnx or onnxruntime is not installed, or the network can't be exported to ONNX.
    """
    if precision in ("fp16", "bf16"):
        _write_half(whole, example, path, precision)
    else:
        onnx_engine.export(whole, example, path.parent)  # compared with the network there
    onnx = library("onnx", install=INSTALL)
    model = onnx.load(str(path))
    narrow(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    if precision == "int8":
        _quantise(path, example)


def narrow(model: Any) -> None:
    """Take out, in place, the types that TensorRT lacks: double, and uint8 other than at the very edge.

    Doubles become float32, uint8 outputs int32, and the input, which is uint8, float32: all its values are the same.

    Args:
        model: An onnx.ModelProto.
    """
    onnx = library("onnx", install=INSTALL)
    kind, graph = onnx.TensorProto, model.graph
    other = {kind.DOUBLE: kind.FLOAT, kind.UINT8: kind.INT32}
    del graph.value_info[:]  # they name the old types
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                attribute.i = other.get(attribute.i, attribute.i)
            elif attribute.name == "value" and attribute.HasField("t"):
                attribute.t.CopyFrom(_narrowed(onnx, attribute.t))
    for tensor in graph.initializer:
        tensor.CopyFrom(_narrowed(onnx, tensor))
    for value in graph.output:
        tensor_type = value.type.tensor_type
        tensor_type.elem_type = other.get(tensor_type.elem_type, tensor_type.elem_type)
    graph.input[0].type.tensor_type.elem_type = kind.FLOAT


def _narrowed(onnx: Any, tensor: Any) -> Any:
    if tensor.data_type != onnx.TensorProto.DOUBLE:
        return tensor
    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def _write_half(whole: Whole, example: NDArray[np.uint8], path: Path, precision: str) -> None:
    """The net under autocast; not compared here, for onnxruntime on the CPU does not compute in these types."""
    import torch
    from torch.backends import mha

    from zdd.export.half import halved

    optimizer = library("onnxscript.optimizer", install=INSTALL)
    onnx = library("onnx", install=INSTALL)
    half = halved(whole, torch.float16 if precision == "fp16" else torch.bfloat16)
    pixels = torch.from_numpy(np.concatenate([example[:1], example[-1:]]))
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            # Optimised, it would pair a convolution's half weights with the float32 bias of its batch norm.
            program: Any = torch.onnx.export(
                half,
                (pixels,),
                input_names=[INPUT],
                output_names=list(whole.names),
                opset_version=onnx_engine.OPSET[True],
                dynamo=True,
                dynamic_shapes=({0: "batch"},),
                optimize=False,
            )
            optimizer.fold_constants(program.model, onnx_shape_inference=True)
            optimizer.remove_unused_nodes(program.model)
    finally:
        mha.set_fastpath_enabled(fast)
    onnx.save(program.model_proto, str(path))


def _quantise(path: Path, example: NDArray[np.uint8]) -> None:
    """Put Q/DQ pairs around the net's layers; the image, the last layer and what is made of it stay float32."""
    onnx = library("onnx", install=INSTALL)
    names = onnx_int8.quantise(path, example, keep=_float32, options=SIGNED, dtype=np.float32)
    model = onnx.load(str(path))
    _read_exact(model, names)
    onnx.save(model, str(path))


def _float32(path: Path) -> list[str]:
    """Names of the nodes that stay in float32: the image before its first convolution, the last layer, all beside."""
    reached: set[str] = set()
    prelude = []
    for node in library("onnx", install=INSTALL).load(str(path)).graph.node:  # in the order of their work
        if node.op_type in onnx_int8.WEIGHED or reached.intersection(node.input):
            reached.update(node.output)
        else:
            prelude.append(node.name)
    return [*prelude, *onnx_int8.kept(path)]


def _read_exact(model: Any, names: list[str]) -> None:
    """Let these nodes read values from before their rounding: a map compares with the image itself."""
    before = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    exact = {
        node.output[0]: before[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in before
    }
    for node in model.graph.node:
        if node.name in names:
            for place, name in enumerate(node.input):
                node.input[place] = exact.get(name, name)

"""8-bit integers by onnxruntime's static quantisation: the net in integers, its first and its last layer not.

Scores are made of what the last layer says, and a threshold is one number: in 256 steps it would fall between two. The
first layer's three channels are too few for onnxruntime's integer kernels: in float32, with the normalisation and what
follows up to the second layer, it takes half the time and loses nothing.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd.export.base import library

INSTALL = 'pip install "zdd[onnx]"'
WEIGHED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"}  # operations with weights
AT_A_TIME = 8  # images whose activations are held in memory
# Ranges from the least to the largest value. A percentile of 99.99 halves the error of classifiers, which is small
# anyway; but it cuts off just what a defect does to a network that learnt from good parts, and onnxruntime's histograms
# of a U-Net's activations took 40 GB.
OPTIONS = {"CalibStridedMinMax": AT_A_TIME, "WeightSymmetric": True}
Build = Callable[[Sequence[str]], None]  # quantise anew, with these nodes in float32, too
Restore = Callable[[Path, list[str], Build], list[str]]


def kept(path: Path) -> list[str]:
    """Names of the nodes that stay in float32: all but those that lead to the last operations with weights."""
    nodes = library("onnx", install=INSTALL).load(str(path)).graph.node
    made_by = {output: node for node in nodes for output in node.output}
    last = _before(["raw"], made_by, ends=WEIGHED)
    weighed = [name for node in last if node.op_type in WEIGHED for name in node.input]
    quantised = {node.name for node in _before(weighed, made_by)} - {node.name for node in last}
    return [node.name for node in nodes if node.name not in quantised]


def on_cpu(path: Path) -> list[str]:
    """As `kept`, and all before the second operations with weights; behind a MaxPool there a Max of one value is put.

    Else onnxruntime would draw the rounding to integers before the MaxPool, and its MaxPool of integers takes forty
    times as long. A Max of one value changes nothing, and roundings are not drawn through it.
    """
    onnx = library("onnx", install=INSTALL)
    model = onnx.load(str(path))
    passed: dict[str, int] = {}  # of each value, the operations with weights on the longest way to it
    early, nodes = [], []
    for node in model.graph.node:  # sorted as they are computed
        n = max((passed.get(name, 0) for name in node.input), default=0) + (node.op_type in WEIGHED)
        passed |= dict.fromkeys(node.output, n)
        nodes.append(node)
        if n <= 1:
            held = [_held(onnx, node)] if node.op_type == "MaxPool" else []
            early += [each.name for each in (node, *held)]
            nodes += held
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(path))
    return list(dict.fromkeys([*early, *kept(path)]))


def _held(onnx: Any, pool: Any) -> Any:
    name = pool.output[0]
    pool.output[0] = f"{name}.pooled"
    return onnx.helper.make_node("Max", [pool.output[0]], [name], name=f"{pool.name}.held")


def quantise(
    path: Path,
    example: NDArray[np.uint8],
    *,
    keep: Callable[[Path], list[str]] = on_cpu,
    options: Mapping[str, Any] = OPTIONS,
    dtype: type = np.uint8,
    restore: Restore | None = None,
) -> list[str]:
    """Replace a file of float32 by one whose weights (a channel at a time) and activations are 8-bit integers.

    Args:
        path: Of an ONNX file with the input "input" and the output "raw".
        example: (N, H, W, 3) training images, by which the activations' ranges are chosen.
        keep: Of the prepared file, which it may change, the names of the nodes that stay in float32.
        options: onnxruntime's own; with ActivationSymmetric the activations are signed.
        dtype: Of the file's input.
        restore: Given the quantised file, those with weights that may be brought back to float32, and what quantises
            anew with some nodes in float32: has as many brought back as are needed, and gives their names; None: none.

    Returns:
        The names of the nodes that stayed in float32.
    """
    shapes = library("onnxruntime.quantization.shape_inference", install=INSTALL)
    prepared, cache = path.with_name(f".{path.name}.prepared"), path.with_name(f".{path.name}.ranges")
    try:
        # Symbolic shape inference is for what the simple one leaves out; it fails where a batch is divided.
        shapes.quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        names = keep(prepared)

        def build(float32: Sequence[str]) -> None:
            _static(prepared, path, _Reader(example, dtype), [*names, *float32], options, cache)

        build([])
        return names if restore is None else [*names, *restore(path, _weighed(prepared, names), build)]
    finally:
        prepared.unlink(missing_ok=True)
        cache.unlink(missing_ok=True)


def _static(
    prepared: Path, path: Path, reader: _Reader, float32: list[str], options: Mapping[str, Any], cache: Path
) -> None:
    """onnxruntime's quantisation; the ranges are kept in a file, where this onnxruntime can."""
    tools = library("onnxruntime.quantization", install=INSTALL)
    caches = "calibration_cache_path" in inspect.signature(tools.quantize_static).parameters  # 1.20 can't
    tools.quantize_static(
        str(prepared),
        str(path),
        reader,
        quant_format=tools.QuantFormat.QDQ,
        per_channel=True,
        activation_type=tools.QuantType.QInt8 if options.get("ActivationSymmetric") else tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        nodes_to_exclude=float32,
        calibrate_method=tools.CalibrationMethod.MinMax,
        extra_options=dict(options),
        **({"calibration_cache_path": cache} if caches else {}),
    )


def _weighed(path: Path, kept: Sequence[str]) -> list[str]:
    """Names of the nodes with weights that are not kept, in the order of their work."""
    nodes = library("onnx", install=INSTALL).load(str(path)).graph.node
    return [node.name for node in nodes if node.op_type in WEIGHED and node.name not in kept]


class _Reader:
    """The images, one at a time; onnxruntime asks for AT_A_TIME of them in turn and keeps all activations of these."""

    def __init__(self, example: NDArray[np.uint8], dtype: type) -> None:
        full = -(-len(example) // AT_A_TIME) * AT_A_TIME  # it wants a multiple: the first ones once more
        self.order = [i % len(example) for i in range(full)]
        self.example, self.dtype = example, dtype
        self.set_range(0, full)

    def __len__(self) -> int:
        return len(self.order)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these."""
        self.waiting: Iterator[int] = itertools.islice(self.order, start_index, end_index)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next input, or None at the end."""
        i = next(self.waiting, None)
        return None if i is None else {"input": self.example[i : i + 1].astype(self.dtype)}


def _before(names: list[str], made_by: dict[str, Any], ends: Set[str] = frozenset()) -> list[Any]:
    """All nodes that lead to the values `names`; where one is of a kind in `ends`, not those before it."""
    found: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            waiting += [] if node.op_type in ends else node.input
    return list(found.values())

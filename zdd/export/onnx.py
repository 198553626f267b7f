"""ONNX, run by onnxruntime: the engine of the CPU. float32 exactly, or 8-bit integers by static quantisation."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError
from zdd.export.base import Outputs, Runner, library, probes

if TYPE_CHECKING:
    from zdd.export.graph import Whole
    from zdd.settings import Share  # brings pydantic, which the machine on the line need not have

FILE = "model.onnx"
INSTALL = 'pip install "zdd[onnx]"'
AT_ONCE = 4  # images a call where several threads call at the same time; the throughput is the same from 1 to 16
OPSET = {True: 20, False: 17}  # of torch's exporter by tracing graphs (dynamo), and of its older one


class Session:
    """An ONNX file in onnxruntime, on the CPU; any batch size.

    Args:
        path: The file.
        threads: None: as many as there are cores.
    """

    largest_batch: int | None = None

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        runtime = library("onnxruntime", install=INSTALL)
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own, which have no common class
            reason = str(error).strip().split("\n")[0]
            raise ZddError(f"{path}: not an ONNX file that onnxruntime can run ({reason})") from None
        self.names = tuple(output.name for output in self.session.get_outputs())

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """(B, H, W, 3) uint8 -> the outputs by name."""
        return dict(zip(self.names, self.session.run(None, {"input": pixels}), strict=True))


def load(folder: Path, *, threads: int | None = None, at_once: int = 1) -> Runner:
    """Read back what `export` wrote.

    Args:
        folder: Where it wrote.
        threads: Of the processor, for a call; None: all.
        at_once: Threads that will call it at the same time; of several, each computes its call alone.
    """
    return Session(folder / FILE, threads=threads if at_once == 1 else 1)


def export(
    whole: Whole,
    example: NDArray[np.uint8],
    folder: Path,
    *,
    precision: Literal["fp32", "int8"] = "fp32",
    largest_drop: Share | None = 0.01,
) -> None:
    """Write model.onnx into `folder`, of any batch size; what it says was compared with what the network says.

    Args:
        whole: The model, on the CPU.
        example: (N, H, W, 3) training images: to compare on, and what int8's ranges are taken from.
        folder: Where it is written; it is there.
        precision: fp32 is exact; int8 is smaller and faster, and rounds: the gate says what that costs.
        largest_drop: Of int8: the share of the example images whose verdict may change (`zdd.export.agreement.drop`).
            Layers go back to float32 until it is kept; null: no layer does.

    Raises:
        ZddError: If onnx or onnxruntime is not there, neither of torch's exporters gives a graph that says the same, or
            int8 can't keep to the drop.
    """
    library("onnx", install=INSTALL), library("onnxscript", install=INSTALL)
    path = folder / FILE
    failures = []
    for dynamo in (True, False):
        reason = _exported(whole, example, path, dynamo=dynamo)
        if reason is None:
            break
        failures.append(reason)
    else:
        raise ZddError("this network can't be exported to ONNX:", *(f"  {line}" for line in failures))
    if precision == "int8":
        _quantise(path, example, whole.threshold, largest_drop)


def _quantise(path: Path, example: NDArray[np.uint8], threshold: float | None, largest_drop: float | None) -> None:
    from zdd.export import onnx_back, onnx_int8
    from zdd.export.agreement import Reference

    restore = None
    if largest_drop is not None:
        restore = onnx_back.restorer(Reference.of(Session(path), example, threshold), largest_drop, Session)
    with _quiet():
        onnx_int8.quantise(path, example, restore=restore)


def describe(folder: Path, facts: Mapping[str, str]) -> None:
    """Write `facts` into the file itself, so that it says what it is wherever it is copied to."""
    onnx = library("onnx", install=INSTALL)
    model = onnx.load(str(folder / FILE))
    onnx.helper.set_model_props(model, dict(facts))
    onnx.save(model, str(folder / FILE))


def _exported(whole: Whole, example: NDArray[np.uint8], path: Path, *, dynamo: bool) -> str | None:
    """Write float32; why it can't be used, or None."""
    from zdd.export.graph import differs

    name = "torch's exporter" if dynamo else "torch's older exporter"
    whole.run(example[:1])
    try:
        _write(whole, example, path, dynamo=dynamo)
        reason = differs(load(path.parent), whole, probes(example))
    except Exception as error:  # exporters raise nearly anything
        reason = str(error).strip().split("\n")[0] or type(error).__name__
    return None if reason is None else f"{name}: {reason}"


def _write(whole: Whole, example: NDArray[np.uint8], path: Path, *, dynamo: bool) -> None:
    import torch

    pixels = torch.from_numpy(np.concatenate([example[:1], example[-1:]]))  # two, so that the batch is not taken as 1
    shapes: dict[str, Any] = {"dynamic_shapes": ({0: "batch"},), "external_data": False}
    if not dynamo:
        shapes = {"dynamic_axes": {name: {0: "batch"} for name in ("input", *whole.names)}}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            whole,
            (pixels,),
            str(path),
            input_names=["input"],
            output_names=list(whole.names),
            opset_version=OPSET[dynamo],
            dynamo=dynamo,
            **shapes,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters write to standard output, where the command's result belongs, and warn of what is checked here."""
    from torch.backends import mha

    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)  # one fused call for a whole layer of attention, which no exporter knows
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # the older exporter's own part is no Python
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
        mha.set_fastpath_enabled(fast)

"""OpenVINO: the fastest here on Intel's processors; float32, bf16 where the processor has it, int8 by NNCF."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError
from zdd.export import signal_stack
from zdd.export.base import Outputs, library

if TYPE_CHECKING:
    from zdd.export.graph import Whole
    from zdd.settings import Share  # brings pydantic, which the machine on the line need not have

FILE = "model.xml"  # beside it model.bin, the weights
INSTALL = "pip install 'zdd[openvino]'"
AT_ONCE = 4  # images a call where several threads call at the same time; calls cost Python's lock, too
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # int8: what is not quantised is computed in float32
Pixels = NDArray[np.uint8]


class Engine:
    """A Runner: one compilation for single images, for a fixed shape is faster, and one for all other batches.

    Several threads may call it at the same time.

    Args:
        core: OpenVINO's.
        model: As it was read from disk.
        config: What it is compiled with.
        at_once: Calls that are computed at the same time; others wait for their turn.
    """

    largest_batch: int | None = None

    def __init__(self, core: Any, model: Any, config: dict[str, Any], at_once: int = 1) -> None:
        self.names: tuple[str, ...] = tuple(_note(model, "outputs").split(","))
        self._compile: Callable[[Any], _Requests] = lambda model: _Requests(core, model, config, at_once)
        self._model = model
        single = model.clone()
        single.reshape([1, *(dim.get_length() for dim in list(model.inputs[0].partial_shape)[1:])])
        self._single = self._compile(single)
        self._batches: _Requests | None = None  # compiled when the first batch comes
        self._compiling = threading.Lock()

    def __call__(self, pixels: Pixels) -> Outputs:
        """Run a batch of any size."""
        if len(pixels) == 1:
            return self._single.say(self.names, pixels)
        with self._compiling:
            if self._batches is None:
                self._batches = self._compile(self._model)
        return self._batches.say(self.names, pixels)


class _Requests:
    """A compiled model's requests, each for one thread at a time.

    All are made before the first is asked: making one while another computes can stop both for ever, for one holds
    Python's lock and waits for OpenVINO's, the other the reverse (seen with openvino 2026.4).
    """

    def __init__(self, core: Any, model: Any, config: dict[str, Any], n: int) -> None:
        compiled = core.compile_model(model, "CPU", config)
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(n):
            self._free.put(compiled.create_infer_request())

    def say(self, names: tuple[str, ...], pixels: Pixels) -> Outputs:
        request = self._free.get()
        try:
            return said_by(lambda pixels: request.infer(pixels, share_inputs=True), names, pixels)
        finally:
            self._free.put(request)


@signal_stack.kept()
def export(
    whole: Whole,
    example: Pixels,
    folder: Path,
    *,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    largest_drop: Share | None = 0.01,
) -> None:
    """Write model.xml and model.bin.

    Args:
        whole: From pixels to what is said of them.
        example: (N, H, W, 3) training images, N at least 1; int8 is calibrated on all of them.
        folder: An existing folder.
        precision: "fp32"; "bf16", which loses two to three digits; "int8", four times smaller.
        largest_drop: Of int8: the share of the example images whose verdict may change (`zdd.export.agreement.drop`).
            Layers go back to float32 until it is kept; null: no layer does.

    Raises:
        ZddError: If openvino or nncf is not installed, the processor has no bf16, or int8 can't keep to the drop.
    """
    ov = library("openvino", install=INSTALL)
    if precision == "bf16":
        _refuse_without_bf16(ov.Core())
    model = _converted(ov, whole, example)
    if precision == "int8":
        from zdd.export import openvino_int8

        model = openvino_int8.quantised(model, example, whole, largest_drop)
    model.set_rt_info(precision, ["zdd", "precision"])
    model.set_rt_info(",".join(whole.names), ["zdd", "outputs"])
    ov.save_model(model, folder / FILE, compress_to_fp16=False)  # its default would halve the weights' precision


@signal_stack.kept()
def load(folder: Path, *, threads: int | None = None, at_once: int = 1) -> Engine:
    """Read the engine back; it needs no torch.

    Args:
        folder: Where `export` wrote.
        threads: Of the processor; None: all.
        at_once: Threads that will call it at the same time; of several, each computes its call alone.

    Raises:
        ZddError: If openvino is not installed, a file is missing or broken, or the processor has no bf16.
    """
    ov = library("openvino", install=INSTALL)
    core = ov.Core()
    path = folder / FILE
    if not path.is_file() or not path.with_suffix(".bin").is_file():
        raise ZddError(f"{path}: it or its .bin is not there; export the run anew")
    try:
        model = core.read_model(path)
        precision = _note(model, "precision")
    except RuntimeError as error:
        raise ZddError(f"{path}: not an engine that zdd wrote ({str(error).strip().splitlines()[-1]})") from None
    if precision == "bf16":
        _refuse_without_bf16(core)
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if at_once > 1:
        config |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": at_once, "INFERENCE_NUM_THREADS": at_once}
    elif threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    return Engine(core, model, config, at_once)


def _note(model: Any, name: str) -> str:
    return str(model.get_rt_info(["zdd", name]).astype(str))


def said_by(compiled: Any, names: tuple[str, ...], pixels: Pixels) -> Outputs:
    """What a compiled model or a request says of a batch, by name."""
    said = compiled(np.ascontiguousarray(pixels))
    return {name: said[place] for place, name in enumerate(names)}


def _refuse_without_bf16(core: Any) -> None:
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        name = core.get_property("CPU", "FULL_DEVICE_NAME")
        raise ZddError(f"precision = 'bf16': this processor ({name}) does not compute in bf16; use fp32 or int8")


def _converted(ov: Any, whole: Whole, example: Pixels) -> Any:
    """OpenVINO's model, of any batch size."""
    import torch

    two = torch.from_numpy(np.concatenate((example[:1], example[-1:])))  # a batch of 1 would be taken for fixed
    with torch.no_grad():
        whole(two)
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(whole, (two,), dynamic_shapes=({0: batch},))
    model = ov.convert_model(program)
    model.reshape([-1, *example.shape[1:]])
    for result, name in zip(model.get_results(), whole.names, strict=True):
        result.set_friendly_name(name)
    return model

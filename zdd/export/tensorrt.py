"""TensorRT: the engine of NVIDIA's GPUs, from the verified ONNX, by Torch-TensorRT or by torch2trt.

An engine belongs to one kind of GPU and one version of TensorRT: it is built where it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zdd import files
from zdd.errors import ZddError
from zdd.export import pt2, tensorrt_build, tensorrt_engine, tensorrt_graph
from zdd.export.base import probes
from zdd.export.tensorrt_build import Plan
from zdd.export.tensorrt_engine import AFTER, PLAN, SOURCE, Engine, Gpu, Sidecar
from zdd.settings import Positive, Rate

if TYPE_CHECKING:
    from zdd.export.graph import Whole

BACKENDS = ("tensorrt", "torch_tensorrt", "torch2trt")  # in the order in which "auto" tries them
Pixels = NDArray[np.uint8]


def export(
    whole: Whole,
    example: Pixels,
    folder: Path,
    *,
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32",
    backend: Literal["auto", "tensorrt", "torch_tensorrt", "torch2trt"] = "auto",
    largest_batch: Positive = 32,
    usual_batch: Positive = 1,
    workspace_gb: Rate = 4.0,
) -> None:
    """Write model.engine and engine.json, and what it was built from.

    Args:
        whole: From pixels to what is said of them, on the CPU.
        example: (N, H, W, 3) training images: to compare on, and what int8's ranges are taken from.
        folder: An existing folder.
        precision: "fp32" without TF32; "fp16"; "bf16"; "int8".
        backend: "tensorrt": its own parser of the ONNX file; "torch_tensorrt"; "torch2trt", up to TensorRT 10; "auto":
            the first of them that gives an engine that says what the network says.
        largest_batch: The profile goes from 1 to this; larger batches are cut.
        usual_batch: What the kernels are chosen for.
        workspace_gb: Memory of the GPU that building may use.

    Raises:
        ZddError: If there is no CUDA GPU or no TensorRT, or every way fails; the lines say why.
    """
    here = tensorrt_engine.gpu()
    trt = tensorrt_engine.binding()
    if usual_batch > largest_batch:
        raise ZddError(f"usual_batch = {usual_batch}: must be at most largest_batch, {largest_batch}")
    height, width, channels = example.shape[1:]
    plan = Plan((height, width, channels), precision, usual_batch, largest_batch, workspace_gb)
    failures: list[str] = []
    for name in BACKENDS if backend == "auto" else (backend,):
        for leftover in (PLAN, SOURCE, AFTER):
            (folder / leftover).unlink(missing_ok=True)
        try:
            _build(trt, whole, example, folder, name, plan, here=here)
            reason = fault(load(folder), whole, example, precision)
        except ZddError as error:
            reason = "; ".join(line.strip() for line in error.lines)
        if reason is None:
            return
        failures.append(f"{name}: {reason}")
    raise ZddError(*failures)


def load(folder: Path, *, threads: int | None = None) -> Engine:  # noqa: ARG001 (every engine's load takes it)
    """Read the engine back.

    Args:
        folder: Where `export` wrote.
        threads: Of no meaning on a GPU.

    Raises:
        ZddError: If there is no CUDA GPU or no TensorRT, a file is missing or of another run, or the engine was built
            for another GPU or version.
    """
    here = tensorrt_engine.gpu()
    trt = tensorrt_engine.binding()
    sidecar = Sidecar.read(folder)
    sidecar.refuse_elsewhere(here, str(trt.__version__), folder)
    after: Any = None
    if sidecar.part == "net":
        after = pt2.read(folder / AFTER)[0].to(here.device)
    return Engine(trt, (folder / PLAN).read_bytes(), sidecar, here.device, after)


def fault(engine: Engine, whole: Whole, example: Pixels, precision: str) -> str | None:
    """Why an engine can't be the network: wrong numbers in fp32, the same answer to every image in any precision.

    How much a lower precision may cost is for the gate, which sees all test images.

    Args:
        engine: As it was read back.
        whole: The network.
        example: Training images.
        precision: Of the engine.
    """
    from zdd.export.graph import differs

    batches = probes(example)
    full = np.resize(np.concatenate(batches), (engine.largest_batch or 1, *example.shape[1:]))  # them again and again
    if precision == "fp32":
        return differs(engine, whole, [*batches, full])
    raw, wanted = engine(batches[2])["raw"], whole.run(batches[2])["raw"]
    if raw.shape != wanted.shape or not np.isfinite(raw).all():
        return f"it says {raw.shape} or numbers that are not finite; the network says {wanted.shape}"
    constant = [bool((each == each[:1]).all()) for each in (raw, wanted)]
    if constant[0] and not constant[1]:
        return "it says the same of every image: a part of the network was baked in as constants"
    return None


def _build(trt: Any, whole: Whole, example: Pixels, folder: Path, name: str, plan: Plan, *, here: Gpu) -> None:
    """Write an engine and its sidecar by one way."""
    said = whole.run(example[:1])
    if name == "tensorrt":
        tensorrt_graph.write(whole, example, folder / SOURCE, precision=plan.precision)
        built = tensorrt_build.from_onnx(trt, (folder / SOURCE).read_bytes(), plan)
    elif name == "torch_tensorrt":
        built = tensorrt_build.from_torch_tensorrt(whole, plan, here.device)
    else:
        import torch

        pixels = torch.from_numpy(example)
        images = pixels.permute(0, 3, 1, 2).float() * whole.scale - whole.shift
        built = tensorrt_build.from_torch2trt(trt, whole.net, images, plan, here.device)
        _write_after(whole, example, folder / AFTER)
    (folder / PLAN).write_bytes(built)
    source = folder / SOURCE
    Sidecar(
        backend=name,
        precision=plan.precision,
        part="net" if name == "torch2trt" else "whole",
        outputs={key: str(value.dtype) for key, value in said.items()},
        input_shape=plan.shape,
        largest_batch=plan.largest_batch,
        shift=tuple(whole.shift.flatten().tolist()),
        scale=tuple(whole.scale.flatten().tolist()),
        tensorrt=str(trt.__version__),
        cuda=here.cuda,
        gpu=here.name,
        capability=here.capability,
        source_sha256=files.sha256(source) if source.is_file() else "",
        engine_sha256=files.sha256(folder / PLAN),
    ).write(folder)


def _write_after(whole: Whole, example: Pixels, path: Path) -> None:
    """What reads the raw output of an engine of the net alone."""
    import torch

    from zdd.export.pieces import After

    two = torch.from_numpy(np.concatenate([example[:1], example[-1:]]))
    with torch.no_grad():
        raw = whole.net(two.permute(0, 3, 1, 2).float() * whole.scale - whole.shift)
    pt2.save(After(whole), (raw, two), path, names=whole.names)

"""A TensorRT engine at work: what belongs to it, where it may run, and the Runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zdd import files
from zdd.errors import ZddError
from zdd.export.base import Outputs, library

if TYPE_CHECKING:
    import torch

PLAN = "model.engine"
SIDECAR = "engine.json"
SOURCE = "model.onnx"  # what it was built from
AFTER = "after.pt2"  # of an engine of the net alone: how its output is read
FORMAT = 1
HOW = "pip install tensorrt, from NVIDIA's own package index"
TYPES = ("FLOAT", "HALF", "BF16", "INT32", "INT64", "INT8", "UINT8", "BOOL")  # of trt.DataType, those that it has
TORCH = ("float32", "float16", "bfloat16", "int32", "int64", "int8", "uint8", "bool")


@dataclass(frozen=True)
class Gpu:
    """The GPU that an engine is built and run on.

    Args:
        name: As the driver calls it.
        capability: Compute capability, as in "9.0".
        cuda: Version that torch was built for.
        device: torch's name of it.
    """

    name: str
    capability: str
    cuda: str
    device: str


def gpu() -> Gpu:
    """The GPU here.

    Raises:
        ZddError: If there is none that torch can use.
    """
    import torch

    if not torch.cuda.is_available():
        built = f"torch {torch.__version__} sees none" if torch.version.cuda else "this torch is built without CUDA"
        raise ZddError(
            f"TensorRT needs a CUDA GPU, and {built}; run this on a machine with an NVIDIA GPU, its driver and: {HOW};"
            " here, take zdd export RUN --engine onnx, or openvino"
        )
    major, minor = torch.cuda.get_device_capability()
    return Gpu(torch.cuda.get_device_name(), f"{major}.{minor}", str(torch.version.cuda), "cuda")


def binding() -> Any:
    """The module tensorrt, 8.5 or newer.

    Raises:
        ZddError: If it is not installed, does not load, or is older.
    """
    trt = library("tensorrt", install=HOW)
    if not hasattr(trt.IExecutionContext, "execute_async_v3"):
        raise ZddError(f"tensorrt {trt.__version__}: too old; 8.5 or newer is needed: {HOW}")
    return trt


@dataclass(frozen=True)
class Sidecar:
    """What an engine is, and where alone it may run: engine.json."""

    backend: str  # tensorrt, torch_tensorrt, torch2trt
    precision: str
    part: str  # "whole": from pixels to what is said; "net": the net alone, AFTER reads its output
    outputs: dict[str, str]  # name -> type, as torch gives them
    input_shape: tuple[int, int, int]  # (H, W, 3)
    largest_batch: int
    scale: tuple[float, ...]  # of part "net": image = pixels * scale - shift, a number a channel
    shift: tuple[float, ...]
    tensorrt: str
    cuda: str
    gpu: str
    capability: str
    source_sha256: str  # of SOURCE; "" where there is none
    engine_sha256: str

    def write(self, folder: Path) -> None:
        """Write it beside the engine."""
        files.write_json(folder / SIDECAR, {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> Sidecar:
        """Read it and hold it to the files beside it.

        Raises:
            ZddError: If a file is missing, of another format, or not the one that belongs to it.
        """
        stored = files.read_json(folder / SIDECAR)
        if stored.pop("format", None) != FORMAT:
            raise ZddError(f"{folder / SIDECAR}: not of format {FORMAT}, which this zdd reads; export the run anew")
        lists = {key: tuple(stored[key]) for key in ("input_shape", "scale", "shift")}
        sidecar = cls(**{**stored, **lists})
        for name, sha256 in ((PLAN, sidecar.engine_sha256), (SOURCE, sidecar.source_sha256)):
            path = folder / name
            if sha256 and not path.is_file():
                raise ZddError(f"{path}: there is no such file; copy the whole folder")
            if sha256 and files.sha256(path) != sha256:
                raise ZddError(
                    f"{path}: of another run or export than {SIDECAR} (SHA-256 differs); export the run anew"
                )
        return sidecar

    def refuse_elsewhere(self, here: Gpu, version: str, folder: Path) -> None:
        """An engine runs on the kind of GPU and with the version that it was built with, and nowhere else.

        Raises:
            ZddError: If anything differs; the line names both.
        """
        for what, built, found in (
            ("GPU", f"{self.gpu} ({self.capability})", f"{here.name} ({here.capability})"),
            ("TensorRT", self.tensorrt, version),
        ):
            if built != found:
                raise ZddError(
                    f"{folder}: built for {what} {built}; here is {found}; export the run anew on this machine"
                )


class Engine:
    """A Runner; larger batches than it was built for are cut.

    Args:
        trt: The module tensorrt.
        plan: The serialised engine.
        sidecar: What it is.
        device: torch's name of the GPU.
        after: Of part "net": (raw, pixels) -> the outputs; else None.

    Raises:
        ZddError: If TensorRT can't read the plan.
    """

    def __init__(
        self, trt: Any, plan: bytes, sidecar: Sidecar, device: str, after: Callable[..., Any] | None = None
    ) -> None:
        import torch

        self.names = tuple(sidecar.outputs)
        self.largest_batch: int | None = sidecar.largest_batch
        self._sidecar, self._device, self._after = sidecar, torch.device(device), after
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)  # it must outlive the engine
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ZddError("TensorRT can't read the engine; its own lines above say why; export the run anew")
        self._context = self._engine.create_execution_context()
        tensors = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [name for name in tensors if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        outputs = [name for name in tensors if name not in inputs]
        self._input = inputs[0]
        # The parser keeps names; other builders keep the order.
        wanted = ["raw"] if sidecar.part == "net" else list(self.names)
        self._outputs = wanted if set(wanted) == set(outputs) else outputs
        if len(self._outputs) != len(wanted):
            raise ZddError(f"the engine says {', '.join(outputs)}; wanted are {', '.join(wanted)}; export the run anew")
        types = {getattr(trt.DataType, ours): theirs for ours, theirs in zip(TYPES, TORCH, strict=True)
                 if hasattr(trt.DataType, ours)}  # fmt: skip
        self._types = {name: getattr(torch, types[self._engine.get_tensor_dtype(name)]) for name in self._outputs}

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run a batch of any size."""
        size = self._sidecar.largest_batch
        parts = [self._piece(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.names}

    def _piece(self, pixels: NDArray[np.uint8]) -> Outputs:
        import torch

        with torch.inference_mode(), on_stream(self._device) as stream:
            given = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
            said = self._execute(self._before(given.float()).contiguous(), stream)
            if self._after is not None:
                said = list(self._after(*said, given))
        types = self._sidecar.outputs.values()
        pairs = zip(self.names, said, types, strict=True)
        return {name: value.to(getattr(torch, kind)).cpu().numpy() for name, value, kind in pairs}

    def _before(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._sidecar.part == "whole":
            return pixels
        scale, shift = (pixels.new_tensor(by).view(3, 1, 1) for by in (self._sidecar.scale, self._sidecar.shift))
        return pixels.permute(0, 3, 1, 2) * scale - shift

    def _execute(self, given: torch.Tensor, stream: int) -> list[torch.Tensor]:
        import torch

        if not self._context.set_input_shape(self._input, tuple(given.shape)):
            raise RuntimeError(f"TensorRT refuses an input of {tuple(given.shape)}")
        self._context.set_tensor_address(self._input, given.data_ptr())
        said = []
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise RuntimeError(f"TensorRT does not know the shape of {name}: {shape}")
            said.append(torch.empty(shape, dtype=self._types[name], device=self._device))
            self._context.set_tensor_address(name, said[-1].data_ptr())
        if not self._context.execute_async_v3(stream):
            raise RuntimeError("TensorRT could not run the engine; its own lines above say why")
        return said


@contextmanager
def on_stream(device: torch.device) -> Iterator[int]:
    """Work on a stream of its own (on the default one TensorRT waits twice); at the end all of it is done."""
    import torch

    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        yield stream.cuda_stream
    stream.synchronize()

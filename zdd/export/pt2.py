"""torch.export: the whole graph in one file that torch runs without zdd's classes, read back without unpickling."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError
from zdd.export.base import Outputs, library

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zdd.export.graph import Whole

FILE = "model.pt2"
INSTALL = "pip install torch"
NAMES = "outputs.json"  # in the file, among its extra records
NUMBERS = re.compile(r"(weight|tensor)_\d+")  # raw values, which are never unpickled
PLAIN = re.compile(
    rf"data/weights/({NUMBERS.pattern}|model_weights_config\.json)|data/constants/({NUMBERS.pattern}|"
    r"model_constants_config\.json)|models/model\.json|extra/outputs\.json|archive_format|archive_version|byteorder|"
    r"\.data/version|\.data/serialization_id"
)  # every record that a file of zdd's has


class Program:
    """A Runner: an exported program on the CPU; any batch size."""

    largest_batch: int | None = None

    def __init__(self, module: Any, names: tuple[str, ...]) -> None:
        self.module, self.names = module, names

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run a batch."""
        torch = library("torch", install=INSTALL)
        with torch.inference_mode():
            said = self.module(torch.from_numpy(np.ascontiguousarray(pixels)))
        return {name: value.numpy() for name, value in zip(self.names, said, strict=True)}


def export(
    whole: Whole, example: NDArray[np.uint8], folder: Path, *, precision: Literal["fp32", "bf16"] = "fp32"
) -> None:
    """Write model.pt2.

    Args:
        whole: From pixels to what is said of them, on the CPU.
        example: (N, H, W, 3) training images, N at least 1.
        folder: An existing folder.
        precision: "fp32"; "bf16": convolutions and products in bf16, as autocast has it.

    Raises:
        ZddError: If torch can't draw the network's graph.
    """
    import torch

    from zdd.export.half import halved

    typed = whole if precision == "fp32" else halved(whole, torch.bfloat16)
    two = torch.from_numpy(np.concatenate((example[:1], example[-1:])))  # a batch of 1 would be taken for fixed
    try:
        save(typed, (two,), folder / FILE, names=whole.names)
    except Exception as error:  # exporters raise nearly anything
        raise ZddError(
            f"this network can't be exported by torch.export: {str(error).strip().splitlines()[0]}"
        ) from None


def load(folder: Path, *, threads: int | None = None) -> Program:
    """Read the program back.

    Args:
        folder: Where `export` wrote.
        threads: Of the processor, for all that torch does in this process; None: as it is.

    Raises:
        ZddError: If the file is missing, of another torch, or holds anything that would have to be unpickled.
    """
    torch = library("torch", install=INSTALL)
    if threads is not None:
        torch.set_num_threads(threads)
    module, names = read(folder / FILE)
    return Program(module, names)


def save(module: nn.Module, example: tuple[Tensor, ...], path: Path, *, names: tuple[str, ...]) -> None:
    """Export a module whose inputs share their first axis, the batch, which stays free.

    Args:
        module: Tensors -> a tuple of tensors.
        example: Inputs of at least 2.
        path: A .pt2 file.
        names: Of the outputs.
    """
    import torch

    program = drawn(module, example)
    program.example_inputs = None  # they would be pickled into the file
    torch.export.save(program, path, extra_files={NAMES: json.dumps(names)})


def drawn(module: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """A module's graph (torch.export.ExportedProgram), its inputs' first axis free.

    Args:
        module: Tensors -> a tuple of tensors.
        example: Inputs of at least 2.
    """
    import torch
    from torch.backends import mha

    batch = torch.export.Dim("batch", min=1)
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)  # one fused call for a whole layer of attention, which has no graph
    try:
        with torch.no_grad():
            module(*example)
            return torch.export.export(module, example, dynamic_shapes=tuple({0: batch} for _ in example))
    finally:
        mha.set_fastpath_enabled(fast)


def read(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The module in a .pt2 file, and its outputs' names.

    Raises:
        ZddError: As `load`.
    """
    torch = library("torch", install=INSTALL)
    _refuse_pickles(path)
    extra: dict[str, Any] = {NAMES: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
        names = json.loads(extra[NAMES])
    except Exception as error:  # another torch's file raises nearly anything
        raise ZddError(
            f"{path}: this torch ({torch.__version__}) can't read it: {error}; export the run anew"
        ) from None
    return program.module(), tuple(names)


def _refuse_pickles(path: Path) -> None:
    """torch.export.load unpickles what is stored as a pickle; zdd's own files hold JSON and bare numbers alone."""
    try:
        with zipfile.ZipFile(path) as file:
            records = [(info.filename.partition("/")[2], info) for info in file.infolist()]
            configs = [json.loads(file.read(info)) for name, info in records if name.endswith("_config.json")]
    except FileNotFoundError:
        raise ZddError(f"{path}: there is no such file; export the run anew") from None
    except (OSError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ZddError(f"{path}: not a file of torch.export ({error}); export the run anew") from None
    names = [name for name, info in records if info.file_size or not name.endswith(".pt")]
    foreign = [name for name in names if not PLAIN.fullmatch(name)]
    for config in configs:
        entries = config["config"].items()
        foreign += [key for key, at in entries if at["use_pickle"] or not NUMBERS.fullmatch(at["path_name"])]
    if foreign or len(set(names)) < len(names):
        raise ZddError(f"{path}: holds more than numbers and a graph ({', '.join(foreign) or 'names twice'}): not read")

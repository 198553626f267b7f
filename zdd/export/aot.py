"""AOTInductor: the graph compiled ahead of time to machine code of this processor; torch runs it without Python."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError
from zdd.export.base import library
from zdd.export.pt2 import INSTALL, Program, drawn

if TYPE_CHECKING:
    from zdd.export.graph import Whole

FILE = "model.aot.pt2"
NOTES = "compiled.json"


def export(
    whole: Whole, example: NDArray[np.uint8], folder: Path, *, precision: Literal["fp32", "bf16"] = "fp32"
) -> None:
    """Write the package, and beside it what it was compiled for.

    Args:
        whole: From pixels to what is said of them, on the CPU.
        example: (N, H, W, 3) training images, N at least 1.
        folder: An existing folder.
        precision: "fp32"; "bf16": convolutions and products in bf16, as autocast has it.

    Raises:
        ZddError: If there is no C++ compiler, or torch can't draw the network's graph or compile it.
    """
    import torch
    from torch._inductor import aoti_compile_and_package, cpp_builder, exc

    from zdd.export.half import halved

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        raise ZddError(
            "engine 'aot': needs a C++ compiler, and there is none; install g++ or clang++, or use --engine pt2"
        ) from None
    typed = whole if precision == "fp32" else halved(whole, torch.bfloat16)
    two = torch.from_numpy(np.concatenate((example[:1], example[-1:])))  # a batch of 1 would be taken for fixed
    try:
        with _quiet():
            aoti_compile_and_package(drawn(typed, (two,)), package_path=str(folder / FILE))
    except Exception as error:  # the compiler raises nearly anything
        reason = str(error).strip().splitlines()[0]
        raise ZddError(f"this network can't be compiled by AOTInductor: {reason}; use --engine pt2") from None
    notes = {"names": list(whole.names), **_here(torch)}
    (folder / NOTES).write_text(json.dumps(notes), encoding="utf-8")


def load(folder: Path, *, threads: int | None = None) -> Program:
    """Read the package back. It is machine code: read none that is not your own.

    Args:
        folder: Where `export` wrote.
        threads: Of the processor, for all that torch does in this process; None: as it is.

    Raises:
        ZddError: If a file is missing or broken, or was compiled by another torch or for another kind of processor.
    """
    torch = library("torch", install=INSTALL)
    inductor = library("torch._inductor", install=INSTALL)
    if threads is not None:
        torch.set_num_threads(threads)
    path = folder / FILE
    try:
        notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
        compiled, here = {name: notes[name] for name in _here(torch)}, _here(torch)
    except (OSError, ValueError, KeyError) as error:
        raise ZddError(f"{folder / NOTES}: not readable ({error}); export the run anew") from None
    if compiled != here:
        was, now = (", ".join(f"{name} {value}" for name, value in each.items()) for each in (compiled, here))
        raise ZddError(f"{path}: was compiled for {was}; here is {now}; export the run anew on this machine")
    try:
        with _quiet():
            module = inductor.aoti_load_package(str(path))
    except Exception as error:  # as above
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ZddError(f"{path}: can't be loaded ({reason}); export the run anew") from None
    return Program(module, tuple(notes["names"]))


def _here(torch: Any) -> dict[str, str]:
    """What a package must have been compiled for."""
    return {"torch": torch.__version__, "processor": torch.backends.cpu.get_cpu_capability()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Compiling talks, and warns of what is checked here."""
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)

"""Which layers go back from 8-bit integers to float32, so that the verdicts stay: those that harm them most."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from zdd.errors import ZddError
from zdd.export.agreement import Reference, Run
from zdd.export.onnx_int8 import Build, Restore

FEW = 8  # images by which the layers are put in order


def restorer(reference: Reference, largest_drop: float, load: Callable[[Path], Run]) -> Restore:
    """What brings back as few layers as it takes.

    Where too many verdicts change, each layer is tried alone in integers; then the worst one goes back, the worst two,
    four, eight, until the drop is kept.

    Args:
        reference: What the exact network says of the calibration images.
        largest_drop: Largest share of them whose verdict may change.
        load: Reads a file back.

    Returns:
        What `onnx_int8.quantise` takes; it raises a ZddError where more is lost even with all these layers in
        float32: the operations between them (Add, Mul, Sigmoid, ...) stay in integers.
    """

    def restore(path: Path, weighed: list[str], build: Build) -> list[str]:
        back: list[str] = []
        order: list[str] = []
        while (dropped := reference.drop(load(path))) > largest_drop:
            if len(back) == len(weighed):
                raise ZddError(_too_much(dropped, largest_drop))
            order = order or _by_harm(reference, path, weighed, build, load)
            back = order[: max(1, 2 * len(back))]
            build(back)
        return back

    return restore


def _by_harm(
    reference: Reference, path: Path, weighed: list[str], build: Build, load: Callable[[Path], Run]
) -> list[str]:
    """The layers, the one whose rounding alone changes the raw output most first."""
    step = max(1, len(reference.images) // FEW)
    few = replace(
        reference,
        images=reference.images[::step],
        said={name: value[::step] for name, value in reference.said.items()},
    )
    harm = {}
    for name in _shown(weighed):
        build([other for other in weighed if other != name])
        harm[name] = few.error(load(path))
    return sorted(weighed, key=lambda name: -harm[name])


def _shown(names: list[str]) -> Iterable[str]:
    """With a bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(names, "int8: layers", console=console, transient=True, disable=not sys.stderr.isatty())


def _too_much(dropped: float, largest: float) -> str:
    return (
        f"precision = 'int8': {dropped:.3g} of the calibration images change their verdict, more than largest_drop = "
        f"{largest:g}, even with every convolution and matrix product in float32: rounding the activations between "
        "them is enough; allow more, calibrate on more images, or use fp32"
    )

"""What every engine is: files in a folder that are read back as a Runner, and nothing of torch in it.

`zdd.runtime` reads engines where no torch is installed. So a file of this folder imports torch inside `export` alone
(and under TYPE_CHECKING), and its `load` needs the engine's own library and numpy, nothing else.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError

Outputs = dict[str, NDArray[Any]]


class Runner(Protocol):
    """An engine that was read back from disk.

    Called with pixels (B, H, W, 3) uint8, as `Preprocess.load` gives them, it returns every output by its name, first
    axis B, when they are there (synchronised), of the types that torch gives. B is 1 to `largest_batch`.
    """

    names: tuple[str, ...]  # of `zdd.export.graph.OUTPUTS`
    largest_batch: int | None  # None: any

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Run a batch."""
        ...


@dataclass(frozen=True)
class Example:
    """Training images, for tracing and calibration."""

    pixels: NDArray[np.uint8]  # (N, H, W, 3)


def library(name: str, *, install: str) -> Any:
    """Import an engine's library.

    Args:
        name: The module.
        install: The command that installs it.

    Raises:
        ZddError: If it is not there, or does not work here; the line says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ZddError(f"{error.name} is not installed; install it with: {install}") from None
    except (ImportError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise ZddError(f"{name} can't be loaded here ({reason}); install it with: {install}") from None


def probes(example: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Batches of 1 and of 3 images, not all alike, to compare an engine with the network on.

    Args:
        example: (N, H, W, 3), one image at least.
    """
    one, other = example[0], example[-1]
    noise = np.random.default_rng(0).integers(0, 256, one.shape, dtype=np.uint8)
    upside_down = np.ascontiguousarray(other[::-1])
    return [one[None], noise[None], np.stack([upside_down, noise, one])]

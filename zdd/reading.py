"""Many image files as the network's pixels, for engines that are held to something or timed."""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError
from zdd.preprocess import Preprocess

NAMED = 20  # files in a message


def pixels(preprocess: Preprocess, paths: Sequence[str | Path], pool: Executor) -> NDArray[np.uint8]:
    """(N, H, W, 3) of N files, one at least, in order.

    Args:
        preprocess: From file to pixels.
        paths: The files.
        pool: The threads that read them.

    Raises:
        ZddError: If files can't be read; a line for each.
    """
    begun = [pool.submit(preprocess.load, path) for path in paths]
    failed = [str(error) for error in (each.exception() for each in begun) if isinstance(error, OSError)]
    if failed:
        more = [f"and {len(failed) - NAMED} more"] if len(failed) > NAMED else []
        raise ZddError(*failed[:NAMED], *more)
    return np.stack([each.result() for each in begun])

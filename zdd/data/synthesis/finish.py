"""What every synthetic picture goes through at last, good or bad alike: another light, a small move, a mirror."""

import numpy as np

from zdd.data.synthesis.job import Style
from zdd.data.synthesis.picture import Bools, Floats

KEPT = 0.9  # share of its defective pixels that a picture must keep when it is moved
MOVE = 0.02  # largest move of the whole picture, share of its longer side; whole pixels, so that nothing is blurred


def finish(values: Floats, mask: Bools, rng: np.random.Generator, style: Style) -> tuple[Floats, Bools]:
    """Change a whole picture (H, W, C) a little, and its mask (H, W) with it.

    No pixel is interpolated: else sharpness would tell synthetic pictures from real ones.
    """
    if style.mirror and rng.random() < 0.5:
        values, mask = values[:, ::-1], mask[:, ::-1]
    high, wide = mask.shape
    most = int(MOVE * max(high, wide))
    down, right = (int(move) for move in rng.integers(-most, most + 1, 2))
    window = np.ix_(_moved(high, down), _moved(wide, right))
    if mask[window].sum() >= KEPT * mask.sum():  # else a defect at the border would be moved out
        values, mask = values[window], mask[window]
    y, x = np.linspace(-1, 1, high)[:, None], np.linspace(-1, 1, wide)[None, :]
    level, slant_y, slant_x = rng.uniform(-style.light, style.light, 3)
    gain = 1 + level + (slant_y * y + slant_x * x) / 2
    return np.asarray(np.clip(values * gain[..., None], 0, 1), np.float32), mask


def _moved(n: int, by: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Which row (or column) comes where; what is moved in is mirrored from the border."""
    at = np.arange(n) - by
    at = np.where(at < 0, -at - 1, at)
    return np.clip(np.where(at >= n, 2 * n - 1 - at, at), 0, n - 1)

"""One picture of a drawn part, good or with a defect."""

import numpy as np
from PIL import Image


def draw_part(kind: str, seed: int) -> Image.Image:
    """A grey plate, 44 x 36; a crack is a dark diagonal, a dent a bright disc."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(120, 12, (36, 44, 3)) + rng.normal(0, 10)
    y, x = np.mgrid[:36, :44]
    if kind == "crack":
        pixels[np.abs(y - x + rng.integers(-6, 14)) < 3] -= 90
    if kind == "dent mark":
        pixels[(y - rng.integers(10, 26)) ** 2 + (x - rng.integers(10, 34)) ** 2 < 40] += 100
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

"""Draw a stand-in for CIFAR-10: ten shapes of 32 x 32 pixels, in the files of its binary version."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zdd import files
from zdd.data.sources.cifar10 import NAMES, SIDE
from zdd.data.synthesis import folder

MARK = "shapes.json"
SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "bar", "stripes", "dots", "wedge")
FINE = 4  # drawn so many times as large, then made smaller
TEST_SHARE = 0.25


def draw(out: Path, *, per_class: int, seed: int) -> dict[str, Any]:
    """Draw the set into `out`; the same seed gives the same bytes.

    Args:
        out: Folder to make; one that `draw` made before is replaced.
        per_class: Training pictures of each of the ten shapes; a quarter as many more, at least one, are for the test.
        seed: Any number from 0.

    Raises:
        ZddError: If `out` holds something else.
    """
    rng = np.random.default_rng(seed)
    n_test = max(1, round(per_class * TEST_SHARE))
    with folder.making(out, MARK, {MARK, NAMES, "data_batch_1.bin", "test_batch.bin"}) as temporary:
        for name, n in (("data_batch_1.bin", per_class), ("test_batch.bin", n_test)):
            rows = [_record(rng, label) for _ in range(n) for label in range(len(SHAPES))]
            np.stack(rows).tofile(temporary / name)
        files.write_text(temporary / NAMES, "\n".join(SHAPES) + "\n")
        facts = {"per_class": per_class, "seed": seed, "n_images": len(SHAPES) * (per_class + n_test)}
        files.write_json(temporary / MARK, {"made_by": "zdd suite", **facts})
    return {"out": str(out), **facts}


def _record(rng: np.random.Generator, label: int) -> NDArray[np.uint8]:
    """(3073,): the class, and the picture's red, green and blue values."""
    side = SIDE * FINE
    ground, ink = (tuple(int(v) for v in rng.integers(low, low + 110, 3)) for low in rng.permutation([10, 140]))
    image = Image.new("RGB", (side, side), ground)
    canvas = ImageDraw.Draw(image)
    radius = side * rng.uniform(0.28, 0.4)
    x, y = rng.uniform(radius, side - radius, 2)
    _shape(canvas, SHAPES[label], (x, y, radius), ink, ground)
    image = image.rotate(float(rng.uniform(-12, 12)), Image.Resampling.BILINEAR, fillcolor=ground)
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    noisy = np.clip(small + rng.normal(0, 8, small.shape), 0, 255).astype(np.uint8)
    return np.concatenate([np.array([label], np.uint8), noisy.transpose(2, 0, 1).ravel()])


def _shape(
    canvas: ImageDraw.ImageDraw,
    name: str,
    at: tuple[float, float, float],
    ink: tuple[int, ...],
    ground: tuple[int, ...],
) -> None:
    x, y, r = at
    box = (x - r, y - r, x + r, y + r)
    inner = (x - r / 2, y - r / 2, x + r / 2, y + r / 2)
    match name:
        case "disc" | "ring":
            canvas.ellipse(box, fill=ink)
        case "square" | "frame":
            canvas.rectangle(box, fill=ink)
        case "triangle":
            canvas.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=ink)
        case "wedge":
            canvas.pieslice(box, -40, 40, fill=ink)
        case "cross":
            canvas.rectangle((x - r, y - r / 4, x + r, y + r / 4), fill=ink)
            canvas.rectangle((x - r / 4, y - r, x + r / 4, y + r), fill=ink)
        case "bar":
            canvas.rectangle((x - r, y - r / 4, x + r, y + r / 4), fill=ink)
        case "stripes":
            for step in (-0.8, 0.0, 0.8):
                canvas.rectangle((x - r, y + step * r - r / 6, x + r, y + step * r + r / 6), fill=ink)
        case "dots":
            for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
                cx, cy = x + dx * r * 0.6, y + dy * r * 0.6
                canvas.ellipse((cx - r / 3, cy - r / 3, cx + r / 3, cy + r / 3), fill=ink)
    if name == "ring":
        canvas.ellipse(inner, fill=ground)
    elif name == "frame":
        canvas.rectangle(inner, fill=ground)

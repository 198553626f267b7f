"""Planted anomalies: visible, on the part, the same for the same seed."""

import numpy as np
from numpy.typing import NDArray

from zdd.data.planted import SMALLEST, VISIBLE, plant


def bolt(seed: int) -> NDArray[np.uint8]:
    """A dark, grained bar on a bright ground."""
    rng = np.random.default_rng(seed)
    pixels = np.full((96, 128, 3), 200.0)
    pixels[40:60, 20:110] = rng.normal(90, 15, (20, 90, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def test_the_mask_is_where_the_image_changed_and_nowhere_else() -> None:
    for seed in range(60):
        image = bolt(seed)
        before = image.copy()
        changed, mask = plant(image, seed)
        assert np.array_equal(image, before)
        difference = np.abs(changed.astype(int) - image).max(axis=2)
        assert np.array_equal(mask == 1, difference >= VISIBLE)
        assert SMALLEST <= mask.mean() < 0.05
        assert changed.dtype == mask.dtype == np.uint8 and changed.shape == image.shape


def test_anomalies_lie_at_the_part() -> None:
    near = 0
    for seed in range(60):
        _, mask = plant(bolt(seed), seed)
        rows, columns = np.nonzero(mask)
        near += bool(25 <= rows.mean() < 75 and 5 <= columns.mean() < 125)
    assert near >= 57  # the ground above and below is half of the image


def test_the_same_seed_plants_the_same_and_another_something_else() -> None:
    image = bolt(0)
    one, two, other = plant(image, 5)[0], plant(image, 5)[0], plant(image, 6)[0]
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_a_blank_or_tiny_image_is_no_trouble() -> None:
    for shape in ((8, 8, 3), (40, 300, 3)):
        changed, mask = plant(np.full(shape, 128, np.uint8), 1)
        assert changed.shape == shape and mask.shape == shape[:2]

"""Anomalies planted in good images: to choose settings and to test a threshold where no defect is known yet.

A patch or a scar cut elsewhere and pasted turned (CutPaste, Li et al., CVPR 2021), or a cloud of noise that lightens or
darkens (the masks of DRAEM, Zavrtanik et al., ICCV 2021). They are no defects of the part: what is found of them says
whether a method sees changes at all, not how many real defects escape.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]
Place = tuple[int, int]  # row and column

VISIBLE = 12  # grey values by which a pixel must have changed to be marked
SMALLEST = 0.0003  # share of the image that must have changed
PART = 40  # grey values by which the part differs from its background, the median along the image's border
TRIES = 50


def plant(pixels: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    """Plant one anomaly.

    Args:
        pixels: (H, W, 3) uint8, a good image.
        seed: The same seed plants the same anomaly.

    Returns:
        The image with it, and (H, W) uint8, 1 where it is visible.
    """
    rng = np.random.default_rng([0x5EED, seed])
    kinds: tuple[Callable[[Pixels, Place, np.random.Generator], Pixels], ...] = (_patch, _scar, _cloud)
    changed, mask, places = pixels, np.zeros(pixels.shape[:2], np.uint8), _on_the_part(pixels)
    for _ in range(TRIES):
        y, x = places[int(rng.integers(len(places)))].tolist()
        changed = kinds[int(rng.integers(len(kinds)))](pixels, (y, x), rng)
        difference = np.abs(changed.astype(np.int16) - pixels).max(axis=2)
        mask = (difference >= VISIBLE).astype(np.uint8)
        if mask.mean() >= SMALLEST:
            break
    return changed, mask


def _on_the_part(pixels: Pixels) -> NDArray[np.int64]:
    """(N, 2) rows and columns where the part is; everywhere, if it does not stand out."""
    grey = pixels.mean(axis=2)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    part = np.abs(grey - np.median(border)) > PART
    return np.argwhere(part if part.mean() > 0.01 else np.full(part.shape, True))


def _patch(pixels: Pixels, at: Place, rng: np.random.Generator) -> Pixels:
    return _paste(pixels, at, rng, area=rng.uniform(0.001, 0.01), aspect=rng.uniform(0.3, 3.3))


def _scar(pixels: Pixels, at: Place, rng: np.random.Generator) -> Pixels:
    return _paste(pixels, at, rng, area=rng.uniform(0.0005, 0.003), aspect=rng.uniform(4, 12))


def _paste(pixels: Pixels, at: Place, rng: np.random.Generator, *, area: float, aspect: float) -> Pixels:
    """Cut a rectangle anywhere, change its brightness a little, turn it, and paste it around a place."""
    high, wide = pixels.shape[:2]
    h, w = (
        max(2, round(side)) for side in ((area * high * wide / aspect) ** 0.5, (area * high * wide * aspect) ** 0.5)
    )
    h, w = min(h, high - 1), min(w, wide - 1)
    y, x = int(rng.integers(high - h)), int(rng.integers(wide - w))
    cut = np.clip(pixels[y : y + h, x : x + w] * rng.uniform(0.7, 1.3), 0, 255).astype(np.uint8)
    angle = float(rng.uniform(-45, 45))
    turned = Image.fromarray(cut).rotate(angle, Image.Resampling.BILINEAR, expand=True)
    shape = Image.new("L", (w, h), 255).rotate(angle, Image.Resampling.BILINEAR, expand=True)
    place = at[1] - turned.width // 2, at[0] - turned.height // 2
    canvas = Image.fromarray(pixels)
    canvas.paste(turned, place, shape)
    return np.asarray(canvas)


def _cloud(pixels: Pixels, at: Place, rng: np.random.Generator) -> Pixels:
    """Lighten or darken a ragged blob around a place."""
    high, wide = pixels.shape[:2]
    radius = (rng.uniform(0.0005, 0.006) * high * wide / np.pi) ** 0.5
    y, x = np.mgrid[:high, :wide]
    cy, cx = at
    noise = ndimage.gaussian_filter(rng.normal(size=(high, wide)), radius / 3, mode="wrap")
    blob = np.hypot(y - cy, x - cx) < radius * (1 + 0.6 * noise / max(1e-9, float(noise.std())))
    edge = ndimage.gaussian_filter((blob & (np.hypot(y - cy, x - cx) < 2 * radius)).astype(float), 0.7)[..., None]
    shift = rng.choice([-1, 1]) * rng.uniform(25, 90)
    lit: Pixels = np.clip(pixels + shift * edge, 0, 255).astype(np.uint8)
    return lit

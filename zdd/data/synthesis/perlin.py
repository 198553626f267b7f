"""Defects on good parts: the shapes of Perlin noise, filled with what the part itself is made of.

Shapes are those of DRAEM (Zavrtanik et al., ICCV 2021), thresholded Perlin noise (Perlin, SIGGRAPH 1985): round for
stains and dents, drawn out for scratches, and lines of equal noise for cracks. They are filled with another piece of
the same picture (CutPaste, Li et al., CVPR 2021) or with a change of its light. No picture from elsewhere is needed.
"""

import numpy as np
from scipy import ndimage

from zdd.data.synthesis.finish import finish
from zdd.data.synthesis.job import Job, Made, Style
from zdd.data.synthesis.picture import Bools, Floats, Picture, read
from zdd.errors import ZddError

VISIBLE = 0.05  # change of brightness from which a pixel is defective
AREA = (0.0008, 0.02)  # of the picture, before what does not show is taken off
SMALLEST = 0.0004  # share of the picture that must show
PART = 0.15  # by so much the part differs from its background, the median along the picture's border
TRIES = 40


def make(job: Job, style: Style) -> Made:
    """Make one defective image of a good one.

    Raises:
        ZddError: If the image can't be read, or no defect shows on it.
    """
    rng = job.rng()
    picture = read(job.source.path)
    part = on_the_part(picture.channels(1)[..., 0])
    for _ in range(TRIES):
        soft = ndimage.gaussian_filter(_shape(part, rng).astype(np.float32), rng.uniform(0.4, 0.9))
        filled = _fill(picture.values, rng)
        changed = picture.values * (1 - soft[..., None]) + filled * soft[..., None]
        mask = np.abs(changed - picture.values).mean(2) >= VISIBLE
        mask = ndimage.binary_closing(mask, iterations=2) & (soft > 0.1)
        if mask.mean() >= SMALLEST:
            values, mask = finish(changed, mask, rng, style)
            return Made(Picture(values, picture.white, picture.jpeg), mask, (job.source.path,))
    raise ZddError(f"{job.source.path}: no defect shows on it after {TRIES} tries; is it of one colour throughout?")


def noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[float, float], degrees: float) -> Floats:
    """Perlin noise: between corners with random directions, mean about 0, mostly in [-0.7, 0.7].

    Args:
        rng: Where the randomness comes from.
        size: (H, W).
        cells: How many cells the longer side holds, across and along.
        degrees: By which the lattice is turned.
    """
    side = max(size)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / side - 0.5
    turn = np.radians(degrees)
    u = (np.cos(turn) * x + np.sin(turn) * y + 1) * cells[0] + rng.random()
    v = (np.cos(turn) * y - np.sin(turn) * x + 1) * cells[1] + rng.random()
    angle = rng.uniform(0, 2 * np.pi, (int(2 * cells[1]) + 4, int(2 * cells[0]) + 4))
    row, column = np.floor(v).astype(int), np.floor(u).astype(int)
    down, right = v - row, u - column

    def corner(i: int, j: int) -> Floats:
        direction = angle[row + i, column + j]
        return np.asarray(np.cos(direction) * (right - j) + np.sin(direction) * (down - i), np.float32)

    ease_x, ease_y = (t**3 * (t * (6 * t - 15) + 10) for t in (right, down))
    top = corner(0, 0) * (1 - ease_x) + corner(0, 1) * ease_x
    bottom = corner(1, 0) * (1 - ease_x) + corner(1, 1) * ease_x
    return np.asarray(1.4 * (top * (1 - ease_y) + bottom * ease_y), np.float32)


def on_the_part(grey: Floats) -> Bools:
    """(H, W), where the part is; everywhere if it does not stand out from what is along the picture's border."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    part = np.abs(ndimage.gaussian_filter(grey, 2) - np.median(border)) > PART
    part = ndimage.binary_fill_holes(ndimage.binary_opening(part, iterations=2))
    inner = ndimage.binary_erosion(part, iterations=max(1, min(grey.shape) // 64))
    return np.asarray(inner if inner.mean() > 0.03 else np.full(grey.shape, True))


def _shape(part: Bools, rng: np.random.Generator) -> Bools:
    """(H, W), a spot, a scratch or a crack somewhere on the part."""
    high, wide = part.shape
    kind, degrees = rng.choice(("spot", "spots", "scratch", "crack")), float(rng.uniform(0, 180))
    area = np.exp(rng.uniform(*np.log(AREA))) * part.size
    radius = (area / np.pi) ** 0.5
    places = np.argwhere(part)
    row, column = places[int(rng.integers(len(places)))].tolist()
    y, x = np.mgrid[:high, :wide]
    far = np.hypot(y - row, x - column)
    ragged = noise(rng, part.shape, (max(high, wide) / (1.5 * radius),) * 2, degrees)
    if kind == "spot":
        shape = far / radius + 1.2 * ragged < 1
    elif kind == "spots":
        fine = noise(rng, part.shape, (max(high, wide) / (0.8 * radius),) * 2, degrees)
        shape = (fine > 0.3) & (far < 2.2 * radius)
    elif kind == "scratch":
        shape = _streak((y - row, x - column), ragged, rng, length=5 * radius)
    else:
        coarse = noise(rng, part.shape, (max(high, wide) / (3 * radius),) * 2, degrees)
        line = coarse - coarse[row, column]  # so that one goes through the place
        slope = np.hypot(*np.gradient(line)) + 1e-4
        shape = (np.abs(line) / slope < rng.uniform(0.7, 1.6)) & (far < (3 + ragged) * radius)
    return np.asarray(shape & part)


def _streak(off: tuple[Floats, Floats], ragged: Floats, rng: np.random.Generator, *, length: float) -> Bools:
    """A thin line, a little bent, that fades at its ends."""
    turn = float(rng.uniform(0, np.pi))
    along, across = np.cos(turn) * off[1] + np.sin(turn) * off[0], np.cos(turn) * off[0] - np.sin(turn) * off[1]
    place = along / length
    across = across - rng.uniform(-0.15, 0.15) * length * place**2
    width = max(0.8, length / rng.uniform(25, 60)) * (1 - np.clip(np.abs(place), 0, 1) ** 2) * (1 + 0.5 * ragged)
    return np.asarray((np.abs(across) < width) & (np.abs(place) < 1))


def _fill(values: Floats, rng: np.random.Generator) -> Floats:
    """(H, W, C), what shows within a defect: the picture in another light, or another piece of it, or both."""
    high, wide, channels = values.shape
    filled = values
    if rng.random() < 0.6:  # another piece, turned
        filled = np.rot90(values, int(rng.integers(1, 4))) if high == wide else values[::-1, ::-1]
        filled = np.roll(filled, (int(rng.integers(high)), int(rng.integers(wide))), (0, 1))
    strength = rng.choice((-1.0, 1.0)) * rng.uniform(0.15, 0.55)
    tint = 1 + rng.uniform(-0.08, 0.08, channels) if channels > 1 else np.ones(1)
    uneven = 1 + 0.4 * noise(rng, (high, wide), (24.0, 24.0), float(rng.uniform(0, 180)))[..., None]
    if rng.random() < 0.5:  # darker keeps the texture, brighter hides it as a bare spot does
        filled = filled + strength * uneven * (0.5 if strength > 0 else filled.mean())
    else:
        filled = filled * (1 + strength * uneven)
    return np.asarray(np.clip(filled * tint, 0, 1), np.float32)

"""Putting a piece of one picture into another so that light and edges fit, and closing the hole that a piece leaves.

The piece keeps its own gradients and takes the brightness of its new surroundings (Poisson image editing, Perez et al.,
SIGGRAPH 2003), here as the piece plus a smooth field, the membrane (Farbman et al., SIGGRAPH 2009).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from zdd.data.synthesis.picture import Bools, Floats

RING = 4  # pixels around a piece by which it is fitted
SOFT = 1.2  # deviation of the soft edge, pixels
PATCH = 0.12  # misfit up to which a hole is closed with another piece of the picture
DIRECT = 3000  # unknowns up to which an equation is solved at once
SWEEPS = 30
GAIN = (0.6, 1.6)  # how much darker or brighter a piece may become
SMOOTH = 1 / 8  # of a piece: over so much its surroundings are averaged, so that no single stroke is drawn into it


@dataclass(frozen=True)
class Piece:
    """What is cut out: with its surroundings, which it is fitted by.

    Args:
        values: (h, w, C) in [0, 1].
        shape: (h, w), the pixels that are pasted; nowhere at the border, unless the picture ends there.
        valid: (h, w), where `values` were really seen.
        mark: (h, w), the pixels that are defective.
    """

    values: Floats
    shape: Bools
    valid: Bools
    mark: Bools

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape.shape[0], self.shape.shape[1]

    def turned(self, degrees: float, scale: float = 1.0) -> "Piece":
        """The piece turned and made larger or smaller."""
        if not degrees and scale == 1:
            return self
        values, masks = self.values, np.stack([self.shape, self.valid, self.mark], axis=2).astype(np.float32)
        if scale != 1:
            values, masks = (ndimage.zoom(part, (scale, scale, 1), order=1) for part in (values, masks))
        if degrees:
            values = ndimage.rotate(values, degrees, order=3, mode="nearest")
            masks = ndimage.rotate(masks, degrees, order=1)
        shape, valid, mark = (masks[..., k] > level for k, level in enumerate((0.5, 0.99, 0.5)))
        return Piece(np.clip(values, 0, 1), shape, valid, mark)

    def mirrored(self) -> "Piece":
        """The piece with left and right exchanged."""
        return Piece(self.values[:, ::-1], self.shape[:, ::-1], self.valid[:, ::-1], self.mark[:, ::-1])


@dataclass(frozen=True)
class Fit:
    """How a piece would lie in a picture: where, how bright, and how well its surroundings agree (0 is exact)."""

    row: int
    column: int
    gain: float
    misfit: float


def cut(values: Floats, shape: Bools, mark: Bools) -> Piece:
    """Cut the pixels `shape` (H, W) out of a picture (H, W, C), with room around them.

    Raises:
        ValueError: If `shape` is empty.
    """
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    if not len(rows):
        raise ValueError("nothing is to be cut")
    room = 2 * RING
    window = tuple(
        slice(max(0, int(at[0]) - room), min(n, int(at[-1]) + 1 + room))
        for at, n in zip((rows, columns), shape.shape, strict=True)
    )
    return Piece(values[window], shape[window], np.ones(shape[window].shape, bool), mark[window])


def fit(under: Floats, piece: Piece, row: int, column: int) -> Fit | None:
    """How a piece would lie with its upper left corner at a place of the picture (H, W, C).

    None if less than nine tenths of it would be in the picture, or nothing around it could be compared.
    """
    here, there = _overlap(under.shape, piece, row, column)
    shape = piece.shape[there]
    if shape.sum() < 0.9 * piece.shape.sum():
        return None
    ring = _ring(shape) & piece.valid[there]
    if ring.sum() < RING:
        return None
    old, new = under[here][ring], piece.values[there][ring]
    gain = float(np.clip((old.mean() + 0.02) / (new.mean() + 0.02), *GAIN))
    off = old - gain * new
    colour = float(np.abs(off.mean(0)).mean())
    return Fit(row, column, gain, float(off.std()) + colour + 0.1 * abs(float(np.log(gain))))


def paste(under: Floats, piece: Piece, at: Fit) -> tuple[Floats, Bools]:
    """Paste a piece where it was fitted.

    Args:
        under: (H, W, C), the picture below.
        piece: With as many channels.
        at: What `fit` gave.

    Returns:
        The new picture, and the defective pixels (H, W) that the piece brought.
    """
    here, there = _overlap(under.shape, piece, at.row, at.column)
    shape, valid = piece.shape[there], piece.valid[there]
    below, above = under[here], at.gain * piece.values[there]
    ring = _ring(shape) & valid
    smooth = max(RING / 2, SMOOTH * float(shape.sum()) ** 0.5)
    near = ndimage.gaussian_filter(ring.astype(np.float32), smooth)
    off = (below - above) * ring[..., None]
    level = ndimage.gaussian_filter(off, (smooth, smooth, 0)) / np.maximum(near, 1e-6)[..., None]
    known = ring if (ring != _ring(shape)).any() else ~shape  # beyond a closed ring nothing needs to be known
    above = above + membrane(np.where(ring[..., None], level, 0), known)
    soft = ndimage.gaussian_filter(ndimage.binary_dilation(shape, iterations=2).astype(np.float32), SOFT)
    alpha = (soft * (shape | ring) * (valid | shape))[..., None]
    result, mark = under.copy(), np.zeros(under.shape[:2], bool)
    result[here] = below * (1 - alpha) + above * alpha
    mark[here] = piece.mark[there]
    return np.clip(result, 0, 1), mark


def heal(values: Floats, hole: Bools, rng: np.random.Generator, tries: int = 24) -> Floats:
    """Close a hole with what lies around it: a clean piece of the same picture where one fits, else a smooth skin.

    Args:
        values: (H, W, C).
        hole: (H, W), what is to vanish.
        rng: Draws the pieces that are tried.
        tries: How many.
    """
    wide = ndimage.binary_dilation(hole, iterations=RING)
    smooth = values.copy()
    around = cut(values, wide, np.zeros_like(wide))
    top, left = _corner(wide)
    high, long = around.size
    window = slice(top, top + high), slice(left, left + long)
    smooth[window] = np.where(
        around.shape[..., None], membrane(values[window] * ~around.shape[..., None], ~around.shape), values[window]
    )
    best: tuple[Fit, Piece] | None = None
    for _ in range(tries):
        y, x = (int(rng.integers(max(1, n - size + 1))) for n, size in zip(hole.shape, around.size, strict=True))
        source = slice(y, y + high), slice(x, x + long)
        if values[source].shape[:2] != around.size or wide[source][around.shape].any():
            continue
        piece = Piece(values[source], around.shape, ~wide[source], np.zeros_like(around.shape))
        found = fit(values, piece, top, left)
        if found and (best is None or found.misfit < best[0].misfit):
            best = found, piece
    return paste(smooth, best[1], best[0])[0] if best and best[0].misfit <= PATCH else smooth


def membrane(values: Floats, known: Bools) -> Floats:
    """Fill what is not known as smoothly as can be (Laplace's equation; free at the border of the picture).

    Args:
        values: (h, w, C); what stands where nothing is known does not matter.
        known: (h, w).
    """
    unknown = ~known
    if not known.any():
        return np.zeros_like(values)
    if not unknown.any():
        return values.copy()
    if unknown.sum() <= DIRECT:
        return _solved(values, known)
    high, wide = known.shape
    padded = np.pad(known, ((0, high % 2), (0, wide % 2))).astype(np.float32)
    weight = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).sum((1, 3))
    total = np.pad(values * known[..., None], ((0, high % 2), (0, wide % 2), (0, 0)))
    total = total.reshape(weight.shape[0], 2, weight.shape[1], 2, -1).sum((1, 3))
    small = membrane(total / np.maximum(weight, 1)[..., None], weight > 0)
    large = np.repeat(np.repeat(small, 2, 0), 2, 1)[:high, :wide]
    filled = np.where(known[..., None], values, ndimage.gaussian_filter(large, (1, 1, 0)))
    for _ in range(SWEEPS):
        border = np.pad(filled, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (border[:-2, 1:-1] + border[2:, 1:-1] + border[1:-1, :-2] + border[1:-1, 2:]) / 4
        filled = np.where(known[..., None], values, mean)
    return np.asarray(filled, np.float32)


def _solved(values: Floats, known: Bools) -> Floats:
    """`membrane` by one sparse equation a channel."""
    unknown = ~known
    number = np.full(known.shape, -1)
    number[unknown] = np.arange(unknown.sum())
    n, rows, columns = int(unknown.sum()), [], []
    right, degree = np.zeros((n, values.shape[2])), np.full(n, 1e-9)  # so that islands without a shore are 0
    for move in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        y, x = np.nonzero(unknown)
        to_y, to_x = y + move[0], x + move[1]
        inside = (to_y >= 0) & (to_y < known.shape[0]) & (to_x >= 0) & (to_x < known.shape[1])
        own, to_y, to_x = number[y, x][inside], to_y[inside], to_x[inside]
        degree[own] += 1
        shore = known[to_y, to_x]
        right[own[shore]] += values[to_y[shore], to_x[shore]]
        rows.append(own[~shore])
        columns.append(number[to_y[~shore], to_x[~shore]])
    row, column = np.concatenate(rows), np.concatenate(columns)
    links = sparse.csr_matrix((np.full(len(row), -1.0), (row, column)), shape=(n, n))
    filled = values.astype(np.float32)
    filled[unknown] = spsolve(sparse.csc_matrix(links + sparse.diags(degree)), right).reshape(n, -1)
    return filled


def _ring(shape: Bools) -> Bools:
    return np.asarray(ndimage.binary_dilation(shape, iterations=RING) & ~shape)


def _corner(shape: Bools) -> tuple[int, int]:
    """Where the piece lies that `cut` cuts out."""
    room = 2 * RING
    return max(0, int(shape.any(1).argmax()) - room), max(0, int(shape.any(0).argmax()) - room)


def _overlap(shape: tuple[int, ...], piece: Piece, row: int, column: int) -> tuple[tuple[slice, ...], ...]:
    """The part of the picture that a piece covers, and the part of the piece that is in the picture."""
    here, there = [], []
    for start, length, limit in zip((row, column), piece.size, shape, strict=False):
        first, last = max(0, start), max(0, min(limit, start + length))
        here.append(slice(first, max(first, last)))
        there.append(slice(first - start, max(first, last) - start))
    return tuple(here), tuple(there)

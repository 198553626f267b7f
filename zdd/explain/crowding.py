"""Places where attribution crowds in the pictures of one class: a watermark, a stamp, a clamp, a date.

What speaks for and what speaks against a verdict both show what was looked at, so it is absolute values that are added
up here. A place that is found is no proof: it says where a person has to look.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating]  # (H, W)
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

CELLS = 16  # cells along a picture's side, that places are made of
SIDES = (2, 4)  # cells along a place's side: 1/64 and 1/16 of the picture
CROWDED = 4.0  # times a place's area that its share of the attribution must be
APART = 2.0  # times as much as in the pictures of the other classes
ALWAYS = 8.0  # times its area that the share must be if it is so in every class
FEWEST = 5  # pictures that a class must have
PERMUTATIONS, ALARM = 200, 0.01  # of the classes among the pictures; the chance of a false find


@dataclass(frozen=True)
class Place:
    """A place where attribution crowds in the pictures of one class.

    Args:
        name: Of the class; None: of every class alike.
        box: Left, top, right, bottom, as shares of the picture's width and height.
        share: Of the attribution that lies there, the median over the class's pictures.
        area: Of the picture that it is.
        elsewhere: The same median over the other classes' pictures; None: there are none.
    """

    name: str | None
    box: tuple[float, float, float, float]
    share: float
    area: float
    elsewhere: float | None


def places(
    maps: Sequence[Map], label: NDArray[np.int64], names: Sequence[str], masks: Sequence[Mask | None] | None = None,
    *, seed: int = 0,
) -> list[Place]:  # fmt: skip
    """Where attribution crowds in a fixed place.

    A class has such a place if the median share of the attribution there is at least `CROWDED` times the area, `APART`
    times that of the other classes, and by more than chance: in all but `ALARM` of the permutations of the classes
    among the pictures, no class and place differ as much. Where no class has one, a place of every class alike counts
    from `ALWAYS` times the area on: a mark that is evidence where it is and where it lacks, or a feature of the part.

    Args:
        maps: Of each picture, (H, W), 16 x 16 or larger.
        label: (N,) each picture's true class.
        names: Of the classes.
        masks: Of each picture's defect, (H, W), or None: what is attributed to a known defect does not count, so that
            defects that always lie in one place are not taken for a mark.
        seed: Of the permutations.

    Returns:
        At most one place a class; else at most one of all.
    """
    shares = np.stack([_cells(v, None if masks is None else masks[i]) for i, v in enumerate(maps)])
    boxes = [(x, y, side) for side in SIDES for y in range(CELLS - side + 1) for x in range(CELLS - side + 1)]
    inside = np.stack([shares[:, y : y + k, x : x + k].sum((1, 2)) for x, y, k in boxes], axis=1)
    density = inside * CELLS**2 / np.array([k**2 for *_, k in boxes])
    found = {k: _place(names[k], boxes[i], inside[:, i], label == k) for k, i in _of_a_class(density, label, seed)}
    always = np.median(density, axis=0)
    if not found and len(maps) >= FEWEST and always.max() >= ALWAYS:
        i = int(always.argmax())
        return [_place(None, boxes[i], inside[:, i], np.ones(len(maps), dtype=bool))]
    return list(found.values())


def _cells(values: Map, mask: Mask | None) -> Floats:
    """(CELLS, CELLS) each cell's share of the attribution, without what lies in the mask."""
    size = np.abs(values.astype(np.float64))
    whole = size.sum()
    rows, columns = (np.linspace(0, length, CELLS + 1).astype(int)[:-1] for length in size.shape)
    kept = size if mask is None else np.where(mask, 0, size)
    cells: Floats = np.add.reduceat(np.add.reduceat(kept, rows, 0), columns, 1)
    return cells / whole if whole > 0 else cells


def _of_a_class(density: Floats, label: NDArray[np.int64], seed: int) -> list[tuple[int, int]]:
    """The classes that have a place, and its number."""
    classes = [int(k) for k in np.unique(label) if FEWEST <= np.count_nonzero(label == k) < len(label)]
    if not classes:
        return []
    rng = np.random.default_rng(seed)
    mixed = [rng.permutation(label) for _ in range(PERMUTATIONS)]
    limit = np.quantile([max(_apart(density, each == k).max() for k in classes) for each in mixed], 1 - ALARM)
    found = []
    for k in classes:
        mine, others = (np.median(density[chosen], axis=0) for chosen in (label == k, label != k))
        crowded = (mine >= CROWDED) & (mine >= APART * others)
        apart = np.where(crowded, _apart(density, label == k), 0)
        if apart.max() > limit:
            found.append((k, int(apart.argmax())))
    return found


def _apart(density: Floats, mine: Mask) -> Floats:
    """(places,) by how much these pictures' mean lies above the others', in standard deviations of all."""
    apart: Floats = (density[mine].mean(0) - density[~mine].mean(0)) / (density.std(0) + 1e-9)
    return apart


def _place(name: str | None, box: tuple[int, int, int], share: Floats, mine: Mask) -> Place:
    x, y, k = box
    others = None if name is None else float(np.median(share[~mine]))
    corners = (x / CELLS, y / CELLS, (x + k) / CELLS, (y + k) / CELLS)
    return Place(name, corners, float(np.median(share[mine])), (k / CELLS) ** 2, others)

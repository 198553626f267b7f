"""Whether a network looks where the part is not: at the border, at the background, at a mark in a fixed place.

What speaks for and what speaks against a verdict both show what was looked at, so it is absolute values that are added
up here. A flag is no proof: it says where a person has to look.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from zdd.explain.crowding import FEWEST, Place

Map = NDArray[np.floating]  # (H, W)
Mask = NDArray[np.bool_]

FRAME = 0.05  # of the shorter side: how broad the border is
MARGIN = 0.03  # of the shorter side: how far around the part what is attributed still belongs to it
EVEN = 0.75  # share of the border's pixels that must look alike if it is to be background
SMALLEST, LARGEST = 0.02, 0.95  # shares of the picture that a part can have
NEARLY, LOOSE = 0.95, 1.5  # the quantile of the border's differences, and how many times that is no more border
SPECK = 0.05  # of the largest piece's size: what is smaller is dust, not the part
BINS = 128  # of Otsu's histogram
FRAME_TIMES = 2.0  # times its area that the border's share must be


def frame(size: tuple[int, int]) -> Mask:
    """The border of a picture, (H, W)."""
    width = max(1, round(FRAME * min(size)))
    border = np.ones(size, dtype=bool)
    border[width:-width, width:-width] = False
    return border


def part(image: NDArray[np.floating]) -> Mask | None:
    """Where the part is, found by its difference from an even background along the border.

    What differs from the border's median colour by more than Otsu's threshold (1979), or by more than nearly all of
    the border does, is the part; specks are left out, and gaps filled up to the convex hull, with a margin. It is
    rather too large than too small.

    Args:
        image: (H, W, 3), on any scale.

    Returns:
        (H, W); None where there is no such background: the border is not even, or the part fills the picture or would
        be a speck.
    """
    border = frame((image.shape[0], image.shape[1]))
    distance = np.linalg.norm(image - np.median(image[border], axis=0), axis=2)
    level = _otsu(distance)
    if level is None or np.mean(distance[border] <= level) < EVEN:
        return None
    side = min(border.shape)
    found = distance > min(level, LOOSE * float(np.quantile(distance[border], NEARLY)))
    labelled, n = ndimage.label(ndimage.binary_opening(found, np.ones((max(2, side // 64),) * 2)))
    size = np.bincount(labelled.ravel(), minlength=n + 1)[1:]
    if not n or size.sum() < SMALLEST * found.size:
        return None
    hull = _hull(np.isin(labelled, 1 + np.flatnonzero(size >= SPECK * size.max())))
    grown: Mask = ndimage.distance_transform_edt(~hull) <= MARGIN * side
    return grown if grown.mean() <= LARGEST else None


def _hull(found: Mask) -> Mask:
    """The convex hull of pixels, (H, W)."""
    rows, columns = np.nonzero(found)
    points = np.concatenate([np.stack((rows + y, columns + x), 1) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    hull, grid = np.ones(found.shape, dtype=bool), np.mgrid[: found.shape[0], : found.shape[1]]
    for a, b, c in spatial.ConvexHull(points).equations:
        hull &= a * grid[0] + b * grid[1] + c <= 0
    return hull


def outside(values: Map, image: NDArray[np.floating]) -> dict[str, float]:
    """The shares of the attribution that lie on the border and on the background, and those of the area.

    Args:
        values: (H, W).
        image: (H, W, 3) of the same picture, on any scale.

    Returns:
        `border`, `border_area`, `background`, `background_area`, in [0, 1]; NaN where there is no background to be
        found, or no attribution.
    """
    size, found = np.abs(values.astype(np.float64)), part(image)
    whole = size.sum()
    border = frame((values.shape[0], values.shape[1]))
    shares = {"border": border, "background": None if found is None else ~found}
    figures = {}
    for name, where in shares.items():
        figures[name] = float(size[where].sum() / whole) if where is not None and whole > 0 else float("nan")
        figures[f"{name}_area"] = float(where.mean()) if where is not None else float("nan")
    return figures


def examine(figures: Sequence[dict[str, float]], found: Sequence[Place]) -> dict[str, Any]:
    """What all pictures together say, and what a person has to look at.

    The border is flagged if it has more than `FRAME_TIMES` of its area's share of the attribution, the background if it
    has more than its area's share, so that the network looks at it no less than at the part; both by two standard
    errors, over at least `FEWEST` pictures and half of all: where a background is found in fewer, it is none.

    Args:
        figures: Of each picture, from `outside`.
        found: From `crowding.places`.

    Returns:
        JSON-plain: `border` and `background`, each with `share`, `area` (means; None: there is none), `n` and `flag`;
        `places`; `flags`, a line for people for each.
    """
    lines, summary = list[str](), dict[str, Any]()
    for name, times in (("border", FRAME_TIMES), ("background", 1.0)):
        share, area = (np.array([one[key] for one in figures]) for key in (name, f"{name}_area"))
        known = np.isfinite(share)
        n = int(known.sum())
        above = share[known] - times * area[known]
        flag = n >= max(FEWEST, len(figures) / 2) and above.mean() > 2 * above.std(ddof=1) / n**0.5
        means = [float(values[known].mean()) if n else None for values in (share, area)]
        summary[name] = {"share": means[0], "area": means[1], "n": n, "flag": bool(flag)}
        if flag:
            lines.append(f"{means[0]:.0%} of the attribution lies on the {name}, {means[1]:.0%} of the picture")
    return {**summary, "places": [asdict(place) for place in found], "flags": lines + [_line(each) for each in found]}


def _line(place: Place) -> str:
    left, top, right, bottom = place.box
    middle = (top + bottom) / 2, (left + right) / 2
    where = [name[0] if at < 1 / 3 else name[2] if at > 2 / 3 else name[1]
             for at, name in zip(middle, (("top", "", "bottom"), ("left", "", "right")), strict=True)]  # fmt: skip
    named = " ".join(word for word in where if word) or "middle"
    whose = "every class" if place.name is None else f"'{place.name}'"
    against = "" if place.elsewhere is None else f", and {place.elsewhere:.0%} in other classes' pictures"
    return (
        f"in pictures of {whose}, {place.share:.0%} of the attribution lies in one place ({named}), {place.area:.1%} "
        f"of the picture{against}: look there for a mark that gives the class away"
    )


def _otsu(values: NDArray[np.floating]) -> float | None:
    """The threshold that parts values best in two (Otsu 1979); None if they are all the same."""
    if np.ptp(values) == 0:
        return None
    counts, edges = np.histogram(values, BINS)
    middle = (edges[:-1] + edges[1:]) / 2
    below, moment = np.cumsum(counts), np.cumsum(counts * middle)
    above, rest = below[-1] - below[:-1], moment[-1] - moment[:-1]
    below, moment = below[:-1], moment[:-1]
    between = below * above * (moment / below - rest / np.maximum(above, 1)) ** 2  # the first bin is never empty
    return float(edges[int(between.argmax()) + 1])

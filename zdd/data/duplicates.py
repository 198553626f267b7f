"""Images that are the same, or nearly the same, in two splits: what would be tested after it was learnt by heart.

Two images count as nearly the same where their 16 x 16 grey thumbnails (a perceptual hash that keeps its grey values)
differ by at most `NEAR` (root mean square) and correlate by at least `ALIKE`. docs/data.md has the measurements behind
the two numbers: copies that were re-saved and resized lie below, different parts under one fixed camera above. A blank
image is only ever the same byte for byte.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from zdd.data.look import SIDE, Seen
from zdd.records import SPLITS, Split

NEAR = 1.5  # root mean square difference, grey values of 0 to 255
ALIKE = 0.98  # correlation
BLANK = 1.0  # standard deviation of a thumbnail below which there is nothing to compare
_ROWS, _COLUMNS, _CHECKED = 1024, 4096, 8192  # block sizes: 16 MB for a block of correlations


@dataclass(frozen=True)
class Pair:
    """Positions of two images, and by how many grey values their thumbnails differ (0 where the files are the same)."""

    first: int
    second: int
    difference: float


def across_splits(seen: Sequence[Seen], splits: Sequence[Split], *, most: int = 1000) -> tuple[list[Pair], int]:
    """Find the same or nearly the same image in two splits.

    Args:
        seen: What the look at each image found.
        splits: Where each lies.
        most: How many pairs are kept; all are counted.

    Returns:
        The pairs, the most alike first, and how many there are.
    """
    same = {(p.first, p.second): p for p in _same_bytes(seen, splits)}
    pairs, count = list(same.values()), len(same)
    for first, second, difference in _near(_thumbnails(seen), splits):
        fresh = [(int(i), int(j), float(d)) for i, j, d in zip(first, second, difference, strict=True)]
        fresh = [(i, j, d) for i, j, d in fresh if (min(i, j), max(i, j)) not in same]
        count += len(fresh)
        pairs += [Pair(min(i, j), max(i, j), d) for i, j, d in fresh[: max(0, most - len(pairs))]]
    return sorted(pairs, key=lambda p: (p.difference, p.first, p.second))[:most], count


def disagreeing(seen: Sequence[Seen], labels: Sequence[str]) -> list[Pair]:
    """The same file twice under two labels: one of them is wrong."""
    found = []
    for places in _by_hash(seen).values():
        other = next((i for i in places if labels[i] != labels[places[0]]), None)
        if other is not None:
            found.append(Pair(places[0], other, 0.0))
    return found


def _by_hash(seen: Sequence[Seen]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for i, one in enumerate(seen):
        places[one.sha256].append(i)
    return {sha256: where for sha256, where in places.items() if len(where) > 1}


def _same_bytes(seen: Sequence[Seen], splits: Sequence[Split]) -> Iterator[Pair]:
    """For each copy outside of the first copy's split, one pair."""
    for places in _by_hash(seen).values():
        yield from (Pair(places[0], i, 0.0) for i in places[1:] if splits[i] != splits[places[0]])


def _thumbnails(seen: Sequence[Seen]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(one.fingerprint for one in seen), np.uint8).reshape(-1, SIDE * SIDE)


Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _near(thumbnails: NDArray[np.uint8], splits: Sequence[Split]) -> Iterator[Found]:
    """Blocks of pairs across splits. Sorted by brightness, only images of nearly the same brightness are compared."""
    brightness = thumbnails.mean(1)
    names = np.asarray(splits)
    structured = thumbnails.std(1) >= BLANK
    members = {}
    for split in SPLITS:
        inside = np.flatnonzero((names == split) & structured)
        members[split] = inside[np.argsort(brightness[inside], kind="stable")]
    for one, other in combinations(SPLITS, 2):
        for start in range(0, len(members[one]), _ROWS):
            rows = members[one][start : start + _ROWS]
            low = np.searchsorted(brightness[members[other]], brightness[rows[0]] - NEAR, "left")
            high = np.searchsorted(brightness[members[other]], brightness[rows[-1]] + NEAR, "right")
            for left in range(int(low), int(high), _COLUMNS):
                yield from _compare(thumbnails, rows, members[other][left : min(left + _COLUMNS, int(high))])


def _compare(thumbnails: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Iterator[Found]:
    """The near pairs of a block: all distances from one product of matrices, then the few candidates one by one."""
    a, b = thumbnails[rows].astype(np.float32), thumbnails[columns].astype(np.float32)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * (a @ b.T)
    first, second = np.nonzero(squared <= thumbnails.shape[1] * NEAR**2 + 8)  # 8: rounding of float32
    for start in range(0, len(first), _CHECKED):
        i, j = first[start : start + _CHECKED], second[start : start + _CHECKED]
        difference = np.sqrt(((a[i] - b[j]).astype(np.float64) ** 2).mean(1))
        near = (difference <= NEAR) & (_correlation(a[i], b[j]) >= ALIKE)
        yield rows[i[near]], columns[j[near]], difference[near]


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row of `a` with the same row of `b`."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    product: NDArray[np.float32] = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return product

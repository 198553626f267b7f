"""How far an engine's outputs are from the reference's, image by image; maps are reduced batch by batch."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd.export.base import Outputs

Array = NDArray[Any]
Floats = NDArray[np.float64]

INPUT = "input"  # not an output: the pixels that were read, (B, H, W, 3) uint8, equal or not
VERDICTS = "defective pixels"  # what map and pixels come to at the pixel's threshold
COUNTED = ("label", "pixels", INPUT, VERDICTS)  # right or wrong; no number between
KEPT = ("score", "label", "probability")  # small enough to be kept whole
VARIED = ("raw", "score", "map")  # must differ from image to image
FLAT = 0.01  # of the reference's deviation: an engine that varies by less says the same of every image
RESOLVED = 0.05  # of the largest value: what varies less from image to image is measured by this instead


@dataclass(frozen=True)
class Errors:
    """One output's differences: of each image its worst and its mean element, NaN where it was not answered."""

    largest: Floats  # (N,)
    mean: Floats  # (N,)
    scale: float  # what they are measured by: how much the reference varies from image to image; 1 of what is counted


@dataclass(frozen=True)
class Gathered:
    """Everything that the verdict on an engine rests on, row i being image i."""

    answered: NDArray[np.bool_]  # (N,)
    errors: dict[str, Errors]
    reference: dict[str, Array]  # KEPT outputs, (M, ...) of the first M images
    found: dict[str, Array]  # the same; NaN or -1 where an image was not answered
    faults: tuple[str, ...]  # what makes an engine unfit, however small its differences
    constant: bool  # the same answer to all, and the reference's were not
    area: float  # share of all pixels that the reference or the engine judges defective; 0 without a pixel's threshold


@dataclass
class _Moments:
    """Of an output's finite values, element by element."""

    n: Floats  # (...) images
    total: Floats  # (...)
    squares: Floats  # (...)
    largest: float = 0.0

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "_Moments":
        """Of an output of that shape an image."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def add(self, values: Array) -> None:
        """Count a batch (B, ...)."""
        finite = np.isfinite(values)
        counted = np.where(finite, values, 0.0).astype(np.float64)
        self.n += finite.sum(0)
        self.total += counted.sum(0)
        self.squares += np.square(counted).sum(0)
        self.largest = max(self.largest, float(np.abs(counted).max(initial=0.0)))

    @property
    def deviation(self) -> float:
        """Standard deviation from image to image, root mean square over the elements."""
        n = np.maximum(self.n, 1)
        variance = np.maximum(self.squares / n - np.square(self.total / n), 0.0)
        return float(np.sqrt(variance.mean()))

    @property
    def scale(self) -> float:
        """The deviation; at least RESOLVED."""
        return max(self.deviation, RESOLVED * self.largest, float(np.finfo(np.float32).tiny))


@dataclass
class _Batch:
    """What is kept of a batch."""

    answered: NDArray[np.bool_]
    errors: dict[str, Floats] = field(default_factory=dict)  # (B, 2) largest, mean
    reference: dict[str, Array] = field(default_factory=dict)
    found: dict[str, Array] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    area: list[Floats] = field(default_factory=list)  # (B,) share of an image's pixels that either judges defective
    alike: list[tuple[Array, Array]] = field(default_factory=list)  # rows that differ within the batch, or its first


def gather(pairs: Iterable[tuple[Outputs, Outputs]], n: int, *, pixel: float | None = None) -> Gathered:
    """Compare batch by batch.

    Args:
        pairs: Of each batch the reference's outputs and the engine's, in the order of the images.
        n: Number of images.
        pixel: Threshold of the map; None: there is none.

    Raises:
        ValueError: If the reference has more images than `n`, or an empty batch.
    """
    moments: dict[str, _Moments] = {}
    given: dict[str, _Moments] = {}  # the engine's
    batches = []
    for reference, found in pairs:
        batches.append(_batch(_judged(reference, pixel), _judged(found, pixel), moments))
        _count(given, {name: found[name] for name in batches[-1].errors if name in VARIED})
    seen = sum(len(batch.answered) for batch in batches)
    if seen > n:
        raise ValueError(f"the reference answered {seen} images of {n}")
    errors = {}
    for name in dict.fromkeys(name for batch in batches for name in batch.errors):
        rows = [batch.errors.get(name, np.full((len(batch.answered), 2), np.nan)) for batch in batches]
        both = np.concatenate([*rows, np.full((n - seen, 2), np.nan)])
        errors[name] = Errors(both[:, 0], both[:, 1], 1.0 if name in COUNTED else moments[name].scale)
    _widen(errors)
    _explain(errors)
    return Gathered(
        answered=np.concatenate([*(batch.answered for batch in batches), np.zeros(n - seen, np.bool_)]),
        errors=errors,
        reference=_together([batch.reference for batch in batches]),
        found=_together([batch.found for batch in batches]),
        faults=tuple(dict.fromkeys(fault for batch in batches for fault in batch.faults)),
        constant=_constant([pair for batch in batches for pair in batch.alike])
        or _flat(moments, given, "pixels" in errors),
        area=float(np.mean(np.concatenate(areas))) if (areas := [each for b in batches for each in b.area]) else 0.0,
    )


def _widen(errors: dict[str, Errors]) -> None:
    """Measure the uncertainty by no less than the probabilities' scale.

    It is 1 - the largest probability, so it is off by as much as they are. But a network that is sure of nearly all
    images gives uncertainties that hardly vary: by their own spread the very same error would be five times too large.
    """
    mine, theirs = errors.get("uncertainty"), errors.get("probability")
    if mine is not None and theirs is not None:
        errors["uncertainty"] = replace(mine, scale=max(mine.scale, theirs.scale))


def _explain(errors: dict[str, Errors]) -> None:
    """Take from the score's error what pixels judged otherwise account for: they are held to a tolerance themselves.

    The U-Net's score counts pixels, so that a single one, undecided to the last digit, moves it by a whole step; and
    where defects are small, a step is far more than the tolerance.
    """
    score, pixels = errors.get("score"), errors.get(VERDICTS)
    if score is not None and pixels is not None and "pixels" in errors:
        largest, mean = (np.maximum(each - pixels.mean, 0.0) for each in (score.largest, score.mean))
        errors["score"] = Errors(largest, mean, score.scale)


def _judged(outputs: Outputs, pixel: float | None) -> Outputs:
    """With the verdict on each pixel, where there is a map and a threshold."""
    if pixel is None or "map" not in outputs:
        return outputs
    defective = outputs["map"] >= pixel
    defective = defective[:, 0] if defective.ndim == 4 else defective
    kind = outputs.get("pixels")
    kind = kind if kind is not None and kind.shape == defective.shape else np.ones(defective.shape, np.uint8)
    return {**outputs, VERDICTS: np.where(defective, kind, 0)}


def _batch(reference: Outputs, found: Outputs, moments: dict[str, _Moments]) -> _Batch:
    size = len(next(iter(reference.values())))
    batch = _Batch(np.full(size, True))
    _count(moments, {name: value for name, value in reference.items() if name not in COUNTED})
    for name, expected in reference.items():
        given = found.get(name)
        if given is None:
            batch.faults.append(f"there is no output '{name}'")
        elif given.ndim == 0 or given.shape[1:] != expected.shape[1:]:
            batch.faults.append(f"'{name}' is {list(given.shape[1:])} an image, not {list(expected.shape[1:])}")
        else:
            _compare(batch, name, expected, given)
    return batch


def _count(moments: dict[str, _Moments], outputs: Outputs) -> None:
    for name, values in outputs.items():
        moments.setdefault(name, _Moments.none(values.shape[1:])).add(values)


def _flat(reference: dict[str, _Moments], found: dict[str, _Moments], counts: bool) -> bool:
    """Whether something that must vary from image to image does not, though in the reference it does.

    Of images of one class no verdict would change. A score that `counts` pixels may be 0 of all but one image.
    """
    names = [name for name in VARIED if name in found and found[name].n.min(initial=2) > 1]
    names = [name for name in names if not (counts and name == "score")]
    least = 8 * float(np.finfo(np.float32).eps)  # probabilities differ by so much for nothing
    return any(reference[name].deviation > max(least, found[name].deviation / FLAT) for name in names)


def _compare(batch: _Batch, name: str, expected: Array, given: Array) -> None:
    size = len(expected)
    if len(given) > size:
        batch.faults.append(f"'{name}' has {len(given)} rows for {size} images: padding was left on")
    rows = min(size, len(given))
    batch.answered[rows:] = False
    r, f = expected[:rows], given[:rows]
    if name not in COUNTED and not np.isfinite(f).all():
        batch.faults.append(f"'{name}' is not a finite number for some images")
    error = np.full((size, 2), np.nan)
    if rows:
        each = _distance(r, f, counted=name in COUNTED).reshape(rows, -1)
        error[:rows] = np.stack([each.max(1), each.mean(1)], axis=1)
    batch.errors[name] = error
    if name == VERDICTS and rows:
        batch.area.append(((r > 0) | (f > 0)).reshape(rows, -1).mean(1))
    if name == "raw" and rows:
        batch.alike += [(r[0], f[0]), (_other(r), _other(f))]
    if name in KEPT:
        missing = np.full((size - rows, *expected.shape[1:]), -1 if name == "label" else np.nan, expected.dtype)
        batch.reference[name], batch.found[name] = expected, np.concatenate([f.astype(expected.dtype), missing])


def _distance(r: Array, f: Array, *, counted: bool) -> Floats:
    if counted:
        return np.asarray(r != f, np.float64)
    with np.errstate(invalid="ignore"):
        distance: Floats = np.abs(np.subtract(f, r, dtype=np.float64))
    distance[r == f] = 0.0  # infinity in both
    distance[np.isnan(distance)] = np.inf
    return distance


def _other(rows: Array) -> Array:
    """A row that is not as the first; the first if there is none."""
    differ = (rows != rows[0]).reshape(len(rows), -1).any(axis=1)
    other: Array = rows[int(differ.argmax())]
    return other


def _constant(pairs: list[tuple[Array, Array]]) -> bool:
    if not pairs:
        return False
    (reference, found), others = pairs[0], pairs[1:]
    return all(np.array_equal(found, f) for _, f in others) and not all(np.array_equal(reference, r) for r, _ in others)


def _together(parts: list[dict[str, Array]]) -> dict[str, Array]:
    names = [name for name in KEPT if parts and all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}

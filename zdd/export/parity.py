"""The gate that an exported engine must pass: does it judge every test image as the trained network does?

Pure functions of arrays. Who exports calls it so (the reference from `models.base.predict_batch`, not from the graph
that was exported, else a fault of the graph would be in both; the engine through `zdd.runtime`, from files):

    def pairs() -> Iterator[tuple[Outputs, Outputs]]:
        for paths in batches_of(test images):
            yield {"input": pixels, **torch's outputs by name}, {"input": runtime's pixels, **runner(runtime's pixels)}

    found = parity.compare_batches(pairs(), labels=..., names=paths, threshold=..., pixel=..., precision="fp32")
    files.write_json(model_json, {..., "parity": found.as_dict()})
    if not found.passed: say found.lines(), exit with 1
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zdd.export import equivalence
from zdd.export.base import Outputs
from zdd.export.differences import COUNTED, INPUT, VERDICTS, Errors, Gathered, gather
from zdd.export.equivalence import Change
from zdd.export.verdicts import Flips, Right, Worst, flips_of, right_of, worst_of


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be off; an output's scale is its standard deviation from image to image."""

    largest: float | None  # of any value of any image, in scales; None: not held to it
    mean: float  # over all values and images, in scales
    flips: float  # share of the images whose label, or whose side of the threshold, may change
    pixels: float  # share of all pixels whose verdict may change
    drop: float  # of the defect recall
    area: float = 0.5  # share of the pixels that either judges defective whose verdict may change


LITTLE = 1e-4  # share of all pixels: so few may fall either way, however few are defective
TOLERANCES = {
    "fp32": Tolerance(largest=1e-3, mean=1e-4, flips=0.0, pixels=1e-4, drop=0.0),
    "fp16": Tolerance(largest=0.1, mean=0.01, flips=0.005, pixels=2e-3, drop=0.005),
    "bf16": Tolerance(largest=0.5, mean=0.05, flips=0.01, pixels=0.01, drop=0.005),
    "int8": Tolerance(largest=None, mean=0.5, flips=0.02, pixels=0.03, drop=0.01),  # held to verdicts, not to numbers
}


@dataclass(frozen=True)
class Difference:
    """One output, over all images that were answered."""

    largest: float | None  # None: not finite
    mean: float | None
    scale: float
    allowed_largest: float | None  # None: not held to it
    allowed_mean: float | None

    @property
    def within(self) -> bool:
        """Whether it is as small as it must be."""
        bounds = ((self.largest, self.allowed_largest), (self.mean, self.allowed_mean))
        return all(bound is None or (value is not None and value <= bound) for value, bound in bounds)


@dataclass(frozen=True)
class Parity:
    """What the gate found. `refused` says why the engine must not be used; `accepted` what --accept-drop let pass."""

    precision: str
    images: int
    answered: int
    differences: dict[str, Difference]
    label_flips: int | None  # images with another most probable class; None: the method gives none
    threshold_flips: int | None  # images on the other side of the threshold; None: there is none
    ties: int  # of both: the reference was undecided
    change: Change | None
    tolerance: Tolerance
    accept_drop: float | None
    refused: tuple[str, ...]
    accepted: tuple[str, ...]
    worst: tuple[Worst, ...]

    @property
    def passed(self) -> bool:
        """Whether the engine may be used."""
        return not self.refused

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, for model.json."""
        plain = asdict(self) | {"passed": self.passed}
        return plain | {"change": self.change.as_dict() if self.change else None}

    def lines(self) -> list[str]:
        """For people: what differs, the verdict, and of a refused engine the worst images."""
        found = [f"parity of {self.precision}: {self.answered} of {self.images} images answered"]
        for name, each in self.differences.items():
            found.append(f"  {name}: {_differs(each)}" + ("" if each.within else "  <- too much"))
        for name, flips in (("most probable class", self.label_flips), ("side of the threshold", self.threshold_flips)):
            if flips is not None:
                found.append(f"  another {name}: {flips} of {self.images} images")
        if self.change:
            found.append(f"  {self.change.line()}")
        elif self.threshold_flips is not None:
            found.append("  no defective image among them: whether defects are still caught is not known")
        found += [f"  let pass by --accept-drop {self.accept_drop:g}: {reason}" for reason in self.accepted]
        if self.passed:
            return [*found, "  passed"]
        found += [f"  refused: {reason}" for reason in self.refused]
        return [*found, "  worst images:", *(f"    {each.line()}" for each in self.worst)]


def compare(reference: Outputs, found: Outputs, *, labels: NDArray[np.int64], **options: Any) -> Parity:
    """`compare_batches` of outputs that are all at hand, (N, ...) each."""
    return compare_batches([(reference, found)], labels=labels, **options)


def compare_batches(
    pairs: Iterable[tuple[Outputs, Outputs]],
    *,
    labels: NDArray[np.int64],
    precision: str,
    threshold: float | None,
    pixel: float | None = None,
    names: Sequence[str] | None = None,
    accept_drop: float | None = None,
    margin: float = equivalence.MARGIN,
) -> Parity:
    """Judge an engine by what it says of the test images.

    Args:
        pairs: Of each batch, in the images' order, the reference's outputs by name (those of `graph.OUTPUTS` that the
            method has, (B, ...) each) and the engine's. "input", (B, H, W, 3) uint8, is compared like an output that
            must be equal: the pixels that either side read from the file.
        labels: (N,) the truth; 0 is good where there is a threshold.
        precision: One of TOLERANCES.
        threshold: Of the score; None where there is no good class.
        pixel: Of the map; None where there is none.
        names: The images' files; None: their numbers.
        accept_drop: A loss of defect recall (without a threshold: of accuracy) that the user accepts, in [0, 1], and as
            large a share of images and of pixels with another verdict; differences of numbers then refuse nothing.
        margin: Change of the share that counts as none in the statement on equivalence.

    Raises:
        KeyError: If there is no such precision.
        ValueError: If the reference answered more images than there are labels.
    """
    tolerance = TOLERANCES[precision]
    gathered = gather(pairs, len(labels), pixel=pixel)
    differences = {name: _difference(name, each, tolerance) for name, each in gathered.errors.items()}
    flips, right = flips_of(gathered, threshold), right_of(gathered, labels, threshold)
    unfit = _unfit(gathered, differences)
    strict = unfit | _far(differences) | _flipped(differences, flips, right, gathered.area, tolerance)
    refused = strict
    if accept_drop is not None:
        refused = unfit | _flipped(differences, flips, right, gathered.area, _loosened(tolerance, accept_drop))
    return Parity(
        precision=precision,
        images=len(labels),
        answered=int(gathered.answered.sum()),
        differences=differences,
        label_flips=flips["label"].n if "label" in flips else None,
        threshold_flips=flips["threshold"].n if "threshold" in flips else None,
        ties=sum(each.n_ties for each in flips.values()),
        change=equivalence.change(right.what, right.reference, right.found, margin=margin) if right else None,
        tolerance=tolerance,
        accept_drop=accept_drop,
        refused=tuple(refused.values()),
        accepted=tuple(why for name, why in strict.items() if name not in refused),
        worst=worst_of(gathered, flips, names),
    )


def _difference(name: str, errors: Errors, tolerance: Tolerance) -> Difference:
    answered = ~np.isnan(errors.largest)
    largest = float(errors.largest[answered].max(initial=0.0))
    mean = float(errors.mean[answered].mean()) if answered.any() else 0.0
    if name in COUNTED:  # of labels the flips are held to something, without the ties, and of pixels the verdicts
        most, usual = 0.0 if name == INPUT else None, tolerance.pixels if name == VERDICTS else None
    else:
        most = None if tolerance.largest is None else tolerance.largest * errors.scale
        usual = tolerance.mean * errors.scale
    if not np.isfinite(largest):
        return Difference(None, None, errors.scale, most, usual)
    return Difference(largest, mean, errors.scale, most, usual)


def _loosened(tolerance: Tolerance, drop: float) -> Tolerance:
    """With `drop` in place of every share that is smaller."""
    shares = {name: max(getattr(tolerance, name), drop) for name in ("flips", "pixels", "drop", "area")}
    return replace(tolerance, **shares)


def _unfit(gathered: Gathered, differences: dict[str, Difference]) -> dict[str, str]:
    """What --accept-drop never lets pass."""
    n, answered = len(gathered.answered), int(gathered.answered.sum())
    found = {fault: fault for fault in gathered.faults}
    if not n:
        found["images"] = "there is no image to compare on"
    if answered < n:
        found["images"] = f"{n - answered} of {n} images were not answered"
    if gathered.constant:
        found["constant"] = "it gives the same answer to every image"
    if INPUT in differences and not differences[INPUT].within:
        found[INPUT] = "it reads other pixels from the files than the network was trained on"
    return found


def _far(differences: dict[str, Difference]) -> dict[str, str]:
    """Numbers that differ by more than the precision explains."""
    far = {name: each for name, each in differences.items() if name not in COUNTED and not each.within}
    return {name: f"{name}: {_differs(each)}" for name, each in far.items()}


def _flipped(
    differences: dict[str, Difference], flips: dict[str, Flips], right: Right | None, area: float, tolerance: Tolerance
) -> dict[str, str]:
    """Verdicts that differ more often than is tolerated."""
    found = {}
    share = (differences[VERDICTS].mean or 0.0) if VERDICTS in differences else 0.0
    if share > tolerance.pixels:
        found[VERDICTS] = f"{share:.3%} of all pixels are judged otherwise; {tolerance.pixels:.3%} may be"
    elif share > max(tolerance.area * area, LITTLE):  # of small defects, nearly all that is found may lie elsewhere
        found[VERDICTS] = (
            f"{share / area:.0%} of all defective pixels are judged otherwise; {tolerance.area:.0%} may be"
        )
    for name, what in (("label", "have another most probable class"), ("threshold", "change sides of the threshold")):
        if name in flips and (clear := flips[name].n - flips[name].n_ties) > tolerance.flips * flips[name].of:
            found[f"{name} flips"] = f"{clear} of {flips[name].of} images {what}; {tolerance.flips:.2%} may"
    if right is not None and right.drop > tolerance.drop + 1e-12:
        lost = f"{right.what} falls by {100 * right.drop:.2f} points"
        found["drop"] = f"{lost}; {100 * tolerance.drop:g} may be lost"
    return found


def _differs(each: Difference) -> str:
    if each.largest is None or each.mean is None:
        return "not finite"
    text = f"differs by {each.mean:.2g} in the mean, {each.largest:.2g} at most"
    bounds = [
        f"{bound:.2g} {where}"
        for bound, where in ((each.allowed_mean, "in the mean"), (each.allowed_largest, "at most"))
        if bound is not None
    ]
    return f"{text} (allowed: {', '.join(bounds)})" if bounds else text

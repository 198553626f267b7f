"""From scores to a verdict: the threshold, chosen on validation images only, and what it says of each image."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError
from zdd.rows import verdict as verdict  # beside what it judges by
from zdd.settings import ThresholdSettings
from zdd.stats import at_most


@dataclass(frozen=True)
class Threshold:
    """Images with a score below `value` are good, all others defective; and what that did on the validation images.

    Shares are None where the validation split has no such image; the bounds are one-sided, 95 %, Clopper-Pearson.
    """

    value: float
    rule: str
    target: float | None
    n_good: int
    n_defective: int
    missed: float | None  # share of defective images below the threshold
    false_alarms: float | None  # share of good images at or above it
    missed_at_most: float
    false_alarms_at_most: float
    pixel: float | None = None  # a pixel whose map reaches it is defective; None: the method gives no map

    def as_dict(self) -> dict[str, Any]:
        """As it stands in model.json and metrics.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Read back what `as_dict` gave."""
        return cls(**value)


def choose(score: NDArray[np.float64], defective: NDArray[np.bool_], settings: ThresholdSettings) -> Threshold:
    """Choose the threshold on validation scores by `settings.rule`.

    youden: largest sum of caught defects and passed good parts (Youden 1950); if several, the one that misses least.
    false_alarms: most defects caught while at most `target` of the good parts is stopped; then fewest stopped.
    missed: fewest good parts stopped while at most `target` of the defects is missed; then fewest missed.
    quantile: the smallest threshold below which at least the share `target` of the good parts lies.
    fixed: `target` itself.

    Args:
        score: (N,) finite, higher is more likely defective.
        defective: (N,) truth.
        settings: Rule and target.

    Raises:
        ZddError: As `check`.
        ValueError: If a score is not finite.
    """
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    check(defective, settings)
    good, bad = np.sort(score[~defective]), np.sort(score[defective])
    if settings.rule == "fixed":
        return _describe(float(settings.target or 0.0), good, bad, settings)
    cut = _cuts(good if settings.rule == "quantile" else score)
    alarms = 1 - np.searchsorted(good, cut) / max(1, len(good))
    # Without a defect to count, the lowest threshold that the target allows misses fewest.
    missed = np.searchsorted(bad, cut) / len(bad) if len(bad) else -alarms
    target = settings.target if settings.target is not None else 1.0
    if settings.rule == "quantile":
        return _describe(float(cut[np.flatnonzero(1 - alarms >= target - 1e-12)[0]]), good, bad, settings)
    allowed = {"youden": np.full(len(cut), True), "false_alarms": alarms <= target, "missed": missed <= target}
    first, second = {
        "youden": (np.round(missed + alarms, 12), missed),  # 0.1 + 0.2 and 0.2 + 0.1 are the same
        "false_alarms": (missed, alarms),
        "missed": (alarms, missed),
    }[settings.rule]
    best = min(np.flatnonzero(allowed[settings.rule]), key=lambda i: (first[i], second[i]))
    return _describe(float(cut[best]), good, bad, settings)


def choose_pixel(peak: NDArray[np.float64], settings: ThresholdSettings) -> float:
    """The map's value from which a pixel counts as defective, of a method that has seen good images alone.

    As many good validation images as the image's threshold may stop, at most, have such a pixel; where the rule says
    nothing of good images, 5 in 100.

    Args:
        peak: (N,) the largest value of the map of each good validation image.
        settings: Rule and target of the image's threshold.

    Raises:
        ValueError: If there is no image.
    """
    if not len(peak):
        raise ValueError("there is no good image to choose by")
    passed = {"false_alarms": 1 - (settings.target or 0.0), "quantile": settings.target or 1.0}.get(settings.rule, 0.95)
    return choose(peak, np.full(len(peak), False), ThresholdSettings(rule="quantile", target=passed)).value


def check(defective: NDArray[np.bool_], settings: ThresholdSettings) -> None:
    """See that a threshold can be chosen by such images; called before a training, too.

    Raises:
        ZddError: If the rule needs good or defective images and there are none, or a target and there is none.
    """
    if settings.rule != "youden" and settings.target is None:
        raise ZddError(f"threshold.target: the rule '{settings.rule}' needs one, a share from 0 to 1")
    needed = {"good": settings.rule != "fixed", "defective": settings.rule in ("youden", "missed")}
    there = {"good": not defective.all(), "defective": defective.any()}
    lacking = [name for name in needed if needed[name] and not there[name]]
    if lacking:
        other = '{"rule": "false_alarms", "target": 0.05}' if there["good"] else '{"rule": "fixed", "target": 0.5}'
        raise ZddError(
            f"threshold.rule = '{settings.rule}': the validation split has no {' and no '.join(lacking)} image to "
            f"choose by; add some, or set {other}"
        )


def _cuts(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every threshold that judges differently: the middles of the gaps, and one beyond either end, ascending."""
    value = np.unique(score)
    gap = np.diff(value)
    middle = value[:-1] + gap / 2
    middle = np.where(middle > value[:-1], middle, value[1:])  # neighbouring floats have no middle
    margin = float(gap.mean()) / 2 if len(gap) else 0.5
    return np.concatenate([[value[0] - margin], middle, [value[-1] + margin]])


def _describe(
    value: float, good: NDArray[np.float64], bad: NDArray[np.float64], settings: ThresholdSettings
) -> Threshold:
    missed, alarms = int(np.count_nonzero(bad < value)), int(np.count_nonzero(good >= value))
    return Threshold(
        value=value,
        rule=settings.rule,
        target=settings.target,
        n_good=len(good),
        n_defective=len(bad),
        missed=missed / len(bad) if len(bad) else None,
        false_alarms=alarms / len(good) if len(good) else None,
        missed_at_most=at_most(missed, len(bad)),
        false_alarms_at_most=at_most(alarms, len(good)),
    )

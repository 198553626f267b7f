"""The verdict in words: what was caught and what was stopped, and what so many images can and can't show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zdd import stats
from zdd.report.tested import Tested
from zdd.stats import Figure

CLAIMS = (0.01, 0.001)  # shares of escaped defects that people ask for
RULES = {
    "youden": "it balances caught defects against stopped good parts (Youden's rule)",
    "false_alarms": "it catches most while at most {target} of the good parts is stopped",
    "missed": "it stops fewest good parts while at most {target} of the defects is missed",
    "quantile": "it is the lowest that passes {target} of the good parts",
    "fixed": "it was set by hand",
}


@dataclass(frozen=True)
class Count:
    """How many of how many went wrong, counted in parts where a part has several pictures."""

    events: int
    n: int
    unit: str  # "parts" or "images"

    @property
    def at_most(self) -> float:
        """The share that 95 % confidence still allows."""
        return stats.at_most(self.events, self.n)


def percent(share: float | None) -> str:
    """0.98765 -> '98.8 %', never rounded up to 100 % or down to 0 %."""
    if share is None:
        return "not known"
    for decimals in (1, 2, 3):
        text = f"{100 * share:.{decimals}f}"
        if share in (0.0, 1.0) or 0 < float(text) < 100:
            break
    return f"{text.removesuffix('.0') if share in (0.0, 1.0) else text} %"


def times(n: int) -> str:
    """How often: "once", "5 times"."""
    return "once" if n == 1 else f"{n} times"


def certainty(uncertainty: float) -> str:
    """0.0704 -> '0.930': 1 - uncertainty, never rounded up to 1."""
    return f"{1 - uncertainty if uncertainty <= 0 else min(1 - uncertainty, 0.999):.3f}"


def between(figure: Figure) -> str:
    """The interval of a share in words."""
    if figure.low is None or figure.high is None:
        return "no interval"
    return f"95 % interval {percent(figure.low)} to {percent(figure.high)}"


def missed(tested: Tested) -> Count:
    """Missed defects of all defects."""
    return _count(tested, tested.columns.label > 0, tested.predicted == 0)


def stopped(tested: Tested) -> Count:
    """Stopped good parts of all good parts."""
    return _count(tested, tested.columns.label == 0, tested.predicted > 0)


def _count(tested: Tested, of: NDArray[np.bool_], event: NDArray[np.bool_]) -> Count:
    rows = np.flatnonzero(of)
    parts = [tested.records[row].group or f"\0{row}" for row in rows]
    hit = {part for part, row in zip(parts, rows, strict=True) if event[row]}
    return Count(len(hit), len(set(parts)), "parts" if len(set(parts)) < len(parts) else "images")


def headline(tested: Tested) -> str:
    """One sentence on top of the report."""
    figures = tested.figures
    if not tested.task.has_good:
        right = percent(figures["accuracy"].value)
        return f"Tells {tested.task.n_classes} kinds of defect apart: {right} of the test images judged rightly."
    caught, alarms = figures["defect_recall"].value, figures["false_alarm_rate"].value
    if caught is None or alarms is None:
        return f"{percent(figures['accuracy'].value)} of the test images judged rightly."
    return f"Catches {percent(caught)} of the defects and stops {percent(alarms)} of the good parts."


def sentences(tested: Tested) -> list[str]:
    """What was found, what it can claim, and where the threshold comes from."""
    figures, columns = tested.figures, tested.columns
    if not tested.task.has_good:
        return [
            f"{len(tested.mistakes)} of {columns.n} test images were taken for another kind: "
            f"{percent(figures['accuracy'].value)} right, {between(figures['accuracy'])}.",
            _worst(tested),
            "There is no good class in this data, so nothing can be said about good parts, and there is no threshold.",
        ]
    found = [_found(tested, kind) for kind in ("defect_recall", "false_alarm_rate")]
    return [*found, *_claims(tested), _threshold(tested)]


def _found(tested: Tested, name: str) -> str:
    figure, defects = tested.figures[name], name == "defect_recall"
    what, verb = ("defective", "caught") if defects else ("good", "stopped by mistake")
    if figure.value is None:
        return f"There are no {what} images in the test split, so nothing can be said of how many are {verb}."
    hits = round(figure.value * figure.n)
    return f"{hits} of {figure.n} {what} test images were {verb}: {percent(figure.value)}, {between(figure)}."


def _claims(tested: Tested) -> list[str]:
    count = missed(tested)
    if not count.n:
        return []
    claim = (
        f"With {count.events} of {count.n} defective {count.unit} missed, this test shows, with 95 % confidence, that "
        f"at most {percent(count.at_most)} of such defects escape; it can't show less."
    )
    wanted = " and ".join(f"{stats.needed(share):,} for at most {percent(share)}" for share in CLAIMS)
    return [claim, f"To claim less, more defective parts must be tested with none missed: {wanted}."]


def _threshold(tested: Tested) -> str:
    threshold = tested.threshold
    if threshold is None:
        return "There is no threshold."
    why = RULES[threshold.rule].format(target=percent(threshold.target))
    number = f"{threshold.n_good} good and {threshold.n_defective} defective"
    return (
        f"A part is stopped when its score reaches {threshold.value:.4g}. That threshold was chosen on {number} "
        f"validation images, none of them tested here: {why}."
    )


def _worst(tested: Tested) -> str:
    known = [(tested.figures[f"recall/{name}"], name) for name in tested.task.classes]
    figure, name = min((pair for pair in known if pair[0].value is not None), key=lambda pair: (pair[0].value, pair[1]))
    return f"The hardest kind is {name}: {percent(figure.value)} of its {figure.n} images right, {between(figure)}."


def cautions(tested: Tested, pairs: int) -> list[str]:
    """What a reader must know before believing the figures.

    Args:
        tested: The test.
        pairs: Number of pairs of same or nearly same images that lie in two splits.
    """
    found = []
    if pairs:
        found.append(
            f"{pairs} pair{'s' * (pairs > 1)} of images that are the same, or nearly, lie in two different splits: "
            "these figures are better than new parts will give. The pairs are listed under Data."
        )
    if tested.looks > 1:
        found.append(
            f"The test images were looked at {tested.looks} times for this run. "
            "If anything was changed after an earlier look, these figures are a little too good."
        )
    few = [(kind, int(np.sum(tested.columns.label == k))) for k, kind in enumerate(tested.task.classes)]
    rare = [f"{kind} ({n})" for kind, n in few if n < 10]
    if rare:
        found.append(f"Fewer than 10 test images, so that little can be said: {', '.join(rare)}.")
    if tested.task.has_good and unit_of(tested) == "parts":
        found.append("Some parts have several pictures; intervals and claims count parts, not pictures.")
    return found


def unit_of(tested: Tested) -> str:
    """Whether claims are counted in parts or in images."""
    return "parts" if "parts" in (missed(tested).unit, stopped(tested).unit) else "images"

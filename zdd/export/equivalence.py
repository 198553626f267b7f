"""Did an engine change how many parts are judged rightly? Paired tests of the same images, for small counts, too."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

MARGIN = 0.02  # of a share: engines that differ by less count as equivalent
LEVEL = 0.05  # of each of the two one-sided tests, so that the interval that belongs to them has 90 %


@dataclass(frozen=True)
class Change:
    """How a share of the same n images changed from the reference to the engine.

    Pictures of one part are counted like any others, so of several pictures a part the tests are too sure.
    """

    what: str  # "defect recall" or "accuracy"
    n: int  # images that it is a share of
    reference: float
    found: float
    lost: int  # right by the reference, wrong by the engine
    gained: int  # the other way round
    p_differ: float  # exact McNemar, two-sided: so uneven a split of lost and gained by chance alone
    low: float  # 90 % interval of found - reference
    high: float
    margin: float
    p_equivalent: float  # TOST: so small a change though the true one is as large as the margin
    needed: int  # images with which equivalence could be shown, if not one changed

    @property
    def equivalent(self) -> bool:
        """Whether the change is shown to be smaller than the margin, either way."""
        return self.p_equivalent < LEVEL

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"equivalent": self.equivalent}

    def line(self) -> str:
        """For people."""
        shown = "shown" if self.equivalent else "not shown"
        needs = f", which takes {self.needed} images without a change" if self.n < self.needed else ""
        return (
            f"{self.what} {self.reference:.4f} -> {self.found:.4f} ({self.n} images: {self.lost} lost, {self.gained} "
            f"gained, McNemar p = {self.p_differ:.2g}); equivalence within {100 * self.margin:g} points {shown} "
            f"(90 % interval {100 * self.low:+.2f} to {100 * self.high:+.2f}, TOST p = {self.p_equivalent:.2g}{needs})"
        )


def change(
    what: str, reference: NDArray[np.bool_], found: NDArray[np.bool_], *, margin: float = MARGIN
) -> Change | None:
    """Compare two verdicts on the same images.

    Args:
        what: The share's name.
        reference: (n,) whether the reference is right.
        found: (n,) whether the engine is.
        margin: Largest change that counts as none, in (0, 1).

    Returns:
        The change; None of no images.
    """
    n = len(reference)
    if n == 0:
        return None
    lost, gained = int((reference & ~found).sum()), int((found & ~reference).sum())
    low, high = interval(lost, gained, n)
    below, above = score(lost, gained, n, -margin), score(lost, gained, n, margin)
    z = float(special.ndtri(1 - LEVEL))
    return Change(
        what=what,
        n=n,
        reference=float(reference.mean()),
        found=float(found.mean()),
        lost=lost,
        gained=gained,
        p_differ=mcnemar(lost, gained),
        low=low,
        high=high,
        margin=margin,
        p_equivalent=float(max(special.ndtr(-below), special.ndtr(above))),
        needed=math.floor(z * z * (1 - margin) / margin) + 1,
    )


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided p of the exact test (McNemar 1947): by chance each change goes either way with 1/2."""
    n, fewer = lost + gained, min(lost, gained)
    return min(1.0, 2 * float(special.bdtr(fewer, n, 0.5))) if n else 1.0


def score(lost: int, gained: int, n: int, difference: float) -> float:
    """Tango's score statistic (1998) that the true change of the share, gained - lost, is `difference`, in (-1, 1).

    Standard normal if it is; positive where the data say more.
    """
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    loses = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)  # likeliest share of lost images, if so
    variance = n * (2 * loses + difference * (1 - difference))
    away = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if away == 0 else math.copysign(math.inf, away)
    return away / math.sqrt(variance)


def interval(lost: int, gained: int, n: int) -> tuple[float, float]:
    """Tango's 90 % interval of the change: it lies within a margin just where both one-sided tests say so."""
    z, most = float(special.ndtri(1 - LEVEL)), 1 - 1e-9

    def edge(wanted: float) -> float:
        def beyond(difference: float) -> float:
            return min(9.0, max(-9.0, score(lost, gained, n, difference))) - wanted

        if beyond(-most) <= 0 or beyond(most) >= 0:
            return -1.0 if wanted > 0 else 1.0
        return float(optimize.brentq(beyond, -most, most, xtol=1e-12))

    return edge(z), edge(-z)

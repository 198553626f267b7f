"""Which explainer to take: figures over images with their intervals, a rank from all of them, the reason in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from zdd import stats
from zdd.explain import sanity
from zdd.stats import Figure

# What ranks, and whether more is better; sparseness does not: what is sparse can be wrong.
RANKED = {
    "pointing_game": 1,
    "energy_inside": 1,
    "iou": 1,
    "pixel_auc": 1,
    "insertion": 1,
    "deletion": -1,
    "infidelity": -1,
    "max_sensitivity": -1,
}


@dataclass(frozen=True)
class Scored:
    """The numbers of one explainer.

    Args:
        rows: Figure -> value, an entry an image; a figure may be missing or NaN.
        falls: For each stage of the randomised network the correlations with the trained one's maps, one an image.
        message: Why there are none, in one line.
    """

    rows: Sequence[Mapping[str, float]] = ()
    falls: Sequence[NDArray[np.float64]] = field(default_factory=tuple)
    message: str | None = None

    @property
    def depends(self) -> bool:
        """Whether its maps depend on what the network has learnt."""
        return not len(self.falls) or sanity.depends(np.array(self.falls))


def conclude(scored: Mapping[str, Scored], *, seed: int = 0) -> dict[str, Any]:
    """What scores.json holds of the explainers.

    Args:
        scored: Explainer -> its numbers.
        seed: Of the intervals' resampling.
    """
    known = {name: each for name, each in scored.items() if each.message is None}
    figures = {name: _figures(each.rows, seed) for name, each in known.items()}
    sound = [name for name, each in known.items() if each.depends]
    places = _places({name: figures[name] for name in sound})
    best = places[0]["variant"] if places else None
    return {
        "variants": {name: {key: figure.as_dict() for key, figure in each.items()} for name, each in figures.items()},
        "messages": {name: each.message for name, each in scored.items() if each.message is not None},
        "sanity": {name: _sane(each) for name, each in known.items() if len(each.falls)},
        "ranking": places,
        "best": best,
        "reason": _reason(best, places, figures) if best else "none depends on what the network has learnt",
    }


def _figures(rows: Sequence[Mapping[str, float]], seed: int) -> dict[str, Figure]:
    names = sorted({name for row in rows for name in row})
    columns = {name: np.array([row[name] for row in rows if np.isfinite(row.get(name, np.nan))]) for name in names}
    return {name: mean(values, seed) for name, values in columns.items()}


def mean(values: NDArray[np.float64], seed: int = 0) -> Figure:
    """The mean over images with a 95 % interval: Wilson's where all are 0 or 1, else by bootstrap."""
    if not len(values):
        return Figure.missing("no image has it")
    if np.isin(values, (0, 1)).all():
        return stats.share(values == 1)
    drawn = stats.bootstrap(
        lambda weights: {"mean": weights @ values / weights.sum(1)}, np.zeros(len(values), np.int64), None, seed=seed
    )
    low, high = stats.interval(drawn["mean"]) or (None, None)
    return Figure(float(values.mean()), low, high, "Bootstrap of images", len(values))


def _places(figures: Mapping[str, Mapping[str, Figure]]) -> list[dict[str, Any]]:
    """Explainers by their mean rank over the figures that all of them have."""
    common = [
        name for name in RANKED if figures and all(_value(each.get(name)) is not None for each in figures.values())
    ]
    if not common:
        return []
    table = np.array([[RANKED[name] * (_value(each[name]) or 0.0) for name in common] for each in figures.values()])
    ranks = np.array([rankdata(-column) for column in table.T]).mean(0)
    order = np.argsort(ranks, kind="stable")
    names = list(figures)
    return [
        {"variant": names[at], "rank": place, "mean_rank": float(ranks[at]), "over": common}
        for place, at in enumerate(order, start=1)
    ]


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def _sane(each: Scored) -> dict[str, Any]:
    stages = [float(np.mean(stage[np.isfinite(stage)])) if np.isfinite(stage).any() else 0.0 for stage in each.falls]
    return {"correlations": stages, "depends": each.depends}


def _reason(best: str, places: Sequence[Mapping[str, Any]], figures: Mapping[str, Mapping[str, Figure]]) -> str:
    over = len(places[0]["over"])
    text = f"its mean rank is {places[0]['mean_rank']:.1f} of {len(places)} explainers over {over} figures"
    hit, inside = (figures[best].get(name) for name in ("pointing_game", "energy_inside"))
    if hit is not None and hit.value is not None and inside is not None and inside.value is not None:
        text += (
            f"; its peak hits the defect in {100 * hit.value:.0f} % of {hit.n} images, and {100 * inside.value:.0f} % "
            "of its map lies in the defect"
        )
    return text + "."

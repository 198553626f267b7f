"""The charts of how sure a model is: known against unknown images, and mistakes against the share that is judged."""

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from zdd.report.canvas import DEFECT, GOOD, INK, SOFT, STYLE, new_axes, svg
from zdd.report.tested import Tested
from zdd.uncertainty import ACCEPTED, risk_coverage, scores

POINTS = 400  # at most, on a curve
WHAT = {"uncertainty": "uncertainty", "energy": "energy", "entropy": "entropy of the probabilities"}

Floats = NDArray[np.float64]


def charts(tested: Tested) -> dict[str, str]:
    """Name -> SVG: the risk-coverage curve of every model with an uncertainty; with unknown images `ood/<score>`."""
    drawn = {}
    uncertainty = tested.columns.uncertainty
    if uncertainty is not None:
        drawn["risk_coverage"] = _risk(uncertainty, tested.predicted != tested.columns.label)
    if tested.unknown is not None:
        outside = scores(tested.unknown.columns)
        for name, known in scores(tested.columns).items():
            if name != "entropy":
                drawn[f"ood/{name}"] = _spread(known, outside[name], WHAT[name])
    return drawn


def _risk(uncertainty: Floats, wrong: NDArray[np.bool_]) -> str:
    """Error rate among the surest images, against the share of images that is judged."""
    coverage, risk = risk_coverage(uncertainty, wrong)
    best = risk_coverage(wrong.astype(float), wrong)[1]
    with mpl.rc_context(STYLE):
        axes = new_axes()
        at = np.unique(np.linspace(0, len(risk) - 1, POINTS).astype(int))
        axes.axhline(100 * wrong.mean(), color=SOFT, linewidth=1, linestyle=":", label="all images judged")
        axes.plot(100 * coverage[at], 100 * best[at], color=GOOD, linestyle="--", label="if each mistake were known")
        axes.plot(100 * coverage[at], 100 * risk[at], color=DEFECT, label="by this model's certainty")
        axes.set(xlabel="share of images judged, the surest, %", ylabel="of those judged wrongly, %")
        top = max(1.0, 105 * float(risk.max()))
        axes.set(xlim=(0, 102), ylim=(-0.03 * top, top))  # without a mistake the lines are at 0, and seen there
        return svg(axes)


def _spread(known: Floats, unknown: Floats, what: str) -> str:
    """How a score is spread over known and over unknown images: shares, since there may be many more of the ones."""
    both = np.concatenate([known, unknown])
    edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-9), 41)
    cut = np.quantile(known, ACCEPTED, method="inverted_cdf")  # the smallest that at least 95 % do not exceed
    with mpl.rc_context(STYLE):
        axes = new_axes()
        for values, colour, name in ((known, INK, "known"), (unknown, DEFECT, "unknown")):
            weights = np.full(len(values), 100 / len(values))
            label = f"{name} ({len(values)})"
            axes.hist(values, edges.tolist(), weights=weights, color=colour, alpha=0.3, label=label)
            axes.hist(values, edges.tolist(), weights=weights, color=colour, histtype="step", linewidth=1.4)
        axes.axvline(float(cut), color=GOOD, linewidth=1.3, linestyle="-.", label="accepts 95 % of the known")
        axes.set(xlabel=f"{what} (higher: less known)", ylabel="share of images, %")
        return svg(axes)

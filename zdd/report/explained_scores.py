"""Which explainer to believe: the figures of explain/scores.json as tables."""

from collections.abc import Iterable, Sequence
from typing import Any

from zdd.report import style
from zdd.report.words import percent

Scores = dict[str, dict[str, dict[str, Any]]]  # explainer -> figure's name -> figure as in metrics.json

UNFIT = "not for this network"
UP, DOWN = "higher is better", "lower is better"
MASKS = {
    "pointing_game": ("Peak hits the defect", UP),
    "energy_inside": ("Share inside the defect", UP),
    "iou": ("IoU", UP),
    "iop": ("IoP", UP),
    "pixel_auc": ("AUC of the pixels", UP),
}
OTHERS = {
    "insertion": ("Insertion", UP),
    "deletion": ("Deletion", DOWN),
    "infidelity": ("Infidelity", DOWN),
    "max_sensitivity": ("Largest change by noise", DOWN),
    "sparseness": ("Sparseness (Gini)", ""),
}
SEEDS = {"spearman": ("Rank correlation of all pixels", UP), "top_iou": ("Overlap of the strongest pixels", UP)}
KNOWN = MASKS | OTHERS | SEEDS
MASKED = (
    "Measured against the true defects of {n} images. Peak hits the defect: the pointing game. IoU and IoP: overlap "
    "with what was found, over both and over what was found, at the threshold that was best on validation images. "
    "A map that says nothing has the defects' share of the picture, and an AUC of 0.5."
)
UNMASKED = (
    "Measured by what the network does when pixels are shown (insertion) or taken away (deletion) in the map's order, "
    "by how well the map foretells what covering a region changes (infidelity), by how much the map changes with "
    "invisible noise, and by how few pixels hold it (sparseness, neither good nor bad in itself)."
)


def title(name: str) -> str:
    """What a figure is called on a page."""
    name, _, size = name.partition("/")
    known = KNOWN.get(name)
    called = known[0] if known else name.replace("_", " ").capitalize()
    return f"{called}, {size} defects" if size else called


def ranking(scores: dict[str, Any], abouts: Sequence[dict[str, Any]]) -> str:
    """One line an explainer, the best first: rank, completeness, whether it depends on the weights, and the verdict."""
    places, sanity = {row["variant"]: row for row in scores["ranking"]}, scores.get("sanity") or {}
    known = {about["variant"]: about for about in abouts}
    names = list(dict.fromkeys([*places, *scores["variants"], *known]))
    rows = [_ranked(name, places.get(name), known.get(name, {}), sanity.get(name), scores["best"]) for name in names]
    head = ["Explainer", "Rank", "Mean rank", "Completeness error", "Depends on the weights", "", "Verdict"]
    over = ", ".join(title(name) for place in scores["ranking"][:1] for name in place.get("over", ()))
    note = (
        f"Mean rank: over the figures that all have{': ' if over else ''}{over}. Completeness error: by how much a "
        "map's sum misses the score it ought to explain; many explainers promise none. Depends on the weights: the "
        "rank correlation with the maps of a network whose weights are randomised, layer by layer from the head on, "
        "must fall (Adebayo et al. 2018); the line shows how it falls, the number where it ends."
    )
    table = style.table(head, rows, numbers=(1, 2, 3), raw=(5, 6))
    return f"{table}<p class=sub>{note}</p>"


def _ranked(
    name: str, place: dict[str, Any] | None, about: dict[str, Any], sane: dict[str, Any] | None, best: str | None
) -> list[str]:
    error = about.get("error_median")
    falls = sane["correlations"] if sane else []
    depends = "" if sane is None else f"{'yes' if sane['depends'] else 'no'} ({falls[-1]:.2f})"
    doubt = doubts(about, sane)
    verdict = style.stamp(doubt) if doubt and doubt != UNFIT else doubt
    if name == best:
        verdict = style.stamp("take this one", good=True)
    rank, mean = (str(place["rank"]), f"{place['mean_rank']:.2f}") if place else ("", "")
    return [name, rank, mean, "" if error is None else percent(error), depends, style.spark(falls), verdict]


def doubts(about: dict[str, Any], sane: dict[str, Any] | None = None) -> str:
    """Why an explainer is not to be trusted, in a few words; empty: nothing speaks against it."""
    if about.get("unreliable"):
        return "unreliable for this network"
    if about.get("message"):
        return UNFIT
    return "does not depend on the weights" if sane is not None and not sane["depends"] else ""


def tables(variants: Scores, order: Iterable[str], masks: int) -> str:
    """Every figure of every explainer with its interval: against masks, without, and by the defects' size."""
    names = [*(name for name in order if name in variants), *(name for name in variants if name not in set(order))]
    there = {metric: None for name in names for metric, f in variants[name].items() if f["value"] is not None}
    sized = [metric for metric in there if "/" in metric]
    other = [m for m in there if m not in MASKS and m not in sized]
    parts = [
        ("<h3>Against the true defects</h3>", MASKED.format(n=masks), [metric for metric in MASKS if metric in there]),
        ("<h3>Against what the network does</h3>", UNMASKED, sorted(other, key=[*OTHERS, *other].index)),
    ]
    html = "".join(f"{head}<p>{text}</p>{table(variants, names, some)}" for head, text, some in parts if some)
    if sized:
        html += f"<details><summary>By size of the defects</summary>{table(variants, names, sized)}</details>"
    return html


def table(variants: Scores, names: Sequence[str], metrics: Sequence[str]) -> str:
    """Explainers against figures; each with a bar, from 0 to 1 or to the largest, and its interval."""
    best = {metric: _best(metric, [variants[name].get(metric) for name in names]) for metric in metrics}
    tops = {metric: _top([variants[name].get(metric) for name in names]) for metric in metrics}
    rows = [[style.escape(name), *(_cell(variants[name].get(m), tops[m], best[m]) for m in metrics)] for name in names]
    head = ["Explainer", *(title(metric) for metric in metrics)]
    below = ["", *(_better(metric) for metric in metrics)]
    return f'<div class="scores">{style.table(head, rows, raw=range(len(head)), below=below)}</div>'


def _better(metric: str) -> str:
    return KNOWN.get(metric.partition("/")[0], ("", ""))[1]


def _cell(figure: dict[str, Any] | None, top: float, best: float | None) -> str:
    if figure is None or figure["value"] is None:
        return ""
    value, low, high = (None if figure[key] is None else figure[key] / top for key in ("value", "low", "high"))
    number = f"{figure['value']:.3f}"
    number = f"<b>{number}</b>" if figure["value"] == best else number
    between = "no interval" if low is None else f"{figure['low']:.3f} to {figure['high']:.3f}"
    return f"{number}{style.bar(value, low, high)}<small>{between}</small>"


def _best(metric: str, figures: Sequence[dict[str, Any] | None]) -> float | None:
    known = [figure["value"] for figure in figures if figure is not None and figure["value"] is not None]
    better = _better(metric)
    if len(known) < 2 or not better:
        return None
    return float(max(known) if better == UP else min(known))


def _top(figures: Sequence[dict[str, Any] | None]) -> float:
    ends: list[float | None] = [figure[key] for figure in figures if figure is not None for key in ("value", "high")]
    return max([1.0, *(end for end in ends if end is not None)])

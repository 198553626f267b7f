"""The group's section "Where do the runs look?": whether its seeds look at the same place."""

from collections.abc import Iterable
from typing import Any

from zdd import files
from zdd.report import explained, style
from zdd.report import explained_scores as tables
from zdd.report.words import percent
from zdd.rundir import Group


def section(group: Group, reports: dict[str, dict[str, Any]]) -> str:
    """The same over the runs of a group: do its seeds look at the same place? Nothing where nothing was explained.

    Args:
        group: The group; `explain/<explainer>/sheet.png` shows its runs side by side.
        reports: What each run's report.json holds.
    """
    runs = {name: report["explained"] for name, report in reports.items() if report.get("explained")}
    if not runs:
        return ""
    scored = {name: found["scores"] for name, found in runs.items() if found["scores"]}
    flagged = {name: flags for name, report in reports.items() if (flags := explained.cautions(report))}
    parts = ["<h2>Where do the runs look?</h2>"]
    if flagged:
        texts = [f"{name}: {flag}" for name, flags in flagged.items() for flag in flags]
        parts.append(style.doubt(f"{len(flagged)} of {len(reports)} runs may look beside the defect", *texts))
    parts.append(_by_run(runs))
    own = group.path / explained.FOLDER / "scores.json"
    together = files.read_json(own) if own.is_file() else next(iter(scored.values()), {})
    parts.append(explained.agreement(together.get("agreement")))
    return "".join([*parts, *_sheets(group, [found["best"] for found in scored.values()])])


def _sheets(group: Group, best: list[str | None]) -> Iterable[str]:
    """The runs side by side, by the explainer that most of them recommend first; the others are folded."""
    sheets = sorted((group.path / explained.FOLDER).glob(f"*/{explained.SHEET}"))
    sheets.sort(key=lambda path: -best.count(path.parent.name))
    for number, path in enumerate(sheets):
        name, width = path.parent.name, explained.FOLDED if number else explained.WIDTH
        sheet, head = explained.picture(path, f"{name}: the same images by each run", width), style.escape(name)
        yield (
            f"<details><summary>{head}</summary>{sheet}</details>"
            if number
            else f"<h3>Side by side: {head}</h3>{sheet}"
        )


def _by_run(runs: dict[str, dict[str, Any]]) -> str:
    """Explainers against runs: rank and what speaks against each."""
    drawn = (about["variant"] for found in runs.values() for about in found["variants"])
    scored = (name for found in runs.values() for name in (found["scores"] or {"variants": {}})["variants"])
    names = list(dict.fromkeys([*drawn, *scored]))
    rows = [[name, *(_place(found, name) for found in runs.values())] for name in names]
    note = "Ranks are by each run's own figures; the tables stand in the runs' own reports."
    return style.table(["Explainer", *runs], rows) + f"<p class=sub>{note}</p>"


def _place(found: dict[str, Any], name: str) -> str:
    about: dict[str, Any] = next((one for one in found["variants"] if one["variant"] == name), {})
    scores = found["scores"] or {"variants": {}, "ranking": []}
    if not about and name not in scores["variants"]:
        return "not asked"
    rank = next((f"rank {row['rank']}" for row in scores["ranking"] if row["variant"] == name), "")
    doubt = tables.doubts(about, (scores.get("sanity") or {}).get(name))
    error = about.get("error_median")
    said = f"completeness error {percent(error)}" if error is not None else ""
    return "; ".join(part for part in (rank, doubt, said) if part) or "nothing against it"

"""The report's section "Where does it look?": what the explainers said of a run's images, and which to believe."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zdd import files
from zdd.report import explained_scores as tables
from zdd.report import style
from zdd.report.pictures import embed
from zdd.report.words import percent
from zdd.rundir import Group, RunDir

FOLDER, SHEET, LINES, BESIDE = "explain", "sheet.png", "explained.jsonl", "beside.png"
WIDTH, FOLDED, HIGH = 1664, 1200, 6000  # of a contact sheet on the page, pixels; of one that is folded; at most


def gather(run: RunDir) -> dict[str, Any] | None:
    """What report.json holds of a run's explanations; None where nothing was explained.

    Raises:
        ZddError: If a file of explain/ can't be read.
    """
    folder = run.path / FOLDER
    variants = [_variant(path.parent, run.path) for path in sorted(folder.glob("*/about.json"))]
    scores = files.read_json(folder / "scores.json") if (folder / "scores.json").is_file() else None
    if not variants and scores is None:
        return None
    beside = folder / BESIDE
    return {
        "variants": variants,
        "scores": scores,
        "beside": str(beside.relative_to(run.path)) if beside.is_file() else None,
    }


def _variant(folder: Path, run: Path) -> dict[str, Any]:
    about: dict[str, Any] = files.read_json(folder / "about.json")
    sheet, lines = folder / SHEET, folder / LINES
    rows = [json.loads(line) for line in lines.read_text("utf-8").splitlines()] if lines.is_file() else []
    known = [row for row in rows if row["true"] is not None]
    return about | {
        "sheet": str(sheet.relative_to(run)) if sheet.is_file() else None,
        "n_shown": len(rows),
        "n_wrong": sum(row["true"] != row["predicted"] for row in known) if known else None,
    }


def cautions(report: dict[str, Any]) -> list[str]:
    """What must be known before the figures are believed: that the network looks beside the part."""
    scores = (report.get("explained") or {}).get("scores") or {}
    return list((scores.get("shortcut") or {}).get("flags") or [])


def section(report: dict[str, Any], run: Path) -> str:
    """The section as HTML, with its title; nothing where nothing was explained.

    Args:
        report: What report.json holds.
        run: The folder that the pictures lie in.
    """
    found = report.get("explained")
    if not found:
        return ""
    scores, abouts = found["scores"], found["variants"]
    order = _order(scores, abouts)
    parts = ["<h2>Where does it look?</h2>", style.paragraphs(_words(found))]
    if flags := cautions(report):
        parts.append(style.doubt("It looks beside the part", " ".join(flags)))
    parts += [
        _doubt(about, scores) for about in abouts if tables.doubts(about, _sane(scores, about)) and not _unfit(about)
    ]
    parts.append(style.caution([about["message"] for about in abouts if _unfit(about)]))
    if scores:
        parts += ["<h3>Which explainer to believe</h3>", tables.ranking(scores, abouts)]
        parts.append(tables.tables(scores["variants"], order, scores["masks"]))
        parts += [_agreement(scores.get("agreement")), _shortcut(scores.get("shortcut"))]
    return "".join([*parts, _pictures(found, order, run)])


def _order(scores: dict[str, Any] | None, abouts: Sequence[dict[str, Any]]) -> list[str]:
    """Explainers, the best first, those that must not be believed last."""
    ranked = [row["variant"] for row in sorted(scores["ranking"], key=lambda row: row["rank"])] if scores else []
    bad = {about["variant"] for about in abouts if tables.doubts(about, _sane(scores, about))}
    names = [*ranked, *(about["variant"] for about in abouts if about["variant"] not in ranked)]
    return sorted(names, key=lambda name: name in bad)


def _unfit(about: dict[str, Any]) -> bool:
    """Whether an explainer said itself that it can't be right for this network."""
    return bool(about["message"]) and not about["unreliable"]


def _sane(scores: dict[str, Any] | None, about: dict[str, Any]) -> dict[str, Any] | None:
    """What was found of an explainer with randomised weights."""
    found: dict[str, Any] | None = ((scores or {}).get("sanity") or {}).get(about["variant"])
    return found


def _words(found: dict[str, Any]) -> Iterable[str]:
    abouts, scores = found["variants"], found["scores"]
    n, drawn = max((about["n"] for about in abouts), default=0), sum(bool(about["sheet"]) for about in abouts)
    of = "" if drawn == len(abouts) else f" (of {len(abouts)} that were asked)"
    yield (
        f"{drawn} explainer{'s' * (drawn != 1)}{of} marked in up to {n} images which pixels the network's answer comes "
        "from. They mark different ones; a picture alone shows what looks right, not what is right."
    )
    if scores is None:
        yield "How far each can be trusted was not measured; zdd explain with --score measures it."
    elif scores["best"] is None:
        yield f"None can be recommended here: {scores['reason']}"
    else:
        yield f"For this network and this data take {scores['best']}: {scores['reason']}"


def _doubt(about: dict[str, Any], scores: dict[str, Any] | None) -> str:
    said = tables.doubts(about, _sane(scores, about))
    if not about["unreliable"]:
        text = "Its maps hardly change when the network's weights are replaced by random numbers: don't believe them."
        return style.doubt(f"{about['variant']}: {said}", text)
    error = about["error_median"]
    text = "" if error is None else f"Its maps miss the score that they ought to explain by {percent(error)} (median). "
    return style.doubt(f"{about['variant']}: {said}", f"{text}Nothing is drawn of it: a wrong picture convinces, too.")


def _pictures(found: dict[str, Any], order: Sequence[str], run: Path) -> str:
    """The comparison, the best explainer's contact sheet, and the others' folded."""
    html = ""
    if found["beside"]:
        html += "<h3>The same images by each explainer</h3>" + _sheet(run / found["beside"], "Side by side")
    known = {about["variant"]: about for about in found["variants"] if about["sheet"]}
    for number, name in enumerate(name for name in order if name in known):
        about = known[name]
        sheet = _sheet(run / about["sheet"], caption(about), FOLDED if number else WIDTH)
        said = tables.doubts(about, _sane(found["scores"], about))
        head = f"{style.escape(name)} {style.stamp(said)}" if said else style.escape(name)
        if number == 0:
            html += f"<h3>{head}</h3>{sheet}"
        else:
            html += f"<details><summary>{head}</summary>{sheet}</details>"
    return html


def caption(about: dict[str, Any]) -> str:
    """What a contact sheet shows, and where there is more."""
    wrong = f", {about['n_wrong']} of them judged wrongly" if about["n_wrong"] is not None else ""
    colours = "red speaks for it, blue against it" if about["signed"] else "the brighter, the more it matters"
    error = "" if about["error_median"] is None else f" Completeness error {percent(about['error_median'])} (median)."
    return (
        f"{about['n_shown']} images{wrong}; {colours}, all on one scale.{error} "
        f"Each one larger, with its heat map: {FOLDER}/{about['variant']}/."
    )


def _sheet(path: Path, text: str, width: int = WIDTH) -> str:
    source, said = embed(str(path), width, HIGH), style.escape(text)
    return f'<figure class="sheet"><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>'


def group_section(group: Group, reports: dict[str, dict[str, Any]]) -> str:
    """The same over the runs of a group: do its seeds look at the same place? Nothing where nothing was explained.

    Args:
        group: The group; `explain/<explainer>/sheet.png` shows its runs side by side.
        reports: What each run's report.json holds.
    """
    runs = {name: report["explained"] for name, report in reports.items() if report.get("explained")}
    if not runs:
        return ""
    scored = {name: found["scores"] for name, found in runs.items() if found["scores"]}
    flagged = {name: flags for name, report in reports.items() if (flags := cautions(report))}
    parts = ["<h2>Where do the runs look?</h2>"]
    if flagged:
        text = " ".join(f"{name}: {' '.join(flags)}" for name, flags in flagged.items())
        parts.append(style.doubt(f"{len(flagged)} of {len(reports)} runs look beside the part", text))
    parts.append(_by_run(runs))
    own = group.path / FOLDER / "scores.json"
    together = files.read_json(own) if own.is_file() else next(iter(scored.values()), {})
    parts.append(_agreement(together.get("agreement")))
    sheets = sorted((group.path / FOLDER).glob(f"*/{SHEET}"))
    best = [found["best"] for found in scored.values()]
    sheets.sort(key=lambda path: -best.count(path.parent.name))
    for number, path in enumerate(sheets):
        sheet = _sheet(path, f"{path.parent.name}: the same images by each run", FOLDED if number else WIDTH)
        head = style.escape(path.parent.name)
        folded = f"<details><summary>{head}</summary>{sheet}</details>"
        parts.append(folded if number else f"<h3>Side by side: {head}</h3>{sheet}")
    return "".join(parts)


def _by_run(runs: dict[str, dict[str, Any]]) -> str:
    """Explainers against runs: rank and what speaks against each."""
    names = list(dict.fromkeys(about["variant"] for found in runs.values() for about in found["variants"]))
    rows = [[name, *(_place(found, name) for found in runs.values())] for name in names]
    note = "Rank of each explainer by each run's figures; the tables stand in the runs' own reports."
    return style.table(["Explainer", *runs], rows) + f"<p class=sub>{note}</p>"


def _place(found: dict[str, Any], name: str) -> str:
    about = next((about for about in found["variants"] if about["variant"] == name), None)
    scores = found["scores"] or {"ranking": [], "sanity": {}}
    rank = next((str(row["rank"]) for row in scores["ranking"] if row["variant"] == name), "")
    if about is None:
        return "not asked"
    doubt = tables.doubts(about, (scores.get("sanity") or {}).get(name))
    error = about["error_median"]
    said = f"completeness error {percent(error)}" if error is not None else ""
    return "; ".join(part for part in (rank, doubt, said) if part) or "shown"


def _agreement(agreement: dict[str, Any] | None) -> str:
    """Whether the seeds of the group look at the same place."""
    if not agreement:
        return ""
    text = (
        "How alike the maps of the group's seeds are, of the same images: where they look at different places, a "
        "single seed's map tells more of the seed than of the part."
    )
    metrics = list(dict.fromkeys(metric for one in agreement.values() for metric in one))
    return f"<h3>Agreement between seeds</h3><p>{text}</p>{tables.table(agreement, list(agreement), metrics)}"


def _shortcut(shortcut: dict[str, Any] | None) -> str:
    """How much of the attribution lies beside the part."""
    if not shortcut:
        return ""
    flagged = bool(shortcut.get("flags"))
    said = "See above." if flagged else "No sign of it was found."
    return f"<h3>Does it look beside the part?</h3><p>{said}</p>"

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
from zdd.rundir import RunDir

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
    drawn = {about["variant"] for about in variants}
    messages = (scores or {}).get("messages") or {}
    variants += [_refused(name, message) for name, message in messages.items() if name not in drawn]
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


def _refused(name: str, message: str) -> dict[str, Any]:
    """An explainer that was scored, and neither drawn nor right for this network."""
    told = {"variant": name, "signed": False, "n": 0, "n_shown": 0, "n_wrong": None, "sheet": None}
    return told | {"error_median": None, "unreliable": f"{name}: unreliable" in message, "message": message}


def cautions(report: dict[str, Any]) -> list[str]:
    """What must be known before the figures are believed: that the network looks beside the part."""
    scores = (report.get("explained") or {}).get("scores") or {}
    flags = (scores.get("shortcut") or {}).get("flags") or []
    return [f"{flag[:1].upper()}{flag[1:].rstrip('.')}." for flag in flags]


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
        parts.append(style.doubt("It may look beside the defect", *flags))
    parts += [
        _doubt(about, scores) for about in abouts if tables.doubts(about, sane(scores, about)) and not _unfit(about)
    ]
    parts.append(style.caution([about["message"] for about in abouts if _unfit(about)]))
    if scores:
        parts += ["<h3>Which explainer to believe</h3>", tables.ranking(scores, abouts)]
        parts.append(tables.tables(scores["variants"], order, scores["masks"]))
        parts += [agreement(scores.get("agreement")), _shortcut(scores.get("shortcut"))]
    return "".join([*parts, _pictures(found, order, run)])


def _order(scores: dict[str, Any] | None, abouts: Sequence[dict[str, Any]]) -> list[str]:
    """Explainers, the best first, those that must not be believed last."""
    ranked = [row["variant"] for row in sorted(scores["ranking"], key=lambda row: row["rank"])] if scores else []
    bad = {about["variant"] for about in abouts if tables.doubts(about, sane(scores, about))}
    names = [*ranked, *(about["variant"] for about in abouts if about["variant"] not in ranked)]
    return sorted(names, key=lambda name: name in bad)


def _unfit(about: dict[str, Any]) -> bool:
    """Whether an explainer said itself that it can't be right for this network."""
    return bool(about["message"]) and not about["unreliable"]


def sane(scores: dict[str, Any] | None, about: dict[str, Any]) -> dict[str, Any] | None:
    """What was found of an explainer with randomised weights."""
    found: dict[str, Any] | None = ((scores or {}).get("sanity") or {}).get(about["variant"])
    return found


def _words(found: dict[str, Any]) -> Iterable[str]:
    abouts, scores = found["variants"], found["scores"]
    n, drawn = max((about["n_shown"] for about in abouts), default=0), sum(bool(about["sheet"]) for about in abouts)
    if drawn:
        yield (
            f"{drawn} explainer{'s' * (drawn != 1)} marked in {n} images which pixels the network's answer comes from. "
            "They mark different ones; a picture alone shows what looks right, not what is right."
        )
    else:
        yield "No picture was drawn; zdd explain draws them."
    if scores is None:
        yield "How far each can be trusted was not measured; zdd explain with --score measures it."
    elif scores["best"] is None:
        yield f"No explainer can be recommended here: {scores['reason'].rstrip('.')}."
    else:
        yield f"For this network and this data take {scores['best']}: {scores['reason']}"


def _doubt(about: dict[str, Any], scores: dict[str, Any] | None) -> str:
    said = tables.doubts(about, sane(scores, about))
    if not about["unreliable"]:
        text = "Its maps hardly change when the network's weights are replaced by random numbers: don't believe them."
        return style.doubt(f"{about['variant']}: {said}", text)
    error = about["error_median"]
    missed = f"Its maps miss the score that they ought to explain by {percent(error)} (median)." if error else ""
    text = f"{missed or about['message']} "
    return style.doubt(f"{about['variant']}: {said}", f"{text}Nothing is drawn of it: a wrong picture convinces, too.")


def _pictures(found: dict[str, Any], order: Sequence[str], run: Path) -> str:
    """The comparison, the best explainer's contact sheet, and the others' folded."""
    html = ""
    if found["beside"]:
        html += "<h3>The same images by each explainer</h3>" + picture(run / found["beside"], "Side by side")
    known = {about["variant"]: about for about in found["variants"] if about["sheet"]}
    for number, name in enumerate(name for name in order if name in known):
        about = known[name]
        sheet = picture(run / about["sheet"], caption(about), FOLDED if number else WIDTH)
        said = tables.doubts(about, sane(found["scores"], about))
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


def picture(path: Path, text: str, width: int = WIDTH) -> str:
    """A sheet with a line below, also for those that can't see it."""
    source, said = embed(str(path), width, HIGH), style.escape(text)
    return f'<figure class="sheet"><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>'


def agreement(found: dict[str, Any] | None) -> str:
    """Whether the seeds of the group look at the same place: the part of scores.json as HTML."""
    if not found:
        return ""
    text = (
        "How alike the maps of the group's seeds are, of the same images: where they look at different places, a "
        "single seed's map tells more of the seed than of the part."
    )
    metrics = list(dict.fromkeys(metric for one in found.values() for metric in one))
    return f"<h3>Agreement between seeds</h3><p>{text}</p>{tables.table(found, list(found), metrics)}"


def _shortcut(shortcut: dict[str, Any] | None) -> str:
    """How much of the attribution lies at the border, on the background, and in one place throughout."""
    if not shortcut:
        return ""
    rows = [_beside_part(name, shortcut[name]) for name in ("border", "background") if name in shortcut]
    rows += [_at_place(place) for place in shortcut.get("places") or []]
    text = (
        "A network that was given the class away by a mark, a clamp or the light looks there, and not at the defect. "
        f"{'What was found needs a person to look.' if shortcut.get('flags') else 'No sign of it was found.'}"
        f"{' Measured by ' + shortcut['variant'] + '.' if shortcut.get('variant') else ''}"
    )
    head = ["Where", "Share of what it looks at", "Share of the picture", "Images", ""]
    table = style.table(head, rows, numbers=(1, 2, 3), raw=(4,)) if rows else ""
    return f"<h3>Does it look beside the part?</h3><p>{style.escape(text)}</p>{table}"


def _beside_part(name: str, found: dict[str, Any]) -> list[str]:
    if found["share"] is None:
        return [f"The {name}", "", "", "0", "none could be told from the part"]
    said = style.stamp("more than chance") if found["flag"] else ""
    return [f"The {name}", percent(found["share"]), percent(found["area"]), str(found["n"]), said]


def _at_place(place: dict[str, Any]) -> list[str]:
    left, top, right, bottom = (round(100 * at) for at in place["box"])
    whose = "every class" if place["name"] is None else place["name"]
    where = f"{left} to {right} % across, {top} to {bottom} % down, in images of {whose}"
    others = "" if place["elsewhere"] is None else f"{percent(place['elsewhere'])} in the others"
    return [where, percent(place["share"]), percent(place["area"]), "", f"{style.stamp('a mark?')} {others}"]

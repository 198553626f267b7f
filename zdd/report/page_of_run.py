"""The report of one run: verdict, figures, curves, confusions, mistakes, data, and how to make it again."""

from datetime import datetime
from pathlib import Path
from typing import Any

from zdd import files
from zdd.report import (
    certainty,
    certainty_curves,
    curves,
    defects,
    explained,
    facts,
    kinds,
    members,
    sections,
    speed,
    style,
)
from zdd.report.pictures import write_mistakes
from zdd.report.sections import mistake_card
from zdd.report.tested import Tested
from zdd.rundir import RunDir

GALLERY = 24  # mistakes shown on the page; all of them lie in mistakes/
CHARTS = {
    "scores": (
        "Scores",
        "How the test images' scores are spread. Left of the threshold is passed, the rest is stopped.",
    ),
    "shares": (
        "Missed and stopped",
        "What another threshold would have done: lower stops more good parts, higher misses more.",
    ),
    "roc": ("Caught against stopped (ROC)", "Every threshold; the nearer to the upper left corner the better."),
    "pr": (
        "Precision against recall",
        "Of the stopped parts, how many are defective, for each share of defects caught.",
    ),
    "confusion": (
        "Confusions",
        "Rows are what is true, columns what was judged; mistakes are bold. Colour: share of the row.",
    ),
    "reliability": (
        "Are the probabilities true?",
        "On the dotted line a class given with 80 % is right in 80 % of the cases.",
    ),
    "loss": ("Training: loss", "Of each epoch. The weights of the marked epoch were kept."),
    "quality": ("Training: validation", "Of each epoch, on validation images, before any threshold."),
}


def write(tested: Tested) -> None:
    """Write mistakes/, report.json and report.html of a tested run."""
    run = tested.run
    pictures = write_mistakes(run.mistakes, tested)
    report = facts.gather(tested, pictures)
    files.write_json(run.report_json, report)
    rows = sections.read_epochs(run.epochs)
    svgs = curves.charts(tested) | certainty_curves.charts(tested) | defects.charts(tested)
    svgs |= curves.training(rows) if rows else {}
    files.write_text(run.report, page(report, svgs, run.path))


def refresh(run: RunDir) -> None:
    """Put what was explained and timed since the test into the report; nothing where there is no report yet."""
    if not (run.report_json.is_file() and run.report.is_file()):
        return
    report = files.read_json(run.report_json) | {"explained": explained.gather(run)}
    text = run.report.read_text(encoding="utf-8")
    text = style.replaced(text, "shortcut", style.caution(explained.cautions(report)))
    text = style.replaced(text, "explained", explained.section(report, run.path))
    text = style.replaced(text, "speed", speed.section(run))
    files.write_json(run.report_json, report)
    files.write_text(run.report, text)


def page(report: dict[str, Any], svgs: dict[str, str], run: Path) -> str:
    """The page as HTML.

    Args:
        report: What report.json holds.
        svgs: Charts by name.
        run: The run's folder.
    """
    name = f"{run.parent.parent.name} / {run.parent.name} / {run.name}"
    drawn = [style.chart(*_titled(key, svgs[key])) for key in CHARTS if key in svgs]
    return style.page(
        f"Test report: {name}",
        f"<h1>Test report</h1><p class=sub>{style.escape(name)}, tested {style.escape(_when(report))}</p>",
        sections.verdict(report),
        style.part("shortcut", style.caution(explained.cautions(report))),
        "<h2>Figures</h2>",
        sections.figures(report),
        kinds.section(report),
        members.section(report),
        "<h2>Curves</h2>",
        style.charts(drawn),
        defects.section(report, svgs, run),
        certainty.section(report, svgs),
        style.part("explained", explained.section(report, run)),
        style.part("speed", speed.section(RunDir(run))),
        "<h2>Mistakes</h2>",
        _gallery(report),
        "<h2>Data</h2>",
        sections.data(report),
        "<h2>How to reproduce</h2>",
        (members if report.get("members") else sections).reproduce(report),
    )


def _when(report: dict[str, Any]) -> str:
    return datetime.fromisoformat(report["tested_at"]).strftime("%Y-%m-%d %H:%M %Z")


def _titled(key: str, svg: str) -> tuple[str, str, str]:
    title, caption = CHARTS[key]
    return title, svg, caption


def _gallery(report: dict[str, Any]) -> str:
    mistakes, n = report["mistakes"], sum(report["n"].values())
    if not mistakes:
        return f"<p>None of the {n} test images was judged wrongly.</p>"
    if report["defects"] and report["defects"]["review"]:
        text = f"{len(mistakes)} of {n} test images were judged wrongly: see the pictures above, review/ and mistakes/."
        return f"<p>{text}</p>"
    shown = mistakes[:GALLERY]
    rest = (
        f"The {len(shown)} most confident are shown" if len(shown) < len(mistakes) else "The most confident come first"
    )
    text = f"{len(mistakes)} of {n} test images were judged wrongly. {rest}; all lie, larger, in the run's mistakes/."
    return f'<p>{text}</p><div class="mistakes">{"".join(mistake_card(mistake) for mistake in shown)}</div>'

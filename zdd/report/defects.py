"""The report's section "Where are the defects?": how well a method that gives maps finds them pixel by pixel."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

from zdd import grades
from zdd.regions import FOUND, SIZES
from zdd.report import curves, review, style
from zdd.report.canvas import GOOD, INK, STYLE, new_axes, svg
from zdd.report.pictures import embed
from zdd.report.tested import Tested
from zdd.report.words import percent

WIDTH = 1600  # of a picture on the page, pixels
SHOWN = 14  # pictures on the page; review/ holds more
NAMES = {
    "iou": "Overlap of found and true pixels (IoU), all images together",
    "dice": "The same as Dice (F1 of the pixels)",
    "iou_per_image": "IoU, mean of the defective images",
    "dice_per_image": "Dice, mean of the defective images",
    "pixel_average_precision": "Average precision of the pixels",
    "pixel_auroc": "AUROC of the pixels",
    "aupro": "Per-region overlap (AUPRO, up to 30 % false pixels)",
    "region_recall": "Defects (connected regions) found",
    "clean_good_images": "Good images without a single false pixel",
    "false_regions_per_good_image": "False regions on a good image, mean",
    "area_error_percent": "Error of the defect area, mean, % of the picture",
    "grade_accuracy": "Graded rightly",
    "discount_error_percent": "Discount given wrongly, % of the full price",
    "discount_too_high_percent": "Of it too high (the seller's loss)",
    "discount_too_low_percent": "Of it too low (the buyer's loss)",
}
BRIEF = ("iou", "dice", "region_recall", "pixel_average_precision", "aupro")  # side by side, of several runs
SHARES = ("region_recall", "clean_good_images", "grade_accuracy", "planted_found")
OTHERS = {
    "iou": "IoU of ",
    "region_recall": "Defects found that are ",
    "planted_found": "Planted anomalies found",
    "planted_auroc": "AUROC, planted against good",
}


def title(name: str) -> str | None:
    """What a figure of this section is called on a page; None of another."""
    if name in NAMES or name.startswith("planted_"):
        return NAMES.get(name) or OTHERS.get(name)
    kind, slash, of = name.partition("/")
    return f"{OTHERS[kind]}{of}" if slash and kind in ("iou", "region_recall") else None


def gather(tested: Tested) -> dict[str, Any] | None:
    """What report.json holds of it; None of a method that gives no maps."""
    tally = tested.tally
    if tally is None:
        return None
    rows = tally.rows()
    wanted = [row for row in review.select(tested, most=SHOWN) if row in tested.review]
    graded = tally.scale.grades
    table = {"names": grades.names(graded), "confusion": tally.grade_confusion().tolist()} if graded else None
    return {
        "pixel_threshold": tally.threshold,
        "n_without_truth": sum(row["true_area_percent"] is None for row in rows),
        "grades": table,
        "review": [_shown(tested, row, rows[row]) for row in wanted],
        "n_review": len(tested.review),
    }


def _shown(tested: Tested, row: int, facts: dict[str, Any]) -> dict[str, Any]:
    picture = str(tested.review[row].relative_to(tested.run.path))
    lines = review.describe(tested, row, facts)
    return {"image": tested.records[row].path, "picture": picture, "said": lines}


def charts(tested: Tested) -> dict[str, str]:
    """Name -> SVG: `regions`, found by size; `grades`, their confusions. Those that there is something to draw of."""
    drawn = {}
    sizes = {size: tested.figures.get(f"region_recall/{size}") for size in SIZES}
    there = {size: figure for size, figure in sizes.items() if figure is not None and figure.value is not None}
    if there:
        with mpl.rc_context(STYLE):
            axes = new_axes()
            for x, figure in enumerate(there.values()):
                value, low, high = (100 * (v or 0.0) for v in (figure.value, figure.low, figure.high))
                axes.bar(x, value, 0.55, color=GOOD, alpha=0.45)
                axes.errorbar(x, value, [[value - low], [high - value]], color=INK, capsize=5, linewidth=1.6)
            axes.set_xticks(range(len(there)), [f"{size}\n({figure.n})" for size, figure in there.items()])
            axes.set(ylabel="found, %", ylim=(0, 104), xlim=(-0.6, max(2.0, len(there) - 1) + 0.6))
            axes.grid(visible=False, axis="x")
            drawn["regions"] = svg(axes)
    if tested.tally is not None and tested.tally.scale.grades:
        counts = tested.tally.grade_confusion()
        if counts.any():
            drawn["grades"] = curves.confusion(grades.names(tested.tally.scale.grades), counts)
    return drawn


def tiles(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Large numbers for the top of the page."""
    figure = report["test"].get("iou") if report.get("defects") else None
    if figure is None or figure["value"] is None:
        return []
    return [("Overlap with the true defects (IoU)", f"{figure['value']:.3f}", _between("iou", figure))]


def section(report: dict[str, Any], svgs: dict[str, str], run: Path) -> str:
    """The section as HTML, with its title; nothing for a method without maps.

    Args:
        report: What report.json holds.
        svgs: Charts by name.
        run: The folder that the review's pictures lie in.
    """
    found = report.get("defects")
    if not found:
        return ""
    texts = {
        "regions": (
            "Defects found, by size",
            f"Connected regions of true defect of which at least {100 * FOUND:g} % of the pixels were found; in "
            f"brackets how many there are. Small: below {100 * SIZES['small']:.2g} % of the picture's area; "
            f"medium: below {100 * SIZES['medium']:.2g} %. Lines: 95 % intervals.",
        ),
        "grades": ("Grades", "Rows are the grades of the true areas, columns those of the areas that were found."),
    }
    drawn = [style.chart(heading, svgs[key], text) for key, (heading, text) in texts.items() if key in svgs]
    return "".join(
        ("<h2>Where are the defects?</h2>", style.paragraphs(_words(report)), _table(report),
         style.charts(drawn) if drawn else "", _gallery(found, run))
    )  # fmt: skip


def _words(report: dict[str, Any]) -> Iterable[str]:
    test, found = report["test"], report["defects"]

    def known(name: str) -> dict[str, Any] | None:
        figure: dict[str, Any] | None = test.get(name)
        return figure if figure and figure["value"] is not None else None

    if figure := known("region_recall"):
        between = _between("region_recall", figure)
        yield f"{percent(figure['value'])} of the {figure['n']} single defects were found ({between})."
    if figure := known("clean_good_images"):
        between = _between("clean_good_images", figure)
        yield (
            f"On {percent(figure['value'])} of the {figure['n']} good images not a single pixel was taken for "
            f"defective ({between})."
        )
    if figure := known("iou"):
        yield (
            f"Of all pixels that are defective, or were taken for it, {percent(figure['value'])} are both (IoU). "
            f"A pixel is taken for defective where the map reaches {found['pixel_threshold']:.3g}."
        )
    planted = report["validation"].get("planted_found")
    if planted and planted["value"] is not None:
        between = _between("planted_found", planted)
        yield (
            f"Of {planted['n']} anomalies that were planted into good validation images, the threshold finds "
            f"{percent(planted['value'])} ({between}): a first sign, no promise: real defects may be harder."
        )
    if found["n_without_truth"]:
        yield f"{found['n_without_truth']} defective test images have no mask; they count in none of these figures."


def _table(report: dict[str, Any]) -> str:
    test, before = report["test"], report["validation"]
    rows = []
    for name, figure in test.items():
        called = title(name)
        if called is None or figure["value"] is None or name.startswith("planted_"):
            continue
        money = name.endswith("_percent") or name.startswith("false_regions")
        bar = "" if money else style.bar(figure["value"], figure["low"], figure["high"])
        earlier = before.get(name, {}).get("value")
        told = _form(name, figure["value"]), _between(name, figure), bar, str(figure["n"])
        rows.append([called, *told, "" if earlier is None else _form(name, earlier)])
    head = ["Figure", "Test", "95 % interval", "", "Of", "Validation"]
    note = "Of: images, or of defects found, defects. docs/testing.md defines each figure and its interval."
    return style.table(head, rows, numbers=(1, 2, 4, 5), raw=(3,)) + f"<p class=sub>{note}</p>" if rows else ""


def _gallery(found: dict[str, Any], run: Path) -> str:
    if not found["review"]:
        return ""
    text = (
        f"First mistakes, then caught defects, then good parts: {len(found['review'])} of the {found['n_review']} "
        "pictures in the run's review/. All heat maps have one scale. In the difference caught pixels are green, "
        "missed ones orange, falsely found ones blue."
    )
    cards = "".join(_card(shown, run) for shown in found["review"])
    return f'<h3>Seen image by image</h3><p>{text}</p><div class="review">{cards}</div>'


def _card(shown: dict[str, Any], run: Path) -> str:
    source, said = embed(str(run / shown["picture"]), WIDTH), style.escape("; ".join(shown["said"]))
    name = style.escape(Path(shown["image"]).name)
    return f'<figure><img src="{source}" alt="{said}"><figcaption>{name}</figcaption></figure>'


def _form(name: str, value: float) -> str:
    return percent(value) if name.split("/")[0] in SHARES else f"{value:.4f}"


def _between(name: str, figure: dict[str, Any]) -> str:
    if figure["low"] is None:
        return "no interval"
    return f"{_form(name, figure['low'])} to {_form(name, figure['high'])}"

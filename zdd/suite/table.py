"""The table of a suite: mean, deviation and interval of every cell, and what can be said against its baseline."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zdd import stats
from zdd.report.summarise import LARGER
from zdd.suite.parts import Part
from zdd.suite.results import Cost, Result

COSTS = ("parameters", "gflops", "latency_ms")
LOWER = {
    "false_alarm_rate", "brier", "ece", "aurc", "aurc_excess", "argmax_aurc", "ood_fpr95", "loss",
    "false_regions_per_good_image", "area_error_percent", "discount_error_percent", "discount_too_high_percent",
    "discount_too_low_percent",
}  # fmt: skip
GAIN, LOSS, NONE = "gain", "loss", "no difference shown"
SINGLE = "one run: can't be said"
SAME = "no spread over seeds: can't be said"
OTHER = "other images: not compared"
LACKING = "baseline lacks it: not compared"
EXPLAINED = (
    "Mean over the runs (seeds), standard deviation, and Student's 95 % interval of the mean: what another seed would "
    "change, not what other images would. Differences are against the baseline, with Welch's 95 % interval; a gain or "
    "a loss is said only where it excludes 0. Of twenty such comparisons without any true difference one is expected "
    "to say so nevertheless."
)


@dataclass(frozen=True)
class Row:
    """One figure of one cell."""

    part: str
    cell: str
    values: dict[str, str]  # axis -> value
    split: str
    figure: str
    n_runs: int
    n_images: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    baseline: str = ""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    verdict: str = ""


def rows(part: Part, results: Sequence[Result]) -> list[Row]:
    """Every figure of every cell of a part, cell by cell; a cell without a run has a row that says so."""
    by_name = {result.name: result for result in results}
    found = []
    for result in results:
        for split in ("test", "val"):
            named = dict.fromkeys([*result.values[split], part.figures[0]])
            found += [_row(result, split, name, by_name) for name in named]
    return found


def _row(result: Result, split: str, figure: str, by_name: dict[str, Result]) -> Row:
    cell, values = result.cell, np.array(result.values[split].get(figure, []))
    n_images = result.n_images[split].get(figure, 0)
    if not len(values):
        return Row(cell.part, cell.name, cell.values, split, figure, len(result.runs), 0, None, None, None, None)
    mean, sd, low, high = stats.student(values)
    if low is not None and high is not None and not figure.endswith(tuple(LARGER)):
        low, high = max(0.0, low), min(1.0, high)
    row = Row(cell.part, cell.name, cell.values, split, figure, len(values), n_images, mean, sd, low, high)
    other = by_name.get(cell.baseline or "")
    others = np.array(other.values[split].get(figure, [])) if other is not None else np.array([])
    if other is None or not len(others):
        return replace(row, verdict=LACKING) if cell.baseline else row
    return _against(
        row, other, values, others, same=result.images[split] != "" and result.images[split] == other.images[split]
    )


def _against(row: Row, other: Result, values: Any, others: Any, *, same: bool) -> Row:
    given = asdict(row) | {"baseline": other.name}
    if not same:
        return Row(**given | {"verdict": OTHER})
    difference, low, high = stats.welch(values, others)
    verdict = said(difference, low, high, lower=less_is_better(row.figure))
    if low is None and min(len(values), len(others)) < 2:
        verdict = SINGLE
    found = {"difference": difference, "difference_low": low, "difference_high": high, "verdict": verdict}
    return Row(**given | found)


def said(difference: float, low: float | None, high: float | None, *, lower: bool = False) -> str:
    """A difference in words.

    Args:
        difference: Of the means.
        low: Lower limit of its interval; None where there is none.
        high: Upper limit.
        lower: Whether a smaller value is the better one.
    """
    if low is None or high is None:
        return NONE if difference == 0 else SAME
    if low <= 0 <= high:
        return NONE
    return GAIN if (difference > 0) != lower else LOSS


def as_csv(table: Sequence[Row], costs: Mapping[str, Mapping[str, Cost]]) -> str:
    """All rows, a line each; the axes have columns of their own.

    Args:
        table: The rows.
        costs: Part -> cell -> what its network costs.
    """
    axes = list(dict.fromkeys(axis for row in table for axis in row.values))
    plain = [name for name in Row.__dataclass_fields__ if name not in ("values", "part", "cell")]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["part", "cell", *axes, *plain, *COSTS])
    for row in table:
        given = asdict(row)
        texts = ["" if given[name] is None else given[name] for name in plain]
        known = costs.get(row.part, {}).get(row.cell)
        spent = ["" if known is None or (cost := getattr(known, name)) is None else cost for name in COSTS]
        writer.writerow([row.part, row.cell, *(row.values.get(axis, "") for axis in axes), *texts, *spent])
    return out.getvalue()


def as_markdown(part: Part, table: Sequence[Row], costs: Mapping[str, Cost]) -> str:
    """A part's table of test figures, and below it one of validation's and one of what the networks cost."""
    lines = [f"## {part.name}", "", *([part.about, ""] if part.about else [])]
    for split, title in (("test", "On the test images"), ("val", "On the validation images")):
        head, body = cells(part, table, split)
        if body:
            lines += [f"**{title}**", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
            lines += [f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in body] + [""]
    return "\n".join([*lines, *_costs(part, costs)])


def _costs(part: Part, costs: Mapping[str, Cost]) -> list[str]:
    """What each network costs, once for all cells that cost the same; nothing where it is the same for all."""
    if len({(one.parameters, one.gflops) for one in costs.values()}) < 2:
        return []
    timed = any(one.latency_ms is not None for one in costs.values())
    lines = ["**What it costs**", "", f"| cell | parameters, millions | GFLOP an image |{' latency, ms |' * timed}"]
    lines += ["|---|---|---|" + "---|" * timed]
    said = set()
    for cell in part.cells:
        one = costs.get(cell.name)
        if one is None or one in said:
            continue
        said.add(one)
        latency = f" {one.latency_ms:.2f} |" if one.latency_ms is not None else " |" * timed
        lines.append(f"| {', '.join(cell.values.values())} | {one.parameters:.2f} | {one.gflops:.3f} |{latency}")
    return [*lines, ""]


def as_latex(part: Part, table: Sequence[Row]) -> str:
    """The part's table of test figures, for a paper: booktabs."""
    head, body = cells(part, table, "test")
    lines = [f"% {part.name}: {part.about}", f"\\begin{{tabular}}{{{'l' * len(head)}}}", "\\toprule"]
    lines += [" & ".join(map(_tex, head)) + r" \\", "\\midrule"]
    lines += [" & ".join(map(_tex, row)) + r" \\" for row in body]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def cells(part: Part, table: Sequence[Row], split: str) -> tuple[list[str], list[list[str]]]:
    """The texts of a part's table: the first figure in full, with its difference, the others' mean and deviation."""
    there = {(row.cell, row.figure): row for row in table if row.part == part.name and row.split == split}
    first, *others = part.figures
    others = [name for name in others if any(figure == name for _, figure in there)]
    compared = any(cell.baseline for cell in part.cells)
    extra = ["difference", "verdict"] if compared else []
    head = [*part.axes, "runs", "images", words(first), "95 % interval", *extra, *map(words, others)]
    body, ran = [], {row.cell for row in table if row.part == part.name and row.mean is not None}
    if not any(figure == first and row.mean is not None for (_, figure), row in there.items()) and split != "test":
        return head, []
    for cell in part.cells:
        row = there.get((cell.name, first))
        if row is None:
            continue
        against = [_difference(row), row.verdict or ("" if cell.baseline else "baseline")] if compared else []
        lacking = "none" if cell.name in ran or row.n_runs else "no run"
        rest = [_mean(there.get((cell.name, name)), lacking) for name in others]
        start = [*cell.values.values(), str(row.n_runs), str(row.n_images)]
        body.append([*start, _mean(row, lacking), _between(row.low, row.high), *against, *rest])
    return head, body


def less_is_better(figure: str) -> bool:
    """Whether the smaller value is the better one; what follows a "/" is a class, or a kind of unknown images."""
    return figure.partition("/")[0] in LOWER


def words(figure: str) -> str:
    """A figure's name as people read it."""
    return figure.replace("_", " ").replace("auroc", "AUROC")


def _mean(row: Row | None, lacking: str) -> str:
    if row is None or row.mean is None:
        return lacking
    return f"{row.mean:.3f}" if row.sd is None else f"{row.mean:.3f} ± {row.sd:.3f}"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _difference(row: Row) -> str:
    if row.difference is None:
        return ""
    between = _between(row.difference_low, row.difference_high)
    return f"{row.difference:+.3f}" + (f" ({between})" if between else "")


def _tex(text: str) -> str:
    for sign, instead in (
        ("\\", r"\textbackslash "),
        ("{", r"\{"),
        ("}", r"\}"),
        ("[", "{[}"),  # at the start of a line it would be an argument of the line before
        ("&", r"\&"),
        ("%", r"\%"),
        ("_", r"\_"),
        ("#", r"\#"),
        ("$", r"\$"),
        ("^", r"\textasciicircum "),
        ("~", r"\textasciitilde "),
    ):
        text = text.replace(sign, instead)
    return text.replace("±", r"$\pm$")

"""What a suite leaves behind: table.csv, table.md, table.tex and the plots."""

from collections.abc import Sequence
from pathlib import Path

from zdd import files
from zdd.suite import compare, plots, table
from zdd.suite.parts import Part
from zdd.suite.plan import Suite
from zdd.suite.results import Cost, Result

SMALL = (
    "**The small form (`--fast`)**: tiny data and little training, to see that all works. Numbers in the texts below "
    "are those of the full form, and the figures say nothing."
)


def write(folder: Path, suite: Suite, told: Sequence[tuple[Part, Sequence[Result]]]) -> dict[str, list[str]]:
    """Write the tables and the plots into `folder`; where they lie."""
    costs = {part.name: compare.costs(found) for part, found in told}
    rows = {part.name: table.rows(part, results) for part, results in told}
    every = [row for found in rows.values() for row in found]
    failures = [f"- {part.name}, {one.name}: {one.failed}" for part, found in told for one in found if one.failed]
    notes = [SMALL if suite.asked.get("fast") else "", suite.about, table.EXPLAINED]
    lines = [f"# {suite.name}", "", *(line for note in notes if note for line in (note, ""))]
    lines += [*(["## What failed", "", *failures, ""] if failures else [])]
    lines += [table.as_markdown(part, rows[part.name], costs[part.name]) for part, _ in told]
    files.write_text(folder / "table.csv", table.as_csv(every, costs))
    files.write_text(folder / "table.md", "\n".join(lines).rstrip() + "\n")
    files.write_text(folder / "table.tex", "\n".join(table.as_latex(part, rows[part.name]) for part, _ in told))
    drawn = [path for part, found in told for path in _plots(folder / "plots", part, found, costs[part.name])]
    return {"tables": [str(folder / f"table.{ending}") for ending in ("csv", "md", "tex")], "plots": drawn}


def _plots(folder: Path, part: Part, results: Sequence[Result], costs: dict[str, Cost]) -> list[str]:
    """Draw what there is to draw; where they lie."""
    quality = f"val/{part.figures[0]}"
    columns = {quality: "quality", "val/loss": "loss"}
    drawn = []
    for figure, name in columns.items():
        path = folder / f"{part.name}_{name}.png"
        if plots.draw(path, part, results, figure):
            drawn.append(str(path))
    path = folder / f"{part.name}_cost.png"
    if compare.draw(path, part, results, costs):
        drawn.append(str(path))
    return drawn

"""Writes the table of docs/explanations.md: which explainer works on which network.

The networks are the tests' (tests/explain/lively.py): untrained, but with activations of usual size.
"""

import inspect
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "explain"))
from lively import NAMES, images, make_model, subject_of  # noqa: E402

from zdd import plugins  # noqa: E402
from zdd.explain.base import UNRELIABLE, Unfit  # noqa: E402

DOCS = ROOT / "docs" / "explanations.md"
BEGIN, END = "<!-- what works where: scripts/explain_table.py -->", "<!-- end -->"
SAMPLED = {"steps": 2, "samples": 2, "window": 0.5, "stride": 0.5}  # what works doesn't depend on how many there are


def cell(subject: Any, name: str, target: torch.Tensor) -> str:
    """yes, no, or the error of a method whose error no number of steps makes smaller."""
    attribute = plugins.load("explain", name)
    options = {key: value for key, value in SAMPLED.items() if key in inspect.signature(attribute).parameters}
    try:
        said = attribute(subject, images(2), target, **options)
    except Unfit:
        return "no"
    worked = said.values.isfinite().all() and said.values.abs().sum() > 0
    if said.error is not None and not options and said.error.mean() > UNRELIABLE:
        return "unreliable"
    return "yes" if worked else "empty"


def table() -> str:
    """Markdown, a row a network."""
    explainers = [name for name in sorted(plugins.available("explain")) if name != "saliency_map"]
    lines = [f"| network | {' | '.join(name.replace('_', ' ') for name in explainers)} |"]
    lines.append("|---" * (len(explainers) + 1) + "|")
    for name in NAMES:
        model = make_model(name)
        subject, target = subject_of(model), torch.tensor([0, len(model.targets) - 1])
        lines.append(f"| {name} | {' | '.join(cell(subject, each, target) for each in explainers)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    made = table()
    head, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    DOCS.write_text(f"{head}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")

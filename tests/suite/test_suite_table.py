"""The numbers and the words of a suite's table, worked out by hand or by scipy."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind
from small_suites import planned, write

from zdd import stats
from zdd.rundir import RunDir
from zdd.suite import compare, plots, table, written
from zdd.suite.parts import Part
from zdd.suite.plan import Suite
from zdd.suite.results import Cost, Result

ACCURACY = {"zero": [0.5, 0.6, 0.7], "better": [0.9, 0.9, 0.93], "worse": [0.1, 0.2, 0.15], "alike": [0.4, 0.6, 0.77]}


@pytest.fixture
def part(tmp_path: Path) -> Part:
    data = {"real": {"use": {"name": "folder", "root": "anywhere"}}}
    grid = {"n": {"zero": {"seed": 0}, "better": {"seed": 1}, "worse": {"seed": 2}, "alike": {"seed": 3}}}
    parts = {"a": {"about": "50 % & more", "grid": grid, "baseline": {"n": "zero"}, "figures": ["accuracy", "ece"]}}
    return planned(write(tmp_path / "s.json", data=data, parts=parts), tmp_path).parts[0]


def results(part: Part, values: dict[str, list[float]], images: str = "same") -> list[Result]:
    made = []
    for cell in part.cells:
        of = {"accuracy": values[cell.name], "ece": [1 - value for value in values[cell.name]]}
        both = {"val": of, "test": of}
        n_images = {split: dict.fromkeys(of, 40) for split in both}
        mark = images if cell.name != "better" else "same"
        made.append(Result(cell, both, n_images, {"val": "same", "test": mark}))
    return made


def rows(part: Part, found: list[Result], figure: str = "accuracy") -> dict[str, table.Row]:
    return {row.cell: row for row in table.rows(part, found) if (row.figure, row.split) == (figure, "test")}


def test_mean_deviation_and_students_interval(part: Part) -> None:
    row = rows(part, results(part, ACCURACY))["zero"]
    # 0.5, 0.6, 0.7: deviation 0.1; t(2; 0.975) = 4.3027, times 0.1 / sqrt 3 is 0.24841.
    assert (row.mean, row.sd) == (pytest.approx(0.6), pytest.approx(0.1))
    assert (row.low, row.high) == (pytest.approx(0.35159, abs=1e-5), pytest.approx(0.84841, abs=1e-5))
    assert (row.n_runs, row.n_images, row.baseline, row.verdict) == (3, 40, "", "")


@pytest.mark.parametrize("name", ["better", "worse", "alike"])
def test_the_difference_is_welchs(part: Part, name: str) -> None:
    row = rows(part, results(part, ACCURACY))[name]
    reference = ttest_ind(ACCURACY[name], ACCURACY["zero"], equal_var=False)
    low, high = reference.confidence_interval(0.95)
    assert row.difference == pytest.approx(np.mean(ACCURACY[name]) - 0.6)
    assert (row.difference_low, row.difference_high) == (pytest.approx(low), pytest.approx(high))
    assert (row.verdict == table.NONE) == (reference.pvalue >= 0.05)


def test_the_words(part: Part) -> None:
    found = results(part, ACCURACY)
    assert {name: row.verdict for name, row in rows(part, found).items()} == {
        "zero": "", "better": "gain", "worse": "loss", "alike": "no difference shown",
    }  # fmt: skip
    # The calibration error is 1 - accuracy here, so a smaller one is the better one: the same words.
    assert rows(part, found, "ece")["better"].verdict == "gain"
    assert rows(part, found, "ece")["worse"].verdict == "loss"


@pytest.mark.parametrize(
    ("figure", "less"),
    [
        ("aurc", True),
        ("ood_fpr95/energy/textile", True),
        ("discount_error_percent", True),
        ("accuracy_at_90", False),
        ("recall/loss", False),  # a class of that name
        ("ood_auroc/energy", False),
    ],
)
def test_of_which_figures_less_is_better(figure: str, less: bool) -> None:
    assert table.less_is_better(figure) == less


@pytest.mark.parametrize(
    ("values", "others", "verdict"),
    [
        ([0.9], [0.5], table.SINGLE),
        ([0.9, 0.9], [0.5, 0.5], table.SAME),
        ([0.9, 0.9, 0.9], [0.7, 0.7, 0.7], table.SAME),  # numpy's deviation of these is 1e-16, not 0
        ([0.5, 0.5], [0.5, 0.5], table.NONE),
    ],
)
def test_what_cant_be_said(part: Part, values: list[float], others: list[float], verdict: str) -> None:
    found = results(part, {**ACCURACY, "zero": others, "better": values})
    row = rows(part, found)["better"]
    assert row.verdict == verdict and row.difference_low is None


def test_other_test_images_are_not_compared(part: Part) -> None:
    row = rows(part, results(part, ACCURACY, images="others"))["better"]
    assert (row.verdict, row.difference) == (table.OTHER, None)


def test_a_cell_without_runs_stands_in_the_table(part: Part) -> None:
    found = [*results(part, ACCURACY)[:3], Result(part.cells[3], {"val": {}, "test": {}}, {"val": {}, "test": {}}, {})]
    _, body = table.cells(part, table.rows(part, found), "test")
    assert body[3][:4] == ["alike", "0", "0", "no run"]


def test_runs_without_figures_are_runs(part: Part) -> None:
    none: dict[str, dict[str, list[float]]] = {"val": {}, "test": {}}
    drawn = Result(part.cells[3], none, {"val": {}, "test": {}}, {}, runs=(RunDir(Path("run_0")),))
    _, body = table.cells(part, table.rows(part, [*results(part, ACCURACY)[:3], drawn]), "test")
    assert body[3][:4] == ["alike", "1", "0", "none"]


def test_a_baseline_that_failed_is_said(part: Part) -> None:
    none: dict[str, dict[str, list[float]]] = {"val": {}, "test": {}}
    found = [Result(part.cells[0], none, {"val": {}, "test": {}}, {}, failed="killed"), *results(part, ACCURACY)[1:]]
    _, body = table.cells(part, table.rows(part, found), "test")
    assert [row[6] for row in body] == ["baseline", table.LACKING, table.LACKING, table.LACKING]
    assert body[0][3] == "no run" and body[1][3] == "0.910 ± 0.017"


def test_a_cell_without_the_first_figure_stays_in_the_table(part: Part) -> None:
    found = results(part, ACCURACY)
    del found[1].values["test"]["accuracy"]  # which is that of validation, too
    _, body = table.cells(part, table.rows(part, found), "test")
    assert [row[0] for row in body] == ["zero", "better", "worse", "alike"]
    assert body[1][3] == "none" and body[1][-1] == "0.090 ± 0.017"


def test_latex_has_no_arguments_and_no_groups_by_chance() -> None:
    said = table._tex("[32, 32] {a}^2 ~b")
    assert said == r"{[}32, 32] \{a\}\textasciicircum 2 \textasciitilde b"


def test_one_table_in_three_forms(part: Part) -> None:
    table_of = table.rows(part, results(part, ACCURACY))
    costs = {"zero": Cost(1.5, 0.25, None), "better": Cost(3.0, 0.5, 4.25)}
    lines = list(csv.DictReader(io.StringIO(table.as_csv(table_of, {"a": costs}))))
    assert len(lines) == 4 * 2 * 2  # cells x splits x figures
    assert (lines[4]["n"], lines[4]["figure"], lines[4]["verdict"]) == ("better", "accuracy", "gain")
    assert float(lines[4]["difference"]) == pytest.approx(0.31) and lines[4]["latency_ms"] == "4.25"
    said = table.as_markdown(part, table_of, costs)
    assert (
        "| better | 3 | 40 | 0.910 ± 0.017 | 0.867 to 0.953 | +0.310 (0.071 to 0.549) | gain | 0.090 ± 0.017 |" in said
    )
    assert "| better | 3.00 | 0.500 | 4.25 |" in said
    latex = table.as_latex(part, table_of)
    assert r"50 \% \& more" not in latex.splitlines()[1]  # the text stands in a comment
    assert r"better & 3 & 40 & 0.910 $\pm$ 0.017 & 0.867 to 0.953 & +0.310 (0.071 to 0.549) & gain" in latex


@pytest.mark.parametrize("fast", [True, False])
def test_the_small_form_says_that_it_is_no_result(part: Part, tmp_path: Path, fast: bool) -> None:
    suite = Suite("s", "about", {}, [part], {"fast": fast})
    written.write(tmp_path, suite, [(part, results(part, ACCURACY))])
    text = (tmp_path / "table.md").read_text()
    assert ("the figures say nothing" in text) is fast and "\n\nabout\n\nMean over" in text


def test_welch_without_scatter_has_no_interval() -> None:
    assert stats.welch(np.array([1.0, 1.0]), np.array([0.5, 0.5])) == (0.5, None, None)
    assert stats.welch(np.array([1.0]), np.array([0.5, 0.7])) == (pytest.approx(0.4), None, None)


def test_the_band_is_of_the_runs_that_are_left() -> None:
    curves = np.array([[1.0, 2.0, math.nan], [3.0, 2.0, 5.0]])
    mean, low, high = plots.band(curves)
    assert mean.tolist() == [2.0, 2.0, 5.0]
    half = math.sqrt(2)  # of 1 and 3
    assert low.tolist() == [pytest.approx(2 - half), 2.0, 5.0] and high[0] == pytest.approx(2 + half)


def test_no_band_is_cut_off(part: Part) -> None:
    from matplotlib.figure import Figure

    epochs = [[{"epoch": e, "val/accuracy": value} for e, value in enumerate(run)] for run in ([0.0, 1.0], [1.0, 1.0])]
    one = Result(part.cells[0], {"val": {}, "test": {}}, {"val": {}, "test": {}}, {}, epochs)
    axes = Figure().add_subplot()
    plots._panel(axes, "", [("x", one)], "val/accuracy", steep=False)
    low, high = axes.get_ylim()
    assert low < 0.5 - math.sqrt(0.5) and high > 0.5 + math.sqrt(0.5)  # beyond 0 and 1, where the band goes


def test_a_single_epoch_is_seen(part: Part) -> None:
    from matplotlib.figure import Figure

    epochs = [[{"epoch": 0, "val/loss": 1.6104}]]
    one = Result(part.cells[0], {"val": {}, "test": {}}, {"val": {}, "test": {}}, {}, epochs)
    canvas = Figure()
    axes = canvas.add_subplot()
    plots._panel(axes, "", [("x", one)], "val/loss", steep=False)
    canvas.draw_without_rendering()
    assert axes.lines[0].get_marker() == "o"  # a line has no length there
    assert [tick for tick in axes.get_xticks() if 0.9 < tick < 1.1] == [1]
    assert axes.yaxis.get_offset_text().get_text() == ""


def test_the_front() -> None:
    points = [(1.0, 0.5), (2.0, 0.5), (3.0, 0.9), (2.5, 0.8)]
    assert compare.front(points) == [True, False, True, True]
    assert compare.front(points, lower=True) == [True, False, False, False]


def test_a_loss_that_leaps_does_not_flatten_the_others() -> None:
    calm, leaping = np.array([0.7, 0.5, 0.4, np.nan]), np.array([0.7, 0.6, 30.0, 0.6])
    assert plots._steep([calm, leaping]) and not plots._steep([calm])
    assert not plots._steep([calm, leaping - 1.0])  # below 0 there is no logarithm

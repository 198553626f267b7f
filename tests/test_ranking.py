"""Which explainer is best, by hand."""

import numpy as np
import pytest

from zdd.ranking import Scored, conclude, mean

FALLS = [np.array([0.1, 0.2]), np.array([-0.1, 0.0])]  # with the trained maps' own, of networks of random weights
STAYS = [np.array([0.9, 0.8]), np.array([0.7, 0.9])]


def rows(**figures: list[float]) -> list[dict[str, float]]:
    return [dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]


def test_the_best_has_the_best_mean_rank_and_less_deletion_is_better() -> None:
    good = rows(pointing_game=[1, 1, 1, 0], deletion=[0.1, 0.2, 0.1, 0.2], infidelity=[0.5] * 4)
    bad = rows(pointing_game=[1, 0, 0, 0], deletion=[0.5, 0.6, 0.5, 0.6], infidelity=[0.5] * 4)
    said = conclude({"bad": Scored(bad, FALLS), "good": Scored(good, FALLS)})
    assert said["best"] == "good"
    # Ranks 1, 1 and the tie's 1.5, and 2, 2, 1.5.
    assert [(row["variant"], row["mean_rank"]) for row in said["ranking"]] == [
        ("good", pytest.approx(3.5 / 3)),
        ("bad", pytest.approx(5.5 / 3)),
    ]
    assert said["ranking"][0]["over"] == ["pointing_game", "deletion", "infidelity"]
    assert said["variants"]["good"]["pointing_game"]["value"] == 0.75
    assert said["variants"]["good"]["pointing_game"]["method"] == "Wilson"


def test_what_does_not_depend_on_the_weights_is_never_the_best() -> None:
    edges = rows(pointing_game=[1, 1], deletion=[0.0, 0.0])
    honest = rows(pointing_game=[0, 1], deletion=[0.4, 0.4])
    said = conclude({"edges": Scored(edges, STAYS), "honest": Scored(honest, FALLS)})
    assert said["best"] == "honest"
    assert said["sanity"]["edges"] == {"correlations": [pytest.approx(0.85), pytest.approx(0.8)], "depends": False}
    assert [row["variant"] for row in said["ranking"]] == ["honest"]
    assert "edges" in said["variants"]  # its figures are shown all the same
    alone = conclude({"edges": Scored(edges, STAYS)})
    assert alone["best"] is None and "none depends" in alone["reason"]


def test_a_figure_that_one_lacks_ranks_none_and_messages_are_kept() -> None:
    one = rows(energy_inside=[0.3, 0.5], insertion=[0.2, np.nan])
    other = rows(energy_inside=[0.2, 0.2])
    said = conclude({"one": Scored(one), "other": Scored(other), "unfit": Scored(message="unfit: no attention")})
    assert said["ranking"][0]["over"] == ["energy_inside"]
    assert said["messages"] == {"unfit": "unfit: no attention"}
    assert said["variants"]["one"]["insertion"]["n"] == 1  # NaN counts nowhere
    assert conclude({})["best"] is None


def test_a_mean_has_its_interval() -> None:
    values = np.array([0.2, 0.4, 0.6, 0.8])
    figure = mean(values)
    assert figure.value == pytest.approx(0.5) and figure.n == 4
    assert figure.low is not None and figure.high is not None
    assert 0.2 <= figure.low < 0.5 < figure.high <= 0.8
    assert mean(values) == figure  # the same draws
    assert mean(np.array([])).value is None

"""The table in docs/explanations.md is what the code says today."""

import sys
from pathlib import Path

import pytest
from lively import NAMES, make_model

from zdd import plugins

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import explain_table


def documented() -> list[str]:
    text = explain_table.DOCS.read_text(encoding="utf-8")
    return text.partition(explain_table.BEGIN)[2].partition(explain_table.END)[0].strip().splitlines()


def test_every_network_and_every_explainer_is_in_it() -> None:
    head, _, *rows = documented()
    columns = [cell.strip().replace(" ", "_") for cell in head.strip("|").split("|")[1:]]
    assert sorted([*columns, "saliency_map"]) == sorted(plugins.available("explain"))
    assert [row.split("|")[1].strip() for row in rows] == list(NAMES)


@pytest.mark.parametrize("name", ["squeezenet1_1", "luna", "autoencoder"])
def test_a_row_is_what_the_explainers_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_table, "NAMES", (name,))
    assert explain_table.table().splitlines()[2] in documented()


@pytest.mark.slow
def test_all_rows() -> None:
    assert explain_table.table().splitlines() == documented()


def test_networks_are_drawn_anew_alike() -> None:
    first, second = make_model("luna").net.state_dict(), make_model("luna").net.state_dict()
    assert all(first[key].equal(second[key]) for key in first)

"""What is held out, and what is no folder of others, is told in one line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from small_sets import LOADER, draw, draw_set, make_settings, small_preprocess

from zdd import config as configuration
from zdd.data import dataset as datasets
from zdd.errors import ZddError


@pytest.mark.parametrize(
    ("held_out", "changed", "said"),
    [
        ("good", {}, "dataset.held_out = 'good': it is the good class"),
        ("good", {"good_class": "good"}, "dataset.held_out = 'good': it is the good class"),
        ("dent mark", {"good_class": "crack"}, None),
        ("good", {"good_class": None}, None),  # a class like any other
    ],
)
def test_the_good_class_is_never_held_out(parts: Path, held_out: str, changed: dict, said: str | None) -> None:
    wanted = make_settings(parts, held_out=held_out, **changed)
    if said is None:
        dataset, _ = datasets.prepare(wanted, small_preprocess(), cache=LOADER)
        assert held_out not in dataset.classes
    else:
        with pytest.raises(ZddError, match=re.escape(said)):
            datasets.prepare(wanted, small_preprocess(), cache=LOADER)


def test_what_is_left_must_suffice(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", {"good": 8, "crack": 4})
    with pytest.raises(ZddError, match="'crack': only 'good' is left to learn; 2 are needed"):
        datasets.prepare(make_settings(root, held_out="crack"), small_preprocess(), cache=LOADER)
    wanted = make_settings(root, ood=str(draw(tmp_path / "one.png", 99)))
    with pytest.raises(ZddError, match="must be a folder of images, and this is a file"):
        datasets.prepare(wanted, small_preprocess(), cache=LOADER)


def test_a_class_can_t_be_held_out_and_listed(experiment: Callable[..., str], parts: Path) -> None:
    dataset = {"name": "folder", "root": str(parts), "held_out": "crack", "classes": ["good", "crack", "dent mark"]}
    with pytest.raises(ZddError, match=r"dataset.held_out = .crack. .*stands in dataset.classes, too"):
        configuration.load(experiment(dataset=dataset))

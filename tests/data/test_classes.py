"""Class order: the good class first, the others sorted, whatever order a folder lists them in."""

import pytest

from zdd.data.classes import KNOWN_GOOD, order
from zdd.errors import ZddError


@pytest.mark.parametrize(
    ("found", "good_class", "classes", "has_good"),
    [
        (["scratch", "good", "crack", "good"], "auto", ("good", "crack", "scratch"), True),
        (["a", "OK"], "auto", ("OK", "a"), True),
        (["a", "Good"], "auto", ("Good", "a"), True),  # no exact match: letter case is passed over
        (["ok", "Good"], "auto", ("ok", "Good"), True),  # an exact match goes before another that is not
        (["failure", "success"], "success", ("success", "failure"), True),
        (["failure", "Success"], "success", ("Success", "failure"), True),
        (["b", "a", "ok"], None, ("a", "b", "ok"), False),
    ],
)
def test_order(found: list[str], good_class: str | None, classes: tuple[str, ...], has_good: bool) -> None:
    assert order(found, good_class=good_class, expected=None) == (classes, has_good)
    assert order(reversed(found), good_class=good_class, expected=None) == (classes, has_good)


@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_every_known_name_is_found(name: str) -> None:
    assert order(["A", name], good_class="auto", expected=None)[0] == (name, "A")


def test_no_good_class_names_the_classes_and_the_ways_out() -> None:
    with pytest.raises(ZddError, match=r"'crack', 'dent'.*none of them.*set dataset\.good_class.*null"):
        order(["dent", "crack"], good_class="auto", expected=None)


def test_two_good_classes_are_a_question() -> None:
    with pytest.raises(ZddError, match="more than one"):
        order(["good", "ok", "crack"], good_class="auto", expected=None)


def test_a_misspelt_good_class_names_the_nearest() -> None:
    with pytest.raises(ZddError, match="did you mean 'success'"):
        order(["failure", "success"], good_class="sucess", expected=None)


def test_expected_classes() -> None:
    assert order(["b", "ok"], good_class="auto", expected=["b", "ok"])[0] == ("ok", "b")  # their order does not matter
    with pytest.raises(ZddError, match=r"not in the data: 'c'; in the data but not listed: 'b'"):
        order(["b", "ok"], good_class="auto", expected=["ok", "c"])


def test_one_class_is_too_few() -> None:
    with pytest.raises(ZddError, match="only one class, 'ok'"):
        order(["ok", "ok"], good_class="auto", expected=None)

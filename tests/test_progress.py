"""A count on a terminal; nothing anywhere else."""

import io

import pytest

from zdd import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_said_where_no_one_looks() -> None:
    out = io.StringIO()
    assert list(progress.counted(iter("abc"), 3, "predict", stream=out)) == ["a", "b", "c"]
    assert out.getvalue() == ""


def test_a_terminal_is_told_how_far_it_is_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 2.05, 6.0, 6.01])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    out = Terminal()
    assert list(progress.counted("abcd", 4, "predict", stream=out)) == list("abcd")
    # The first took 2 s, so three more take 6; the second came too soon; a third after 6 s: one more takes 2.
    assert out.getvalue() == "\r\x1b[Kpredict 1/4, 6 s left\r\x1b[Kpredict 3/4, 2 s left\r\x1b[K"


def test_it_is_wiped_after_a_mistake_too() -> None:
    def items() -> object:
        yield 1
        raise ValueError

    out = Terminal()
    with pytest.raises(ValueError):
        list(progress.counted(items(), 2, "predict", stream=out))  # type: ignore[arg-type]
    assert out.getvalue().endswith("\r\x1b[K")

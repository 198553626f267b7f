"""Threads work ahead: in order, not too far, and no more once nobody wants it."""

import threading
import time

import pytest

from zdd.ahead import ahead, chunks


def test_results_come_in_order_whoever_is_done_first() -> None:
    def slow_first(n: int) -> int:
        time.sleep(0.05 if n == 0 else 0)
        return n * n

    with ahead(slow_first, range(20), most=6, threads=4) as found:
        assert list(found) == [n * n for n in range(20)]


def test_no_more_is_begun_than_told() -> None:
    begun: list[int] = []
    with ahead(begun.append, range(1000), most=5, threads=3) as found:
        for taken, _ in zip(range(1, 4), found, strict=False):
            time.sleep(0.02)
            assert len(begun) <= taken + 4  # the one that was taken before is given back, then one more is begun
    assert len(begun) <= 8


def test_what_goes_wrong_comes_in_its_place() -> None:
    with ahead(lambda n: 1 / (n - 2), range(9), most=4, threads=2) as found:
        assert (next(found), next(found)) == (-0.5, -1)
        with pytest.raises(ZeroDivisionError):
            next(found)


def test_after_ctrl_c_only_what_is_under_way_is_finished() -> None:
    begun, go = list[int](), threading.Event()

    def wait(n: int) -> None:
        begun.append(n)
        go.wait(5)
        time.sleep(0.02)

    def interrupted() -> None:
        with ahead(wait, range(100), most=50, threads=2):
            raise KeyboardInterrupt

    def interrupted_later() -> None:
        with ahead(wait, range(100), most=50, threads=2) as found:
            threading.Timer(0.2, go.set).start()
            next(found)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert begun == []
    with pytest.raises(KeyboardInterrupt):
        interrupted_later()
    assert len(begun) < 25  # 51 were wanted: they take half a second, and the first was there after a fiftieth


def test_chunks_leave_nothing_out() -> None:
    assert list(chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []

"""Threads work ahead: in order, not too far, and no more once nobody wants it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

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


class Told(ThreadPoolExecutor):
    """Says when nothing is to begin any more, and only then waits for what is under way."""

    stopped = threading.Event()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        self.stopped.set()
        super().shutdown(wait=wait)


def test_after_ctrl_c_only_what_is_under_way_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zdd.ahead.ThreadPoolExecutor", Told)
    begun = list[int]()

    def wait(n: int) -> None:
        begun.append(n)
        assert n == 0 or Told.stopped.wait(60)

    def interrupted() -> None:
        with ahead(wait, range(100), most=50, threads=2):
            raise KeyboardInterrupt

    def interrupted_later() -> None:
        with ahead(wait, range(100), most=50, threads=2) as found:
            Told.stopped.clear()
            next(found)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert begun == []
    with pytest.raises(KeyboardInterrupt):
        interrupted_later()
    assert begun[0] == 0 and len(begun) <= 3  # 51 were wanted: the first was there, two threads had one each


def test_chunks_leave_nothing_out() -> None:
    assert list(chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []

"""Work that threads do ahead of the one who wants its results, in order, and never far ahead."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def ahead(act: Callable[[T], R], items: Iterable[T], most: int, threads: int) -> Iterator[Iterator[R]]:
    """What `act` gives for each item, in order; at most `most` items are begun before they are asked for.

    What `act` raises comes in its item's place. At the end, or when the block is left, what has not begun never does.
    """

    def results(pool: ThreadPoolExecutor) -> Iterator[R]:
        begun: deque[Future[R]] = deque()
        for item in items:
            begun.append(pool.submit(act, item))
            if len(begun) >= most:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    pool = ThreadPoolExecutor(threads)
    try:
        yield results(pool)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C only what is under way is waited for


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one maybe shorter."""
    left = iter(items)
    while chunk := list(itertools.islice(left, size)):
        yield chunk

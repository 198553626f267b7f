"""How far a long piece of work is, on standard error, where nothing but Python is installed."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

EVERY_S = 0.1
CLEAR = "\r\x1b[K"  # back to the start of the line, and wipe it

T = TypeVar("T")


def counted(items: Iterable[T], total: int, title: str, *, stream: TextIO | None = None) -> Iterator[T]:
    """Hand the items on, and say how many have passed and how long the rest will take; silent where no one looks.

    Args:
        items: What is counted.
        total: How many there are.
        title: What is done with them.
        stream: A terminal; anything else is told nothing. None: standard error.
    """
    out = sys.stderr if stream is None else stream
    if not out.isatty():
        yield from items
        return
    begun = said = time.monotonic()
    try:
        for n, item in enumerate(items, start=1):
            now = time.monotonic()
            if now - said >= EVERY_S or n == 1:
                said = now
                left = (now - begun) / n * (total - n)
                out.write(f"{CLEAR}{title} {n}/{total}, {left:.0f} s left")
                out.flush()
            yield item
    finally:
        out.write(CLEAR)
        out.flush()

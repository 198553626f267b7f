"""The stack on which signals are handled, put back as it was before a library changed it.

Where the processor has AMX, OpenVINO's CPU plugin gives the calling thread a signal stack of its own, and unmaps it
when the plugin goes. If the plugin goes in another thread, or two plugins go in the order in which they came, the
thread is left with a stack that is no more: the next signal, be it Ctrl-C or the end of a loader's worker, ends the
process without a word (seen with openvino 2026.4).
"""

import contextlib
import ctypes
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """`stack_t` of Linux (man 2 sigaltstack)."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Give this thread its own signal stack back at the end."""
    before = _signal_stack()
    try:
        yield
    finally:
        if before is not None:
            _change(ctypes.byref(before), None)


def address() -> int | None:
    """Where this thread's signal stack begins; None: it has none."""
    stack = _signal_stack()
    return None if stack is None else stack.start


def _signal_stack() -> _Stack | None:
    stack = _Stack()
    return stack if _change(None, ctypes.byref(stack)) == 0 else None


def _change(new: object, old: object) -> int:
    try:
        return int(ctypes.CDLL(None).sigaltstack(new, old))
    except (AttributeError, OSError, TypeError):  # not on Windows, where nothing changes it
        return -1

"""What a word on the command line is made of."""

from __future__ import annotations

from argparse import Namespace as Args
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True)
class Argument:
    """An argument as argparse's add_argument takes it; a name of two words has two spellings."""

    name: str
    options: dict[str, Any]


def argument(name: str, about: str, **options: Any) -> Argument:
    """An argument with its help."""
    return Argument(name, {"help": about, **options})


@dataclass(frozen=True)
class Verb:
    """A word on the command line; it does something, or has verbs below it."""

    about: str
    run: Callable[[Args], Result] | None = None
    arguments: tuple[Argument, ...] = ()
    examples: tuple[str, ...] = ()  # what stands after the verb
    usage: tuple[str, ...] = ()  # the same, where argparse's own would mislead
    note: str = ""
    below: dict[str, Verb] = field(default_factory=dict)


DEVICE = argument("--device", "auto (CUDA where there is one), cpu, cuda, cuda:1, ...", default="auto", metavar="NAME")

"""What a generator is asked for and what it gives."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zdd.data.found import Found
from zdd.data.synthesis.picture import Bools, Picture
from zdd.records import Split


@dataclass(frozen=True)
class Style:
    """How much synthetic images may differ from those that they are made from.

    Args:
        turn: Degrees by which half of the pieces are turned, at most, either way.
        shift: Largest move of a piece from where it was found, as a share of the picture's longer side; 1: anywhere.
        light: Largest change of the whole picture's brightness, as a share, and half as much from side to side.
        mirror: Whether pictures may be mirrored.
        templates: What to look for, by class; "" stands for every other class.
        match: Least correlation at which a template counts as found.
    """

    turn: float = 1.5
    shift: float = 0.05
    light: float = 0.05
    mirror: bool = True
    templates: tuple[tuple[str, Path], ...] = ()
    match: float = 0.6

    def template(self, class_name: str) -> Path | None:
        """The template of a class."""
        known = dict(self.templates)
        return known.get(class_name, known.get(""))


@dataclass(frozen=True)
class Job:
    """One image to make.

    Args:
        class_name: What it will show.
        stem: Its class's part of the file's name.
        split: Where it will be.
        number: Of the class and the split, from 0.
        seed: Of the whole.
        is_good: Whether the class is the good one.
        source: The image that has what is pasted.
        clean: Images that it may be pasted into.
    """

    class_name: str
    stem: str
    split: Split
    number: int
    seed: int
    is_good: bool
    source: Found
    clean: tuple[Found, ...]

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return f"{self.split}_{self.stem}_{self.number:05d}"

    def rng(self) -> np.random.Generator:
        """Random numbers that depend on nothing but the seed and which image this is."""
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.class_name}/{self.split}".encode()), self.number])


@dataclass(frozen=True)
class Made:
    """A synthetic image.

    Args:
        picture: What it shows.
        mask: (H, W), its defective pixels; None where they are not known.
        parents: The images that it was made from.
    """

    picture: Picture
    mask: Bools | None
    parents: tuple[str, ...]


Make = Callable[[Job, Style], Made]

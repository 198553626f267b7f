"""What a synthetic set is to be."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zdd.data.synthesis.job import Style
from zdd.errors import ZddError
from zdd.records import SPLITS, Split
from zdd.settings import DatasetSettings

Generator = Literal["regions", "perlin"]
GENERATORS: tuple[Generator, ...] = ("regions", "perlin")
DEFECT = "defect"


@dataclass(frozen=True)
class Wish:
    """A training set to make from real images.

    Args:
        out: Folder to make. One that `synthesise` made before is replaced, any other that holds something is refused.
        dataset: The real images, how they are split if they are not, which class is good, whether they may be mirrored.
        generator: "regions" pastes real defects or labels elsewhere; "perlin" makes defects from good images alone.
        train: Synthetic training images of each class that is made.
        val: The same of validation images; the images that they are made from are taken out of training.
        test: The same of test images.
        train_ratio: Share of synthetic images among a made class's training images: real ones are left out until it is
            reached; 1: synthetic ones only. None: all real images stay.
        val_ratio: The same of validation images.
        test_ratio: The same of test images.
        combine: False: the ratios count for nothing, all real images stay.
        classes: What is made by "regions"; (): every class.
        class_name: What "perlin" calls its defects.
        style: How much synthetic images may differ from those that they are made from.
        seed: The same seed gives the same files, for any number of processes.
        processes: Processes that work; None: one a processor, one for few images.
    """

    out: Path
    dataset: DatasetSettings
    generator: Generator = "regions"
    train: int = 0
    val: int = 0
    test: int = 0
    train_ratio: float | None = None
    val_ratio: float | None = None
    test_ratio: float | None = None
    combine: bool = True
    classes: tuple[str, ...] = ()
    class_name: str = DEFECT
    style: Style = field(default_factory=Style)
    seed: int = 0
    processes: int | None = None

    def count(self, split: Split) -> int:
        """Synthetic images of each made class in a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def ratio(self, split: Split) -> float | None:
        """Share of synthetic images in a split; None: all real ones stay."""
        ratios = {"train": self.train_ratio, "val": self.val_ratio, "test": self.test_ratio}
        return ratios[split] if self.combine else None

    def real(self, split: Split) -> int | None:
        """Real images of each made class that belong to the synthetic ones; None: all of them.

        n synthetic images are a share r of int(n / r).
        """
        ratio, n = self.ratio(split), self.count(split)
        return None if not ratio else int(n / ratio + 1e-9) - n

    def check(self) -> None:
        """See that the numbers can be right.

        Raises:
            ZddError: One line a mistake.
        """
        wrong = [f"--{split} = {self.count(split)}: must be 0 or more" for split in SPLITS if self.count(split) < 0]
        if not any(self.count(split) for split in SPLITS):
            wrong.append("how many images? Give --train N, --val N or --test N, for each class")
        wrong += [line for split in SPLITS if (line := self._ratio_mistake(split))]
        if self.generator not in GENERATORS:
            wrong.append(f"--generator {self.generator}: must be {' or '.join(GENERATORS)}")
        if self.generator == "perlin" and (self.classes or self.style.templates):
            wrong.append("--classes and --template are for --generator regions; perlin makes one class, see --class")
        style, limits = self.style, {"turn": 180, "shift": 1, "light": 0.5, "match": 1}
        for name, most in limits.items():
            if not 0 <= getattr(style, name) <= most:
                wrong.append(f"--{name} = {getattr(style, name)}: must be from 0 to {most}")
        if self.processes is not None and self.processes < 1:
            wrong.append(f"--processes = {self.processes}: must be at least 1")
        if self.seed < 0:
            wrong.append(f"--seed = {self.seed}: must be 0 or more")
        if wrong:
            raise ZddError(*wrong)

    def _ratio_mistake(self, split: Split) -> str:
        ratio, n = self.ratio(split), self.count(split)
        if ratio is None or (ratio == 0 and n == 0):
            return ""
        if not 0 <= ratio <= 1:
            return f"--{split}-ratio = {ratio}: must be from 0 to 1"
        if ratio == 0 or n == 0:
            return f"--{split}-ratio = {ratio} (--{split} {n}): 0 synthetic images are a share of 0, others of more"
        return ""

"""The nouns that every room shares: Record, Task, Batch, Prediction, Columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Record:
    """One image on disk and what is known of it. `label` is an index into the classes; 0 is the good one, if any is."""

    path: str
    label: int
    group: str = ""
    split: Split | None = None
    mask: str = ""
    parent: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Task:
    """What a model is asked: the classes in order, and whether class 0 is the good one.

    Without a good class (every class is a defect kind) there is no score of defectiveness, no threshold and no verdict.
    """

    classes: tuple[str, ...]
    has_good: bool
    image_size: tuple[int, int]
    class_counts: tuple[int, ...] = ()  # training images a class, for balanced weights

    @property
    def n_classes(self) -> int:
        """Number of classes, the good one included."""
        return len(self.classes)


class Batch(TypedDict):
    """What a loader yields."""

    image: Tensor  # (B, 3, H, W) float32, normalised
    label: Tensor  # (B,) int64
    index: Tensor  # (B,) int64, position in the split's list of records
    mask: NotRequired[Tensor]  # (B, 1, H, W) float32, 1 where the defect is; only where the data has masks


@dataclass(frozen=True)
class Prediction:
    """What every model says of a batch, whatever its method."""

    score: Tensor  # (B,) higher is more likely defective
    label: Tensor  # (B,) int64, most probable class, before any threshold
    probability: Tensor | None = None  # (B, K), rows sum to 1
    uncertainty: Tensor | None = None  # (B,)
    map: Tensor | None = None  # (B, 1, H, W)


@dataclass(frozen=True)
class Columns:
    """Predictions over a whole split, one entry an image, in the records' order."""

    index: NDArray[np.int64]  # (N,)
    label: NDArray[np.int64]  # (N,) truth
    score: NDArray[np.float64]  # (N,)
    argmax: NDArray[np.int64]  # (N,) most probable class
    probability: NDArray[np.float64] | None = None  # (N, K)
    uncertainty: NDArray[np.float64] | None = None  # (N,)

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.index)

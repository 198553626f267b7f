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
UNKNOWN = 255  # in a mask: what is there is not known (a defective image without a mask)


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
    kind: str = ""  # the class's own name, where the label says less: defects put together, images of no class


@dataclass(frozen=True)
class Task:
    """What a model is asked: the classes in order, and whether class 0 is the good one.

    Without a good class (every class is a defect kind) there is no score of defectiveness, no threshold and no verdict.
    """

    classes: tuple[str, ...]
    has_good: bool
    image_size: tuple[int, int]
    class_counts: tuple[int, ...] = ()  # training images a class, for balanced weights
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # what images in [0, 1] are normalised with
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def n_classes(self) -> int:
        """Number of classes, the good one included."""
        return len(self.classes)


class Batch(TypedDict):
    """What a loader yields."""

    image: Tensor  # (B, 3, H, W) float32, normalised
    label: Tensor  # (B,) int64
    index: Tensor  # (B,) int64, position in the split's list of records
    mask: NotRequired[Tensor]  # (B, 1, H, W) uint8, the class of each pixel: 0 good, k a defect, 255 UNKNOWN


@dataclass(frozen=True)
class Prediction:
    """What every model says of a batch, whatever its method."""

    score: Tensor  # (B,) higher is more likely defective
    label: Tensor | None = None  # (B,) int64, most probable class, before any threshold; None: it tells no kinds apart
    probability: Tensor | None = None  # (B, K), rows sum to 1
    uncertainty: Tensor | None = None  # (B,) higher is less sure, of the class given
    energy: Tensor | None = None  # (B,) free energy of the logits, higher is less like the training images
    map: Tensor | None = None  # (B, 1, H, W) not negative, higher is more likely defective
    pixels: Tensor | None = None  # (B, H, W) uint8, most probable DEFECT class of each pixel, 1..K-1
    picture: Tensor | None = None  # (B, 3, H, W) what the method makes of the image (a reconstruction), normalised


@dataclass(frozen=True)
class Columns:
    """Predictions over a whole split, one entry an image, in the records' order."""

    index: NDArray[np.int64]  # (N,)
    label: NDArray[np.int64]  # (N,) truth
    score: NDArray[np.float64]  # (N,)
    argmax: NDArray[np.int64] | None = None  # (N,) most probable class
    probability: NDArray[np.float64] | None = None  # (N, K)
    uncertainty: NDArray[np.float64] | None = None  # (N,)
    energy: NDArray[np.float64] | None = None  # (N,)
    peak: NDArray[np.float64] | None = None  # (N,) largest value of the map

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.index)

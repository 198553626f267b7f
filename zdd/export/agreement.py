"""What rounding does to verdicts, by what an engine says of the calibration images: numpy alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zdd.export.base import Outputs

NEAR = 4  # images before and after, in the order of the scores, whose errors an image might have had
DENSEST = (2 * np.pi) ** -0.5  # the normal density at its middle, by the deviation
Run = Callable[[NDArray[np.uint8]], Outputs]


@dataclass(frozen=True)
class Reference:
    """What the exact model says of the calibration images.

    Args:
        images: (N, H, W, 3) uint8.
        said: The outputs, (N, ...) each.
        threshold: Of the score; None: there is none.
    """

    images: NDArray[np.uint8]
    said: Outputs
    threshold: float | None

    @classmethod
    def of(cls, run: Run, images: NDArray[np.uint8], threshold: float | None) -> "Reference":
        """Ask the exact model, image by image."""
        return cls(images, one_by_one(run, images), threshold)

    def drop(self, run: Run) -> float:
        """The share of verdicts that another engine changes; see `drop`."""
        return drop(self.said, one_by_one(run, self.images), self.threshold)

    def error(self, run: Run) -> float:
        """Mean squared error of the raw output."""
        raw = one_by_one(run, self.images)["raw"].astype(np.float64)
        return float(np.mean(np.square(raw - self.said["raw"])))


def one_by_one(run: Run, images: NDArray[np.uint8]) -> Outputs:
    """(N, H, W, 3) -> the outputs, maps left out, of every image on its own: whatever the engine's largest batch."""
    each = [run(images[i : i + 1]) for i in range(len(images))]
    return {name: np.concatenate([said[name] for said in each]) for name in each[0] if name not in ("map", "pixels")}


def drop(exact: Outputs, found: Outputs, threshold: float | None) -> float:
    """The share of verdicts that change on new images, as far as these tell: the largest of what is known of it.

    - Of methods with labels, the share of the images with another one.
    - With a threshold, the share of the images that change sides. A few dozen images hold few that lie near it, so each
      is also given the errors of those with scores like its own.
    - Of methods without labels the mean error of the score by its deviation, times 0.4: so many change sides where the
      threshold lies in the very midst of scores that are normally distributed. For they know good parts alone, and how
      near to the threshold the defects will lie is not known.

    Args:
        exact: Outputs by name, (N, ...) each.
        found: The same, of the other engine.
        threshold: Of the score; None: there is none.
    """
    score, off = (exact["score"].astype(np.float64), found["score"].astype(np.float64) - exact["score"])
    if "label" in exact:
        share = float(np.mean(exact["label"] != found["label"]))
    else:
        share = min(1.0, DENSEST * float(np.abs(off).mean()) / max(float(score.std()), 1e-6))
    return share if threshold is None else max(share, _sides(score, off, threshold))


def _sides(score: NDArray[np.float64], off: NDArray[np.float64], threshold: float) -> float:
    order = np.argsort(score, kind="stable")
    score, off, n = score[order], off[order], len(order)
    changed = 0.0
    for i in range(n):
        near = off[max(0, i - NEAR) : i + NEAR + 1]
        changed += float(np.mean((score[i] + near >= threshold) != (score[i] >= threshold)))
    return changed / n

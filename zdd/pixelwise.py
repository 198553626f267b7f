"""Figures of maps and masks."""

from collections.abc import Sequence
from typing import Any

from zdd.preprocess import Preprocess
from zdd.records import Batch, Prediction, Record, Task
from zdd.stats import Figure


class Tally:
    """Watches batches."""

    def __init__(
        self,
        task: Task,
        *,
        pixel_threshold: float | None,
        images: Sequence[Record],
        preprocess: Preprocess,
        seed: int = 0,
    ) -> None:
        self.task = task

    def __call__(self, batch: Batch, prediction: Prediction) -> None:
        """Count a batch."""

    def figures(self) -> dict[str, Figure]:
        """Every figure."""
        return {}

    def rows(self) -> list[dict[str, Any]]:
        """One an image."""
        return []

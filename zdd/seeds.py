"""Do the runs of a group look at the same place? The maps of the same images, by each seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zdd.attributions import Explained
from zdd.explain import agreement
from zdd.ranking import mean


def agree(said: Mapping[str, Sequence[Explained]], n: int) -> dict[str, Any]:
    """What a group's scores.json holds of it.

    Args:
        said: Explainer -> what it said of the same images in each run; those it can't explain are passed over.
        n: Number of images.

    Returns:
        Explainer -> `spearman`, `top_iou`: means over the images with intervals, each of the mean over pairs of runs.
    """
    found: dict[str, Any] = {}
    for name, runs in said.items():
        if len(runs) < 2 or any(each.message for each in runs):
            continue
        rows = [agreement.measure([each.values(row) for each in runs]) for row in range(n)]
        found[name] = {key: mean(np.array([row[key] for row in rows])).as_dict() for key in rows[0]}
    return found

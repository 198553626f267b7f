"""Does a network look beside the part? The attribution of one explainer over pictures of every class, put together."""

from typing import Any

import numpy as np

from zdd.area import place
from zdd.attributions import Look, attribute, judge
from zdd.data import dataset as datasets
from zdd.data.module import DataModule
from zdd.explain import crowding, shortcut
from zdd.explaining import evenly, truth_of
from zdd.rundir import RunDir
from zdd.settings import Section
from zdd.trained import Trained


def find(run: RunDir, trained: Trained, section: Section, *, which: str | None, n: int) -> dict[str, Any] | None:
    """What scores.json holds of it: shares on the border, on the background and in places of a class, and flags.

    Args:
        run: The run.
        trained: Its model.
        section: The explainer; it must be one that can be believed.
        which: The class that is explained.
        n: Test images at most, as evenly from the classes as there are.

    Returns:
        None where this explainer can't be right for the network.
    """
    dataset = datasets.load(run.data)
    records = evenly(dataset.split("test"), n)
    looks = [Look(record.path, record.label) for record in records]
    judged = judge(run, trained, looks, which)
    folder = run.path / "explain/scored/all" / section.name
    said = attribute(trained, judged, section, folder, title=f"{run.path.name} shortcuts ")
    if said.message:
        return None
    truth = truth_of(DataModule(dataset, trained.preprocess, trained.config), records)
    seen = [place(look.path, trained.preprocess) for look in looks]  # the padding is neither border nor background
    maps = [each.cut(said.values(row)) for row, each in enumerate(seen)]
    masks = [each.cut(truth[row] > 0) if row in truth else None for row, each in enumerate(seen)]
    images = [
        look.pixels(trained)[each.rows, each.columns].astype(np.float32) for look, each in zip(looks, seen, strict=True)
    ]
    beside = [shortcut.outside(one, image) for one, image in zip(maps, images, strict=True)]
    places = crowding.places(maps, judged.columns.label, trained.task.classes, masks, seed=trained.config.seed)
    return {"variant": section.name, **shortcut.examine(beside, places)}

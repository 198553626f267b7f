"""What the words below `zdd data` do on the command line. What they need is imported when they run."""

from __future__ import annotations

from argparse import Namespace as Args
from pathlib import Path

from zdd.verb import Result, Verb, argument


def labels(args: Args) -> Result:
    """Draw the data set `labels`."""
    from zdd.data.synthesis import labels

    return labels.draw(args.out, per_class=args.per_class, seed=args.seed)


DATA = Verb(
    "Make data sets.",
    examples=("labels data/labels --per-class 100 --seed 0",),
    below={
        "labels": Verb(
            "Draw photographs of products with printed labels: good prints and four faults.",
            labels,
            (
                argument("out", "a new folder, or one that this command made", metavar="OUT", type=Path),
                argument("--per-class", "images of each class", type=int, required=True, metavar="N"),
                argument("--seed", "the same seed draws the same pictures (0)", type=int, default=0, metavar="S"),
            ),
            ("data/labels --per-class 100 --seed 0",),
        )
    },
)

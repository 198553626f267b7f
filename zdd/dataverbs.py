"""What the words below `zdd data` do on the command line. What they need is imported when they run."""

from __future__ import annotations

import shlex
from argparse import Namespace as Args
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zdd import tables
from zdd.errors import ZddError
from zdd.verb import DEVICE, Result, Verb, argument

if TYPE_CHECKING:
    from zdd.settings import DatasetSettings


def labels(args: Args) -> Result:
    """Draw the data set `labels`."""
    from zdd.data.synthesis import labels

    return labels.draw(args.out, per_class=args.per_class, seed=args.seed)


def synthesise(args: Args) -> Result:
    """Make a training set with synthetic images from real ones."""
    from zdd.data.synthesis import combine
    from zdd.data.synthesis.job import Style
    from zdd.data.synthesis.wish import Wish

    names = ("turn", "shift", "light", "match")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    dataset = _dataset(args.root, args.source, args.set)
    style = Style(**given, mirror=dataset.mirror_safe, templates=tuple(_template(text) for text in args.template))
    asked = ("generator", "train", "val", "test", "train_ratio", "val_ratio", "test_ratio", "class_name", "seed")
    wish = Wish(
        args.out,
        dataset,
        combine=not args.no_combine,
        classes=tuple(args.classes),
        style=style,
        processes=args.processes,
        **{name: getattr(args, name) for name in asked},
    )
    made = combine.synthesise(wish)
    tables.show(
        ["split", "class", "real", "synthetic"],
        [
            [split, name, str(n["real"]), str(n["synthetic"])]
            for split, of in made["counts"].items()
            for name, n in of.items()
        ],
    )
    tables.say(f"look at {args.out / 'samples.png'}; train with: zdd train EXPERIMENT {_named(args.out, dataset)}")
    return made


def _named(out: Path, dataset: DatasetSettings) -> str:
    """How training is told of the set that was made from `dataset`."""
    good = dataset.good_class
    told = {"name": "csv", "root": str(out), **({} if good == "auto" else {"good_class": good or "null"})}
    told |= {} if dataset.mirror_safe else {"mirror_safe": "false"}
    return " ".join(f"--dataset.{name}={shlex.quote(value)}" for name, value in told.items())


def _dataset(root: str, source: str | None, settings: list[str]) -> DatasetSettings:
    """The settings of the real images: a folder's, or those of an experiment; `settings` are laid over them."""
    from zdd import checks, config, layers
    from zdd.data import roots
    from zdd.located import branch, plain

    overrides = [text if text.startswith("dataset.") else f"dataset.{text}" for text in settings]
    if source is None and root.endswith(".json"):
        return config.load(root, overrides).config.dataset
    found = roots.locate(root, "--from")
    name = source or roots.source_of(found)
    own = {"mirror_safe": False} if name == "labels" else _known(found)  # printed text
    given = branch({"dataset": {"name": name, "root": str(root), **own}}, "command line")
    merged: Any = layers.defaults()
    for layer in (given, layers.overridden(overrides)):
        merged = layers.merge(merged, layer, layers.defaults())
    checked, mistakes = checks.check(plain(merged))
    if checked is None:
        raise ZddError(*(mistake.line("command line") for mistake in mistakes))
    return checked.dataset


def _known(root: Path) -> dict[str, Any]:
    """What is known of a set that this command made: what must not be mirrored must not be the next time either."""
    from zdd import files
    from zdd.data.synthesis.folder import MARK

    told = files.read_json(root / MARK).get("dataset", {}) if (root / MARK).is_file() else {}
    return {name: told[name] for name in ("mirror_safe", "good_class") if name in told}


def _template(text: str) -> tuple[str, Path]:
    """CLASS=FILE, or FILE for every class."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else ("", Path(text))


def gan(args: Args) -> Result:
    """Draw images with a trained GAN, and judge them."""
    from zdd import drawing

    result = drawing.draw(args.run_path, args.out, n_imgs=args.n_imgs, seed=args.seed, network=args.network)
    tables.likeness(result["likeness"])
    return result


def likeness(args: Args) -> Result:
    """Compare synthetic images with real ones."""
    from zdd import likeness
    from zdd.evaluate import device_of

    result = likeness.judge(args.folder, network=args.network, device=device_of(args.device))
    tables.likeness(result)
    return result


SYNTHESISE = Verb(
    "Make a training set with synthetic images from real classified ones.",
    synthesise,
    (
        argument("out", "a new folder, or one that this command made", metavar="OUT", type=Path),
        argument("--from", "folder (or table) of real images, or an experiment.json", dest="root", required=True),
        argument("--source", "what reads it: folder, csv, mvtec, masks, ok_ng, labels (told by what is there)"),
        argument("--generator", "regions (default) or perlin", default="regions", metavar="NAME"),
        argument("--train", "synthetic training images of each class", type=int, default=0, metavar="N"),
        argument("--val", "of validation; their parents leave training", type=int, default=0, metavar="N"),
        argument("--test", "the same of test images", type=int, default=0, metavar="N"),
        argument("--train-ratio", "share of synthetic ones: real ones are left out; 1: all", type=float, metavar="R"),
        argument("--val-ratio", "the same of validation images", type=float, metavar="R"),
        argument("--test-ratio", "the same of test images", type=float, metavar="R"),
        argument("--no-combine --no_combine", "ratios count for nothing: all real images stay", action="store_true"),
        argument("--classes", "regions: only these", nargs="+", default=[], metavar="CLASS"),
        argument("--class", "perlin: what its defects are called (defect)", dest="class_name", default="defect"),
        argument("--template", "regions: what to look for", action="append", default=[], metavar="[CLASS=]FILE"),
        argument("--match", "least correlation at which it is found (0.6)", type=float, metavar="R"),
        argument("--turn", "a piece is turned by at most so many degrees (1.5)", type=float, metavar="DEGREES"),
        argument("--shift", "and moved by at most this share of the picture (0.05)", type=float, metavar="R"),
        argument("--light", "change of brightness, as a share (0.05)", type=float, metavar="R"),
        argument("--seed", "the same seed makes the same images (0)", type=int, default=0, metavar="S"),
        argument("--processes", "that work side by side (as many as processors)", type=int, metavar="N"),
        argument("--set", "a setting of the real data: split.val=0.2, good_class=ok", action="append", default=[]),
    ),
    (
        "data/synthetic --from data/labels --train 100",
        "data/half --from data/labels --train 24 --train-ratio 0.5 --set split.seed=1",
        "data/made --from photographs/ --generator perlin --train 200 --val 40 --test 40",
    ),
)
NETWORK = argument(
    "--network",
    "whose features are compared: a backbone with ImageNet's weights (mobilenet_v2), or pixels",
    default="mobilenet_v2",
    metavar="NAME",
)
GAN = Verb(
    "Draw images of each class with a finished run of the model gan, as a training set, and judge them.",
    gan,
    (
        argument("run_path", "a finished run; of a group, its first", metavar="RUN", type=Path),
        argument("out", "a new folder, or one that this command made", metavar="OUT", type=Path),
        argument("--n_imgs", "images of each class (50)", type=int, default=50, metavar="N"),
        argument("--seed", "the same seed draws the same images (0)", type=int, default=0, metavar="S"),
        NETWORK,
    ),
    ("runs/labels_gan/latest data/labels_drawn --n_imgs 50",),
    note="Exit code 1: the images repeat training images; OUT/nearest.png shows them beside each other.",
)
LIKENESS = Verb(
    "Are synthetic images like the real ones, and more than copies of them?",
    likeness,
    (
        argument("folder", "what zdd data gan or zdd data synthesise made", metavar="FOLDER", type=Path),
        NETWORK,
        DEVICE,
    ),
    ("data/labels_drawn", "data/labels_drawn --network pixels"),
    note="Exit code 1: they repeat training images; FOLDER/nearest.png shows them beside each other.",
)
DATA = Verb(
    "Make data sets.",
    examples=(
        "labels data/labels --per-class 100 --seed 0",
        "synthesise data/synthetic --from data/labels --train 100",
        "gan runs/labels_gan/latest data/labels_drawn --n_imgs 50",
        "likeness data/labels_drawn",
    ),
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
        ),
        "synthesise": SYNTHESISE,
        "gan": GAN,
        "likeness": LIKENESS,
    },
)

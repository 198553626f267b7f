"""What each word on the command line does. What it needs is imported when it runs, torch last."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace as Args
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zdd import dataverbs, engineverbs, suiteverbs, tables
from zdd.errors import ZddError
from zdd.verb import DEVICE, Result, Verb, argument

if TYPE_CHECKING:
    from zdd.config import Loaded


def train(args: Args) -> Result:
    """Train an experiment, or print its configuration, or go on with what was stopped."""
    settings = [*args.set, *args.settings]
    if args.resume:
        if args.experiment or settings or args.print_config or args.n_runs is not None:
            raise ZddError("--resume goes on with the run's own configuration; give it alone")
        from zdd import experiment

        return _trained(experiment.resume(args.resume))
    n_runs = 1 if args.n_runs is None else args.n_runs
    if n_runs < 1:
        raise ZddError(f"--n_runs = {n_runs}: must be at least 1")
    if not args.experiment:
        raise ZddError("which experiment? Name a file, or one that lies in experiments/; see --help")
    from zdd import config

    loaded = config.load(args.experiment, settings)
    if args.print_config:
        return _print_config(loaded)
    from zdd import experiment

    _check_with_torch(loaded)
    args.begun = _watch(args.runs / loaded.name / "latest")
    return _trained(experiment.run_experiment(loaded, n_runs=n_runs, runs=args.runs))


def test(args: Args) -> Result:
    """Test finished runs."""
    trt = engineverbs.tensorrt(args) if args.convert_trt else {}
    if args.ensemble:
        from zdd import ensemble

        result = ensemble.examine(args.run_path, device=args.device, ood=args.ood)
    else:
        from zdd import examine

        result = examine.examine(args.run_path, device=args.device, ood=args.ood)
    if "summary" in result:
        tables.summary(Path(result["summary"]), "test")
    else:
        tables.run(Path(result["report"]).parent / "metrics.json")
    tables.say(f"report: {result['report']}")
    if args.calc_speed:
        result["speed"] = engineverbs.timed(args, [args.run_path])
    if "missing" in trt:
        raise ZddError(*trt["missing"])
    return {**result, **trt}


def predict(args: Args) -> Result:
    """Judge new images, with a run or with an exported engine; the latter needs no torch."""
    from zdd import runtime

    if runtime.is_engine(args.run_path):
        if args.device not in ("auto", "cpu"):
            raise ZddError(f"--device {args.device}: an engine runs where it was exported for; leave it out")
        drawn = engineverbs.album(args.maps) if args.maps else None
        return runtime.predict(args.run_path, args.images, out=args.out, drawn=drawn)
    from zdd import predict

    return predict.predict(args.run_path, args.images, out=args.out, device=args.device, maps=args.maps)


def explain(args: Args) -> Result:
    """Explain what finished runs say of images."""
    from zdd import explaining

    wish = explaining.Wish(tuple(args.variant), args.which, args.n, tuple(args.images), args.npy)
    if args.score:
        from zdd import scoring

        scored = scoring.score(args.run_path, wish, device=args.device)
        for run, found in scored["runs"].items():
            tables.ranking(run, found)
        return scored
    result = explaining.explain(args.run_path, wish, device=args.device)
    drawn = any(not each["message"] for run in result["runs"].values() for each in run.values())
    tables.say(f"pictures: {result['folder']}" if drawn else "no pictures: try another --variant")
    return result


def models(_: Args) -> Result:
    """List the backbones."""
    from zdd.models import table

    rows = table.rows()
    cells = [
        [row["backbone"], row["error"], ""]
        if "error" in row
        else [row["backbone"], f"{row['parameters'] / 1e6:.2f}", f"{row['gflops']:.2f}"]
        for row in rows
    ]
    height, width = rows[0]["image_size"]
    tables.show(["backbone", "parameters, millions", f"GFLOP an image of {height} x {width} (2 x MAC)"], cells)
    return {"models": rows}


def schema(args: Args) -> Result:
    """Print or write the schema of experiment files."""
    from zdd import schema

    return {"written": str(schema.write())} if args.write else schema.build()


def _check_with_torch(loaded: Loaded) -> None:
    """torch's own names and keywords, before any data is read."""
    from zdd.data import augment
    from zdd.models import build

    masks = build.method(loaded.config.model).masks
    mistakes = [*build.check(loaded.config), *augment.check(loaded.config, masks=masks)]
    if mistakes:
        raise ZddError(*(loaded.located(mistake) for mistake in mistakes))


def _print_config(loaded: Loaded) -> Result:
    from zdd import config

    rows = [[name, json.dumps(value, ensure_ascii=False), origin] for name, value, origin in loaded.rows()]
    tables.show(["setting", "value", "set by"], rows)
    return {**config.as_dict(loaded.config), "$origin": loaded.origin}


def _trained(result: Result) -> Result:
    if result["done"]:
        if result["mean"]:  # what draws images has no figures
            tables.summary(Path(result["summary"]), "val")
        tables.say(f"next: {result['next']}")
    if result["failed"]:
        named = shlex.quote(result["group"])
        tables.say(f"failed: {', '.join(result['failed'])}; after mending: python train.py --resume {named}")
    return result


def _watch(latest: Path) -> Callable[[], Path | None]:
    """Ask it later whether runs were begun since, and get where."""
    before = latest.stat().st_mtime_ns if latest.is_file() else None
    return lambda: latest if latest.is_file() and latest.stat().st_mtime_ns != before else None


EXPLAINERS = (
    "integrated_gradients (unless the configuration names others), deeplift, gradient_shap, saliency, smooth_grad, "
    "guided_backpropagation, grad_cam, guided_grad_cam, occlusion, attention_rollout, own_map"
)
VERBS = {
    "train": Verb(
        "Train what an experiment file describes.",
        train,
        (
            argument("experiment", "a file, or its name in experiments/", metavar="EXPERIMENT", nargs="?"),
            argument("--n_runs", "train N seeds: seed, seed + 1, ... (1)", type=int, metavar="N"),
            argument("--runs", "where runs are kept (runs/)", type=Path, metavar="DIR", default=Path("runs")),
            argument("--resume", "take up a run or a group that was stopped", type=Path, metavar="RUN"),
            argument("--set", "a setting; in short: --KEY VALUE", action="append", default=[], metavar="KEY=VALUE"),
            argument("--print_config", "print every setting and what set it; do not train", action="store_true"),
        ),
        (
            "casting_mobilenet --n_runs 5",
            "casting_mobilenet --optimizer.lr 0.001 --set model.transfer=partial",
            "casting_mobilenet --epochs=3 --print_config",
            "--resume runs/casting_mobilenet/latest",
        ),
        ("EXPERIMENT [options] [--KEY VALUE ...]", "--resume RUN"),
        "docs/configuration.md lists every setting; --KEY VALUE and --KEY=VALUE are short for --set KEY=VALUE.",
    ),
    "test": Verb(
        "Test finished runs on their test images and write report.html.",
        test,
        (
            argument("run_path", "one run, or a group of runs: runs/NAME/latest", metavar="RUN", type=Path),
            argument("--ood", "images of no class: are they told from the known? (dataset.ood)", metavar="FOLDER"),
            argument("--ensemble", "test the runs of a group as one: their average", action="store_true"),
            argument(
                "--convert_trt",
                "first convert to TensorRT, by tensorrt, torch_tensorrt or torch2trt (auto: the first that works)",
                nargs="?",
                const="auto",
                choices=("auto", "tensorrt", "torch_tensorrt", "torch2trt"),
                metavar="WAY",
            ),
            argument("--calc_speed", "then time its engines, too; see zdd benchmark --help", action="store_true"),
            DEVICE,
        ),
        (
            "runs/casting_mobilenet/latest",
            "runs/casting_mobilenet/latest/run_0 --device cpu",
            "runs/casting_mobilenet/latest --ensemble --ood photographs/",
            "runs/casting_mobilenet/latest/run_0 --convert_trt --calc_speed",
        ),
    ),
    "predict": Verb(
        "Judge new images with a finished run, a line an image.",
        predict,
        (
            argument(
                "run_path", "a finished run (of a group the first), or RUN/export/ENGINE", metavar="RUN", type=Path
            ),
            argument("images", "files; folders with all below", metavar="IMAGE_OR_FOLDER", type=Path, nargs="+"),
            argument("--out", ".csv or .jsonl; without it, JSON lines are printed", type=Path, metavar="FILE"),
            argument("--maps", "a new folder for pictures of what was found where", type=Path, metavar="DIR"),
            DEVICE,
        ),
        (
            "runs/casting_mobilenet/latest part.png",
            "runs/casting_mobilenet/latest new_parts/ --out verdicts.csv",
            "runs/lgp_unet/latest new_parts/ --out areas.csv --maps found/",
            "runs/casting_mobilenet/latest/run_0/export/onnx-fp32 part.png",
        ),
    ),
    "export": engineverbs.EXPORT,
    "benchmark": engineverbs.BENCHMARK,
    "explain": Verb(
        "Show where finished runs look: which pixels speak for a verdict.",
        explain,
        (
            argument("run_path", "one run, or a group of runs: runs/NAME/latest", metavar="RUN", type=Path),
            argument("--variant", EXPLAINERS, nargs="+", default=[], metavar="NAME"),
            argument("--images", "other images than test images", nargs="+", default=[], type=Path, metavar="PATH"),
            argument("--class", "defect, predicted, true or a class's name", dest="which", metavar="NAME"),
            argument("--n", "at most so many test images, evenly from the classes (100)", type=int, default=100),
            argument("--score", "measure how far each explainer can be trusted", action="store_true"),
            argument("--npy", "keep the attributions, too, as arrays", action="store_true"),
            DEVICE,
        ),
        (
            "runs/casting_mobilenet/latest",
            "runs/casting_mobilenet/latest/run_0 --variant grad_cam occlusion --n 20",
            "runs/casting_mobilenet/latest/run_0 --images part.png --class predicted --npy",
            "runs/casting_mobilenet/latest/run_0 --score",
        ),
    ),
    "suite": suiteverbs.SUITE,
    "models": Verb("List the backbones with their size and cost.", models, (), ("",)),
    "data": dataverbs.DATA,
    "schema": Verb(
        "The JSON schema of experiment files, for editors.",
        schema,
        (argument("--write", "write configs/schema.json instead of printing", action="store_true"),),
        ("", "--write"),
    ),
}
OPTIONS = tuple(each.name for each in VERBS["train"].arguments if each.name.startswith("--"))
ZDD = Verb(
    "Zero-defect manufacturing: one JSON file in, a defect detector out.",
    examples=("train casting_mobilenet --n_runs 5", "test runs/casting_mobilenet/latest", "train --help"),
    below=VERBS,
)

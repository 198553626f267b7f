"""A trained model on disk: weights as safetensors, all else as JSON; nothing that could run code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from zdd import config as configuration
from zdd import files
from zdd.decide import Threshold
from zdd.errors import ZddError
from zdd.models import build
from zdd.models.base import ZddModel
from zdd.preprocess import Preprocess
from zdd.records import Task
from zdd.rundir import RunDir
from zdd.settings import Config

FORMAT = 1
NAMES = ("classes", "has_good", "image_size", "class_counts", "preprocess", "threshold", "weights_sha256")  # needed


@dataclass
class Trained:
    """A model in eval mode with everything that a verdict needs."""

    model: ZddModel
    preprocess: Preprocess
    threshold: Threshold | None  # None: there is no good class
    config: Config

    @property
    def task(self) -> Task:
        """Classes and image size."""
        return self.model.task


def save_trained(run: RunDir, trained: Trained) -> None:
    """Write `model/`: the weights first, then model.json, which holds their hash."""
    model, task = trained.model, trained.task
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.net.state_dict().items()}
    with files.replacing(run.weights) as temporary:
        save_file(weights, temporary)
    files.write_json(
        run.model,
        {
            "format": FORMAT,
            "model": trained.config.model.model_dump(mode="json"),
            "criterion": trained.config.criterion.model_dump(mode="json"),
            "classes": list(task.classes),
            "has_good": task.has_good,
            "image_size": list(task.image_size),
            "class_counts": list(task.class_counts),
            "preprocess": trained.preprocess.as_dict(),
            "threshold": trained.threshold.as_dict() if trained.threshold else None,
            "weights_sha256": files.sha256(run.weights),
        },
    )


def load_trained(run: RunDir, *, generative: bool = False) -> Trained:
    """Read a finished run's model.

    Args:
        run: A finished run.
        generative: Whether a model that draws images is wanted, and not one that judges them.

    Raises:
        ZddError: If a file is missing, of another format, the weights are not those that model.json names, or the
            model is not of the sort that is wanted.
    """
    stored = files.read_json(run.model)
    if stored.get("format") != FORMAT:
        raise ZddError(f"{run.model}: format is {stored.get('format')}; this zdd reads format {FORMAT}")
    if lacking := [name for name in NAMES if name not in stored]:
        raise ZddError(f"{run.model}: lacks {', '.join(lacking)}; copy the run anew")
    config = configuration.from_dict(files.read_json(run.config))
    _check_sort(run, config, generative)
    preprocess = Preprocess.from_dict(stored["preprocess"])
    task = Task(
        classes=tuple(stored["classes"]),
        has_good=stored["has_good"],
        image_size=(stored["image_size"][0], stored["image_size"][1]),
        class_counts=tuple(stored["class_counts"]),
        mean=preprocess.mean,
        std=preprocess.std,
    )
    model = build.build(config.model, task, trained=True)
    model.recipe = build.recipe(config, task)
    model.net.load_state_dict(_weights(run.weights, stored["weights_sha256"]))
    model.eval()
    threshold = Threshold.from_dict(stored["threshold"]) if stored["threshold"] else None
    return Trained(model, preprocess, threshold, config)


def _check_sort(run: RunDir, config: Config, generative: bool) -> None:
    name = config.model.name
    if build.method(config.model).generative == generative:
        return
    if generative:
        raise ZddError(f"{run.path}: a '{name}' judges images and draws none; name a run with the model 'gan'")
    raise ZddError(f"{run.path}: a '{name}' draws images and judges none; try: zdd data gan {run.path} OUT")


def _weights(path: Path, sha256: str) -> dict[str, Any]:
    if not path.is_file():
        raise ZddError(f"{path}: there is no such file; copy the whole run, model/ included")
    if files.sha256(path) != sha256:
        raise ZddError(f"{path}: not the weights that model.json belongs to (its SHA-256 differs); copy the run anew")
    weights: dict[str, Any] = load_file(path)
    return weights

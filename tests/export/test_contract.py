"""What every engine must keep, of every method and backbone: a new file in either folder is under test that day."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from drawn_part import draw_part
from torch import nn

from zdd import plugins
from zdd.errors import ZddError
from zdd.export import parity
from zdd.export.base import Outputs, Runner
from zdd.export.graph import OUTPUTS, Whole
from zdd.models import build
from zdd.models.base import Recipe, ZddModel
from zdd.models.patchcore import Patchcore
from zdd.preprocess import Preprocess
from zdd.records import Task
from zdd.settings import BACKBONES, Section

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 48
METHODS: dict[str, dict[str, Any]] = {  # each method, small; after a dash another way through its code
    "classifier": {"backbone": "luna"},
    "classifier-no good": {"backbone": "luna"},
    "duq": {"backbone": "luna", "embedding_size": 8},
    "autoencoder": {},
    "autoencoder-ssim": {"loss": "ssim", "latent": None, "score": "mean"},
    "unet": {"encoder": "resnet18", "width": 0.25},
    "unet-mobilenet": {"width": 0.25},
    "unet-tiles": {"encoder": "resnet18", "width": 0.25, "tile": 32, "overlap": 8, "score": "maximum"},
    "patchcore": {"weights": "none", "backbone": "squeezenet1_1", "patches": 20},
    "patchcore-neighbours": {"weights": "none", "patches": 20, "neighbours": 3, "score": "maximum"},
}
FAST = ("classifier", "duq", "autoencoder", "unet", "patchcore")
FAST_BACKBONES = ("luna", "squeezenet1_1", "resnet18")
SIZES = {"vit_b_16": 32, "dino_vits8": 32, "luna": 32, "swin_t": 64, "convnext_tiny": 64, "alexnet": 64}
ENGINES = sorted(plugins.available("export"))


def marked(names: Any, fast: tuple[str, ...]) -> list[Any]:
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def drawn(n: int, size: int) -> np.ndarray:
    """(n, size, size, 3) parts, good and defective, and one of noise; 13 if n is 13."""
    kinds = ("good", "crack", "dent mark")
    pictures = [np.asarray(draw_part(kinds[i % 3], i).resize((size, size))) for i in range(n - 1)]
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return np.stack([*pictures, noise])


def make(name: str, options: dict[str, Any], size: int) -> tuple[ZddModel, Preprocess]:
    """A model in eval mode that says something else of each image, though nobody trained it."""
    method, _, way = name.partition("-")
    classes = ("good", "crack", "dent mark")
    task = Task(classes, way != "no good", (size, size), (5, 3, 2), MEAN, STD)
    torch.manual_seed(0)
    model = build.build(Section(name=method, options=options), task)
    criterion = build.criterion(Section(name="cross_entropy", options={}), task)
    model.recipe = Recipe(criterion, Section(name="SGD", options={"lr": 0.1}), None, epochs=1)
    preprocess = Preprocess((size, size), "squeeze", "rgb", "bilinear", MEAN, STD)
    image = torch.from_numpy(preprocess.normalise(drawn(7, size)))
    settle(model, image)
    return model, preprocess


def settle(model: ZddModel, image: torch.Tensor) -> None:
    """Norms by real activations, weights so that these don't fade, PatchCore's memory: else all images are alike."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1.0 if len(norms) > 1 or parameter.ndim < 2 else 6**0.5  # torch's start divides by it
            parameter += 1e-3 * torch.randn_like(parameter)
        run = cast(Any, model.net).patch if isinstance(model, Patchcore) else model.net
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        run(image)
        for norm in norms:  # of seven images some channel hardly varies; divided by that, rounding grows to digits
            norm.running_var += 0.1 * cast(torch.Tensor, norm.running_var).mean()
        model.eval()
        if isinstance(model, Patchcore):
            patch = run(image[:2].flip(3))  # no image of the test: a distance of 0 is nothing but rounding
            model.remember(patch.permute(0, 2, 3, 1).reshape(-1, patch.shape[1]))


def said(model: ZddModel, preprocess: Preprocess, pixels: np.ndarray) -> Outputs:
    """What the trained model says, by another way than the exported graph's."""
    image = torch.from_numpy(preprocess.normalise(pixels))
    with torch.no_grad():
        raw = model.net(image)
        prediction = model.decode(raw, image)
    found = {name: raw if name == "raw" else getattr(prediction, name) for name in OUTPUTS}
    return {name: value.numpy() for name, value in found.items() if value is not None}


def exported(engine: str, model: ZddModel, preprocess: Preprocess, folder: Path) -> Runner:
    whole = Whole(model.net, model.decode, MEAN, STD)
    example = drawn(5, preprocess.size[0])
    whole.run(example[:1])
    module = plugins.module("export", engine)
    try:
        module.export(whole, example, folder, precision="fp32")
        return cast(Runner, module.load(folder, threads=1))
    except ZddError as error:
        if any(word in str(error) for word in ("install", "CUDA", "TensorRT")):
            pytest.skip(str(error))
        raise


def hold(engine: str, model: ZddModel, preprocess: Preprocess, folder: Path) -> None:
    """The whole contract, of one model."""
    runner = exported(engine, model, preprocess, folder)
    pixels = drawn(13, preprocess.size[0])
    largest = runner.largest_batch or 8
    starts = [0, 1, *range(1 + min(largest, 8), len(pixels), min(largest, 4))]  # 1, 8, 4: another size each time
    batches = [pixels[a:b] for a, b in zip(starts, [*starts[1:], len(pixels)], strict=True)]
    expected = [said(model, preprocess, batch) for batch in batches]
    answers = [runner(batch) for batch in batches]
    assert runner.names == tuple(expected[0]) == tuple(name for name in OUTPUTS if name in expected[0])
    for reference, answer in zip(expected, answers, strict=True):
        assert tuple(answer) == runner.names
        for name, value in reference.items():
            assert answer[name].dtype == value.dtype and answer[name].shape == value.shape, name
    threshold = None if not model.task.has_good else float(np.median(np.concatenate([e["score"] for e in expected])))
    found = parity.compare_batches(
        zip(expected, answers, strict=True),
        labels=np.arange(len(pixels)) % 3,
        precision="fp32",
        threshold=threshold,
        pixel=model.pixel_threshold,
    )
    assert found.passed, "\n".join(found.lines())
    spread = np.concatenate([e["raw"] for e in expected]).std(axis=0).max()
    assert spread > 1e-3, "images that are all alike to the model prove nothing"
    again = runner(pixels[:1])
    assert all(np.array_equal(again[name], answers[0][name]) for name in runner.names), (
        "the same image, the same answer"
    )


@pytest.mark.parametrize("name", marked(METHODS, FAST))
def test_every_method_in_onnx(name: str, tmp_path: Path) -> None:
    hold("onnx", *make(name, METHODS[name], SIZE), tmp_path)


@pytest.mark.parametrize("backbone", marked(BACKBONES, FAST_BACKBONES))
def test_every_backbone_in_onnx(backbone: str, tmp_path: Path) -> None:
    if backbone == "luna":
        pytest.skip("the classifier above has it")
    hold("onnx", *make("classifier", {"backbone": backbone}, SIZES.get(backbone, 64)), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "onnx"])
def test_every_method_in_every_other_engine(engine: str, name: str, tmp_path: Path) -> None:
    hold(engine, *make(name, METHODS[name], SIZE), tmp_path)


def test_every_method_is_here() -> None:
    known = {name.partition("-")[0] for name in METHODS}
    assert known == {name for name in plugins.available("model") if not plugins.load("model", name).generative}
    assert set(FAST) == known and set(FAST_BACKBONES) <= set(BACKBONES)

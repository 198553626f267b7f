"""Networks as a training leaves them, without a training: activations of usual size, so that no test is vacuous."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zdd.explain.base import Subject
from zdd.models import build
from zdd.models.base import ZddModel, predict_batch
from zdd.records import Task
from zdd.settings import BACKBONES, Section

OTHERS: dict[str, dict[str, Any]] = {
    "duq": {"backbone": "resnet18", "stem": "imagenet", "embedding_size": 8},
    "autoencoder": {},
    "unet": {"weights": "none"},
}
QUICK = ("mobilenet_v2", "shufflenet_v2_x1_0", "squeezenet1_1", "luna", "duq", "autoencoder", "unet")
NAMES = (*BACKBONES, *OTHERS)
NETS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES
]  # what takes seconds to be made is for a whole night


def make_model(name: str, size: int = 64, n: int = 3) -> ZddModel:
    """A backbone as a classifier, or another method; batch norms know what they see, nothing is zero."""
    torch.manual_seed(0)
    task = Task(("good", "crack", "dent mark", "scratch")[:n], True, (size, size), (8, 4, 2, 1)[:n])
    method = name if name in OTHERS else "classifier"
    options = OTHERS.get(name, {"backbone": name, "stem": "imagenet"})
    model = build.build(Section(name=method, options=options), task)
    with torch.no_grad():
        for parameter in model.net.parameters():
            parameter += 0.02 * torch.empty_like(parameter).uniform_(-1, 1)
            if name == "luna" and parameter.ndim == 4:  # no norm behind these, whose first values are small
                parameter *= 2.5
        for module in model.net.modules():
            if type(module).__name__ in ("LayerScale", "CNBlock"):  # they begin at 1e-6, and grow to about 1
                for key in ("gamma", "layer_scale"):
                    if hasattr(module, key):
                        getattr(module, key).fill_(0.5)
    settle(model.net, images(8, size))
    return model.eval()


def images(n: int, size: int = 64) -> Tensor:
    """(n, 3, size, size) noise, the same first ones whatever n."""
    generator = torch.Generator().manual_seed(5)
    return torch.stack([torch.randn(3, size, size, generator=generator) for _ in range(n)])


def settle(net: nn.Module, image: Tensor) -> None:
    """Batch norms take the statistics of these images."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    net.eval()
    for norm in norms:
        norm.train()
        norm.momentum = None  # a plain mean
        norm.reset_running_stats()
    if norms:
        with torch.no_grad():
            net(image)
    net.eval()


def subject_of(model: ZddModel) -> Subject:
    """What an explainer is given."""

    def own(image: Tensor) -> Tensor:
        found = predict_batch(model, image).map
        assert found is not None
        return found

    return Subject(model.net, model.evidence, own if model.pixelwise else None, black=(-2.0, -1.9, -1.8))


def linear_evidence(raw: Tensor, image: Tensor) -> Tensor:
    """(B, T) outputs are the evidence."""
    return raw

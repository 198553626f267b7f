"""What every explainer must keep, whatever it is: a new file in zdd/explain is under test the day it is added."""

import inspect
import math
from typing import Any

import pytest
import torch
from lively import images, linear_evidence
from torch import Tensor, nn

from zdd import plugins
from zdd.explain.base import BATCH, Attribution, Subject, Unfit

FEW = {"steps": 3, "samples": 3, "window": 6.0, "stride": 3.0}  # so that a test takes no minutes


class Network(nn.Module):
    """Everything that hooks are wrong for: a module called twice, in place, a skip, a batch norm, a pooling."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.relu = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.pool, self.second, self.head = nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, image: Tensor) -> Tensor:
        seen = self.pool(self.relu(self.norm(self.first(image))))
        return self.head(self.relu(self.second(seen) + seen).mean((2, 3)))


@pytest.fixture
def subject() -> Subject:
    return Subject(Network().eval(), linear_evidence, own=lambda image: image[:, :1], black=(-2.0, -2.0, -2.0))


@pytest.fixture(params=sorted(plugins.available("explain")))
def explain(request: pytest.FixtureRequest) -> Any:
    attribute = plugins.load("explain", request.param)
    takes = inspect.signature(attribute).parameters
    options = {key: value for key, value in FEW.items() if key in takes}

    def run(subject: Subject, image: Tensor, target: Tensor) -> Attribution:
        try:
            said = attribute(subject, image, target, **options)
        except Unfit as error:
            assert str(error).startswith(f"{request.param}: ") and len(error.lines) == 1
            pytest.skip(str(error))
        assert isinstance(said, Attribution)
        return said

    run.signed = inspect.getmodule(attribute).SIGNED  # type: ignore[attr-defined, union-attr]
    return run


@pytest.mark.parametrize("size", [(16, 16), (21, 34)])
def test_values_are_a_map_of_the_image(explain: Any, subject: Subject, size: tuple[int, int]) -> None:
    image = images(3, 40)[..., : size[0], : size[1]]
    said = explain(subject, image, torch.tensor([0, 1, 2]))
    assert said.values.shape == (3, 1, *size) and said.values.dtype == torch.float32
    assert said.values.isfinite().all() and said.values.abs().sum() > 0 and not said.values.requires_grad
    assert explain.signed or said.values.min() >= 0
    assert said.error is None or (said.error.shape == (3,) and not said.error.requires_grad)


def test_one_image_is_as_many(explain: Any, subject: Subject) -> None:
    image, target = images(5, 16), torch.tensor([0, 1, 2, 0, 1])
    whole = explain(subject, image, target).values
    for i in range(5):
        alone = explain(subject, image[i : i + 1], target[i : i + 1]).values
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-3, atol=1e-5)


def test_the_network_stays_as_it_was(explain: Any, subject: Subject) -> None:
    net = subject.net
    before = {key: value.clone() for key, value in net.state_dict().items()}
    parts = [id(module) for module in net.modules()]
    image, gradient = images(2, 16), torch.ones_like(next(net.parameters()))
    kept = image.clone()
    next(net.parameters()).grad = gradient
    explain(subject, image, torch.tensor([0, 1]))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert parts == [id(module) for module in net.modules()] and not any(each.training for each in net.modules())
    grads = [parameter.grad for parameter in net.parameters()]
    assert grads[0] is gradient and gradient.eq(1).all() and all(each is None for each in grads[1:])
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert sum(len(getattr(module, name)) for module in net.modules() for name in names) == 0
    assert torch.equal(image, kept) and not image.requires_grad
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net.relu.inplace  # type: ignore[union-attr]


def test_memory_is_bounded(explain: Any, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, forward = [], nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, image: seen.append(len(image)) or forward(self, image))
    explain(subject, images(2 * BATCH + 3, 12), torch.arange(2 * BATCH + 3) % 3)
    assert max(seen, default=0) <= BATCH


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_all_the_same(explain: Any, subject: Subject, mode: Any) -> None:
    image, target = images(2, 16), torch.tensor([2, 0])
    want = explain(subject, image, target).values
    with mode():
        said = explain(subject, image.clone(), target.clone()).values
    torch.testing.assert_close(said, want)


def test_other_memory_layouts_and_frozen_weights(explain: Any, subject: Subject) -> None:
    image, target = images(3, 16), torch.tensor([2, 0, 1])
    want = explain(subject, image, target).values
    subject.net.to(memory_format=torch.channels_last)
    said = explain(subject, image.contiguous(memory_format=torch.channels_last), target).values
    torch.testing.assert_close(said, want, rtol=1e-3, atol=1e-5)
    subject.net.requires_grad_(False)
    torch.testing.assert_close(explain(subject, image, target).values, want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", sorted(plugins.available("explain")))
def test_settings_have_a_text_and_a_default(name: str) -> None:
    plugin = plugins.available("explain")[name]
    assert plugin.about
    for option in plugin.options.values():
        assert option.default is not plugins.REQUIRED and option.about
        assert not isinstance(option.default, float) or math.isfinite(option.default)

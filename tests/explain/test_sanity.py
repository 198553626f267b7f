"""Explainers that look at the network and ones that only seem to, on networks whose weights are drawn anew."""

import copy
import functools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer, resnet18

from zdd.explain import saliency, sanity
from zdd.explain.base import Subject

TARGET = torch.tensor([0, 1])
IMAGE = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Its layers run in another order than they stand in."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Linear(8, 2)
        self.second = nn.Conv2d(6, 8, 3)
        self.first = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, image: Tensor) -> Tensor:
        inner = torch.relu(self.norm(self.first(image)))
        return self.head(torch.relu(self.second(inner)).mean((2, 3)))


def subject(own: object = None) -> Subject:
    return Subject(Net().eval(), lambda raw, image: raw, own)


def gradient(of: Subject, image: Tensor, target: Tensor) -> Tensor:
    return saliency.attribute(of, image, target).values


def edges(of: Subject, image: Tensor, target: Tensor) -> Tensor:
    """What looks like an explanation and knows nothing of the network."""
    return (image - image.roll(1, 3)).abs().sum(1, keepdim=True)


def test_an_edge_detector_is_found_out_and_a_gradient_is_not() -> None:
    found = np.stack([value for _, value in sanity.cascade(subject(), edges, IMAGE, TARGET)])
    assert found == pytest.approx(1) and not sanity.depends(found)
    found = np.stack([value for _, value in sanity.cascade(subject(), gradient, IMAGE, TARGET)])
    assert sanity.depends(found)
    assert found[-1].max() < 0.5  # not 0: without padding, every such network's gradient is weaker along the border


def test_stages_go_from_the_head_down_in_the_order_in_which_layers_run() -> None:
    assert [name for name, _ in sanity.cascade(subject(), gradient, IMAGE, TARGET)] == [
        "head", "second", "norm", "first"]  # fmt: skip
    assert [name for name, _ in sanity.cascade(subject(), gradient, IMAGE, TARGET, stages=2)] == ["head", "first"]


def test_only_what_was_drawn_anew_changes_and_the_trained_network_does_not() -> None:
    mine = subject()
    before = copy.deepcopy(mine.net.state_dict())
    seen: list[dict[str, Tensor]] = []

    def watch(of: Subject, image: Tensor, target: Tensor) -> Tensor:
        seen.append(of.net.state_dict())
        assert not of.net.training
        return gradient(of, image, target)

    state = torch.get_rng_state()
    sanity.cascade(mine, watch, IMAGE, TARGET)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in mine.net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in mine.net.modules())
    changed = [{name.split(".")[0] for name in before if not torch.equal(before[name], at[name])} for at in seen]
    # Batch normalisation's weights were all 1 and 0, so that the same ones are drawn.
    assert changed == [set(), {"head"}, {"head", "second"}, {"head", "second"}, {"head", "second", "first"}]
    assert torch.equal(seen[1]["head.weight"], seen[4]["head.weight"])  # one cascade, not five networks
    weight, drawn = before["second.weight"], seen[4]["second.weight"]
    assert drawn.std() == pytest.approx(float(weight.std()), rel=0.15)
    assert drawn.mean() == pytest.approx(float(weight.mean()), abs=0.02)


def test_images_do_not_depend_on_each_other() -> None:
    both = sanity.cascade(subject(), gradient, IMAGE, TARGET)
    alone = sanity.cascade(subject(), gradient, IMAGE[1:], TARGET[1:])
    assert [value[1] for _, value in both] == pytest.approx([value[0] for _, value in alone], abs=1e-5)


def test_maps_that_are_constant_or_not_finite() -> None:
    mine = subject()

    def explain(of: Subject, image: Tensor, target: Tensor) -> Tensor:
        values = gradient(of, image, target)
        values[0] = 0
        return values if of is mine else values * math.nan

    found = np.stack([value for _, value in sanity.cascade(mine, explain, IMAGE, TARGET)])
    assert np.isnan(found[:, 0]).all() and (found[:, 1] == 0).all()
    assert sanity.depends(found) and sanity.depends(np.full((3, 2), np.nan))

    def overflows(of: Subject, image: Tensor, target: Tensor) -> Tensor:
        values = edges(of, image, target)
        values[:, :, 0, 0] = 0 if of is mine else math.inf
        return values

    assert not any(value.any() for _, value in sanity.cascade(mine, overflows, IMAGE, TARGET))


def test_layers_of_one_shape_are_drawn_apart_and_a_single_weight_stays() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.PReLU(), nn.Linear(12, 12), nn.Linear(12, 1))
    fresh = sanity._redrawn(Subject(net, lambda raw, image: raw), ["4", "3", "2", "1"], 0).net.state_dict()
    pair = torch.stack((fresh["1.weight"].ravel(), fresh["3.weight"].ravel()))
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.4  # of 144 numbers drawn by chance: sd 0.08
    assert fresh["2.weight"] == 0.25 and fresh["4.bias"] == net[4].bias


class Model:
    """A method with a map of its own."""

    def __init__(self) -> None:
        self.net = Net().eval()

    def own(self, image: Tensor) -> Tensor:
        return self.net.second(self.net.norm(self.net.first(image))).mean(1, keepdim=True)


def test_a_model_s_own_map_is_of_the_copy_s_weights_and_a_closure_is_refused() -> None:
    def own(of: Subject, image: Tensor, target: Tensor) -> Tensor:
        assert of.own is not None
        return of.own(image)

    model = Model()
    for bound in (model.own, functools.partial(model.own)):
        found = sanity.cascade(Subject(model.net, lambda raw, image: raw, bound), own, IMAGE, TARGET)
        assert found[0][1] == pytest.approx(1) and abs(found[-1][1]).max() < 0.6  # the head has no part in it
    with pytest.raises(ValueError, match="closure"):
        sanity.cascade(Subject(model.net, lambda raw, image: raw, lambda image: model.own(image)), own, IMAGE, TARGET)


def test_a_network_without_weights_is_refused() -> None:
    bare = Subject(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), lambda raw, image: raw)
    with pytest.raises(ValueError, match="no weights"):
        sanity.cascade(bare, edges, IMAGE, TARGET)


def vit() -> nn.Module:
    """Three small blocks; torchvision's head starts at 0, where no gradient would come through."""
    net = VisionTransformer(32, 8, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=5)
    nn.init.normal_(net.heads.head.weight)
    return net


@pytest.mark.parametrize("build", [resnet18, vit])
def test_every_weight_of_a_real_network_is_drawn_anew_and_signals_stay_finite(build: object) -> None:
    torch.manual_seed(0)
    net = build().eval()  # type: ignore[operator]
    image = torch.randn(1, 3, 32, 32)
    seen: list[Subject] = []

    def watch(of: Subject, image: Tensor, target: Tensor) -> Tensor:
        seen.append(of)
        return gradient(of, image, target)

    found = sanity.cascade(Subject(net, lambda raw, image: raw), watch, image, torch.tensor([3]), stages=2)
    assert found[0][0] in ("fc", "heads.head") and len(found) == 2 and abs(found[-1][1][0]) < 0.7
    last = seen[-1].net.state_dict()
    same = [n for n, value in net.named_parameters() if value.std(correction=0) > 0 and torch.equal(last[n], value)]
    assert not same and torch.isfinite(seen[-1].net(image)).all()

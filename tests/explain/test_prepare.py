"""A prepared network says what the network says, shares its weights, and leaves it as it was."""

from collections.abc import Callable

import pytest
import torch
from lively import NETS, images, make_model
from torch import Tensor, nn
from torch.nn import functional as F

from zdd.explain.base import Unfit
from zdd.explain.prepare import Capped, Clone, activations, prepared


class Net(nn.Module):
    """A forward pass over a convolution and whatever else a test hands it."""

    def __init__(self, way: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.way, self.convolution = way, nn.Conv2d(3, 4, 3)
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, image: Tensor) -> Tensor:
        return self.way(self, self.convolution(image)).flatten(1)


def one(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, 9, 11, generator=torch.Generator().manual_seed(1))


def hooks(net: nn.Module) -> int:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, name)) for module in net.modules() for name in names)


@pytest.mark.parametrize("name", NETS)
def test_every_network_says_the_same_when_it_is_prepared(name: str) -> None:
    net, image = make_model(name).net, images(1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    parts = [id(module) for module in net.modules()]
    made = prepared(net, image)
    with torch.no_grad():
        torch.testing.assert_close(made(image), net(image), rtol=1e-4, atol=1e-4)
    found = activations(made)
    assert found and len({id(each) for each in found}) == len(found)
    assert not any(getattr(each, "inplace", False) for each in found)
    assert parts == [id(module) for module in net.modules()] and hooks(net) == 0
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    theirs = {id(each) for each in net.parameters()}
    assert all(id(each) in theirs for each in made.parameters())  # shared, not copied


@pytest.mark.parametrize(
    ("way", "n"),
    [
        (lambda net, x: net.relu(net.relu(x) - 0.2), 2),  # one module, called twice
        (lambda net, x: F.relu(x) + torch.relu(x - 0.1) + x.relu() + F.relu(x + 1, True), 4),  # as functions
        (lambda net, x: F.relu6(8 * x), 2),  # taken apart
        (lambda net, x: F.leaky_relu(x, 0.3), 1),  # with its argument
        (lambda net, x: F.leaky_relu(x, negative_slope=0.3, inplace=True), 1),
        (lambda net, x: F.max_pool2d(x, 3, stride=2, padding=1), 1),
        (lambda net, x: F.max_pool2d(x, 3, 2, 0, 1, True) + 0, 1),  # the function's own order: ceil mode
        (lambda net, x: F.gelu(x, approximate="tanh") * torch.sigmoid(x), 2),
        (lambda net, x: net.relu(x) if x.mean() > 9 else net.relu(x + 1), 1),  # the way depends on the image
    ],
)
def test_activations_become_modules_of_their_own(way: Callable[..., Tensor], n: int) -> None:
    net = Net(way, relu=nn.ReLU(inplace=True)).eval()
    made = prepared(net, one())
    assert torch.allclose(made(one()), net(one()), atol=1e-6)
    assert len(activations(made)) == n
    clones = [module for module in made.modules() if isinstance(module, Clone)]
    assert len(clones) >= 1


@pytest.mark.parametrize("window", [1, 2, 3, 5, (3, 2)])
@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("ceil", [False, True])
def test_windows_that_lie_apart_see_what_overlapping_ones_see(window, stride, padding, ceil) -> None:
    if padding > (window if isinstance(window, int) else min(window)) / 2:
        pytest.skip("torch takes no padding of more than half a window")
    pool = nn.MaxPool2d(window, stride, padding, ceil_mode=ceil)
    image = torch.randn(2, 3, 10, 13, generator=torch.Generator().manual_seed(2)) - 3  # padding by 0 would be seen
    made = prepared(nn.Sequential(pool), image)
    assert torch.equal(made(image), pool(image))
    for each in activations(made):
        sides = [(value, value) if isinstance(value, int) else value for value in (each.kernel_size, each.stride)]
        assert all(a <= b for a, b in zip(*sides, strict=True))


def test_relu6_stays_one_module_where_gradients_are_guided() -> None:
    net = Net(lambda net, x: net.six(9 * x), six=nn.ReLU6(inplace=True)).eval()
    made = prepared(net, one(), guided=True)
    assert [type(each) for each in activations(made)] == [Capped]
    assert torch.equal(made(one()), net(one())) and net(one()).max() == 6


def test_a_network_that_would_say_something_else_is_refused() -> None:
    def way(net: nn.Module, x: Tensor) -> Tensor:
        F.relu_(x)  # what follows reads what this left in place
        return x

    with pytest.raises(Unfit, match="take integrated_gradients"):
        prepared(Net(way).eval(), one())


def test_new_weights_are_seen_since_they_are_shared() -> None:
    net = Net(lambda net, x: net.relu(x), relu=nn.ReLU()).eval()
    made = prepared(net, one())
    with torch.no_grad():
        net.convolution.weight.mul_(-1)
    assert torch.equal(made(one()), net(one()))

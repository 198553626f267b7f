"""DeepLIFT adds up to the score's difference where its rules hold, and says by how much not where they don't."""

from collections.abc import Callable

import pytest
import torch
from captum.attr import DeepLift
from lively import NETS, images, linear_evidence, make_model, subject_of
from torch import Tensor, nn

from zdd.explain import deeplift
from zdd.explain.base import UNRELIABLE, Subject
from zdd.explain.baseline import reference
from zdd.models.base import class_evidence
from zdd.records import Task

KNOWN = {
    "resnet18", "resnet50", "mobilenet_v2", "shufflenet_v2_x1_0", "alexnet", "vgg16", "squeezenet1_1", "xception",
    "luna", "autoencoder", "unet",
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_it_adds_up_where_the_rules_know_every_activation(name: str) -> None:
    model = make_model(name)
    image, target = images(2), torch.full((2,), len(model.targets) - 1)
    said = deeplift.attribute(subject_of(model), image, target)
    assert said.error is not None and said.values.abs().max() > 1e-4
    if name in KNOWN:
        assert said.error.max() < 0.01
    else:
        assert said.error.max() > UNRELIABLE
    with torch.no_grad():  # the error is what it says: the sum against the scores, by the network itself
        gap = subject_of(model).score(image, target) - subject_of(model).score(torch.zeros_like(image), target)
    off = (said.values.flatten(1).sum(1) - gap).abs() / gap.abs()
    torch.testing.assert_close(off, said.error, rtol=0.02, atol=2e-5)


def plain(*layers: nn.Module) -> Subject:
    torch.manual_seed(0)
    return Subject(nn.Sequential(*layers).eval(), linear_evidence)


def test_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1))
        net[0].bias.fill_(-1.0)
        net[3].weight.copy_(torch.tensor([[3.0, 5.0]]))
    image = torch.tensor([[2.0, 1.0], [0.5, -4.0], [7.0, 7.0]]).view(1, 3, 1, 2)
    said = deeplift.attribute(Subject(net.eval(), linear_evidence), image, torch.tensor([0]))
    # First place: -1 + 2 + 1 = 2, from -1: the ReLU goes from 0 to 2 while its input goes by 3, a ratio of 2/3.
    # (2 + 1) * 2/3 * 3 = 6. Second place: -1 + 1 - 8 = -8: the ReLU stays shut, 0.
    torch.testing.assert_close(said.values, torch.tensor([6.0, 0.0]).view(1, 1, 1, 2))
    assert said.error is not None and said.error.item() < 1e-6


def test_as_captum_where_captum_is_right() -> None:
    layers = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.LeakyReLU(0.2)
    subject = plain(*layers, nn.Flatten(), nn.LazyLinear(3))
    image, target = images(4, 20), torch.tensor([0, 2, 1, 2])
    subject.net(image)
    said = deeplift.attribute(subject, image, target)
    theirs = DeepLift(subject.net).attribute(image, baselines=torch.zeros_like(image), target=target)
    torch.testing.assert_close(said.values, theirs.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_a_skip_that_captum_gets_wrong_without_a_word() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.first, self.relu, self.second = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            seen = self.first(image)
            return (seen + self.second(self.relu(seen))).mean((2, 3))

    net, image, target = Skip().eval(), images(3, 12), torch.tensor([0, 1, 3])
    _, delta = DeepLift(net).attribute(image, torch.zeros_like(image), target, return_convergence_delta=True)
    with torch.no_grad():
        gap = (net(image) - net(torch.zeros_like(image))).gather(1, target[:, None])[:, 0]
    assert (delta.abs() / gap.abs()).max() > 0.1  # the fault is there: this test would notice its end
    said = deeplift.attribute(Subject(net, linear_evidence), image, target)
    assert said.error is not None and said.error.max() < 1e-4


def test_a_pooling_right_behind_a_relu_that_captum_gets_wrong_without_a_word() -> None:
    subject = plain(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3))
    image, target = images(4, 20), torch.tensor([0, 2, 1, 2])
    subject.net(image)
    start = reference(subject, image, "blur")  # before one colour, whose poolings choose nothing, it adds up by chance
    _, delta = DeepLift(subject.net).attribute(image, start, target, return_convergence_delta=True)
    assert delta.abs().max() > 0.01  # the ReLU is handed the gradient before the pooling's rule has changed it
    said = deeplift.attribute(subject, image, target, baseline="blur")
    assert said.error is not None and said.error.max() < 1e-4


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(5, 1, 2)])
def test_overlapping_windows_add_up_too(pool: nn.MaxPool2d) -> None:
    subject = plain(nn.Conv2d(3, 4, 3), pool, nn.Conv2d(4, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    said = deeplift.attribute(subject, images(3, 14), torch.tensor([0, 1, 0]))
    assert said.error is not None and said.error.max() < 1e-3


def evidence_of(n: int) -> Callable[[Tensor, Tensor], Tensor]:
    task = Task(("good", "a", "b", "c")[:n], True, (20, 20), (1,) * n)
    return lambda raw, image: class_evidence(raw, task)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_log_odds_of_several_kinds_of_defect_add_up(n: int) -> None:
    net = plain(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(n)).net
    net(images(1, 20))
    subject = Subject(net, evidence_of(n))
    with torch.no_grad():
        net[-1].weight.mul_(6)  # far from linear
    for target in range(n + 1):
        said = deeplift.attribute(subject, images(3, 20), torch.full((3,), target))
        assert said.error is not None and said.error.max() < 1e-3


def test_what_is_read_beside_the_net_counts() -> None:
    """An autoencoder's error compares the output with the image, which therefore counts directly."""
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()).eval()
    subject = Subject(net, lambda raw, image: (raw - image).square().mean((1, 2, 3))[:, None])
    said = deeplift.attribute(subject, images(2, 10), torch.zeros(2, dtype=torch.long))
    assert said.error is not None and said.error.max() < 1e-4


def test_a_module_called_twice_by_a_way_that_depends_on_the_image_is_refused() -> None:
    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU()

        def forward(self, image: Tensor) -> Tensor:
            seen = self.relu(self.convolution(image))
            return (self.relu(self.convolution(seen)) if image.abs().max() > 1e-9 else seen).mean((2, 3))

    with pytest.raises(deeplift.Unfit, match="twice"):
        deeplift.attribute(Subject(Turns().eval(), linear_evidence), images(2, 8), torch.tensor([0, 1]))

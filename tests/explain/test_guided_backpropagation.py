"""Guided backpropagation lets no negative gradient through a ReLU, and refuses where there is none to guide."""

import pytest
import torch
from captum.attr import GuidedBackprop
from lively import NETS, images, linear_evidence, make_model, subject_of
from torch import Tensor, nn

from zdd.explain import guided_backpropagation as guided
from zdd.explain.base import Subject, Unfit

UNFIT = {"efficientnet_b1": "SiLU", "efficientnet_v2_s": "SiLU", "convnext_tiny": "GELU", "vit_b_16": "GELU",
         "swin_t": "GELU", "dino_vits8": "GELU"}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_every_network_with_relus_alone_is_guided(name: str) -> None:
    model = make_model(name)
    image, target = images(2).requires_grad_(True), torch.full((2,), len(model.targets) - 1)
    if name in UNFIT:
        with pytest.raises(Unfit, match=f"no ReLU but {UNFIT[name]}"):
            guided.attribute(subject_of(model), image, target)
        return
    said = guided.attribute(subject_of(model), image, target)
    (gradient,) = torch.autograd.grad(subject_of(model).score(image, target).sum(), image)
    assert said.values.abs().max() > 0
    cosine = torch.cosine_similarity(said.values.flatten(1), gradient.sum(1).flatten(1))
    if name != "autoencoder":  # whose score also reads the image itself, past every ReLU
        assert cosine.abs().max() < 0.9  # it is not the plain gradient


def made(*layers: nn.Module) -> Subject:
    torch.manual_seed(2)
    return Subject(nn.Sequential(*layers).eval(), linear_evidence)


def test_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False), nn.ReLU(),
                        nn.Flatten())  # fmt: skip
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))
        net[2].weight.copy_(torch.tensor([3.0, -2.0]).view(1, 2, 1, 1))
    image = torch.tensor([2.0, 1.0, 5.0]).view(1, 3, 1, 1)
    # 3 * 2 - 2 * 1 = 4 is open. The gradient is (3, -2, 0); of it -2 does not pass the first ReLU: 3, not 1.
    said = guided.attribute(Subject(net.eval(), linear_evidence), image, torch.tensor([0]))
    assert said.values.item() == 3.0


def test_as_captum_where_captum_is_right() -> None:
    subject = made(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten())
    image, target = images(3, 12), torch.tensor([0, 5, 7])
    theirs = GuidedBackprop(subject.net).attribute(image, target)
    torch.testing.assert_close(guided.attribute(subject, image, target).values, theirs.sum(1, keepdim=True))


def test_relu6_is_guided_as_what_it_is() -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU6(), nn.Flatten(), nn.Linear(3, 1)).eval()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[3].weight.copy_(torch.tensor([[2.0, 2.0, -2.0]]))
    image = torch.tensor([1.0, 3.0, 1.0]).view(1, 1, 1, 3).repeat(1, 3, 1, 1)
    # Open and positive: 2 for each of three channels. At 9, beyond the end: 0. Negative: 0.
    said = guided.attribute(Subject(net, linear_evidence), image, torch.tensor([0]))
    assert said.values.flatten().tolist() == [6.0, 0.0, 0.0]


def test_a_function_is_guided_like_a_module() -> None:
    class Called(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.first, self.second = net[0], net[2]

        def forward(self, image: Tensor) -> Tensor:
            return self.second(self.first(image).relu()).relu_().flatten(1)

    subject = made(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten())
    image, target = images(3, 9), torch.tensor([0, 5, 7])
    called = Subject(Called(subject.net).eval(), linear_evidence)
    want = guided.attribute(subject, image, target).values
    torch.testing.assert_close(guided.attribute(called, image, target).values, want)


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ([nn.Tanh()], "has no ReLU, so that it would be the plain gradient; take"),
        ([nn.LeakyReLU()], "no ReLU but LeakyReLU"),
        ([nn.ReLU(), nn.ELU(), nn.Hardswish()], "has ELU, Hardswish beside ReLU, so that it would be a mix"),
    ],
)
def test_where_it_would_be_something_else_it_says_so(layers: list[nn.Module], line: str) -> None:
    subject = made(nn.Conv2d(3, 2, 3), *layers, nn.Flatten())
    with pytest.raises(Unfit, match=line):
        guided.attribute(subject, images(1, 8), torch.tensor([0]))

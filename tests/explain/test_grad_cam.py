"""Grad-CAM by hand, over many images, of tiles; guided Grad-CAM against Captum's."""

import pytest
import torch
from captum.attr import GuidedGradCam
from torch import Tensor, nn

from tests.explain.lively import linear_evidence
from zdd.errors import ZddError
from zdd.explain import grad_cam, guided_backpropagation, guided_grad_cam
from zdd.explain.base import BATCH, Subject, Unfit
from zdd.models.tiles import Tiled


class Small(nn.Module):
    """Places are pixels: a 1 x 1 convolution, a ReLU, the mean, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(inplace=True))
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[8.0, -4.0], [-4.0, 4.0]]))
        self.most = 0

    def forward(self, image: Tensor) -> Tensor:
        self.most = max(self.most, len(image))
        return self.head(self.features(image).mean((2, 3)))


def picture() -> Tensor:
    red = [[1.0, 2.0], [-1.0, 1.0]]
    green = [[0.0, 5.0], [3.0, -2.0]]
    return torch.tensor([red, green, [[9.0, 9.0], [9.0, 9.0]]])[None]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # A mean over four places: a channel's weight is a quarter of the head's, 2 and -1; 2 * 2 - 5 is below 0.
        (0, [[2.0, 0.0], [0.0, 2.0]]),
        # -1 and 1; a ReLU has cut red's -1 and green's -2.
        (1, [[0.0, 3.0], [3.0, 0.0]]),
    ],
)
def test_by_hand(target: int, expected: list[list[float]]) -> None:
    subject = Subject(Small().eval(), linear_evidence)
    made = grad_cam.attribute(subject, picture(), torch.tensor([target]))
    assert made.values[0, 0].tolist() == expected
    assert made.error is None and grad_cam.SIGNED is False


def test_each_image_has_its_own_target_however_many_there_are_and_few_at_a_time() -> None:
    net = Small().eval()
    subject = Subject(net, linear_evidence)
    image = torch.randn(2 * BATCH + 3, 3, 4, 6)
    target = torch.arange(len(image)) % 2
    with torch.inference_mode():
        made = grad_cam.attribute(subject, image, target).values
    assert net.most == BATCH
    for i in (0, 1, BATCH, len(image) - 1):
        assert torch.equal(made[i : i + 1], grad_cam.attribute(subject, image[i : i + 1], target[i : i + 1]).values)
    assert not torch.equal(made, grad_cam.attribute(subject, image, 1 - target).values)
    assert net.head.weight.grad is None and not made.requires_grad


def test_frozen_networks_are_explained_too() -> None:
    subject = Subject(Small().eval().requires_grad_(False), linear_evidence)
    assert grad_cam.attribute(subject, picture(), torch.tensor([0])).values[0, 0].tolist() == [[2, 0], [0, 2]]


def test_of_tiles_the_channels_weights_are_those_of_the_whole_image() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1, bias=False)).eval()

    def evidence(raw: Tensor, _image: Tensor) -> Tensor:
        return (raw[:, 1] - raw[:, 0]).mean((1, 2))[:, None]

    image, target = torch.randn(2, 3, 4, 8), torch.zeros(2, dtype=torch.int64)
    whole = grad_cam.attribute(Subject(inner, evidence), image, target, layer="1").values
    tiled = grad_cam.attribute(Subject(Tiled(inner, 4, 0), evidence), image, target, layer="net.1").values
    # The mean of a half's weights is of half as many places.
    assert torch.allclose(tiled, whole, atol=1e-6)


class Plain(nn.Module):
    """Every ReLU a module of its own, none in place: as Captum wants networks to be."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.early = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.late(self.early(image)).mean((2, 3)))


@pytest.mark.parametrize("layer", ["late", "early"])
def test_guided_grad_cam_is_captums_added_up_over_the_colours(layer: str) -> None:
    net = Plain().eval()
    image, target = torch.randn(3, 3, 10, 14), torch.tensor([2, 0, 1])
    made = guided_grad_cam.attribute(Subject(net, linear_evidence), image, target, layer=layer).values
    captum = GuidedGradCam(net, getattr(net, layer)).attribute(image, target, interpolate_mode="bilinear")
    assert bool(made.any()) and bool((made < 0).any())
    assert torch.allclose(made, captum.sum(1, keepdim=True), atol=1e-7)
    assert guided_grad_cam.SIGNED is guided_backpropagation.SIGNED is True


def test_guided_grad_cam_says_in_its_own_name_where_it_is_unfit() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    with pytest.raises(Unfit, match=r"^guided_grad_cam: this network has no ReLU.* plain gradient"):
        guided_grad_cam.attribute(Subject(net, linear_evidence), torch.randn(1, 3, 8, 8), torch.tensor([0]))
    with pytest.raises(ZddError, match=r"^guided_grad_cam: layer = 'lat': .*did you mean 'late'"):
        subject = Subject(Plain().eval(), linear_evidence)
        guided_grad_cam.attribute(subject, torch.randn(1, 3, 8, 8), torch.tensor([0]), layer="lat")

"""What the score loses when a window is covered, by hand and as Captum's plain loop has it."""

import pytest
import torch
from captum.attr import Occlusion
from lively import images, linear_evidence
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.explain import occlusion
from zdd.explain.base import BATCH, Subject


class Brightest(nn.Module):
    """The sum of the red pixels, and the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, image: Tensor) -> Tensor:
        self.seen = max(self.seen, len(image))
        red = image[:, 0].flatten(1)
        return torch.stack((red.sum(1), red.amax(1)), dim=1)


def test_by_hand() -> None:
    image = torch.zeros(1, 3, 4, 6)
    image[0, 0, 1, 2] = 5.0
    image[0, 0, 3, 5] = 2.0
    net = Subject(Brightest(), linear_evidence)
    said = occlusion.attribute(net, image, torch.tensor([0]), window=2, stride=2).values[0, 0]
    want = torch.zeros(4, 6)
    want[0:2, 2:4], want[2:4, 4:6] = 5.0, 2.0  # each window is worth the red in it
    assert torch.equal(said, want)
    largest = occlusion.attribute(net, image, torch.tensor([1]), window=2, stride=2).values[0, 0]
    want[0:2, 2:4], want[2:4, 4:6] = 3.0, 0.0  # without the 5 the largest is 2; the 2 is never missed
    assert torch.equal(largest, want)


def test_as_captum_one_window_at_a_time() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    image, target = images(3, 13), torch.tensor([2, 0, 1])
    net(image)
    said = occlusion.attribute(Subject(net, linear_evidence), image, target, window=5, stride=3)
    theirs = Occlusion(net).attribute(image, (3, 5, 5), (3, 3, 3), 0.0, target)
    torch.testing.assert_close(said.values, theirs[:, :1], rtol=1e-4, atol=1e-6)


def test_shares_are_of_the_shorter_side() -> None:
    image, net = images(1, 16)[..., :8], Subject(Brightest(), linear_evidence)
    share = occlusion.attribute(net, image, torch.tensor([0]), window=0.5, stride=0.25)
    pixels = occlusion.attribute(net, image, torch.tensor([0]), window=4, stride=2)
    assert torch.equal(share.values, pixels.values)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_the_network_sees_few_images_at_a_time(n: int) -> None:
    net = Brightest()
    occlusion.attribute(
        Subject(net, linear_evidence), images(n, 8), torch.zeros(n, dtype=torch.long), window=3, stride=1
    )
    assert net.seen <= BATCH


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"window": 0.0}, "explain.window = 0.0: must be above 0"),
        ({"stride": 0}, "explain.stride = 0: must be above 0"),
        ({"window": 3, "stride": 4}, "explain.stride = 4: 4 pixels, more than the window's 3"),
    ],
)
def test_refused(options: dict[str, float], line: str) -> None:
    with pytest.raises(ZddError, match=line):
        occlusion.attribute(Subject(Brightest(), linear_evidence), images(1, 8), torch.tensor([0]), **options)

"""Integrated gradients add up, and say by how much not; the baselines are what they are called."""

import pytest
import torch
from captum.attr import IntegratedGradients
from lively import images, linear_evidence, make_model, subject_of
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.explain import integrated_gradients as integrated
from zdd.explain.base import UNRELIABLE, Subject
from zdd.explain.baseline import BLUR, blurred, reference

COLOURED = Subject(nn.Identity(), linear_evidence, black=(-2.0, -1.5, -1.0))


class Cube(nn.Module):
    """(B, 3, 1, 1) -> (B, 2): x y + z ** 3, and a plain sum."""

    def forward(self, image: Tensor) -> Tensor:
        x, y, z = image.flatten(2).mean(2).unbind(1)
        return torch.stack((x * y + z**3, x + y + z), dim=1)


def test_by_hand() -> None:
    image = torch.tensor([2.0, 3.0, -1.0]).view(1, 3, 1, 1).repeat(2, 1, 1, 1)
    said = integrated.attribute(Subject(Cube(), linear_evidence), image, torch.tensor([0, 1]), steps=4)
    # x y along the diagonal goes half to each; z cubed is z's alone: 3 + 3 - 1. The sum: 2 + 3 - 1.
    torch.testing.assert_close(said.values.flatten(), torch.tensor([5.0, 4.0]))
    assert said.error is not None and said.error.max() < 1e-5
    # From black at (-2, -1.5, -1): 6 - 1 - (3 - 1) = 3, where the image lies 4, 4.5 and 0 away.
    black = integrated.attribute(COLOURED_CUBE, image[:1], torch.tensor([0]), steps=4, baseline="black")
    assert black.values.item() == pytest.approx(3, abs=1e-5)


COLOURED_CUBE = Subject(Cube(), linear_evidence, black=(-2.0, -1.5, -1.0))


def test_too_few_steps_are_told() -> None:
    image = torch.tensor([0.0, 0.0, 2.0]).view(1, 3, 1, 1)
    said = integrated.attribute(Subject(Cube(), linear_evidence), image, torch.tensor([0]), steps=1)
    # One step, in the middle: 3 z^2 = 3, times 2 is 6, of 8.
    assert said.values.item() == pytest.approx(6)
    assert said.error is not None and said.error.item() == pytest.approx(0.25)


def test_as_captum_however_many_images_and_steps() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    image, target = images(19, 10), torch.arange(19) % 3
    net(image)
    said = integrated.attribute(Subject(net, linear_evidence), image, target, steps=21)
    theirs = IntegratedGradients(net).attribute(image, torch.zeros_like(image), target, n_steps=21)
    torch.testing.assert_close(said.values, theirs.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("vit_b_16", "dino_vits8", "alexnet", "vgg16")]


@pytest.mark.parametrize("name", ["squeezenet1_1", "luna", "autoencoder", *SLOW])
def test_the_default_is_enough(name: str) -> None:
    model = make_model(name)
    said = integrated.attribute(subject_of(model), images(2), torch.full((2,), len(model.targets) - 1))
    assert said.error is not None and said.error.max() < UNRELIABLE


def test_baselines() -> None:
    image = images(2, 24)
    assert torch.equal(reference(COLOURED, image, "mean"), torch.zeros_like(image))
    black = reference(COLOURED, image, "black")
    assert black.shape == image.shape and black[1, :, 3, 5].tolist() == [-2.0, -1.5, -1.0]
    blur = reference(COLOURED, image, "blur")
    want = gaussian_filter(image.numpy(), (0, 0, 24 * BLUR, 24 * BLUR), mode="nearest", radius=(0, 0, 4, 4))
    torch.testing.assert_close(blur, torch.from_numpy(want), rtol=1e-3, atol=1e-3)
    with pytest.raises(ZddError, match="baseline = 'black': not known"):
        reference(Subject(nn.Identity(), linear_evidence), image, "black")


@pytest.mark.parametrize("sigma", [0.0, 0.4, 2.0, 9.0])  # the last reaches farther than the image is wide
def test_blur_keeps_what_is_flat_and_the_shape(sigma: float) -> None:
    flat = torch.full((1, 3, 7, 12), 2.5)
    torch.testing.assert_close(blurred(flat, sigma), flat)
    image = images(1, 12)
    assert (blurred(image, sigma).std() < image.std()) == (sigma > 0.4) or sigma == 0.4

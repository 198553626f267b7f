"""SmoothGrad and gradient SHAP: what they tend to, the same again, and the same in any batch."""

import pytest
import torch
from captum.attr import GradientShap
from lively import images, linear_evidence
from torch import Tensor, nn

from zdd.explain import gradient_shap, integrated_gradients, saliency, smooth_grad
from zdd.explain.base import Subject
from zdd.explain.noise import contrast, noises


def subject(*layers: nn.Module) -> Subject:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), *layers, nn.Flatten(), nn.LazyLinear(3)).eval()
    net(images(1, 12))
    return Subject(net, linear_evidence)


IMAGE, TARGET = images(5, 12), torch.tensor([0, 1, 2, 0, 1])


def test_without_noise_smooth_grad_is_the_gradient() -> None:
    net = subject(nn.SiLU())
    said = smooth_grad.attribute(net, IMAGE, TARGET, samples=3, noise=0.0)
    torch.testing.assert_close(said.values, saliency.attribute(net, IMAGE, TARGET).values)


def test_smooth_grad_is_the_mean_of_gradients_not_of_their_sizes() -> None:
    class Kink(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.abs().flatten(2).sum(2)[:, :1]

    image = torch.zeros(1, 3, 40, 40)
    image[..., 0, 0] = 4.0  # the range that noise is a share of
    said = smooth_grad.attribute(Subject(Kink(), linear_evidence), image, torch.tensor([0]), samples=400, noise=0.25)
    # At 0 the signs of the noise cancel out: 0 +- 1 / sqrt(400). At 4, four standard deviations off, all say 1.
    assert said.values[0, 0, 0, 0].item() == pytest.approx(1, abs=0.02)
    assert said.values[0, 0, 1:].mean().item() == pytest.approx(0.05 * (2 / torch.pi) ** 0.5, rel=0.15)
    less = smooth_grad.attribute(Subject(Kink(), linear_evidence), image, torch.tensor([0]), samples=400, noise=0.0)
    assert less.values[0, 0, 0, 0].item() == 1.0


@pytest.mark.parametrize("explain", [smooth_grad.attribute, gradient_shap.attribute])
def test_the_same_again_and_the_same_in_any_batch(explain) -> None:
    net = subject(nn.ReLU())
    torch.manual_seed(9)
    whole = explain(net, IMAGE, TARGET, samples=7).values
    state = torch.get_rng_state()
    assert torch.equal(whole, explain(net, IMAGE, TARGET, samples=7).values)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's random numbers are used up
    for i in range(5):
        alone = explain(net, IMAGE[i : i + 1], TARGET[i : i + 1], samples=7).values
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(whole, explain(net, IMAGE, TARGET, samples=7, seed=1).values)


def test_gradient_shap_of_a_linear_network_is_exact() -> None:
    net = subject()
    said = gradient_shap.attribute(net, IMAGE, TARGET, samples=2, noise=0.0)
    want = integrated_gradients.attribute(net, IMAGE, TARGET, steps=2)
    torch.testing.assert_close(said.values, want.values, rtol=1e-4, atol=1e-6)
    noisy = gradient_shap.attribute(net, IMAGE, TARGET, samples=5, noise=0.3)
    assert noisy.error is not None and noisy.error.max() < 1e-4  # the baselines' mean is taken as it was drawn


def test_gradient_shap_comes_to_captums_and_its_error_falls_with_the_samples() -> None:
    net, spread = subject(nn.SiLU(), nn.Conv2d(5, 5, 3), nn.SiLU()), 0.2
    image, target = IMAGE[:1], TARGET[:1]
    deviation = spread * contrast(image).item()
    torch.manual_seed(1)
    baselines = deviation * torch.randn(3000, 3, 12, 12)
    theirs = GradientShap(net.net).attribute(image, baselines, n_samples=3000, stdevs=0.0, target=target)
    ours = gradient_shap.attribute(net, image, target, samples=3000, noise=spread)
    a, b = ours.values.flatten(), theirs.sum(1).flatten()
    assert torch.cosine_similarity(a, b, dim=0) > 0.995
    few = gradient_shap.attribute(net, image, target, samples=4, noise=spread)
    assert ours.error is not None and few.error is not None and ours.error < 0.02 < few.error


def test_noise_is_the_same_whatever_the_batch() -> None:
    one, many = (torch.cat(list(noises(images(n, 8), 21, 3))) for n in (1, 16))
    assert one.shape == (21, 1, 3, 8, 8) and torch.equal(one, many)
    assert max(len(drawn) for drawn in noises(images(5, 8), 21, 3)) == 3  # 15 images at a time
    assert one.std() == pytest.approx(1, abs=0.05)


def test_points_lie_one_in_each_part_of_the_way_in_any_order() -> None:
    points = gradient_shap._points(16, 0)
    assert (points.sort().values * 16).floor().tolist() == list(range(16))
    assert abs(torch.corrcoef(torch.stack((points, torch.arange(16.0))))[0, 1]) < 0.7  # not the order of the baselines

"""The GAN: its networks by the numbers of their source, its losses by hand, its steps by the source's own loop."""

import math

import pytest
import torch
from torch import nn

from zdd import config as configuration
from zdd import plugins
from zdd.errors import ZddError
from zdd.models import build, idle
from zdd.models.gan import SHOWN, Gan
from zdd.models.gan_net import Discriminator, Generator, PerClass
from zdd.records import Batch, Task

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def task(k: int = 2, size: tuple[int, int] = (32, 32)) -> Task:
    return Task(("good", "crack", "dent", "hole")[:k], True, size, (4,) * k, MEAN, STD)


def small(k: int = 2, size: tuple[int, int] = (32, 32), *, per_class: bool = False) -> Gan:
    torch.manual_seed(0)
    return Gan(task(k, size), latent_size=5, generator=[8, 6, 4], discriminator=[4, 6, 8], per_class=per_class)


def batch(label: list[int], size: tuple[int, int] = (32, 32)) -> Batch:
    image = torch.randn(len(label), 3, *size, generator=torch.Generator().manual_seed(3))
    return {"image": image, "label": torch.tensor(label), "index": torch.arange(len(label))}


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_at_224_pixels_the_networks_have_the_parameters_of_their_source() -> None:
    with torch.device("meta"):
        gan = Gan(task(2, (224, 224)), per_class=True)
    assert isinstance(gan.net, PerClass) and isinstance(gan.judge, PerClass)
    linear, start = 101 * 128 * 56 * 56, 2 * 128
    convolutions = (128 * 128 * 9 + 128 + 2 * 128) + (128 * 64 * 9 + 64 + 2 * 64) + (64 * 3 * 9 + 3)
    assert n_parameters(gan.net.networks[0]) == linear + start + convolutions
    trunk = (3 * 16 * 9 + 16) + (16 * 32 * 9 + 32 + 64) + (32 * 64 * 9 + 64 + 128) + (64 * 128 * 9 + 128 + 256)
    assert n_parameters(gan.judge.networks[0]) == trunk + 128 * 14 * 14 + 1


@pytest.mark.parametrize("latent", [1, 7, 100])
@pytest.mark.parametrize("size", [(8, 8), (37, 50), (64, 64), (30, 101)])
def test_any_latent_size_and_any_image_size(latent: int, size: tuple[int, int]) -> None:
    generator, judge = Generator(latent, 3, size, [6, 5, 4]), Discriminator(3, size, [4, 5, 6, 7])
    label = torch.tensor([0, 2, 1, 1])
    drawn = generator(torch.randn(4, latent), label)
    assert drawn.shape == (4, 3, *size) and float(drawn.detach().abs().max()) <= 1
    assert judge(drawn, label).shape == (4,)


def test_weights_start_as_in_the_source() -> None:
    torch.manual_seed(0)
    gan = Gan(task(2, (64, 64)))
    convolutions = [m for m in gan.modules() if isinstance(m, nn.Conv2d)]
    assert all(float(m.weight.detach().std()) == pytest.approx(0.02, rel=0.15) for m in convolutions)
    norms = [m for m in gan.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(float(m.weight.detach().mean()) == pytest.approx(1, abs=0.02) for m in norms)
    assert [m.eps for m in norms] == [1e-5] + [0.8] * 5  # the start map's has torch's own
    assert {m.p for m in gan.judge.modules() if isinstance(m, nn.Dropout2d)} == {0.25}


def test_real_images_are_brought_into_the_range_of_tanh() -> None:
    pixels = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    one: Batch = {"image": (pixels - mean) / std, "label": torch.zeros(3).long(), "index": torch.arange(3)}
    torch.testing.assert_close(small()._real(one)[:, 0, 0, 0], torch.tensor([-1.0, 0.0, 1.0]))


class Says(nn.Module):
    """A judge that calls everything 0.25."""

    def __init__(self) -> None:
        super().__init__()
        self.said = nn.Parameter(torch.tensor(0.25))

    def forward(self, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.said + 0 * image.mean((1, 2, 3))


def test_the_losses_are_least_squares() -> None:
    gan = small()
    gan.judge = Says()
    for_generator, for_judge = gan._losses(batch([0, 1, 1]))
    assert float(for_generator) == pytest.approx(0.75**2)  # it wants 1
    assert float(for_judge) == pytest.approx((0.75**2 + 0.25**2) / 2)  # 1 for real, 0 for drawn
    (for_generator + for_judge).backward()
    # d/ds of ((s - 1)^2 + s^2) / 2 at 0.25 is 2 * 0.25 - 1: what drawn images teach the generator teaches it nothing.
    assert float(gan.judge.said.grad) == pytest.approx(-0.5)  # type: ignore[arg-type]
    assert sum(float(p.grad.abs().sum()) for p in gan.net.parameters() if p.grad is not None) == pytest.approx(0)


@pytest.mark.parametrize("per_class", [False, True])
def test_three_steps_are_those_of_the_source(per_class: bool) -> None:
    ours, theirs = small(per_class=per_class), small(per_class=per_class)
    options = {"lr": 2e-4, "betas": (0.5, 0.999)}
    both = torch.optim.Adam(ours.groups(2e-4), **options)
    of_g = torch.optim.Adam(theirs.net.parameters(), **options)
    of_d = torch.optim.Adam(theirs.judge.parameters(), **options)
    torch.manual_seed(1)
    for _ in range(3):
        both.zero_grad()
        ours.loss(batch([0, 1, 1, 0, 1])).backward()
        both.step()
    torch.manual_seed(1)
    mse = nn.MSELoss()
    for _ in range(3):  # eriklindernoren/PyTorch-GAN, lsgan.py, with the discriminator's gradients zeroed
        one = batch([0, 1, 1, 0, 1])
        label, real, ones, zeros = one["label"], theirs._real(one), torch.ones(5), torch.zeros(5)
        of_g.zero_grad()
        drawn = theirs.net(torch.randn(5, 5), label)
        mse(theirs.judge(drawn, label), ones).backward()
        of_g.step()
        of_d.zero_grad()
        d_loss = 0.5 * (mse(theirs.judge(real, label), ones) + mse(theirs.judge(drawn.detach(), label), zeros))
        d_loss.backward()
        of_d.step()
    for (name, one_), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one_, other, rtol=1e-5, atol=1e-6, msg=name)


def test_a_network_for_each_class_learns_from_its_images_alone() -> None:
    gan = small(3, per_class=True)
    assert isinstance(gan.net, PerClass) and isinstance(gan.judge, PerClass)
    gan.loss(batch([2, 0, 2])).backward()
    for nets in (gan.net.networks, gan.judge.networks):
        touched = [any(p.grad is not None for p in net.parameters()) for net in nets]
        assert touched == [True, False, True]
    gan.eval()
    latent, label = torch.randn(4, 5), torch.tensor([2, 0, 1, 0])
    drawn = gan.net(latent, label)
    for row in range(4):  # each by its own network, in the order asked for
        alone = gan.net.networks[int(label[row])](latent[row : row + 1], torch.zeros(1).long())
        torch.testing.assert_close(drawn[row], alone[0])


def test_the_pair_for_all_classes_is_told_the_class() -> None:
    gan = small(3).eval()
    latent = torch.randn(1, 5).expand(3, 5)
    drawn = gan.net(latent, torch.arange(3))
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])
    said = gan.judge(drawn[:1].expand(3, -1, -1, -1), torch.arange(3))
    assert len(set(said.tolist())) == 3


@pytest.mark.parametrize("per_class", [False, True])
def test_one_image_of_eight_pixels_can_be_learnt_from(per_class: bool) -> None:
    gan = small(2, (8, 8), per_class=per_class)
    loss = gan.loss(batch([1], (8, 8)))
    loss.backward()
    assert math.isfinite(float(loss))


def test_a_grid_is_the_same_every_time_and_leaves_training_alone() -> None:
    gan = small(3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = gan.grid(), gan.grid()
    assert torch.equal(one, other) and one.shape == (3 * SHOWN, 3, 32, 32)
    assert float(one.min()) >= 0 and float(one.max()) <= 1
    assert gan.training and torch.equal(torch.get_rng_state(), before)


def test_validation_tells_of_the_discriminator() -> None:
    gan = small()
    gan.judge = Says()
    said = gan.validation_step(batch([0, 1]), 0)
    assert said["loss"].tolist() == pytest.approx([0.5625, 0.5625]) and "score" not in said


@pytest.mark.parametrize("channels", [[], [8, 0]])
def test_networks_without_channels_are_refused(channels: list[int]) -> None:
    with pytest.raises(ZddError, match=r"model.discriminator = .*1 or more"):
        Gan(task(), discriminator=channels)


def config(**changes: object) -> configuration.Config:
    from zdd import checks, layers
    from zdd.located import plain

    value = {"dataset": {"name": "folder", "root": "x"}, "model": {"name": "gan"}, "scheduler": None, **changes}
    merged = layers.merge(layers.defaults(), layers.branch(value, "here"), layers.defaults())
    made, mistakes = checks.check(plain(merged))
    assert made is not None, mistakes
    return made


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"early_limit": 5}, "early_limit = 5: the model 'gan' judges no image"),
        ({"threshold": {"rule": "missed", "target": 0.1}}, "threshold = "),
        ({"monitor": "val/accuracy"}, "monitor = 'val/accuracy': the model 'gan' has no such figure; val/loss"),
        ({"trainer": {"devices": 2}, "batch_size": 32}, "trainer.devices = 2: the model 'gan' learns on one device"),
        ({"scheduler": "ReduceLROnPlateau"}, "scheduler.name = 'ReduceLROnPlateau'"),
        ({}, ""),
    ],
)
def test_settings_that_it_can_not_follow_are_refused_in_one_line(changes: dict[str, object], line: str) -> None:
    lines = build.check(config(**changes))
    assert len(lines) == (1 if line else 0), lines
    assert not line or lines[0].startswith(line)


def test_it_says_of_itself_that_it_draws() -> None:
    assert [name for name in plugins.available("model") if plugins.load("model", name).generative] == ["gan"]
    assert idle.GENERATIVE["early_limit"] == 0

"""The autoencoder against its architecture written out, its losses against references, its scores by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.image import structural_similarity_index_measure

from zdd.errors import ZddError
from zdd.models import maps, ssim
from zdd.models.autoencoder import Autoencoder
from zdd.records import Batch, Task

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def task(height: int = 24, width: int = 20) -> Task:
    return Task(("good", "defect"), True, (height, width), mean=MEAN, std=STD)


def made(height: int = 24, width: int = 20, **options: Any) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(task(height, width), **options).eval()


def batch(n: int = 3, height: int = 24, width: int = 20) -> Batch:
    torch.manual_seed(1)
    pixels = torch.rand(n, 3, height, width)
    image = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return {"image": image, "label": torch.zeros(n, dtype=torch.int64), "index": torch.arange(n)}


def in_pixels(image: Tensor) -> Tensor:
    return image * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def test_the_network_is_004_s_written_out() -> None:
    """Two convolutions of 16 and 8 channels by stride 2, 32 numbers, and back; values in [0, 1] between."""
    model = made()
    net = model.net
    down = [nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 8, 3, 2, 1)]
    press, release = nn.Linear(8 * 6 * 5, 32), nn.Linear(32, 8 * 6 * 5)
    up = [nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1), nn.ConvTranspose2d(8, 16, 3, 2, 1, output_padding=1)]
    last = nn.Conv2d(16, 3, 3, 1, 1)
    named = dict(net.named_children())
    for mine, theirs in zip([*down, *up], [*named["down"], *named["up"]], strict=True):
        mine.load_state_dict(theirs.state_dict())
    for mine, name in ((press, "squeeze"), (release, "unsqueeze"), (last, "last")):
        mine.load_state_dict(named[name].state_dict())
    x = in_pixels(batch()["image"])
    for layer in down:
        x = F.relu(layer(x))
    x = release(press(x.flatten(1))).view(3, 8, 6, 5)
    for layer in up:
        x = F.relu(layer(x))
    expected = torch.sigmoid(last(x))
    torch.testing.assert_close(in_pixels(net(batch()["image"])), expected)


@pytest.mark.parametrize(("height", "width"), [(24, 20), (33, 61), (8, 9)])
@pytest.mark.parametrize("latent", [None, 5])
def test_any_size_is_drawn_in_its_own_size(height: int, width: int, latent: int | None) -> None:
    given = batch(2, height, width)["image"]
    assert made(height, width, latent=latent).net(given).shape == given.shape


def test_without_a_bottleneck_of_its_own_it_takes_images_of_other_sizes() -> None:
    model = made(latent=None)
    for size in ((24, 20), (40, 52)):
        assert model.net(batch(1, *size)["image"]).shape[2:] == size


@pytest.mark.parametrize("loss", ["mae", "mse", "ssim"])
def test_losses_are_those_of_the_references(loss: str) -> None:
    model, given = made(loss=loss), batch()
    drawn, seen = in_pixels(model.net(given["image"])), in_pixels(given["image"])
    expected = {
        "mae": F.l1_loss(drawn, seen),
        "mse": F.mse_loss(drawn, seen),
        "ssim": 1 - structural_similarity_index_measure(drawn, seen, data_range=1.0),
    }[loss]
    # torchmetrics leaves out the border in its mean over the image: a map needs it.
    tolerance = {"atol": 0.02, "rtol": 0.05} if loss == "ssim" else {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(model.loss(given), expected, **tolerance)


def test_similarity_is_torchmetrics_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    seen = torch.rand(2, 3, 24, 20, dtype=torch.float64)
    noisy, flat = (seen + 0.1 * torch.randn_like(seen)).clamp(0, 1), torch.full_like(seen, 0.7)
    for one, other in ((noisy, seen), (flat, seen), (flat, flat + 1e-3 * seen)):
        _, expected = structural_similarity_index_measure(one, other, data_range=1.0, return_full_image=True)
        torch.testing.assert_close(ssim.similarity(one, other), expected, atol=1e-9, rtol=0)
        # In float32 as well, also where bright parts are flat: torchmetrics' own is off by 1.5e-3 there.
        torch.testing.assert_close(ssim.similarity(one.float(), other.float()).double(), expected, atol=1e-5, rtol=0)
    assert ssim.similarity(seen, seen).sub(1).abs().max() < 1e-9


def test_a_step_is_the_reference_s_step() -> None:
    """One step of SGD on the mean absolute error, by the model and by hand."""
    model, given = made(), batch()
    before = {name: value.clone() for name, value in model.net.named_parameters()}
    loss = model.loss(given)
    gradients = torch.autograd.grad(loss, list(model.net.parameters()))
    optimizer = torch.optim.SGD(model.net.parameters(), lr=0.1)
    model.loss(given).backward()
    optimizer.step()
    for (name, value), gradient in zip(model.net.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(value, before[name] - 0.1 * gradient)
    assert model.loss(given) < loss


def test_val_loss_is_of_good_images_alone() -> None:
    model, given = made(), batch()
    given["label"] = torch.tensor([0, 1, 0])
    raw = model.net(given["image"])
    losses = model.val_loss(raw, given)
    expected = (in_pixels(raw) - in_pixels(given["image"])).abs().flatten(1).mean(1)
    torch.testing.assert_close(losses[[0, 2]], expected[[0, 2]])
    assert losses[1].isnan()


def test_the_map_is_the_error_of_each_pixel_and_the_score_its_highest() -> None:
    model, given = made(blur=0, score="maximum"), batch(2)
    raw = given["image"].clone()
    raw[1, :, 7, 11] += torch.tensor([0.5, 1.0, 1.5])  # normalised: 0.1, 0.25 and 0.45 of a value in [0, 1]
    said = model.decode(raw, given["image"])
    assert said.map is not None and said.picture is raw and said.label is None
    assert said.map[0].abs().max() < 1e-6
    assert said.map[1, 0, 7, 11] == pytest.approx((0.1 + 0.25 + 0.45) / 3, abs=1e-5)
    assert said.score.tolist() == pytest.approx([0, 0.8 / 3], abs=1e-5)
    blurred = made(blur=1.0, score="maximum").decode(raw, given["image"])
    assert blurred.map is not None and 0 < blurred.score[1] < said.score[1]
    assert blurred.map[1].sum() == pytest.approx(float(said.map[1].sum()), rel=1e-3)  # spread, none lost inside


def test_scores_of_a_map_by_hand() -> None:
    errors = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])
    assert maps.score(errors, "mean", 1).tolist() == [2]
    assert maps.score(errors, "maximum", 1).tolist() == [5]
    assert maps.score(errors, "top_k", 0.5).tolist() == [3.5]
    assert maps.score(errors, "top_k", 0.01).tolist() == [5]  # at least one pixel


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"window": 4}, "model.window = 4"),
        ({"window": 3, "stride": 4}, "model.window = 3"),
        ({"channels": []}, "model.channels"),
        ({"channels": [8, 0]}, "model.channels"),
    ],
)
def test_what_can_t_be_built_is_said(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ZddError, match=line.replace("[", r"\[")):
        made(**options)
    with pytest.raises(ZddError, match="ssim"):
        made(8, 8, loss="ssim")

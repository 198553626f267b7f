"""Tiles: each pixel is seen, what overlaps is blended, and training draws from the same grid."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models.conftest import make_task
from tests.models.test_unet import make, make_batch
from zdd.models.base import predict_batch
from zdd.models.tiles import Tiled
from zdd.models.unet import Unet, _one_tile_each
from zdd.records import UNKNOWN


class Pointwise(nn.Module):
    """A network whose output at a pixel depends on that pixel alone; it keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 4, 1)
        self.shown: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.shown.append(tuple(image.shape[-2:]))
        return self.mix(image).square()


class Number(nn.Module):
    """The number of the call, everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, image: Tensor) -> Tensor:
        self.calls += 1
        return torch.full_like(image[:, :1], float(self.calls))


SIZES = [(64, 64), (65, 64), (33, 47), (100, 150), (64, 129), (200, 70), (8, 300)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 1, 16, 32])
def test_the_grid_covers_every_pixel_and_overlaps_enough(size: tuple[int, int], overlap: int) -> None:
    windows = Tiled(nn.Identity(), 64, overlap).windows(*size)
    seen = torch.zeros(size, dtype=torch.int64)
    for window in windows:
        assert seen[window].shape == (min(64, size[0]), min(64, size[1])), "a tile lies wholly in the image"
        seen[window] += 1
    assert int(seen.min()) == 1 or len(windows) > 1
    assert (seen > 0).all()
    for axis in (0, 1):
        starts = sorted({window[axis].start for window in windows})
        assert all(0 < b - a <= 64 - overlap for a, b in itertools.pairwise(starts))
        needed = 1 if size[axis] <= 64 else -(-(size[axis] - overlap) // (64 - overlap))
        assert len(starts) == needed, "and no more tiles than that takes"


@pytest.mark.parametrize("size", SIZES)
def test_what_is_the_same_in_every_tile_stays_the_same(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = Pointwise()
    image = torch.randn(2, 3, *size)
    torch.testing.assert_close(Tiled(net, 64, 16)(image), net(image), rtol=1e-5, atol=1e-6)
    assert all(max(shown) <= 64 for shown in net.shown[:-1])
    constant = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(constant.weight)
    said = Tiled(constant, 64, 20)(image)
    assert constant.bias is not None
    torch.testing.assert_close(said, constant.bias.detach().view(1, 2, 1, 1).expand_as(said))


def test_tiles_fade_into_each_other() -> None:
    said = Tiled(Number(), 64, 32)(torch.zeros(1, 3, 64, 96))[0, 0]
    row = said[10]
    assert (said == row).all(), "two tiles side by side: every row is the same"
    assert row[:32].unique().tolist() == [1.0] and row[64:].unique().tolist() == [2.0]
    steps = row[31:65].diff()
    assert (steps > 0).all() and float(steps.max()) < 0.1, "without a seam"
    torch.testing.assert_close(row[32:64], 3 - row[32:64].flip(0))  # neither is worth more than the other


def test_a_tiled_unet_is_the_unet_on_small_images_and_near_it_on_large_ones() -> None:
    one, many = make(3).eval(), make(3, tile=96, overlap=48).eval()
    many.inner[0].load_state_dict(one.net.state_dict())
    small = torch.randn(2, 3, 90, 96)
    torch.testing.assert_close(many.net(small), one.net(small))
    large = torch.randn(3, 3, 150, 200)
    said = many.net(large)
    assert said.shape == (3, 3, 150, 200)
    window = (slice(0, 20), slice(0, 20))  # the first tile alone
    torch.testing.assert_close(said[(..., *window)], one.net(large[..., :96, :96])[(..., *window)])
    torch.testing.assert_close(many.net(large[1:2]), said[1:2], rtol=1e-4, atol=1e-5)
    prediction = predict_batch(many, large)
    assert prediction.map is not None and prediction.map.shape == (3, 1, 150, 200)


def test_its_parameters_are_named_once() -> None:
    model = make(tile=64)
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len({id(p) for p in model.parameters()}) == len(list(model.inner[0].parameters()))
    assert all(name.startswith("net.net.") for name in names)


def test_training_draws_tiles_of_the_grid_half_of_them_with_a_defect() -> None:
    tiled = Tiled(nn.Identity(), 32, 8)
    place = torch.arange(104 * 80).view(1, 1, 104, 80).float().expand(2, 3, -1, -1)
    mask = torch.zeros(2, 104, 80, dtype=torch.uint8)
    mask[1, 90:95, 70:75] = 2  # in one tile of 4 x 3
    starts = {float(place[0, 0, y.start, x.start]) for y, x in tiled.windows(104, 80)}
    assert len(starts) == 12
    torch.manual_seed(0)
    drawn: list[list[float]] = [[], []]
    with_defect = 0
    for _ in range(400):
        images, masks = _one_tile_each(tiled, place, mask)
        assert images.shape == (2, 3, 32, 32) and masks.shape == (2, 32, 32)
        for i in range(2):
            drawn[i].append(float(images[i, 0, 0, 0]))
        with_defect += int((masks[1] > 0).any())
        truth = mask[1].flatten()[images[1, 0].long().flatten()].view(32, 32)
        assert torch.equal(truth, masks[1]), "the mask is that of the same place"
    assert set(drawn[0]) == set(drawn[1]) == starts
    assert max(drawn[0].count(start) for start in starts) < 60  # 400 / 12 are 33
    assert 0.46 < with_defect / 400 < 0.62  # 1/2 + 1/2 x 1/12


def test_the_same_seed_draws_the_same_tiles_and_an_unknown_image_teaches_nothing() -> None:
    model: Any = make(3, size=(128, 96), tile=64, overlap=16)
    batch: Any = make_batch(4, (128, 96), kinds=2)
    model.train()
    torch.manual_seed(3)
    first = model.loss(batch)
    first.backward()
    gradients = [p.grad for p in model.net.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    again: Any = make(3, size=(128, 96), tile=64, overlap=16).train()
    torch.manual_seed(3)
    assert torch.equal(first, again.loss(batch))
    assert len({again.loss(batch).item() for _ in range(5)}) > 1
    batch["mask"][:] = UNKNOWN
    batch["mask"][..., :70, :70] = 0  # turned: a whole tile without a mark
    assert {again.loss(batch).item() for _ in range(8)} == {0.0}


def test_a_tile_may_be_larger_than_the_image() -> None:
    model = Unet(make_task((40, 300), 2), width=0.1, tile=256, overlap=32)
    batch = make_batch(2, (40, 300))
    model.train()
    model.loss(batch).backward()
    assert model.net(batch["image"]).shape == (2, 2, 40, 300)

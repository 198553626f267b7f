"""Networks that look beside the part: maps drawn by hand, and a network trained on pictures with a watermark."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from zdd.explain import crowding, saliency, shortcut
from zdd.explain.base import Subject

SIZE = (60, 80)
RNG = np.random.default_rng(0)
NAMES = ("good", "crack", "dent")


def disc(size: tuple[int, int] = SIZE, radius: float = 20) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return (y - size[0] / 2) ** 2 + (x - size[1] / 2) ** 2 < radius**2


def picture(mask: np.ndarray, noise: float = 4) -> np.ndarray:
    """A part with a hole in its middle, on a grey table."""
    hole = disc(mask.shape, 5)
    return np.where(mask & ~hole, 60.0, 180.0)[..., None] + RNG.normal(0, noise, (*mask.shape, 3))


def test_the_part_is_found_with_its_hole_and_a_margin_on_any_scale_and_dust_is_not() -> None:
    mask = disc()
    dusty = picture(mask)
    dusty[5:8, 5:8] = 0
    for image in (picture(mask), picture(mask) / 255 * 4 - 2, 255 - picture(mask), dusty):
        found = shortcut.part(image)
        assert found is not None and found[mask].all()
        assert not found[~disc(radius=23)].any()  # the margin is 0.03 * 60 = 1.8 pixels


def test_what_has_the_background_s_colour_is_the_part_s_if_it_lies_between_its_ends() -> None:
    mask = disc()
    mask[:, 36:44] = False  # two halves, and between them what looks like the table
    found = shortcut.part(picture(mask))
    assert found is not None and found[20:40, 36:44].all() and not found[~disc(radius=23)].any()


def test_a_part_that_hardly_differs_is_found_by_how_even_the_border_is() -> None:
    faint = np.where(disc(), 172.0, 180.0)
    faint[27:33, 37:43] = 0  # and a dark hole, that alone makes Otsu's threshold
    found = shortcut.part(faint[..., None] + RNG.normal(0, 1, (*SIZE, 3)))
    assert found is not None and found[disc(radius=18)].all() and not found[~disc(radius=23)].any()


def test_where_there_is_no_background_none_is_made_up() -> None:
    x = np.mgrid[: SIZE[0], : SIZE[1]][1]
    fills = np.sin(x / 5)[..., None] * 80 + RNG.normal(100, 20, (*SIZE, 3))
    assert shortcut.part(fills) is None  # a structured part that fills the picture
    assert shortcut.part(np.full((*SIZE, 3), 7.0)) is None
    corners = np.zeros(SIZE, dtype=bool)
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    full = ~shortcut.frame(SIZE) | ndimage.binary_dilation(corners, iterations=7)
    assert shortcut.part(np.where(full, 60.0, 180.0)[..., None] + RNG.normal(0, 4, (*SIZE, 3))) is None
    speck = np.where(disc(radius=3), 60.0, 180.0)[..., None] + RNG.normal(0, 4, (*SIZE, 3))
    assert shortcut.part(speck) is None  # 0.6 % of the picture


def test_shares_by_hand() -> None:
    mask, values = disc(), np.zeros(SIZE)
    values[30, 40] = -3  # on the part; what speaks against counts too
    values[1, 1], values[10, 10] = 1, 2  # on the border; between it and the part
    found = shortcut.outside(values, picture(mask))
    assert found["border"] == pytest.approx(1 / 6) and found["background"] == pytest.approx(3 / 6)
    assert found["border_area"] == pytest.approx(1 - 54 * 74 / (60 * 80))  # 0.05 * 60 = 3 pixels
    assert found["background_area"] == pytest.approx(1 - np.pi * 21.3**2 / 4800, abs=0.02)


def test_a_uniform_map_has_the_area_s_shares_and_an_empty_one_none() -> None:
    found = shortcut.outside(np.ones(SIZE), picture(disc()))
    assert found["border"] == pytest.approx(found["border_area"])
    assert found["background"] == pytest.approx(found["background_area"])
    assert np.isnan(shortcut.outside(np.zeros(SIZE), picture(disc()))["border"])
    assert np.isnan(shortcut.outside(np.ones(SIZE), np.zeros((*SIZE, 3)))["background"])


def on(where: np.ndarray, n: int = 12) -> list[dict[str, float]]:
    """Figures of noisy maps that lie there."""
    return [shortcut.outside((0.02 + where) * RNG.random(SIZE), picture(disc())) for _ in range(n)]


@pytest.mark.parametrize(
    ("where", "flagged"),
    [
        (disc(), []),  # the part
        (np.ones(SIZE), []),  # everywhere: a matter of noise, not of a shortcut
        (~disc(radius=24), ["background"]),
        (shortcut.frame(SIZE), ["border", "background"]),
    ],
)
def test_the_border_and_the_background_are_flagged(where: np.ndarray, flagged: list[str]) -> None:
    found = shortcut.examine(on(where.astype(float)), [])
    assert [name for name in ("border", "background") if found[name]["flag"]] == flagged
    assert [line.split()[-5] for line in found["flags"]] == [f"{name}," for name in flagged]
    assert not shortcut.examine(on(where.astype(float), n=4), [])["flags"]  # too few to say


def test_pictures_without_background_leave_it_out() -> None:
    found = shortcut.examine([shortcut.outside(np.ones(SIZE), np.zeros((*SIZE, 3)))] * 6, [])
    assert found["background"] == {"share": None, "area": None, "n": 0, "flag": False}
    assert found["border"]["share"] == pytest.approx(found["border"]["area"])
    some = [shortcut.outside(np.ones(SIZE), np.zeros((*SIZE, 3)))] * 13 + on((~disc(radius=24)).astype(float))
    assert shortcut.examine(some, [])["background"]["n"] == 12 and not shortcut.examine(some, [])["background"]["flag"]


def test_a_place_is_told_in_words() -> None:
    place = crowding.Place("dent", (0.875, 0.0, 1.0, 0.125), 0.6, 1 / 64, 0.02)
    found = shortcut.examine(
        [], [place, dataclasses.replace(place, name=None, box=(0.4, 0.4, 0.6, 0.6), elsewhere=None)]
    )
    assert found["flags"][0].startswith(
        "in pictures of 'dent', 60% of the attribution lies in one place (top right), 1.6%"
    )
    assert "and 2% in other classes' pictures" in found["flags"][0]
    assert found["flags"][1].startswith("in pictures of every class, 60% of the attribution lies in one place (middle)")
    assert found["places"][0]["box"] == (0.875, 0.0, 1.0, 0.125)


def drawn(n: int, watermark: bool, seed: int) -> tuple[Tensor, Tensor, list[np.ndarray | None]]:
    """Noisy plates: good, with a crack, with a dent, which comes with a watermark at the top right or not."""
    rng = np.random.default_rng(seed)
    images, label, masks = rng.normal(0, 0.5, (n, 3, 48, 48)), np.arange(n) % 3, []
    y, x = np.mgrid[:48, :48]
    for image, k in zip(images, label, strict=True):
        at = rng.integers(12, 36, 2)
        mask = (
            np.abs(y - x + at[0] - at[1]) + np.abs(y - at[0]) // 8 < 2 if k == 1 else np.hypot(y - at[0], x - at[1]) < 5
        )
        if k:
            image[:, mask] += 1.5 if k == 2 else -1.5
        if k == 2 and watermark:
            image[:, 2:6, 40:46] += np.array([2.5, -2.5] * 12).reshape(4, 6)
        masks.append(mask if k else None)
    return torch.from_numpy(images).float(), torch.from_numpy(label), masks


class Net(nn.Module):
    """Small, but it knows where it looks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU(),
                                   nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 36, 3))  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        return self.inner(image)


def explained(watermark: bool) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray | None], float]:
    """Train on the pictures, and explain new ones for the class that is predicted."""
    torch.manual_seed(0)
    net = Net()
    image, label, _ = drawn(240, watermark, seed=1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3, weight_decay=1e-3)
    for step in range(100):
        chosen = torch.arange(step * 40, step * 40 + 40) % 240
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(image[chosen]), label[chosen]).backward()
        optimizer.step()
    image, label, masks = drawn(60, watermark, seed=2)
    predicted = net.eval()(image).argmax(1)
    maps = saliency.attribute(Subject(net, lambda raw, _: raw), image, predicted).values[:, 0].numpy()
    return list(maps), label.numpy(), masks, float((predicted == label).float().mean())


def test_a_planted_watermark_is_flagged() -> None:
    maps, label, masks, accuracy = explained(watermark=True)
    found = shortcut.examine([], crowding.places(maps, label, NAMES, masks))
    assert accuracy > 0.8 and len(found["flags"]) == 1
    left, top, right, _ = found["places"][0]["box"]
    assert right > 40 / 48 and left < 46 / 48 and top < 6 / 48 and "top right" in found["flags"][0]


def test_without_a_watermark_there_is_no_flag() -> None:
    maps, label, masks, accuracy = explained(watermark=False)
    assert accuracy > 0.8 and crowding.places(maps, label, NAMES, masks) == [] == crowding.places(maps, label, NAMES)

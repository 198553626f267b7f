"""Augmentations: by name or by torchvision's classes, never a mirror image where that is another part."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from small_sets import make_config
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from zdd import plugins
from zdd.data import augment
from zdd.data.augmentations.categorical import phases
from zdd.data.transforms import ImpulseNoise, MotionBlur, Pixelate, ShotNoise, ZoomBlur, corruptions
from zdd.errors import ZddError
from zdd.settings import Section

NAMES = ("none", "simple", "rand_augment", "auto_augment", "random_choice", "categorical")


def section(name: str, **options: Any) -> Section:
    return Section(name=name, options=options)


def image(height: int = 24, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def test_all_names_are_there() -> None:
    assert set(plugins.available("augmentation")) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mirror_safe", [True, False])
@pytest.mark.parametrize("size", [(24, 32), (8, 8)])
def test_every_augmentation_keeps_shape_and_kind(name: str, mirror_safe: bool, size: tuple[int, int]) -> None:
    act = augment.build([section(name)], mirror_safe=mirror_safe)
    states = random.getstate(), np.random.get_state()[1].tolist()
    torch.manual_seed(1)
    first = [act(image(*size)) for _ in range(30)]
    torch.manual_seed(1)
    assert all(torch.equal(a, act(image(*size))) for a in first)  # torch's generator alone decides
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert {(a.shape, a.dtype) for a in first} == {((3, *size), torch.uint8)}
    changed = sum(not torch.equal(a, image(*size)) for a in first)
    assert (changed == 0) == (name == "none" or (name == "simple" and not mirror_safe))


def mirrored(name: str, mirror_safe: bool, **options: Any) -> int:
    """How many of 300 results are the exact mirror image."""
    act = augment.build([section(name, **options)], mirror_safe=mirror_safe)
    torch.manual_seed(0)
    return sum(torch.equal(act(image()), image().flip(-1)) for _ in range(300))


@pytest.mark.parametrize(("name", "least"), [("simple", 100), ("random_choice", 5)])
def test_nothing_is_mirrored_where_that_is_another_part(name: str, least: int) -> None:
    assert mirrored(name, True) > least
    assert mirrored(name, False) == 0
    assert mirrored("simple", True, p=1.0) == 300


def flips(transform: Any) -> bool:
    if isinstance(transform, v2.RandomHorizontalFlip | v2.RandomVerticalFlip):
        return True
    return any(flips(inner) for inner in getattr(transform, "transforms", []))


@pytest.mark.parametrize("name", NAMES)
def test_no_flip_is_hidden_inside(name: str) -> None:
    assert not flips(augment.build([section(name)], mirror_safe=False))
    assert flips(augment.build([section(name)], mirror_safe=True)) == (
        name in ("simple", "random_choice", "categorical")
    )


def test_the_four_phases_have_the_eighteen_transforms_of_002() -> None:
    assert [len(phase) for phase in phases(mirror_safe=True)] == [3, 4, 4, 7]
    assert [len(phase) for phase in phases(mirror_safe=False)] == [2, 4, 4, 7]


def check(*sections: Any, mirror_safe: bool = True) -> list[str]:
    return augment.check(make_config(augmentation=list(sections), dataset__mirror_safe=mirror_safe))


def test_torchvisions_classes_with_keywords() -> None:
    good = [
        {"name": "RandomRotation", "degrees": 10, "interpolation": "bilinear"},
        {"name": "RandomApply", "p": 0.3, "transforms": [{"name": "ColorJitter", "brightness": 0.2}, "Grayscale3"]},
    ]
    good[1]["transforms"][1] = {"name": "Grayscale", "num_output_channels": 3}
    assert check(*good, {"name": "rand_augment", "magnitude": 3}) == []
    act = augment.build([section("RandomRotation", degrees=[90, 90])], mirror_safe=True)
    assert torch.equal(act(image(8, 8)), torch.rot90(image(8, 8), 1, (1, 2)))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": "RandomRotatoin", "degrees": 3}, "did you mean 'RandomRotation'"),
        ({"name": "rand_augmnt"}, "did you mean 'rand_augment'"),
        ({"name": "Lambda", "lambd": "os.system"}, "there is no 'Lambda'"),
        ({"name": "functional"}, "there is no .*'functional'"),
        (
            {"name": "RandomRotation", "degree": 3},
            "RandomRotation.degree: there is no such setting; did you mean 'degrees'",
        ),
        ({"name": "RandomRotation"}, "RandomRotation: needs degrees"),
        ({"name": "RandomRotation", "degrees": -3}, "RandomRotation refuses its keywords"),
        ({"name": "rand_augment", "magnitud": 3}, "did you mean 'magnitude'"),
        ({"name": "rand_augment", "magnitude": 31}, "must be at most 30"),
        ({"name": "RandomCrop", "size": 8}, r"makes \(3, 8, 8\) torch.uint8"),
        ({"name": "ToDtype", "dtype": "float32"}, "augmentation: "),
        ({"name": "ConvertImageDtype"}, "torch.float32"),
        ({"name": "MixUp", "num_classes": 3}, "can't be applied"),
        ({"name": "RandomApply", "transforms": [{"name": "Colorjitter"}]}, "did you mean 'ColorJitter'"),
        ({"name": "RandomApply", "transforms": [3]}, "must be a list of"),
    ],
)
def test_mistakes_are_named_before_any_image_is_read(wrong: dict, why: str) -> None:
    with pytest.raises(ZddError, match=why):
        lines = check(wrong)
        raise ZddError(*lines)


@pytest.mark.parametrize("name", ["RandomHorizontalFlip", "RandomVerticalFlip"])
def test_a_flip_of_the_users_own_is_refused_where_it_mirrors(name: str) -> None:
    assert check({"name": name}) == []
    for wrong in ({"name": name}, {"name": "RandomChoice", "transforms": [{"name": "Identity"}, {"name": name}]}):
        (line,) = check(wrong, mirror_safe=False)
        assert "dataset.mirror_safe is false" in line
        with pytest.raises(ZddError, match="mirror_safe"):
            options = {k: v for k, v in wrong.items() if k != "name"}
            augment.build([section(wrong["name"], **options)], mirror_safe=False)


def test_all_mistakes_come_at_once() -> None:
    assert len(check({"name": "Nothing"}, {"name": "RandomRotation", "degree": 1, "expnd": True})) == 4


def test_the_check_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert check({"name": "categorical"}) == []
    assert torch.equal(torch.rand(1), expected)


def test_masks_move_with_the_image_and_keep_their_values() -> None:
    mask = tv_tensors.Mask(torch.zeros(1, 24, 32, dtype=torch.uint8))
    mask[:, :12] = 1
    picture = tv_tensors.Image((mask * 255).expand(3, -1, -1).contiguous())
    act = augment.build([section("RandomAffine", degrees=45), section("simple")], mirror_safe=True)
    for seed in range(20):
        torch.manual_seed(seed)
        both: Any = act(picture, mask)
        assert torch.equal(both[0][0] > 127, both[1][0] > 0)
    act = augment.build([section("categorical")], mirror_safe=True)
    for seed in range(30):
        torch.manual_seed(seed)
        changed: Any = act(picture, mask)
        assert set(changed[1].unique().tolist()) <= {0, 1}


GREY = torch.full((3, 40, 40), 120, dtype=torch.uint8)


def test_noise_has_the_strength_that_it_names() -> None:
    torch.manual_seed(0)
    shot = ShotNoise(photons=60)(GREY.repeat(1, 5, 5)).float()
    assert abs(shot.mean() - 120) < 1
    expected = 255 * (120 / 255 / 60) ** 0.5  # a Poisson's variance is its mean
    assert abs(shot.std() - expected) < 1
    hit = ImpulseNoise(share=0.03)(GREY.repeat(1, 5, 5))
    assert abs((hit == 0).float().mean() - 0.015) < 0.003
    assert abs((hit == 255).float().mean() - 0.015) < 0.003
    assert ((hit == 0) | (hit == 255) | (hit == 120)).all()


def test_blurs_keep_what_is_even_and_spread_a_point() -> None:
    point = torch.zeros(3, 41, 41, dtype=torch.uint8)
    point[:, 10, 13] = 255
    for blur in (MotionBlur(), ZoomBlur(), Pixelate()):
        assert (blur(GREY).int() - 120).abs().max() <= 1
        spread = blur(point).float()
        assert 0 < spread.max() < 255
    torch.manual_seed(0)
    assert abs(MotionBlur()(point).float().sum() / 3 - 255) < 15  # a kernel sums to 1
    rows, columns = MotionBlur()(point)[0].nonzero(as_tuple=True)
    assert columns.max() - columns.min() >= rows.max() - rows.min()  # at most 45 degrees from level


def test_pixelate_leaves_few_colours() -> None:
    ramp = torch.arange(40, dtype=torch.uint8).mul(5).expand(3, 40, 40)
    assert len(Pixelate(0.5)(ramp)[0, 0].unique()) == 20


@pytest.mark.parametrize("transform", corruptions(), ids=lambda t: type(t).__name__)
def test_corruptions_change_images_and_no_masks(transform: Any) -> None:
    mask = tv_tensors.Mask(torch.ones(1, 24, 32, dtype=torch.uint8))
    torch.manual_seed(0)
    picture, same = transform(tv_tensors.Image(image()), mask)
    assert isinstance(picture, tv_tensors.Image) and picture.dtype == torch.uint8
    assert not torch.equal(picture, image()) and torch.equal(same, mask)


def test_what_can_not_move_masks_is_told_before_any_data_is_read() -> None:
    config = make_config(augmentation=[{"name": "rand_augment"}])
    assert augment.check(config) == []
    (line,) = augment.check(config, masks=True)
    assert line.startswith("augmentation = rand_augment: can't move masks with their images")
    assert augment.check(make_config(augmentation=[{"name": "simple"}]), masks=True) == []

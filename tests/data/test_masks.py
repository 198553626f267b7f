"""Masks as they reach a model: every kind of file, no defect lost, lying where the image lies, moving with it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from small_sets import LOADER, draw, make_config, make_settings, small_preprocess

from zdd import marks
from zdd.data import masks as masks_room
from zdd.data.dataset import Dataset, prepare
from zdd.data.masks import Masks
from zdd.data.module import DataModule
from zdd.data.one_class import collapse
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Record

FITS = ("letterbox", "squeeze", "crop")
EIGHT = np.ones((3, 3), bool)


def make(size: tuple[int, int] = (8, 8), fit: Any = "squeeze") -> Preprocess:
    return Preprocess(size, fit, "rgb", "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def save(path: Path, pixels: Any, mode: str | None = None, **how: Any) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    path.parent.mkdir(parents=True, exist_ok=True)
    (image.convert(mode) if mode else image).save(path, **how)
    return path


def row(*values: int, dtype: Any = np.uint8) -> NDArray[Any]:
    """An 8 x 8 mask whose first row starts so."""
    pixels = np.zeros((8, 8), dtype)
    pixels[0, : len(values)] = values
    return pixels


def first_row(path: Path, values: Sequence[int] | None = None) -> list[int]:
    mask = make().load_mask(path, values)
    assert mask.shape == (8, 8) and mask.dtype == np.uint8 and not mask[1:].any()
    return mask[0].tolist()


# What a binary mask marks.


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        ((255, 127, 128, 1, 0), [1, 0, 1, 0, 0]),  # drawn smooth: from half on
        ((1, 0, 1, 0, 0), [1, 0, 1, 0, 0]),  # 0 and 1
        ((3, 60, 0, 127, 0), [1, 1, 0, 1, 0]),  # thin, nowhere half: all of it
    ],
)
@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_marked_in_grey(tmp_path: Path, values: tuple[int, ...], marked: list[int], ending: str) -> None:
    assert first_row(save(tmp_path / f"m.{ending}", row(*values))) == [*marked, 0, 0, 0]


def test_marked_in_other_modes(tmp_path: Path) -> None:
    assert first_row(save(tmp_path / "1.png", row(255, 0, 255), "1")) == [1, 0, 1, 0, 0, 0, 0, 0]
    for top, name in ((65535, "full"), (255, "eight bits"), (1, "one")):
        deep = save(tmp_path / f"{name}.png", row(top, 0, top, dtype=np.uint16))
        assert first_row(deep) == [1, 0, 1, 0, 0, 0, 0, 0], name
    smooth = save(tmp_path / "smooth.png", row(65535, 20000, 40000, dtype=np.uint16))
    assert first_row(smooth) == [1, 0, 1, 0, 0, 0, 0, 0]
    share = save(tmp_path / "share.tif", row(1, 0, 1).astype(np.float32) * np.float32(0.9))
    assert first_row(share) == [1, 0, 1, 0, 0, 0, 0, 0]


def test_colours_are_marks_however_dark(tmp_path: Path) -> None:
    paletted = Image.fromarray(row(1, 0, 2))
    paletted.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 90])
    assert first_row(save(tmp_path / "p.png", paletted)) == [1, 0, 1, 0, 0, 0, 0, 0]
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[0, 0], colours[0, 2] = (255, 255, 255), (0, 0, 90)
    assert first_row(save(tmp_path / "rgb.png", colours)) == [1, 0, 1, 0, 0, 0, 0, 0]
    grey = save(tmp_path / "grey.png", np.repeat(row(255, 90, 200)[..., None], 3, 2))  # grey kept as colours
    assert first_row(grey) == [1, 0, 1, 0, 0, 0, 0, 0]
    clear = np.full((8, 8, 4), 255, np.uint8)
    clear[..., 3] = row(255, 0, 255)  # white everywhere, seen where it is not transparent
    assert first_row(save(tmp_path / "a.png", clear)) == [1, 0, 1, 0, 0, 0, 0, 0]


def test_noise_of_a_lossy_format_is_no_mark(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[11:40, 13:50] = 255
    save(tmp_path / "m.jpg", pixels, quality=60)
    off = make((64, 64)).load_mask(tmp_path / "m.jpg") != pixels // 255
    assert ((np.asarray(Image.open(tmp_path / "m.jpg")) > 0) != (pixels > 0)).sum() > 100 > 10 > off.sum()
    save(tmp_path / "good.jpg", row(9, 0, 9))
    assert np.asarray(Image.open(tmp_path / "good.jpg")).any()
    assert not make().load_mask(tmp_path / "good.jpg").any()


# What an index mask says.


def test_indices(tmp_path: Path) -> None:
    assert first_row(save(tmp_path / "l.png", row(7, 0, 2, 7)), (0, 2, 7)) == [2, 0, 1, 2, 0, 0, 0, 0]
    deep = save(tmp_path / "i.png", row(700, 0, 2, dtype=np.uint16))
    assert first_row(deep, (0, 2, 700)) == [2, 0, 1, 0, 0, 0, 0, 0]
    paletted = Image.fromarray(row(2, 1))
    paletted.putpalette([255, 255, 255, 0, 0, 0, 0, 0, 0])  # 0 is white, and still nothing
    assert first_row(save(tmp_path / "p.png", paletted), (0, 1, 2)) == [2, 1, 0, 0, 0, 0, 0, 0]
    grey = save(tmp_path / "rgb.png", np.repeat(row(2, 1)[..., None], 3, 2))
    assert first_row(grey, (0, 1, 2)) == [2, 1, 0, 0, 0, 0, 0, 0]
    with pytest.raises(OSError, match=r"c\.png: has colours; a mask of class numbers"):
        make().load_mask(save(tmp_path / "c.png", Image.new("RGB", (8, 8), (1, 0, 0))), (0, 1))


def test_a_pixel_of_no_class_makes_the_mask_unknown_unless_any_will_do(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", row(3, 0, 5))
    assert first_row(path, (0, 3, 5)) == [1, 0, 2, 0, 0, 0, 0, 0]
    assert (make().load_mask(path, (0, 3)) == UNKNOWN).all()
    assert first_row(path, (0, marks.ANY)) == [1, 0, 1, 0, 0, 0, 0, 0]
    assert first_row(path, (0, 5, marks.ANY)) == [2, 0, 1, 0, 0, 0, 0, 0]


# Made smaller.


def settle(*covers: Any) -> list[list[int]]:
    return marks.settle(range(1, len(covers) + 1), np.array(covers, np.float32)).tolist()


@pytest.mark.parametrize(
    ("cover", "seen"),
    [
        ([[0, 0.1, 0]], [[0, 1, 0]]),  # the only trace of a defect
        ([[1, 0.5, 0.4, 0]], [[1, 1, 1, 0]]),  # 0.4 is more than half of the 0.5 beside it
        ([[1, 1, 0.49, 0]], [[1, 1, 0, 0]]),  # the edge of something large: less than half is out
        ([[1, 1, 0.5, 0]], [[1, 1, 1, 0]]),
        ([[0.2, 0.2, 0.2, 0.2]], [[1, 1, 1, 1]]),  # a scratch stays in one piece
        ([[0.2, 0, 0, 0.7]], [[1, 0, 0, 1]]),  # a small one beside a larger one
        ([[0.3, 0.05], [0, 0]], [[1, 0], [0, 0]]),
        ([[0.0, 1e-8]], [[0, 0]]),  # rounding
    ],
)
def test_what_a_small_pixel_is_by_its_cover(cover: Any, seen: Any) -> None:
    assert settle(cover) == seen


def test_kinds_side_by_side() -> None:
    half = [[1, 0.45, 0]], [[0, 0.45, 1]]  # neither covers half, both together do: no gap between them
    assert settle(*half) == [[1, 1, 2]]
    assert settle([[1, 0.6, 0]], [[0, 0.4, 1]]) == [[1, 1, 2]]
    assert settle([[1, 1, 0.8]], [[0, 0, 0.2]]) == [[1, 1, 2]]  # the speck of 2 would be gone, 1 is not
    assert settle([[0.2, 0.3, 0]], [[0, 0.2, 0]]) == [[1, 2, 0]]  # a place for both
    assert settle([[0, 0.3, 0]], [[0, 0.2, 0]]) == [[0, 2, 0]]  # both as small in the same place: one has to go
    assert settle([[0, 0.3, 0.3]], [[0, 0.2, 0]], [[0, 0.1, 0]]) == [[0, 2, 1]]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(16, 16), (20, 16), (97, 61)])
def test_no_defect_disappears_however_small(tmp_path: Path, fit: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    how = make(size, fit)
    for i in range(30):
        high, wide = int(rng.integers(60, 900)), int(rng.integers(60, 900))
        y, x = int(high * rng.uniform(0.45, 0.55)), int(wide * rng.uniform(0.45, 0.55))
        pixels = np.zeros((high, wide), np.uint8)
        pixels[y, x] = 5  # one pixel
        seen = how.load_mask(save(tmp_path / f"{i}.png", pixels), (0, 4, 5))
        rows, columns = np.nonzero(seen == 2)
        assert 1 <= len(rows) == np.count_nonzero(seen)
        ahead = how.box(wide, high).to_input(x + 0.5, y + 0.5)
        ratio = how.box(wide, high).scale_x, how.box(wide, high).scale_y
        spread = [max(1, one) for one in ratio]
        np.testing.assert_allclose((columns + 0.5).mean(), ahead[0], atol=spread[0])
        np.testing.assert_allclose((rows + 0.5).mean(), ahead[1], atol=spread[1])


@pytest.mark.parametrize("fit", FITS)
def test_what_is_large_keeps_its_area(tmp_path: Path, fit: str) -> None:
    canvas = Image.new("L", (900, 600))
    ImageDraw.Draw(canvas).ellipse((300, 150, 620, 430), fill=255)
    how = make((97, 120), fit)
    geometry = how.box(900, 600)
    area = (np.asarray(canvas) > 0).sum() * geometry.scale_x * geometry.scale_y
    assert abs(how.load_mask(save(tmp_path / "m.png", canvas)).sum() / area - 1) < 0.02


@pytest.mark.parametrize("fit", FITS)
def test_enlarged_or_as_it_is_a_mask_keeps_its_pixels(tmp_path: Path, fit: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 3, (8, 8), np.uint8)
    path = save(tmp_path / "m.png", pixels)
    np.testing.assert_array_equal(make((8, 8), fit).load_mask(path, (0, 1, 2)), pixels)
    np.testing.assert_array_equal(make((16, 16), fit).load_mask(path, (0, 1, 2)), pixels.repeat(2, 0).repeat(2, 1))


def test_padding_is_no_defect(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", np.full((10, 40), 255, np.uint8))
    assert make((20, 20), "letterbox").load_mask(path).sum(1).tolist() == [0] * 7 + [20] * 5 + [0] * 8


# Where the image lies.


def turned(path: Path, pixels: NDArray[np.uint8], orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(path, pixels, exif=exif)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_mask_that_was_drawn_on_a_turned_image_is_turned_with_it(tmp_path: Path, ending: str) -> None:
    pixels = np.zeros((12, 20, 3), np.uint8)
    pixels[:4, :5] = 255
    how = make((20, 12))
    for orientation in range(5, 9):  # those that swap width and height
        image = turned(tmp_path / f"i{orientation}.{ending}", pixels, orientation)
        as_stored = save(tmp_path / f"stored{orientation}.png", pixels[..., 0])
        upright = save(tmp_path / f"upright{orientation}.png", (how.load(image)[..., 0] > 127).astype(np.uint8))
        seen = how.load_mask(as_stored, image=image)
        np.testing.assert_array_equal(seen, how.load(image)[..., 0] > 127)
        np.testing.assert_array_equal(how.load_mask(upright, image=image), seen)  # drawn on what people see
        own = turned(tmp_path / f"own{orientation}.png", pixels[..., 0], orientation)  # or turned by data of its own
        np.testing.assert_array_equal(how.load_mask(own, image=image), seen)


def test_a_mask_may_have_another_resolution_but_no_other_shape(tmp_path: Path) -> None:
    image = draw(tmp_path / "i.png", 0, (401, 301))
    pixels = np.zeros((151, 201), np.uint8)
    pixels[:75, :100] = 255
    assert make().load_mask(save(tmp_path / "half.png", pixels), image=image).sum() == 16
    wrong = save(tmp_path / "m.png", pixels.T)
    with pytest.raises(OSError, match=r"m\.png: has 151 x 201 pixels and its image 401 x 301"):
        make().load_mask(wrong, image=image)


def test_masks_that_do_not_fit_are_all_named_before_training(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for i in range(6):
        draw(root / "images" / f"{i}.png", i, (24, 20))
        save(root / "masks" / f"{i}.png", np.full((20, 24), 255 * (i % 2), np.uint8))
    save(root / "masks" / "3.png", np.zeros((24, 20), np.uint8))  # turned: perhaps by EXIF data
    save(root / "masks" / "4.png", np.zeros((24, 24), np.uint8))
    save(root / "masks" / "5.png", np.ones((4, 24), np.uint8))
    with pytest.raises(ZddError) as caught:
        prepare(make_settings(root, name="masks"), small_preprocess(), cache=LOADER)
    assert [line.split("/")[-1] for line in caught.value.lines] == [
        "4.png: has 24 x 24 pixels and its image 24 x 20: it must have the same shape",
        "5.png: has 24 x 4 pixels and its image 24 x 20: it must have the same shape",
    ]


# In batches.


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Index masks of good, crack (2) and dent (5); awkward: 13 + 9 + 7 images, one mask of both kinds."""
    monkeypatch.setenv("ZDD_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "a set"
    root.mkdir()
    (root / "classes.json").write_text(json.dumps({"2": "crack", "5": "dent"}))
    rng = np.random.default_rng(0)
    number = 0
    for value, n in ((0, 13), (2, 9), (5, 7)):
        for _ in range(n):
            number += 1
            pixels = np.zeros((20, 24), np.uint8)
            y, x = rng.integers(0, 14, 2)
            pixels[y : y + 6, x : x + 6] = value
            if number == 15:
                pixels[19] = 5
            draw(root / "images" / f"part {number:02d}.jpg", number, (24, 20))
            save(root / "masks" / f"part {number:02d}.png", pixels)
    return prepare(make_settings(root, name="masks"), small_preprocess((20, 24)), cache=LOADER)[0]


def loaders(dataset: Dataset, **changed: Any) -> DataModule:
    small = {"batch_size": 4, "image_size": [20, 24], "loader__workers": 0, "dataset__mirror_safe": True}
    options = {**small, "augmentation": [], **changed}
    return DataModule(dataset, small_preprocess((20, 24)), make_config(**options), masks=True)


def test_batches_carry_the_class_of_each_pixel(tiles: Dataset) -> None:
    assert (tiles.classes, tiles.mask_values) == (("good", "crack", "dent"), (0, 2, 5))
    for split in ("train", "val", "test"):
        records = tiles.split(split)  # type: ignore[arg-type]
        batches = list(loaders(tiles).loader(split, masks=True))  # type: ignore[arg-type]
        seen = torch.cat([batch["mask"] for batch in batches])
        assert seen.shape == (len(records), 1, 20, 24) and seen.dtype == torch.uint8
        for mask, record in zip(seen, records, strict=True):
            stored = np.asarray(Image.open(record.mask))
            np.testing.assert_array_equal(mask[0], np.select([stored == 2, stored == 5], [1, 2], 0))
    together = collapse(tiles)
    assert {int(v) for b in loaders(together).loader("train", masks=True) for v in b["mask"].unique()} == {0, 1}


def test_binary_masks_are_of_the_images_class_and_missing_ones_unknown(tmp_path: Path) -> None:
    path = str(save(tmp_path / "m.png", row(255, 255)))
    draw(tmp_path / "i.png", 0, (8, 8))
    image = str(tmp_path / "i.png")
    of = Masks(make(), None).of
    assert of(Record(image, 2, mask=path))[0].tolist() == [2, 2, 0, 0, 0, 0, 0, 0]
    assert not of(Record(image, 0)).any() and not of(Record(image, 0, mask=path)).any()
    assert (of(Record(image, 2)) == UNKNOWN).all() and (of(Record(image, -1)) == UNKNOWN).all()


def test_each_mask_is_read_once_as_long_as_there_is_room(tiles: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = Preprocess.load_mask

    def counted(self: Preprocess, path: str, *args: Any, **kwargs: Any) -> NDArray[np.uint8]:
        read.append(path)
        return load(self, path, *args, **kwargs)

    monkeypatch.setattr(Preprocess, "load_mask", counted)
    data = loaders(tiles)
    first = [batch["mask"] for batch in data.loader("val", masks=True)]
    second = [batch["mask"] for batch in data.loader("val", masks=True)]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert sorted(read) == sorted(record.mask for record in tiles.split("val"))
    list(data.train_dataloader())
    list(data.train_dataloader())
    assert len(read) == len(set(read))
    monkeypatch.setattr(masks_room, "KEPT_BYTES", 30)  # less than one takes
    read.clear()
    for _ in range(2):
        list(loaders(tiles).loader("val", masks=True))
    assert len(read) == 2 * len(tiles.split("val"))


MOVING: list[list[dict[str, Any]]] = [
    [{"name": "simple"}],
    [{"name": "categorical"}],
    [{"name": "random_choice"}],
    [
        {"name": "RandomRotation", "degrees": 30, "interpolation": "bilinear", "fill": 120},
        {"name": "RandomAffine", "degrees": 5, "translate": [0.1, 0.1], "scale": [0.8, 1.2], "fill": [1, 2, 3]},
        {"name": "RandomResizedCrop", "size": [20, 24], "scale": [0.5, 1.0]},
        {"name": "ElasticTransform", "sigma": 1.0, "fill": 99},
        {"name": "ColorJitter", "brightness": 0.5},
    ],
]


@pytest.mark.parametrize("sections", MOVING, ids=lambda sections: sections[0]["name"])
def test_images_and_masks_move_together_and_workers_change_nothing(
    tiles: Dataset, sections: list[dict[str, Any]]
) -> None:
    data = loaders(tiles, augmentation=sections)
    alone = DataModule(tiles, data.preprocess, data.config).train_dataloader()
    two = loaders(tiles, augmentation=sections, loader__workers=2).train_dataloader()
    values = set()
    for with_mask, without, shared in zip(data.train_dataloader(), alone, two, strict=True):
        assert torch.equal(with_mask["image"], without["image"])  # masks change no image
        assert torch.equal(with_mask["image"], shared["image"]) and torch.equal(with_mask["mask"], shared["mask"])
        values |= set(with_mask["mask"].unique().tolist())
        good = with_mask["label"] == 0
        assert not with_mask["mask"][good].any()  # whatever moves in from outside
    assert values == {0, 1, 2}


def test_a_mask_moves_as_its_image_does(tmp_path: Path) -> None:
    """Pictures that show their mask: white where the defect is; nearest pixels, so that both must agree exactly."""
    root = tmp_path / "set"
    for i in range(12):
        pixels = np.zeros((24, 24), np.uint8)
        if i % 2:
            pixels[4 + i % 5 : 12, 3:17] = 255
        save(root / "images" / f"{i}.png", pixels)
        save(root / "masks" / f"{i}.png", pixels)
    pre = small_preprocess((24, 24))
    dataset = prepare(make_settings(root, name="masks", leakage="ignore"), pre, cache=LOADER)[0]
    options = [
        {"name": "RandomAffine", "degrees": 40, "translate": [0.2, 0.2], "shear": 10},
        {"name": "RandomHorizontalFlip"},
    ]
    changed = {"batch_size": 5, "image_size": [24, 24], "loader__workers": 0, "dataset__mirror_safe": True}
    config = make_config(augmentation=options, **changed)
    loader = DataModule(dataset, pre, config, masks=True).train_dataloader()
    for epoch in range(5):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in loader:
            assert torch.equal(batch["image"][:, :1] > 0, batch["mask"] == 1)


def test_what_is_not_known_stays_unknown_wherever_it_moves(tiles: Dataset) -> None:
    records = tuple(Record(r.path, r.label, split=r.split, sha256=r.sha256) for r in tiles.records)  # no masks
    unmasked = Dataset(records, tiles.classes, True, tiles.mask_values)
    turn = [{"name": "RandomRotation", "degrees": [30, 60]}]
    for batch in loaders(unmasked, augmentation=turn).train_dataloader():
        for label, mask in zip(batch["label"], batch["mask"], strict=True):
            assert mask.unique().tolist() == ([0] if label == 0 else [UNKNOWN])
    masked = DataModule(unmasked, small_preprocess((20, 24)), make_config(**{
        "batch_size": 4, "image_size": [20, 24], "augmentation": turn, "loader__workers": 0,
    }))  # fmt: skip
    pairs = zip(loaders(unmasked, augmentation=turn).train_dataloader(), masked.train_dataloader(), strict=True)
    assert all(torch.equal(one["image"], other["image"]) for one, other in pairs)  # the image moves as ever


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("rand_augment", "can't move masks with their images; choose simple or categorical"),
        ("auto_augment", "can't move masks with their images"),
        ("AugMix", "can't move masks with their images"),
        ("RandomErasing", "RandomErasing erases defects and leaves them in their masks"),
    ],
)
def test_what_takes_images_alone_is_refused(tiles: Dataset, name: str, why: str) -> None:
    with pytest.raises(ZddError, match=why):
        loaders(tiles, augmentation=[{"name": name}])
    nested = {"name": "RandomApply", "transforms": [{"name": name}], "p": 0.01}
    with pytest.raises(ZddError, match=why):
        loaders(tiles, augmentation=[nested])


def test_a_batch_of_good_images_alone(tiles: Dataset) -> None:
    good = [record for record in tiles.records if record.label == 0]
    batches = list(loaders(tiles).loader_of(good, masks=True))
    assert [len(batch["mask"]) for batch in batches] == [4, 4, 4, 1]
    assert not any(batch["mask"].any() for batch in batches)

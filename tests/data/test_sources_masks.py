"""Sources with masks: what pairs with what, of which class an image is, and what is said where it can't be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_sets import draw

from zdd import checks
from zdd.data.sources import masks, mvtec, ok_ng
from zdd.errors import ZddError

WIDE, HIGH = 24, 20


def mask(path: Path, *spots: tuple[int, int], mode: str = "L") -> Path:
    """A mask with `n` pixels of value `v` for each spot (v, n), rows from the top."""
    pixels = np.zeros(HIGH * WIDE, np.uint16 if mode == "I;16" else np.uint8)
    start = 0
    for value, n in spots:
        pixels[start : start + n] = value
        start += n
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.reshape(HIGH, WIDE)).save(path)
    return path


def pair(top: Path, name: str, *spots: tuple[int, int], ending: str = ".png", seed: int = 0) -> None:
    draw(top / "images" / f"{name}{ending}", seed + len(name), (WIDE, HIGH))
    mask(top / "masks" / f"{name}.png", *spots)


def kinds(found: list[Any]) -> list[tuple[str, str, int | None]]:
    return sorted((Path(one.path).stem, one.class_name, one.value) for one in found)


def lines(caught: Any, root: Path) -> list[str]:
    return [line.replace(f"{root}/", "") for line in caught.value.lines]


def test_binary_masks_by_name_whatever_the_endings(tmp_path: Path) -> None:
    pair(tmp_path / "train", "a 1", (255, 3), ending=".JPG")
    pair(tmp_path / "train", "b")
    pair(tmp_path / "Valid", "part.01", (1, 1), ending=".bmp")  # a dot in the name, a mask of 0 and 1
    draw(tmp_path / "test" / "images" / "deep" / "c.png", 3, (WIDE, HIGH))
    mask(tmp_path / "test" / "masks" / "deep" / "c_mask.png", (200, 1))
    found = masks.index(tmp_path)
    assert kinds(found) == [
        ("a 1", "defect", None), ("b", "good", None), ("c", "defect", None), ("part.01", "defect", None),
    ]  # fmt: skip
    assert {Path(one.path).stem: one.split for one in found} == {
        "a 1": "train", "b": "train", "part.01": "val", "c": "test",
    }  # fmt: skip
    assert all(Path(one.mask).stem.removesuffix("_mask") == Path(one.path).stem for one in found)


def test_without_split_folders(tmp_path: Path) -> None:
    pair(tmp_path, "a", (255, 3))
    assert {one.split for one in masks.index(tmp_path)} == {None}


def test_an_image_is_of_the_class_that_most_of_its_defective_pixels_are_of(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps({"0": "background", "2": "crack", "7": "blow hole"}))
    pair(tmp_path, "mostly hole", (2, 3), (7, 4))
    pair(tmp_path, "mostly crack", (7, 4), (2, 5))
    pair(tmp_path, "as many", (7, 4), (2, 4))  # the lower number
    pair(tmp_path, "nothing")
    assert kinds(masks.index(tmp_path)) == [
        ("as many", "crack", 2), ("mostly crack", "crack", 2), ("mostly hole", "blow hole", 7), ("nothing", "good", 0),
    ]  # fmt: skip
    assert {kind for _, kind, _ in kinds(masks.index(tmp_path, values="binary"))} == {"good", "defect"}
    renamed = kinds(masks.index(tmp_path, names={"7": "hole", "2": "scratch"}))
    assert {kind for _, kind, _ in renamed} == {"good", "hole", "scratch"}


def test_sixteen_bits_and_palettes(tmp_path: Path) -> None:
    names = {"3": "crack", "300": "dent"}
    for name in ("palette", "deep"):
        draw(tmp_path / "images" / f"{name}.png", 1, (WIDE, HIGH))
    paletted = Image.new("P", (WIDE, HIGH), 0)
    paletted.putpalette([255, 255, 255, 9, 9, 9, 8, 8, 8, 0, 0, 0])  # value 0 is white, value 3 black: numbers count
    paletted.paste(3, (0, 0, 2, 2))
    (tmp_path / "masks").mkdir()
    paletted.save(tmp_path / "masks" / "palette.png")
    mask(tmp_path / "masks" / "deep.png", (300, 5), mode="I;16")
    assert kinds(masks.index(tmp_path, names=names)) == [("deep", "dent", 300), ("palette", "crack", 3)]


def test_every_stray_file_is_named(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    draw(tmp_path / "images" / "no mask.png", 1)
    mask(tmp_path / "masks" / "no image.png")
    with pytest.raises(ZddError) as caught:
        masks.index(tmp_path)
    assert lines(caught, tmp_path) == [
        "masks/no image.png: has no image in images",
        'images/no mask.png: has no mask in masks (dataset.missing = "good" takes it for good)',
    ]


def test_images_without_a_mask_may_be_good(tmp_path: Path) -> None:
    pair(tmp_path, "a", (255, 3))
    draw(tmp_path / "images" / "b.png", 1)
    assert kinds(masks.index(tmp_path, missing="good")) == [("a", "defect", None), ("b", "good", None)]
    (one,) = [one for one in masks.index(tmp_path, missing="good", names={"255": "x"}) if not one.mask]
    assert (one.class_name, one.value) == ("good", 0)


def test_two_images_of_one_name(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    draw(tmp_path / "images" / "a.jpg", 2)
    with pytest.raises(ZddError, match=r"a\.png: has the same name as .*a\.jpg"):
        masks.index(tmp_path)


def test_pixel_values_without_a_name_and_unreadable_masks_are_all_named(tmp_path: Path) -> None:
    pair(tmp_path, "a", (1, 2), (9, 1), (30, 1))
    pair(tmp_path, "b", *((value, 1) for value in range(1, 9)))
    pair(tmp_path, "c")
    (tmp_path / "masks" / "c.png").write_bytes(b"no image")
    pair(tmp_path, "d")
    Image.new("RGB", (WIDE, HIGH), (1, 0, 0)).save(tmp_path / "masks" / "d.png")
    with pytest.raises(ZddError) as caught:
        masks.index(tmp_path, names={"1": "crack"})
    assert lines(caught, tmp_path) == [
        "masks/a.png: holds 9, 30; the classes by pixel value are 0 (good), 1 (crack)",
        "masks/b.png: holds 2, 3, 4, 5, 6 and 2 more; the classes by pixel value are 0 (good), 1 (crack)",
        "masks/c.png: not an image of a format that Pillow knows",
        "masks/d.png: has colours; a mask of class numbers has one channel, or a palette",
    ]


def test_a_class_that_is_never_the_most_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair(tmp_path, "a", (1, 5), (2, 3))
    pair(tmp_path, "b", (1, 5))
    assert {kind for _, kind, _ in kinds(masks.index(tmp_path, names={"1": "crack", "2": "dust", "3": "no"}))} == {
        "crack"
    }
    said = capsys.readouterr().err
    assert "'dust' (pixel value 2) is in 1 masks and never the most of one" in said and "'no'" not in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1, 2]", "must name the classes by pixel value"),
        ('{"one": "crack"}', "must name the classes by pixel value"),
        ('{"1": "crack", "2": "crack"}', "twice: crack"),
        ('{"1": "good"}', "value 0 is good; twice: good"),
    ],
)
def test_names_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    pair(tmp_path, "a", (1, 5))
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(ZddError, match=why):
        masks.index(tmp_path)
    (tmp_path / "classes.json").unlink()
    with pytest.raises(ZddError, match=r"there is no such file, nor dataset\.names"):
        masks.index(tmp_path, values="index")


@pytest.mark.parametrize("folder", ["train/good", "masks", "elsewhere"])
def test_folders_that_are_none(tmp_path: Path, folder: str) -> None:
    (tmp_path / "set" / folder).mkdir(parents=True)
    for root in (tmp_path / "set", tmp_path / "nowhere"):
        with pytest.raises(ZddError, match="expected images/ and masks/"):
            masks.index(root)


def test_a_split_folder_without_images_is_not_passed_over(tmp_path: Path) -> None:
    pair(tmp_path / "train", "a", (255, 3))
    (tmp_path / "test" / "Images!").mkdir(parents=True)
    with pytest.raises(ZddError, match="with both in each"):
        masks.index(tmp_path)


def test_names_may_be_given_in_an_experiment() -> None:
    found: list[Any] = []
    section = checks.plugin_section("dataset", ("dataset",), {"name": "masks", "names": {"1": "crack"}}, found)
    assert not found and section.options == {"values": "auto", "names": {"1": "crack"}, "missing": "refuse"}


def screws(root: Path) -> Path:
    draw(root / "train/good/000.png", 1)
    draw(root / "train/good/001.JPG", 2)
    draw(root / "test/good/000.png", 3)
    for i in range(2):
        draw(root / f"test/bent wire/00{i}.png", 4 + i)
    mask(root / "ground_truth/bent wire/000_mask.tif", (255, 3))
    (root / "license.txt").write_text("free")
    return root


def test_mvtec(tmp_path: Path) -> None:
    found = mvtec.index(screws(tmp_path))
    assert [
        (str(Path(one.path).relative_to(tmp_path)), one.class_name, one.split, bool(one.mask)) for one in found
    ] == [
        ("train/good/000.png", "good", "train", False),
        ("train/good/001.JPG", "good", "train", False),
        ("test/bent wire/000.png", "bent wire", "test", True),
        ("test/bent wire/001.png", "bent wire", "test", False),  # nobody drew its defect
        ("test/good/000.png", "good", "test", False),
    ]
    assert Path(found[2].mask).name == "000_mask.tif"


def test_mvtec_with_masks_that_fit_nothing(tmp_path: Path) -> None:
    mask(screws(tmp_path) / "ground_truth/bent wire/007_mask.png", (255, 3))
    with pytest.raises(ZddError) as caught:
        mvtec.index(tmp_path)
    assert lines(caught, tmp_path) == ["ground_truth/bent wire/007_mask.png: there is no test image for this mask"]
    mask(tmp_path / "ground_truth/bend wire/000_mask.png", (255, 3))
    with pytest.raises(ZddError) as caught:
        mvtec.index(tmp_path)
    assert lines(caught, tmp_path) == ["ground_truth/bend wire: there is no folder test/bend wire"]


def test_mvtec_is_no_other_layout(tmp_path: Path) -> None:
    draw(tmp_path / "train/bad/0.png", 1)
    with pytest.raises(ZddError, match="the folder good alone, it holds bad; MVTec's layout"):
        mvtec.index(tmp_path)
    for category in ("screw", "bottle"):
        screws(tmp_path / "all" / category)
    with pytest.raises(ZddError, match=r"holds nothing; dataset\.root must be one category: bottle, screw"):
        mvtec.index(tmp_path / "all")
    (tmp_path / "all/screw/test/empty").mkdir()
    with pytest.raises(ZddError, match=r"test/empty: there is no image in it"):
        mvtec.index(tmp_path / "all/screw")


def plates(root: Path, images: str = "", drawn: str = "") -> Path:
    for i in range(3):
        draw(root / images / "OK" / f"{i}.bmp", i, (WIDE, HIGH))
        mask(root / drawn / "OK_MSK" / f"{i}.bmp")
        draw(root / images / "NG" / f"{i}.bmp", 10 + i, (WIDE, HIGH))
        mask(root / drawn / "NG_MSK" / f"{i}_mask.png", (255, i + 1))
    return root


@pytest.mark.parametrize(("images", "drawn"), [("", ""), ("Images", "Images"), ("Images", "Masks")])
def test_ok_and_ng(tmp_path: Path, images: str, drawn: str) -> None:
    found = ok_ng.index(plates(tmp_path, images, drawn))
    assert [(Path(one.path).name, one.class_name, Path(one.mask).name) for one in found] == [
        ("0.bmp", "good", "0.bmp"), ("1.bmp", "good", "1.bmp"), ("2.bmp", "good", "2.bmp"),
        ("0.bmp", "defect", "0_mask.png"), ("1.bmp", "defect", "1_mask.png"), ("2.bmp", "defect", "2_mask.png"),
    ]  # fmt: skip
    assert all(Path(one.mask).parent.name.removesuffix("_MSK") == Path(one.path).parent.name for one in found)


def test_ok_and_ng_below_split_folders(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        plates(tmp_path / split)
    found = ok_ng.index(tmp_path)
    assert [one.split for one in found].count("val") == 6 and len(found) == 18


def test_good_images_need_no_masks(tmp_path: Path) -> None:
    plates(tmp_path)
    for i in range(3):
        (tmp_path / "OK_MSK" / f"{i}.bmp").unlink()
    (tmp_path / "OK_MSK").rmdir()
    (tmp_path / "NG_MSK" / "1_mask.png").unlink()  # a defect that nobody drew
    assert [bool(one.mask) for one in ok_ng.index(tmp_path)] == [False] * 3 + [True, False, True]


def test_masks_of_other_names_pair_by_position_only_if_told(tmp_path: Path) -> None:
    plates(tmp_path)
    for i in range(3):
        (tmp_path / "NG_MSK" / f"{i}_mask.png").rename(tmp_path / "NG_MSK" / f"label_{i}.png")
    with pytest.raises(ZddError) as caught:
        ok_ng.index(tmp_path)
    assert len(caught.value.lines) == 3 and 'dataset.pair = "position"' in caught.value.lines[0]
    found = ok_ng.index(tmp_path, pair="position")
    assert [Path(one.mask).name for one in found[3:]] == ["label_0.png", "label_1.png", "label_2.png"]
    (tmp_path / "NG_MSK" / "label_1.png").unlink()
    with pytest.raises(ZddError, match=r"NG has 3, .*NG_MSK 2"):
        ok_ng.index(tmp_path, pair="position")


def test_masks_that_contradict_their_folders(tmp_path: Path) -> None:
    plates(tmp_path)
    mask(tmp_path / "OK_MSK" / "1.bmp", (255, 2))
    mask(tmp_path / "NG_MSK" / "2_mask.png")
    (tmp_path / "NG_MSK" / "0_mask.png").write_bytes(b"")
    with pytest.raises(ZddError) as caught:
        ok_ng.index(tmp_path)
    assert [line.split(", and")[0] for line in lines(caught, tmp_path)] == [
        "OK_MSK/1.bmp: marks a defect",
        "NG_MSK/0_mask.png: not an image of a format that Pillow knows",
        "NG_MSK/2_mask.png: marks nothing",
    ]


def test_ok_and_ng_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ZddError, match="OK is missing"):
        ok_ng.index(tmp_path)
    draw(tmp_path / "OK" / "0.png", 1)
    draw(tmp_path / "NG" / "0.png", 2)
    with pytest.raises(ZddError, match="NG_MSK is missing"):
        ok_ng.index(tmp_path)
    plates(tmp_path / "more")
    with pytest.raises(ZddError, match="holds the folder OK more than once"):
        ok_ng.index(tmp_path)

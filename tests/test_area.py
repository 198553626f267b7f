"""Where a picture lies in the network's input, and what an area is worth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zdd import area
from zdd.area import Areas, Place, Scale
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
from zdd.settings import Grade


def preprocess(fit: str) -> Preprocess:
    return Preprocess((8, 8), fit, "rgb", "bilinear", (0.5,) * 3, (0.5,) * 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        ("letterbox", (16, 8), Place(slice(2, 6), slice(0, 8), 128)),
        ("letterbox", (3, 6), Place(slice(0, 8), slice(2, 6), 18)),
        ("letterbox", (8, 7), Place(slice(0, 7), slice(0, 8), 56)),  # the odd row of padding lies below
        ("squeeze", (16, 8), Place(slice(0, 8), slice(0, 8), 128)),
        ("crop", (16, 8), Place(slice(0, 8), slice(0, 8), 64)),  # half of it is cut off
    ],
)
def test_where_the_picture_lies(tmp_path: Path, fit: str, size: tuple[int, int], expected: Place) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", size, "white").save(path)
    made = area.place(str(path), preprocess(fit))
    assert (made.rows, made.columns) == (expected.rows, expected.columns)
    assert made.pixels == pytest.approx(expected.pixels)
    # a white picture on padding that is grey: what is cut out is white, all of it, and nothing else is
    white = preprocess(fit).load(path)[..., 0] == 255
    assert made.cut(white).all() and white.sum() == made.cut(white).size


def test_a_picture_that_lies_on_its_side(tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (16, 8)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert area.place(str(tmp_path / "a.jpg"), preprocess("letterbox")) == Place(slice(0, 8), slice(2, 6), 128)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    for name in ("a.png", "b.png"):
        with pytest.raises(ZddError, match=name):
            area.place(str(tmp_path / name), preprocess("squeeze"))


def test_what_an_area_is_worth() -> None:
    table = (Grade(name="Mild", above_percent=0.1, discount_percent=20.0),)
    assert Scale().row(0.02, 1000) == {"area_percent": 2.0}
    row = Scale(0.1, table).row(0.02, 1000)
    assert row == {"area_percent": 2.0, "area_mm2": pytest.approx(20 * 0.01), "grade": "Mild"}
    assert Scale(0.1, table).row(None, 1000) == {"area_percent": None, "area_mm2": None, "grade": None}


def test_an_area_is_the_share_of_pixels_that_reach_the_threshold() -> None:
    plane = np.array([[0, 0.5, 9], [0.4, 0.6, 9]], np.float32)
    assert area.measure(plane, Place(slice(0, 2), slice(0, 2), 4), 0.5) == 0.5


def test_a_row_is_told_the_area_of_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 8)).save(path)  # letterboxed into 8 x 8: rows 2 to 5, each pixel there is 4 of the original
    values = np.zeros((8, 8), np.float32)
    values[2, :4], values[0, :] = 0.5, 0.9  # 4 of 32 pixels, and padding
    grades = [Grade(name="minor", above_percent=10, discount_percent=5)]
    areas = Areas(preprocess("letterbox"), 0.5, Scale(0.1, grades))
    assert areas(path, {}, values, None) == {
        "area_percent": 12.5,
        "area_mm2": pytest.approx(12.5 / 100 * 128 * 0.01),
        "grade": "minor",
    }
    assert areas.blank == {"area_percent": None, "area_mm2": None, "grade": None}
    unknown = Areas(preprocess("letterbox"), None, Scale())
    assert unknown(path, {}, values, None) == {"area_percent": None}

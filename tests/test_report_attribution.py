"""Pictures of attributions: what lies where, in which colour, on which scale."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zdd.preprocess import Preprocess
from zdd.report import attribution, contact, panels, pictures
from zdd.report.heat import Frame, Span, rgb

SIZE = (64, 64)
BAR = panels.bar_height(["a", "b"])


def preprocess(fit: Any = "letterbox") -> Preprocess:
    return Preprocess(SIZE, fit, "rgb", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def draw(path: Path, values: np.ndarray, *, fit: Any = "letterbox", **more: Any) -> Image.Image:
    told = {"scale": 1.0, "signed": True, "lines": ["a", "b"], "colour": "#4A5A68"} | more
    return attribution.draw(str(path), values.astype(np.float32), preprocess(fit), **told)


def panel(picture: Image.Image, number: int, size: tuple[int, int]) -> np.ndarray:
    """The pixels of the panel `number` (image, heat map, overlay), each `size` (width, height) large."""
    x, y = panels.GAP + number * (max(size[0], panels.SMALLEST // 2) + panels.GAP), BAR + panels.GAP // 2 + panels.LINE
    return np.asarray(picture.crop((x, y, x + size[0], y + size[1]))).astype(int)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """80 x 40, so that the letterbox is 64 x 32 with 16 rows of padding above and below; shown 320 x 160."""
    Image.new("RGB", (80, 40), (100, 100, 100)).save(tmp_path / "a wide one.png")
    return tmp_path / "a wide one.png"


def planted(top: int, left: int, value: float = 1.0, size: int = 8) -> np.ndarray:
    values = np.zeros(SIZE)
    values[top : top + size, left : left + size] = value
    return values


def test_the_letterbox_is_undone_on_every_panel(wide: Path) -> None:
    # The input's rows 16..23 and columns 8..15 are the picture's upper left part: 5 shown pixels an input pixel,
    # so rows 0..39 and columns 40..79.
    picture = draw(wide, planted(16, 8))
    heat, over = panel(picture, 1, (320, 160)), panel(picture, 2, (320, 160))
    red = (over[..., 0] - over[..., 2]) > 60
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert (rows.min(), columns.min()) == pytest.approx((0, 40), abs=3)
    assert (rows.max(), columns.max()) == pytest.approx((39, 79), abs=3)
    assert (heat[20, 60] == Span(1, signed=True).colours(np.ones((1, 1), np.float32))[0, 0]).all()
    assert (panel(picture, 0, (320, 160)) == 100).all()


def test_where_nothing_is_said_the_overlay_is_the_picture(wide: Path) -> None:
    over = panel(draw(wide, np.zeros(SIZE)), 2, (320, 160))
    assert (over == round(100 * attribution.GREY)).all()


def test_signs_have_two_colours_of_one_strength(wide: Path) -> None:
    picture = draw(wide, planted(24, 8) + planted(24, 40, -1.0))
    heat, over = panel(picture, 1, (320, 160)), panel(picture, 2, (320, 160))
    grey = round(100 * attribution.GREY)
    for at, colour in ((60, attribution.FOR), (220, attribution.AGAINST)):
        expected = [(1 - attribution.THICK) * grey + attribution.THICK * part for part in rgb(colour)]
        assert over[60, at] == pytest.approx(expected, abs=1)
    assert heat[60, 60, 0] > heat[60, 60, 2] and heat[60, 220, 2] > heat[60, 220, 0]
    assert np.ptp(heat[130, 10]) <= 1 and heat[130, 10].min() > 240  # 0 is as good as white


def test_the_scale_is_symmetric_and_the_same_for_all_images() -> None:
    span = Span(2.0, signed=True)
    ends = span.colours(np.array([[-9.0, -2.0, 0.0, 2.0, 9.0]], np.float32))[0].astype(int)
    assert (ends[0] == ends[1]).all() and (ends[3] == ends[4]).all()
    half = span.colours(np.array([[1.0, -1.0]], np.float32))[0]
    assert (half == Span(1.0, signed=True).colours(np.array([[0.5, -0.5]], np.float32))[0]).all()
    assert (span.low, Span(2.0).low) == (-2.0, 0.0)


@pytest.mark.parametrize(
    ("values", "share"),
    [
        (planted(0, 0), 1.0),  # wholly above the picture
        (planted(12, 0), 0.5),  # rows 12..15 are padding, 16..19 are not
        (planted(12, 0, -1.0), 0.5),  # the size counts, not the sign
        (planted(30, 0), 0.0),
        (np.zeros(SIZE), 0.0),
    ],
)
def test_what_lies_in_the_padding_is_said(wide: Path, values: np.ndarray, share: float) -> None:
    frame = Frame.of(preprocess().box(80, 40), SIZE, (320, 160))
    assert attribution.outside(values.astype(np.float32), frame) == pytest.approx(share)
    plain = draw(wide, np.zeros(SIZE)).height
    assert draw(wide, values).height - plain == (26 if share else 0)  # a line more in the bar


def test_what_was_cut_off_has_no_heat(wide: Path) -> None:
    # Of 80 x 40 the crop keeps the middle 40 x 40: shown 320 x 160, the columns 80..239.
    heat = panel(draw(wide, np.ones(SIZE), fit="crop"), 1, (320, 160))
    assert (heat[:, :80] == rgb(attribution.UNSEEN)).all() and (heat[:, 240:] == rgb(attribution.UNSEEN)).all()
    assert not (heat[:, 80:240] == rgb(attribution.UNSEEN)).all(axis=2).any()


def test_an_unsigned_map_has_no_legend_of_signs(wide: Path) -> None:
    signed, unsigned = draw(wide, planted(20, 20)), draw(wide, planted(20, 20), signed=False)
    assert signed.height == unsigned.height  # two lines either way: the scale's, the legend's
    bottom = (2 * (320 + panels.GAP), signed.height - 2 * panels.LINE, signed.width, signed.height)
    assert (np.asarray(unsigned.crop(bottom)) == 255).all()
    assert not (np.asarray(signed.crop(bottom)) == 255).all()
    over = panel(unsigned, 2, (320, 160))
    brightest = Span(1).colours(np.ones((1, 1), np.float32))[0, 0]
    expected = [(1 - attribution.THICK) * round(100 * attribution.GREY) + attribution.THICK * c for c in brightest]
    assert over[40, 120] == pytest.approx(expected, abs=1)


def test_single_pixels_grow_to_dots_and_the_stronger_covers_the_weaker() -> None:
    values = np.zeros((160, 240), np.float32)  # 160 / 160: a dot reaches one pixel farther on each side
    values[10, 10], values[10, 12], values[50, 50], values[52, 50] = 1.0, -2.0, 3.0, 1.0
    grown = attribution.dots(values)
    assert grown[9:12, 9:14].tolist() == [[1, 1, -2, -2, -2]] * 3
    assert (grown[49:52, 49:52] == 3).all() and (grown[52:54, 49:52] == 1).all()
    assert np.count_nonzero(grown) == 15 + 15 and (attribution.dots(values[:64, :64]) == values[:64, :64]).all()


def test_the_true_defect_is_outlined_from_outside(wide: Path) -> None:
    over = panel(draw(wide, np.zeros(SIZE), truth=planted(24, 8).astype(np.uint8)), 2, (320, 160))
    line = (over == rgb(attribution.TRUE)).all(axis=2)
    # rows 24..31 of the input are 40..79 of the shown picture, columns 8..15 are 40..79
    assert line[39, 60] and line[80, 60] and line[60, 39] and line[60, 80]
    assert not line[40:80, 40:80].any() and not line[:38].any()


@pytest.mark.parametrize("size", [(7, 200), (300, 9), (1, 1)])
def test_strange_shapes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size, 80).save(tmp_path / "x.png")
    picture = draw(tmp_path / "x.png", np.full(SIZE, 0.3))
    assert picture.width >= 2 * panels.SMALLEST
    ruler = Image.new("RGB", (60, 60), "white")
    panels.ruler(ruler, Span(0.01234, signed=True), (0, 0), 60)  # too narrow for words


def row(image: str, true: str | None, predicted: str, **more: Any) -> dict[str, Any]:
    told = {"image": image, "true": true, "predicted": predicted, "target": "defect", "probability": 0.9312}
    return told | {"certainty": 0.881, "score": -1.23456, "error": 0.0214, "picture": "x.png"} | more


def about(**more: Any) -> dict[str, Any]:
    return {"variant": "deeplift", "signed": True, "scale": 1.0, "unreliable": False, "message": None} | more


def test_the_bar_says_what_is_seen() -> None:
    assert attribution.describe(row("a.png", "crack", "good"), about()) == [
        "deeplift: what speaks for and against a defect",
        "true: crack   judged: good   probability 0.931   certainty 0.881",
        "score -1.235   completeness error 2.1 %",
    ]
    bare = row("a.png", None, "good", probability=None, certainty=None, error=None, target="crack")
    assert attribution.describe(bare, about(signed=False, unreliable=True)) == [
        'deeplift: what matters for "crack"',
        "UNRELIABLE for this network: don't believe this picture",
        "judged: good",
        "score -1.235",
    ]


def test_the_colour_of_the_bar() -> None:
    assert attribution.colour_of(row("", "a", "a")) == attribution.RIGHT
    assert attribution.colour_of(row("", "a", "b")) == attribution.WRONG
    assert attribution.colour_of(row("", None, "b")) == attribution.OPEN
    assert attribution.colour_of(row("", "a", "a"), about(unreliable=True)) == attribution.DOUBTED


def test_mistakes_come_first_and_the_rest_is_spread() -> None:
    rows = [row(str(i), "a", "b" if i in (3, 8) else "a") for i in range(10)]
    assert contact.chosen(rows, 6) == [3, 8, 0, 2, 6, 9]  # of the eight others the 1st, 3rd, 6th and 8th
    assert contact.chosen(rows, 2) == [3, 0]
    assert sorted(contact.chosen(rows, 24)) == list(range(10))
    assert contact.chosen([row("a", None, "b")], 3) == [0] and contact.chosen([], 3) == []


def shown(folder: Path, names: list[str], **more: Any) -> contact.Shown:
    rows = []
    for name in names:
        Image.new("RGB", (40, 80), (90, 90, 90)).save(folder / name)
        rows.append(row(str(folder / name), "crack", "crack"))
    return contact.Shown(about(**more), rows, lambda _: planted(8, 24).astype(np.float32))


def test_a_sheet_holds_each_image_with_its_overlay(tmp_path: Path) -> None:
    sheet = contact.sheet(shown(tmp_path, ["1.png", "2.png", "3.png"]), preprocess())
    pixels = np.asarray(sheet).astype(int)
    red = (pixels[..., 0] - pixels[..., 2] > 100) & (pixels[..., 0] - pixels[..., 1] > 100)
    below = np.flatnonzero(red[BAR : -3 * panels.LINE].any(0))  # without the scale
    assert len(np.split(below, np.flatnonzero(np.diff(below) > 20) + 1)) == 3
    with pytest.raises(ValueError, match="no images"):
        contact.sheet(shown(tmp_path, []), preprocess())


def test_what_is_unreliable_says_so_on_its_sheet(tmp_path: Path) -> None:
    fine, doubted = (contact.sheet(shown(tmp_path, ["1.png"], unreliable=u), preprocess()) for u in (False, True))
    assert doubted.height > fine.height
    assert doubted.getpixel((1, 1)) == rgb(attribution.DOUBTED) and fine.getpixel((1, 1)) == rgb(attribution.OPEN)


def test_side_by_side_shows_what_all_have(tmp_path: Path) -> None:
    one, two = shown(tmp_path, ["1.png", "2.png", "3.png"]), shown(tmp_path, ["3.png", "1.png"], scale=5.0)
    picture = contact.beside("runs", {"run_0": one, "run_1": two}, preprocess())
    single = contact.beside("runs", {"run_0": one, "run_1": shown(tmp_path, ["2.png"])}, preprocess())
    cell = 3 * (160 + panels.GAP) - panels.GAP  # three narrow pictures, and two images have room beside each other
    assert (single.width, picture.width) == (max(640, cell + 2 * panels.GAP), 2 * cell + 3 * panels.GAP)
    with pytest.raises(ValueError, match="no images"):
        contact.beside("runs", {"a": one, "b": shown(tmp_path, ["9.png"])}, preprocess())


def test_each_run_is_shown_by_its_own_values_of_the_same_image(tmp_path: Path) -> None:
    one, two = shown(tmp_path, ["1.png", "2.png"]), shown(tmp_path, ["2.png", "1.png"])
    values = {"1.png": planted(8, 24), "2.png": planted(48, 24)}
    each = [
        contact.Shown(
            s.about,
            s.rows,
            lambda n, s=s: values[Path(s.rows[n]["image"]).name].astype(np.float32),  # type: ignore[misc]
        )
        for s in (one, two)
    ]
    pictures = contact._pictures({"a": each[0], "b": each[1]}, one.rows[1], preprocess())
    assert (pictures[1] == pictures[2]).all() and not (pictures[0] == pictures[1]).all()


def test_runs_that_judged_differently_are_named(tmp_path: Path) -> None:
    runs = {f"run_{i}": shown(tmp_path, ["1.png"]) for i in range(3)}
    alike = contact._joint(runs["run_0"].rows[0], runs)
    assert contact._caption(alike) == "crack   1.png" and attribution.colour_of(alike) == attribution.RIGHT
    runs["run_1"].rows[0]["predicted"] = runs["run_2"].rows[0]["predicted"] = "good"
    joint = contact._joint(runs["run_0"].rows[0], runs)
    assert contact._caption(joint) == "crack, judged good by run_1, good by run_2   1.png"
    assert attribution.colour_of(joint) == attribution.WRONG


def test_many_columns_stand_in_rows_of_nearly_one_length(tmp_path: Path) -> None:
    one = shown(tmp_path, ["1.png"])
    few, many = (contact.beside("x", {str(i): one for i in range(n)}, preprocess()) for n in (5, 12))
    assert many.width <= contact.WIDE + 2 * panels.GAP and many.height > 1.5 * few.height


def test_names_with_umlauts_and_accents_can_be_read() -> None:
    missing = pictures.font(20).getmask("\uffff").getbbox(), bytes(pictures.font(20).getmask("\uffff"))
    for letter in "äöüßéñłšæŻ≤":
        drawn = pictures.font(20).getmask(letter)
        assert (drawn.getbbox(), bytes(drawn)) != missing, letter

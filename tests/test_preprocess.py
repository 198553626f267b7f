"""Every kind of image that Pillow opens, and where its pixels end up."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as VF

from zdd.pixels import draft, open_image
from zdd.preprocess import Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PAD = (124, 116, 104)  # 255 * MEAN, rounded


def make(
    size: tuple[int, int] = (8, 8), fit: str = "letterbox", channels: str = "rgb", how: str = "bilinear"
) -> Preprocess:
    return Preprocess(size, fit, channels, how, MEAN, STD)  # type: ignore[arg-type]


def corner_marked(width: int, height: int) -> Image.Image:
    """Black, with a red top left quarter, a green top right, a blue bottom left."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 255
    pixels[: height // 2, width // 2 :, 1] = 255
    pixels[height // 2 :, : width // 2, 2] = 255
    return Image.fromarray(pixels)


CORNERS = ((0, 0), (0, -1), (-1, 0), (-1, -1))
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (Image.new("L", (9, 5), 77), (77, 77, 77)),
        (Image.new("1", (9, 5), 1), (255, 255, 255)),
        (Image.fromarray(np.full((5, 9), 65535, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((5, 9), 257 * 100, np.uint16)), (100, 100, 100)),
        (Image.fromarray(np.full((5, 9), 257 * 100 + 129, np.uint16)), (101, 101, 101)),  # 100.502: rounded, not cut
        (Image.new("I", (9, 5), 257 * 30), (30, 30, 30)),
        (Image.new("F", (9, 5), 0.5), (128, 128, 128)),  # none above 1: 0 to 1
        (Image.new("F", (9, 5), 200.4), (200, 200, 200)),  # else 0 to 255
        (Image.new("RGBA", (9, 5), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (9, 5), (10, 20, 30, 0)), PAD),  # transparent: what padding shows
        (Image.new("LA", (9, 5), (40, 255)), (40, 40, 40)),
        (Image.new("CMYK", (9, 5), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("P", (9, 5), 0), (0, 0, 0)),
    ],
)
def test_any_mode_becomes_rgb(image: Image.Image, value: tuple[int, int, int]) -> None:
    pixels = make((5, 9)).fit_image(image)
    assert pixels.shape == (5, 9, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == value).all()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a b.png", "L"),
        ("a.png", "I;16"),
        ("a.tif", "F"),
        ("a.tif", "CMYK"),
        ("a.jpg", "CMYK"),
        ("a.png", "P"),
        ("a.bmp", "1"),
    ],
)
def test_files_of_any_mode_load(tmp_path: Path, name: str, mode: str) -> None:
    grey = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (30, 1))
    image = Image.fromarray((grey * 65535).astype(np.uint16)) if mode == "I;16" else Image.fromarray(grey * 255)
    image = image if mode in ("I;16", "F") else image.convert("L").convert(mode)
    image.save(tmp_path / name)
    row = make((30, 40)).load(tmp_path / name)[15].mean(1)
    assert row[:4].mean() < 30 and row[-4:].mean() > 225  # dark on the left, bright on the right


def test_palette_transparency_shows_the_padding_colour(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "p.png", transparency=1)
    assert (make().load(tmp_path / "p.png") == PAD).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["letterbox", "squeeze", "crop"])
@pytest.mark.parametrize("side", [24, 4])  # with 4, the JPEG is drafted
def test_exif_rotation_is_undone(tmp_path: Path, orientation: int, fit: str, side: int) -> None:
    """A camera that lies on its side stores turned pixels and says so; the input must be upright all the same."""
    upright = corner_marked(96, 96)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright if orientation == 1 else upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0)
    pixels = make((side, side), fit).load(tmp_path / "turned.jpg").astype(int)
    for corner, colour in zip(CORNERS, COLOURS, strict=True):
        assert np.abs(pixels[corner] - colour).max() < 40


def test_exif_rotation_swaps_the_sides(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), (255, 255, 255)).save(tmp_path / "a.jpg", exif=exif)
    pixels = make((40, 40)).load(tmp_path / "a.jpg")  # upright it is 20 wide, 40 high
    assert (pixels[:, 10:30] == 255).all()
    assert (pixels[:, :10] == PAD).all() and (pixels[:, 30:] == PAD).all()


def test_letterbox_keeps_the_border_and_pads_with_the_mean() -> None:
    pixels = make((8, 8)).fit_image(
        Image.new("RGB", (16, 8), (255, 255, 255))
    )  # halved: 8 x 4, two rows above and below
    assert (pixels[2:6] == 255).all()
    assert (pixels[:2] == PAD).all() and (pixels[6:] == PAD).all()
    assert np.abs(make().normalise(pixels)[:, :2]).max() < 0.01  # padding is about 0 for the network


def test_squeeze_fills_and_crop_cuts_the_border() -> None:
    image = corner_marked(32, 16)
    assert [tuple(make((8, 8), "squeeze").fit_image(image)[c]) for c in CORNERS] == COLOURS
    border = Image.new("RGB", (32, 16), (0, 0, 0))
    border.paste((255, 255, 255), (8, 0, 24, 16))  # the middle square is white
    assert (make((8, 8), "crop", how="nearest").fit_image(border) == 255).all()
    assert not (make((8, 8), "letterbox").fit_image(border) == 255).all()


@pytest.mark.parametrize("fit", ["letterbox", "squeeze", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (37, 23), (8, 8)])
def test_any_shape_gives_the_input_size(fit: str, size: tuple[int, int]) -> None:
    assert make((17, 24), fit).fit_image(Image.new("RGB", size)).shape == (17, 24, 3)


def test_a_crop_of_a_thread_of_pixels_takes_no_memory() -> None:
    assert make((224, 224), "crop").fit_image(Image.new("L", (80_000, 1))).shape == (224, 224, 3)  # whole: 12 GB


def test_gray_repeats_one_brightness() -> None:
    pixels = make(channels="gray").fit_image(Image.new("RGB", (8, 8), (255, 0, 0)))
    assert (pixels == 76).all()  # 0.299 * 255


@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("fit", ["letterbox", "squeeze", "crop"])
def test_a_grey_image_has_the_pixels_of_its_colour_copy(how: str, fit: str) -> None:
    """It is resized as one channel, to the same bit."""
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    grey, colour = Image.fromarray(noise[..., 0]), Image.fromarray(noise)
    expected = make((24, 30), fit, how=how).fit_image(grey.convert("RGB"))
    assert (make((24, 30), fit, how=how).fit_image(grey) == expected).all()
    assert (make((24, 30), fit, "gray", how).fit_image(grey) == expected).all()
    repeated = make((24, 30), fit, how=how).fit_image(colour.convert("L").convert("RGB"))
    assert (make((24, 30), fit, "gray", how).fit_image(colour) == repeated).all()


def test_resizing_is_pillows() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for how, filter_ in (("bilinear", Image.Resampling.BILINEAR), ("lanczos", Image.Resampling.LANCZOS)):
        expected = np.asarray(noise.resize((24, 24), filter_))
        assert (make((24, 24), how=how).fit_image(noise) == expected).all()


def test_normalise_is_torchvisions() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    expected = VF.normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, list(MEAN), list(STD))
    assert make().normalise(pixels).dtype == np.float32
    np.testing.assert_allclose(make().normalise(pixels), expected.numpy(), atol=2e-6)
    assert (make().normalise(pixels)[1] == make().normalise(pixels[1])).all()


@pytest.mark.parametrize("fit", ["letterbox", "squeeze", "crop"])
@pytest.mark.parametrize("size", [(64, 48), (30, 90), (101, 53)])
def test_the_box_says_where_a_point_lies(fit: str, size: tuple[int, int]) -> None:
    """A white spot in the original is found where the geometry says, and back."""
    x, y = size[0] // 2 - 4, size[1] // 2 + 5
    image = Image.new("L", size)
    image.paste(255, (x - 3, y - 3, x + 4, y + 4))  # centred on (x + 0.5, y + 0.5)
    how = make((40, 56), fit)
    bright = how.fit_image(image)[..., 0] * 1.0
    bright[bright < 130] = 0  # not the padding
    rows, columns = np.mgrid[:40, :56] + 0.5
    seen = (columns * bright).sum() / bright.sum(), (rows * bright).sum() / bright.sum()
    box = how.box(*size)
    np.testing.assert_allclose(box.to_input(x + 0.5, y + 0.5), seen, atol=0.5)
    np.testing.assert_allclose(box.to_original(*box.to_input(x, y)), (x, y), atol=1e-9)


def test_masks_lie_where_the_image_lies(tmp_path: Path) -> None:
    mask = Image.new("L", (40, 20))
    mask.paste(3, (0, 0, 20, 20))  # class 3 on the left half
    mask.save(tmp_path / "m.png")
    seen = make((20, 20)).load_mask(tmp_path / "m.png")  # halved: 20 x 10, five rows of padding above and below
    assert set(np.unique(seen)) == {0, 1}
    assert seen[5:15, :10].all()
    assert seen.sum() == 100


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((897, 601), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.jpg", quality=95)
    smooth.save(tmp_path / "a.png")
    how = make((64, 64), "squeeze")
    difference = how.load(tmp_path / "a.jpg").astype(int) - how.load(tmp_path / "a.png")
    assert np.sqrt((difference**2).mean()) < 1.5
    with open_image(tmp_path / "a.jpg") as image:
        assert draft(image, "RGB", (128, 128)) == (224.25, 150.25)  # a quarter: 897 / 4, 601 / 4
        assert image.size == (225, 151)
    with open_image(tmp_path / "a.jpg") as image:
        how.fit_image(image)
        assert image.size == (225, 151)  # an eighth would leave 76 of 601: less than twice 64


def test_a_small_jpeg_is_decoded_whole(tmp_path: Path) -> None:
    corner_marked(255, 255).save(tmp_path / "a.jpg")
    with open_image(tmp_path / "a.jpg") as image:
        draft(image, "RGB", (128, 128))  # half would leave 128 of 255: less than half a pixel short
        assert image.size == (255, 255)


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:-400])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    for name, why in (
        ("cut.jpg", "truncated"),
        ("text.png", "not an image"),
        ("empty.png", "not an image"),
        ("no.png", "no such"),
    ):
        with pytest.raises(OSError, match=why) as caught:
            make().load(tmp_path / name)
        assert name in str(caught.value)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (200, 200)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200 * 200 - 1)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(OSError, match="decompression bomb"):
        make().load(tmp_path / "bomb.png")


def test_the_definition_survives_json_and_its_hash_tells_changes() -> None:
    how = make((8, 9))
    assert Preprocess.from_dict(how.as_dict()) == how
    assert Preprocess.from_dict(how.as_dict()).hash() == how.hash()
    others = [make((9, 8)), make((8, 9), "crop"), make((8, 9), channels="gray"), make((8, 9), how="bicubic")]
    assert len({how.hash(), *(other.hash() for other in others)}) == 5
    with pytest.raises(ValueError, match=r"preprocess\.fit = 'stretch'"):
        make(fit="stretch")

"""The parts of synthesis: blending, healing, templates, Perlin noise, files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage
from synthetic_plates import draw_plates, read_rows, split_counts, synthetic, wish, write_rows

from zdd.data.found import Found
from zdd.data.synthesis import blend, finish, perlin, picture, regions, template
from zdd.data.synthesis.combine import synthesise
from zdd.data.synthesis.job import Job, Style
from zdd.errors import ZddError


@pytest.mark.parametrize("side", [20, 90])  # 90: 6084 unknowns, more than are solved at once
def test_a_membrane_over_a_slope_is_the_slope(side: int) -> None:
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    slope = np.stack([x, 0.5 * y + 0.2], axis=2)  # a linear function is harmonic
    known = np.ones((side, side), bool)
    known[6:-6, 6:-6] = False
    filled = blend.membrane(np.where(known[..., None], slope, 9).astype(np.float32), known)
    assert np.abs(filled - slope).max() < (1e-4 if side == 20 else 0.02)


def test_a_membrane_without_a_shore_is_nothing() -> None:
    values = np.ones((4, 4, 1), np.float32)
    assert (blend.membrane(values, np.zeros((4, 4), bool)) == 0).all()
    assert (blend.membrane(values, np.ones((4, 4), bool)) == 1).all()


def test_a_piece_of_one_brightness_vanishes_in_another_brightness() -> None:
    """0.3 pasted into 0.4 takes the brightness of what is around it: no edge is left."""
    shape = np.zeros((40, 40), bool)
    shape[14:26, 12:30] = True
    piece = blend.cut(np.full((40, 40, 1), 0.3, np.float32), shape, shape)
    assert piece.size == (12 + 16, 18 + 16)  # 8 pixels of room on each side
    under = np.full((60, 60, 1), 0.4, np.float32)
    at = blend.fit(under, piece, 10, 10)
    assert at is not None and at.gain == pytest.approx(0.42 / 0.32) and 0.02 < at.misfit < 0.05
    pasted, mark = blend.paste(under, piece, at)
    assert np.abs(pasted - 0.4).max() < 1e-5
    assert mark.sum() == 12 * 18 and mark[18:30, 18:36].all()


def test_a_defect_keeps_its_contrast_where_it_is_pasted() -> None:
    values = np.full((40, 40, 1), 0.5, np.float32)
    shape = np.zeros((40, 40), bool)
    shape[15:25, 15:25] = True
    mark = ndimage.binary_erosion(shape, iterations=3)
    values[mark] = 0.2
    piece = blend.cut(values, shape, mark)
    under = np.full((60, 60, 1), 0.5, np.float32)
    at = blend.fit(under, piece, 12, 12)
    assert at is not None and at.misfit < 1e-6
    pasted, found = blend.paste(under, piece, at)
    assert pasted[found].mean() == pytest.approx(0.2, abs=1e-5)
    assert np.abs(pasted[~found] - 0.5).max() < 1e-5
    darker = np.full((60, 60, 1), 0.4, np.float32)
    dim = blend.fit(darker, piece, 12, 12)
    assert dim is not None and dim.gain == pytest.approx(0.42 / 0.52)
    pasted, found = blend.paste(darker, piece, dim)
    assert pasted[found].mean() == pytest.approx(0.4 - 0.3 * 0.42 / 0.52, abs=1e-4)  # less light, less contrast


def test_a_piece_outside_the_picture_fits_nowhere() -> None:
    shape = np.zeros((20, 20), bool)
    shape[8:12, 8:12] = True
    piece = blend.cut(np.full((20, 20, 1), 0.5, np.float32), shape, shape)
    under = np.full((30, 30, 1), 0.5, np.float32)
    assert blend.fit(under, piece, 5, 5) is not None
    assert blend.fit(under, piece, -10, 5) is None  # its rows 8 to 11 would be -2 to 1
    with pytest.raises(ValueError, match="nothing"):
        blend.cut(under, np.zeros((30, 30), bool), np.zeros((30, 30), bool))


def test_a_turned_piece_keeps_its_area_and_a_mirrored_one_its_marks() -> None:
    shape = np.zeros((40, 40), bool)
    shape[12:28, 16:24] = True
    mark = shape.copy()
    mark[:, 20:] = False  # the left half
    piece = blend.cut(np.full((40, 40, 3), 0.5, np.float32), shape, mark)
    turned = piece.turned(30)
    assert turned.shape.sum() == pytest.approx(16 * 8, rel=0.1) and turned.mark.sum() == pytest.approx(64, rel=0.15)
    assert (turned.mark & ~turned.shape).sum() == 0
    large = piece.turned(0, 2.0)
    assert large.shape.sum() == pytest.approx(4 * 16 * 8, rel=0.1)
    columns = np.flatnonzero(piece.mirrored().mark.any(0))
    assert columns.tolist() == [12, 13, 14, 15]  # 24 wide with its room: 8 to 11 mirrored
    assert piece.turned(0) is piece


def test_a_hole_in_a_texture_is_closed_with_texture() -> None:
    rng = np.random.default_rng(0)
    values = (0.5 + rng.normal(0, 0.02, (80, 80, 1))).astype(np.float32)
    hole = np.zeros((80, 80), bool)
    hole[30:45, 30:45] = True
    values[hole] = 0.0
    healed = blend.heal(values, hole, rng)
    assert healed[hole].mean() == pytest.approx(0.5, abs=0.02)
    assert healed[hole].std() == pytest.approx(0.02, abs=0.006)  # grain, not a smooth skin
    assert (healed[:20] == values[:20]).all()


def test_a_template_is_found_whatever_the_light() -> None:
    rng = np.random.default_rng(1)
    scene = rng.random((50, 70)).astype(np.float32)
    pattern = scene[21:34, 40:52].copy()
    for seen in (scene, 0.3 * scene + 0.5):
        found = template.find(seen, pattern)
        assert found is not None
        assert (found[0], found[1]) == (template.Box(21, 40, 13, 12), pytest.approx(1, abs=1e-4))
    assert template.find(pattern, scene) is None  # larger than the picture


def test_correlation_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(2)
    scene, pattern = rng.random((14, 12)), rng.random((5, 4))
    said = template.correlation(scene.astype(np.float32), pattern.astype(np.float32))
    assert said.shape == (10, 9)
    for row, column in ((0, 0), (9, 8), (4, 3)):
        patch = scene[row : row + 5, column : column + 4]
        assert said[row, column] == pytest.approx(np.corrcoef(patch.ravel(), pattern.ravel())[0, 1], abs=1e-5)


def test_a_patch_of_one_colour_is_no_match_and_no_nan() -> None:
    scene = np.full((30, 30), 0.7, np.float32)
    scene[:9, :9] = np.random.default_rng(3).random((9, 9))
    said = template.correlation(scene, scene[:8, :8])
    assert np.isfinite(said).all()
    assert said[15:, 15:].max() == said[15:, 15:].min() == 0
    assert said.max() == said[0, 0]


def test_a_template_must_show_something(tmp_path: Path) -> None:
    Image.new("L", (20, 20), 90).save(tmp_path / "flat.png")
    Image.new("L", (20, 5), 90).save(tmp_path / "thin.png")
    with pytest.raises(ZddError, match="of one colour"):
        template.load(tmp_path / "flat.png")
    with pytest.raises(ZddError, match="20 x 5 pixels; at least 8 x 8"):
        template.load(tmp_path / "thin.png")


def labelled(root: Path) -> Path:
    """Plates with a printed cross, in two classes without masks; cut the cross of one out."""
    few = {"good": 1, "crack": 1}
    draw_plates(root, split_counts({"good": 5, "crack": 5}, val=few, test=few))
    cross = np.zeros((12, 16), bool)
    cross[5:7], cross[:, 7:9] = True, True
    for number, row in enumerate(rows := read_rows(root / "set.csv")):
        pixels = np.array(Image.open(root / row["image"]))
        top, left = 14 + number % 5, 20 - number % 3
        pixels[top : top + 12, left : left + 16] = np.where(cross[..., None], 10, 240)
        Image.fromarray(pixels).save(root / row["image"])
        if number == 0:
            Image.fromarray(pixels[top - 2 : top + 14, left - 2 : left + 18]).save(root.parent / "cross.png")
    write_rows(root / "set.csv", [(row["image"], row["label"], "", "", row["split"], "") for row in rows])
    return root


def test_printed_labels_are_found_moved_and_turned_in_every_class(tmp_path: Path) -> None:
    root, pattern = labelled(tmp_path / "plates"), tmp_path / "cross.png"
    style = Style(turn=8, shift=0.1, light=0, mirror=False, templates=(("", pattern),), match=0.5)
    said = synthesise(wish(tmp_path / "out", root, train=6, style=style))
    assert said["n_synthetic"] == 12
    rows = synthetic(read_rows(tmp_path / "out/synthetic.csv"))
    seen = template.load(pattern)
    matches = []
    for row in rows:
        assert bool(row["mask"]) == (row["label"] == "good")  # where a defect is was never drawn
        found = template.find(picture.read(str(tmp_path / "out" / row["image"])).channels(1)[..., 0], seen)
        assert found is not None
        matches.append(found[1])
    assert min(matches) > 0.6 and sum(match > 0.9 for match in matches) >= 3  # half of them are turned
    assert any(len(row["parent"].split(";")) == 2 for row in rows)


def test_a_template_that_is_nowhere_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = labelled(tmp_path / "plates")
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (20, 20), np.uint8)).save(tmp_path / "noise.png")
    with pytest.raises(ZddError, match=r"^'good', 'crack': the template is found in no training image \(--match 0.6"):
        synthesise(wish(tmp_path / "out", root, train=1, style=Style(templates=(("", tmp_path / "noise.png"),))))
    assert capsys.readouterr().err == ""


def test_what_can_not_be_used_is_told_by_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = draw_plates(tmp_path / "plates", split_counts({"good": 2, "crack": 5}, val={"good": 1}, test={"good": 1}))
    rows = read_rows(root / "set.csv")
    Image.new("L", (60, 52)).save(root / rows[2]["mask"])
    rows[3]["mask"] = rows[4]["mask"] = ""
    write_rows(root / "set.csv", [tuple(row.values()) for row in rows])
    synthesise(wish(tmp_path / "out", root, train=4))
    assert capsys.readouterr().err.splitlines() == [
        "data: 1 of the images of 'crack' can't be cut from: its mask marks nothing",
        "data: 2 of the images of 'crack' can't be cut from: has no mask",
    ]
    used = {row["group"] for row in synthetic(read_rows(tmp_path / "out/synthetic.csv")) if row["label"] == "crack"}
    assert used == {"traincrack1", "traincrack2"}  # cracks 3 and 4


def test_perlin_noise_is_nothing_at_corners_and_smooth_between() -> None:
    rng = np.random.default_rng(0)
    found = perlin.noise(rng, (200, 160), (8, 8), 0.0)
    assert found.shape == (200, 160)
    assert abs(float(found.mean())) < 0.1 and 0.15 < float(found.std()) < 0.5 and np.abs(found).max() <= 1.4
    assert np.abs(np.diff(found, axis=1)).max() < 0.2  # 8 cells over 200 pixels: no jumps between cells

    class Corner:  # a lattice that begins at the picture's corner
        random = staticmethod(lambda: 0.0)
        uniform = staticmethod(rng.uniform)

    lattice = perlin.noise(Corner(), (64, 64), (8, 8), 0.0)  # type: ignore[arg-type]
    assert np.abs(lattice[::8, ::8]).max() < 1e-5  # every eighth pixel is a corner


def test_a_part_that_stands_out_is_found_and_another_is_everywhere() -> None:
    grey = np.full((80, 80), 0.1, np.float32)
    grey[20:60, 20:60] = 0.7
    part = perlin.on_the_part(grey)
    assert part[24:56, 24:56].all() and not part[:17].any() and not part[:, 63:].any()
    assert perlin.on_the_part(np.full((80, 80), 0.5, np.float32)).all()


def test_perlin_defects_lie_on_the_part_and_differ(tmp_path: Path) -> None:
    root = draw_plates(tmp_path / "plates", split_counts({"good": 6}, val={"good": 1}))
    style = Style(light=0, mirror=False)
    synthesise(wish(tmp_path / "out", root, generator="perlin", train=12, style=style, class_name="fault"))
    masks = [
        np.asarray(Image.open(tmp_path / "out" / row["mask"])) > 0
        for row in synthetic(read_rows(tmp_path / "out/synthetic.csv"))
    ]
    assert len({mask.tobytes() for mask in masks}) == 12
    plate = np.zeros(masks[0].shape, bool)
    plate[4:-4, 4:-4] = True  # 6, and 1 by which a picture may be moved, and 1 of softness
    assert not any((mask & ~plate).any() for mask in masks)
    assert all(0.0004 <= mask.mean() < 0.1 for mask in masks)


def test_a_defect_at_the_border_is_not_moved_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "MOVE", 0.2)
    mask = np.zeros((40, 40), bool)
    mask[10:20, :2] = True
    for seed in range(20):
        _, moved = finish.finish(
            np.zeros((40, 40, 1), np.float32), mask, np.random.default_rng(seed), Style(mirror=False)
        )
        assert moved.sum() >= 18  # nine tenths of 20


@pytest.mark.parametrize("mirror", [False, True])
def test_a_region_is_mirrored_only_where_it_may_be(tmp_path: Path, mirror: bool) -> None:
    shape = np.zeros((60, 60), bool)
    shape[22:34, 24:27], shape[31:34, 24:33] = True, True  # an L
    rng = np.random.default_rng(0)
    for name in ("bad", "good"):
        pixels = np.where(shape & (name == "bad"), 60, 130) + rng.normal(0, 2, (60, 60))
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    Image.fromarray(shape).save(tmp_path / "mask.png")
    source = Found(str(tmp_path / "bad.png"), "bad", mask=str(tmp_path / "mask.png"))
    style = Style(turn=0, light=0, mirror=mirror)
    seen = set()
    for number in range(12):
        clean = (Found(str(tmp_path / "good.png"), "good"),)
        made = regions.make(Job("bad", "bad", "train", number, 0, False, source, clean), style)
        assert made.mask is not None
        rows, columns = np.flatnonzero(made.mask.any(1)), np.flatnonzero(made.mask.any(0))
        seen.add(made.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].tobytes())
        assert made.picture.values[made.mask].mean() < 0.35 < made.picture.values[~made.mask].mean()  # 60 / 255 = 0.24
    letter = shape[22:34, 24:33]
    assert seen == ({letter.tobytes(), letter[:, ::-1].tobytes()} if mirror else {letter.tobytes()})


def test_a_region_that_fills_its_picture_is_none(tmp_path: Path) -> None:
    Image.new("L", (30, 30), 90).save(tmp_path / "a.png")
    Image.new("L", (30, 30), 255).save(tmp_path / "all.png")
    Image.new("L", (30, 30), 0).save(tmp_path / "none.png")
    style = Style()
    said = [
        regions.unusable(Found(str(tmp_path / "a.png"), "crack", mask=mask), style, is_good=False)
        for mask in (str(tmp_path / "all.png"), str(tmp_path / "none.png"), "")
    ]
    assert said == [
        "its region is 100 % of it, so there is nothing to paste it into",
        "its mask marks nothing",
        "has no mask",
    ]


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_photograph_and_its_mask_are_upright(tmp_path: Path, turn: int) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :15] = 200
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "mask.png")  # drawn on the image as stored
    one = Found(str(tmp_path / "a.png"), "crack", mask=str(tmp_path / "mask.png"))
    with Image.open(one.path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    read = picture.read(one.path).values
    assert np.array_equal(np.rint(read * 255), upright)
    if turn >= 5:  # else a mask without EXIF data is taken for upright
        assert np.array_equal(picture.read_mask(one), upright[..., 0] > 0)

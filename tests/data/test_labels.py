"""The drawn set: the same bytes from the same seed, honest masks, and folders that are left alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from zdd.data.sources import labels as source
from zdd.data.synthesis.labels import draw
from zdd.data.synthesis.labels_print import FAULTS, MADE_IN, fractal, print_label
from zdd.data.synthesis.labels_scene import make_part, photograph
from zdd.errors import ZddError

SIZE = 64


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "labels"
    draw(out, per_class=3, seed=7, size=SIZE, processes=1)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_processes(drawn: Path, tmp_path: Path) -> None:
    facts = draw(tmp_path / "again", per_class=3, seed=7, size=SIZE, processes=2)
    assert facts["n_images"] == 15
    assert contents(tmp_path / "again") == contents(drawn)


def test_another_seed_gives_other_pictures(drawn: Path, tmp_path: Path) -> None:
    draw(tmp_path / "other", per_class=1, seed=8, size=SIZE, processes=1)
    for path in (tmp_path / "other/images").iterdir():
        assert path.read_bytes() != (drawn / "images" / path.name).read_bytes()


def test_a_larger_set_begins_with_the_smaller_one(drawn: Path, tmp_path: Path) -> None:
    draw(tmp_path / "larger", per_class=5, seed=7, size=SIZE, processes=1)
    for path in (drawn / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "larger/images" / path.name).read_bytes()


def test_three_images_a_class_are_two_parts_of_two_and_one_pictures(drawn: Path) -> None:
    found = source.index(drawn)
    assert len(found) == 15
    assert {one.class_name for one in found} == set(FAULTS)
    for fault in FAULTS:
        groups = [one.group for one in found if one.class_name == fault]
        assert sorted(groups.count(group) for group in set(groups)) == [1, 2]
    assert all(one.split is None for one in found)  # zdd splits, by group


def test_every_image_and_mask_opens_with_its_size(drawn: Path) -> None:
    for one in source.index(drawn):
        with Image.open(one.path) as image, Image.open(one.mask) as mask:
            assert (image.size, image.mode) == ((SIZE, SIZE), "RGB")
            assert (mask.size, mask.mode) == ((SIZE, SIZE), "L")
            assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_only_faulty_parts_have_a_faulty_region(drawn: Path) -> None:
    for one in source.index(drawn):
        share = (np.asarray(Image.open(one.mask)) > 0).mean()
        if one.class_name == "no_fail":
            assert share == 0
        else:
            assert 0.01 < share < 0.5, one.path


def test_pictures_of_one_part_differ(drawn: Path) -> None:
    first, second = (Image.open(drawn / f"images/no_fail_0000_{k}.jpg").convert("L") for k in (0, 1))
    assert np.abs(np.asarray(first, float) - np.asarray(second, float)).mean() > 3


@pytest.mark.parametrize("seed", range(6))
def test_half_printed_lacks_its_ink_where_the_mask_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bad = print_label(rng, "half_printed", width=200, height=128)
    region = bad.fault > 0
    grey = bad.colour.mean(2)
    # ink is what makes a label uneven: without it a tenth of the contrast is left
    assert grey[region].std() < 0.35 * grey[20:108, 20:180][~region[20:108, 20:180]].std()
    assert 0.3 < region.mean() / (0.86 * 0.8) < 0.7  # 40 to 60 % of the print box


@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_date_differs_only_in_the_line_of_the_date(seed: int) -> None:
    good, bad = (
        print_label(np.random.default_rng(seed), fault, width=200, height=128) for fault in ("no_fail", "wrong_date")
    )
    difference = np.abs(good.colour - bad.colour).max(2)
    rows = np.flatnonzero(bad.fault.any(1))
    line = slice(max(0, rows[0] - 3), rows[-1] + 4)  # 3 pixels for the text that a tilt carries past the box
    assert difference[line].max() > 0.2
    difference[line] = 0
    assert difference.max() < 0.02
    assert len(rows) < 0.55 * 128  # the date's line and no more


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_lies_in_the_picture_where_the_fault_is(seed: int) -> None:
    """The same part in the same picture with a right and a wrong date differs within the mask."""
    right, wrong = (make_part(np.random.default_rng(seed), fault, side=512) for fault in ("no_fail", "wrong_date"))
    (good, none), (bad, mask) = (photograph(part, np.random.default_rng(seed + 9), size=256) for part in (right, wrong))
    assert none.getextrema() == (0, 0)
    changed = np.abs(np.asarray(good.convert("L"), float) - np.asarray(bad.convert("L"), float)) > 40
    near = np.asarray(mask.filter(ImageFilter.MaxFilter(5))) > 0  # 2 pixels for blur
    assert changed.sum() > 80
    assert (changed & near).sum() / changed.sum() > 0.99


def test_either_half_may_be_missing() -> None:
    faults = (print_label(np.random.default_rng(seed), "half_printed", width=80, height=50).fault for seed in range(12))
    sides = {bool(fault[:, :40].sum() > fault[:, 40:].sum()) for fault in faults}
    assert sides == {True, False}


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "labels"
    draw(out, per_class=1, seed=0, size=32, processes=1)
    before = contents(out)
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        draw(out, per_class=2, seed=1, size=32, processes=1)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_the_tolerance_of_good_prints_and_the_angle_of_crooked_ones_are_apart() -> None:
    for seed in range(8):
        straight = print_label(np.random.default_rng(seed), "half_printed", width=300, height=190).fault
        crooked = print_label(np.random.default_rng(seed), "crooked_print", width=300, height=190).fault
        assert _tilt(straight) <= 2.0  # 1.5 degrees, and the box's own raggedness
        assert 10.0 < _tilt(crooked) < 24.0  # 12 to 22 degrees


def _tilt(region: np.ndarray) -> float:
    """Slope in degrees of the upper edge of a region, away from its corners."""
    columns = np.flatnonzero(region.any(0))
    middle = columns[len(columns) // 4 : -len(columns) // 4]
    inner = [c for c in middle if region[:, c].argmax() > 0]  # where the edge is not cut off by the sticker's
    return float(abs(np.degrees(np.arctan(np.polyfit(inner, [region[:, c].argmax() for c in inner], 1)[0]))))


@pytest.mark.parametrize("fault", FAULTS)
def test_dates_are_past_on_wrong_labels_only(fault: str) -> None:
    for seed in range(60):
        date = print_label(np.random.default_rng(seed), fault, width=80, height=50).date
        month, year = map(int, date.split("."))
        assert 1 <= month <= 12
        assert (2000 + year < MADE_IN) == (fault == "wrong_date")


def test_a_folder_of_its_own_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "labels"
    draw(out, per_class=2, seed=0, size=32, processes=1)
    draw(out, per_class=1, seed=0, size=32, processes=1)
    assert len(list((out / "images").iterdir())) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["labels"]
    assert json.loads((out / "labels.json").read_text())["per_class"] == 1
    assert "--per-class 1 --seed 0" in (out / "README.md").read_text()


def test_a_folder_of_someone_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ZddError, match=r"holiday\.jpg"):
        draw(tmp_path, per_class=1, seed=0, size=32)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"


def test_a_set_to_which_a_file_was_added_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "labels", per_class=1, seed=0, size=32, processes=1)
    (tmp_path / "labels/notes.txt").write_text("mine")
    with pytest.raises(ZddError, match=r"notes\.txt"):
        draw(tmp_path / "labels", per_class=1, seed=0, size=32, processes=1)


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "with a space").mkdir()
    draw(tmp_path / "with a space", per_class=1, seed=0, size=32, processes=1)
    assert len(source.index(tmp_path / "with a space")) == 5


def test_all_numbers_out_of_range_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ZddError) as caught:
        draw(tmp_path / "labels", per_class=0, seed=-1, size=8)
    assert [line.split(" = ")[0] for line in caught.value.lines] == ["per_class", "seed", "size"]
    assert not (tmp_path / "labels").exists()


def test_a_set_that_was_not_drawn_says_how_to_draw_it(tmp_path: Path) -> None:
    with pytest.raises(ZddError, match=r"draw the set with: zdd data labels .*nowhere"):
        source.index(tmp_path / "nowhere")


def test_a_table_without_its_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,class\na.jpg,no_fail\n")
    with pytest.raises(ZddError, match="no column image"):
        source.index(tmp_path)


def test_the_table_can_be_read_as_any_csv(drawn: Path) -> None:
    with (drawn / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "label", "mask", "group"]
    assert all((drawn / row["image"]).is_file() and (drawn / row["mask"]).is_file() for row in rows)


def test_noise_is_standardised_and_seeded() -> None:
    noise = fractal(np.random.default_rng(1), 40, 60)
    assert noise.shape == (40, 60)
    assert abs(float(noise.mean())) < 1e-4
    assert float(noise.std()) == pytest.approx(1, abs=1e-3)
    assert (noise == fractal(np.random.default_rng(1), 40, 60)).all()


@pytest.mark.slow
def test_a_linear_model_on_pixels_stays_near_chance(tmp_path: Path) -> None:
    """Ridge regression on 32 x 32 grey pixels, tested on parts that it never saw; chance is 0.2."""
    draw(tmp_path / "labels", per_class=60, seed=0)
    found = source.index(tmp_path / "labels")
    small = [np.asarray(Image.open(one.path).convert("L").resize((32, 32)), float).ravel() for one in found]
    pixels = np.hstack((np.stack(small) / 255 - 0.5, np.ones((len(found), 1))))
    label = np.array([FAULTS.index(one.class_name) for one in found])
    seen = np.array([int(one.group[-4:]) % 3 != 0 for one in found])
    for strength in (0.1, 1.0, 10.0, 100.0):
        gram = pixels[seen].T @ pixels[seen] + strength * np.eye(pixels.shape[1])
        weights = np.linalg.solve(gram, pixels[seen].T @ np.eye(5)[label[seen]])
        right = (pixels[~seen] @ weights).argmax(1) == label[~seen]
        assert np.mean([right[label[~seen] == k].mean() for k in range(5)]) < 0.35

"""The same picture in two splits is found, though it was saved again; another part under the same camera is not."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zdd.data import look as looking
from zdd.data.duplicates import across_splits, disagreeing
from zdd.data.look import Seen, look, look_at_all


def photo(seed: int, size: tuple[int, int] = (240, 200)) -> Image.Image:
    """A part under a fixed camera: one scene, with texture, grain and a scratch of its own."""
    scene = np.random.default_rng(99).integers(40, 200, (6, 7, 3), np.uint8)
    rng = np.random.default_rng(seed)
    texture = Image.fromarray(rng.integers(0, 40, (20, 24, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(Image.fromarray(scene).resize(size, Image.Resampling.BICUBIC), np.int16) + np.asarray(texture)
    return Image.fromarray((pixels + rng.integers(-3, 4, pixels.shape)).clip(0, 255).astype(np.uint8))


def save(image: Image.Image, path: Path, **options: int) -> str:
    image.save(path, **options)
    return str(path)


@pytest.mark.parametrize(
    ("scale", "name", "quality"),
    [(1.0, "b.jpg", 60), (0.5, "b.jpg", 90), (0.93, "b.jpg", 75), (1.2, "b.png", 0), (1.0, "b.bmp", 0)],
)
def test_a_copy_saved_again_is_found(tmp_path: Path, scale: float, name: str, quality: int) -> None:
    first = save(photo(0), tmp_path / "a.png")
    size = (round(240 * scale), round(200 * scale))
    copy = photo(0).resize(size, Image.Resampling.BICUBIC)
    second = save(copy, tmp_path / name, **({"quality": quality} if quality else {}))
    pairs, count = across_splits([look(first), look(second)], ["train", "test"])
    assert count == 1
    assert (pairs[0].first, pairs[0].second) == (0, 1)
    assert across_splits([look(first), look(second)], ["test", "test"]) == ([], 0)  # within a split it does no harm


def test_parts_that_look_alike_are_no_pairs(tmp_path: Path) -> None:
    seen = [look(save(photo(i), tmp_path / f"{i}.png")) for i in range(30)]
    assert across_splits(seen, ["train", "val", "test"] * 10) == ([], 0)


def test_blank_images_are_pairs_only_byte_for_byte(tmp_path: Path) -> None:
    paths = [save(Image.new("L", (30, 30), value), tmp_path / f"{i}.png") for i, value in enumerate((0, 1, 0))]
    pairs, count = across_splits([look(p) for p in paths], ["train", "val", "test"])
    assert [(p.first, p.second, p.difference) for p in pairs] == [(0, 2, 0.0)]
    assert count == 1


def test_a_faint_image_is_blank_too(tmp_path: Path) -> None:
    faint = Image.new("L", (32, 32), 100)
    faint.paste(101, (0, 0, 16, 32))  # half a grey value of deviation: what noise makes of a blank image
    seen = [look(save(faint, tmp_path / name)) for name in ("a.png", "b.bmp")]
    assert across_splits(seen, ["train", "test"]) == ([], 0)


def test_the_same_file_twice_in_one_split_is_no_leak(tmp_path: Path) -> None:
    paths = [save(photo(0), tmp_path / f"{i}.png") for i in range(3)]
    pairs, count = across_splits([look(p) for p in paths], ["train", "train", "val"])
    assert [(p.first, p.second) for p in pairs] == [(0, 2), (1, 2)]
    assert count == 2


def brute(thumbnails: np.ndarray, splits: list[str]) -> set[tuple[int, int]]:
    found = set()
    for i, a in enumerate(thumbnails.astype(float)):
        for j in range(i + 1, len(thumbnails)):
            b = thumbnails[j].astype(float)
            if splits[i] != splits[j] and np.sqrt(((a - b) ** 2).mean()) <= 1.5 and np.corrcoef(a, b)[0, 1] >= 0.98:
                found.add((i, j))
    return found


def test_blocks_find_what_comparing_all_pairs_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_ROWS", 7), ("_COLUMNS", 5), ("_CHECKED", 3)):
        monkeypatch.setattr(f"zdd.data.duplicates.{name}", value)
    rng = np.random.default_rng(1)
    bases = rng.integers(20, 230, (6, 256))
    noise = rng.normal(0, rng.choice([0.5, 1.0, 1.4], 90)[:, None], (90, 256))
    thumbnails = (bases[rng.integers(0, 6, 90)] + noise).round().clip(0, 255).astype(np.uint8)
    splits = list(rng.choice(["train", "val", "test"], 90))
    seen = [Seen(f"{i:064x}", 1, 1, "L", row.tobytes()) for i, row in enumerate(thumbnails)]
    expected = brute(thumbnails, splits)
    pairs, count = across_splits(seen, splits)
    assert {(p.first, p.second) for p in pairs} == expected
    assert count == len(expected) > 100
    kept, all_of_them = across_splits(seen, splits, most=5)
    assert len(kept) == 5 and all_of_them == count


def test_one_file_under_two_labels(tmp_path: Path) -> None:
    paths = [save(photo(i % 2), tmp_path / f"{i}.png") for i in range(4)]  # 0 and 2, 1 and 3 are the same
    found = disagreeing([look(p) for p in paths], ["good", "bad", "crack", "bad"])
    assert [(p.first, p.second) for p in found] == [(0, 2)]


def test_looks_are_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(photo(i), tmp_path / f"{i} x.png") for i in range(3)]
    memory = tmp_path / "memory" / "looks.jsonl"
    first = look_at_all(paths, memory)
    asked: list[str] = []

    def counting(path: str) -> Seen:
        asked.append(path)
        return look(path)

    monkeypatch.setattr(looking, "look", counting)
    assert look_at_all(paths, memory) == first
    assert asked == []
    save(photo(7), Path(paths[1]))
    os.utime(paths[1], ns=(1, 1))
    changed = look_at_all(paths, memory)
    assert asked == [paths[1]]
    assert changed[1] == look(paths[1]) != first[1]
    for damage in ("", "2\n{", "2\n[1, 2]\n", '2\n["a", 1, 1, "x", 1, 1, "L", "AAAA"]\n', "99\n"):
        memory.write_text(damage)
        assert look_at_all(paths, memory) == changed  # a damaged memory is made anew


def test_only_what_can_not_be_read_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(photo(0, (40, 30)), tmp_path / "a.png"), str(tmp_path / "b.png")]
    Path(paths[1]).write_text("no image")
    memory = tmp_path / "looks.jsonl"
    assert [bool(one.error) for one in look_at_all(paths, memory)] == [False, True]
    asked: list[str] = []
    monkeypatch.setattr(looking, "look", lambda path: asked.append(path) or look(path))
    assert [bool(one.error) for one in look_at_all(paths, memory)] == [False, True]
    assert asked == paths[1:]


def test_a_copy_that_lies_on_its_side_is_found(tmp_path: Path) -> None:
    first = save(photo(0), tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    photo(0).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.jpg", exif=exif, quality=90)
    assert across_splits([look(first), look(str(tmp_path / "b.jpg"))], ["train", "test"])[1] == 1


@pytest.mark.data
@pytest.mark.parametrize("name", ["casting_cls", "neu_cls", "fdm_print_cls"])
def test_real_sets_raise_no_false_alarm_and_a_planted_copy_does(name: str, tmp_path: Path) -> None:
    places = [Path(part) / name for part in os.environ.get("ZDD_DATA", "").split(os.pathsep) if part]
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        pytest.skip(f"{name} lies in no folder of ZDD_DATA")
    paths = [str(p) for p in sorted(root.rglob("*.jp*g"))]
    splits = [Path(p).relative_to(root).parts[0] for p in paths]
    seen = look_at_all(paths, None)
    assert across_splits(seen, splits)[1] == 0  # type: ignore[arg-type]
    with Image.open(paths[-1]) as image:
        copy = image.resize((round(image.width * 0.93), round(image.height * 0.93)), Image.Resampling.BICUBIC)
    other = "val" if splits[-1] != "val" else "test"
    planted = [*seen, look(save(copy, tmp_path / "c.jpg", quality=60))]
    pairs, _ = across_splits(planted, [*splits, other])  # type: ignore[list-item]
    assert [(p.first, p.second) for p in pairs] == [(len(paths) - 1, len(paths))]

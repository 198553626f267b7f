"""From a folder to records, and everything that is refused on the way."""

import hashlib
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import LOADER, draw, draw_set, make_settings, small_preprocess

from zdd.data import dataset
from zdd.data.dataset import Dataset, prepare
from zdd.errors import ZddError
from zdd.settings import DatasetSettings

COUNTS = {"good": 12, "crack": 9, "dent mark": 4}


def run(settings: DatasetSettings) -> tuple[Dataset, dict]:
    data, audit = prepare(settings, small_preprocess(), cache=LOADER)
    facts = audit.as_dict()
    json.dumps(facts, allow_nan=False)  # plain JSON
    return data, facts


def fingerprint(root: Path) -> str:
    """Of a folder with everything in it: names, bytes, times of change."""
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        whole.update(f"{path.relative_to(root)} {path.stat().st_mtime_ns}".encode())
        whole.update(path.read_bytes() if path.is_file() else b"")
    return whole.hexdigest()


def test_a_plain_folder(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "my set", COUNTS)
    before = fingerprint(root)
    data, facts = run(make_settings(root))
    assert data.classes == ("good", "crack", "dent mark") and data.has_good
    assert [r.path for r in data.records] == sorted(str(p) for p in root.rglob("*.png"))
    assert {r.split for r in data.records if r.label == 2} == {"train", "val", "test"}  # four images of a rare class
    assert all(r.sha256 == hashlib.sha256(Path(r.path).read_bytes()).hexdigest() for r in data.records)
    assert facts["counts"]["train"] == dict(zip(data.classes, data.task((16, 20)).class_counts, strict=True))
    assert sum(sum(c.values()) for c in facts["counts"].values()) == 25
    assert (facts["n_pairs"], facts["modes"], facts["skipped"]) == (0, {"RGB": 25}, [])
    assert facts["sizes"]["width"] == [24, 24, 24]
    assert fingerprint(root) == before  # nothing was written there


def test_the_split_goes_with_the_names_and_not_with_the_place(tmp_path: Path) -> None:
    first = run(make_settings(draw_set(tmp_path / "a", COUNTS)))[0]
    second = run(make_settings(shutil.copytree(tmp_path / "a", tmp_path / "b" / "moved")))[0]
    assert [r.split for r in first.records] == [r.split for r in second.records]
    other = run(make_settings(tmp_path / "a", split={"val": 0.2, "test": 0.2, "seed": 1}))[0]
    assert [r.split for r in first.records] != [r.split for r in other.records]


def test_groups_are_never_torn(tmp_path: Path) -> None:
    for kind, n in (("good", 18), ("bad", 12)):
        for i in range(n):
            draw(tmp_path / kind / f"part{i // 3:02d}_{i % 3}.png", 100 * len(kind) + i)
    data, facts = run(make_settings(tmp_path, group=r"part(\d+)_"))
    places = {(r.group, r.split) for r in data.records}
    assert len(places) == len({group for group, _ in places}) == 6  # part 0 to 3 of both classes, 4 and 5 of good
    assert sum(facts["groups"].values()) == 6


def damaged(root: Path) -> list[Path]:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole, "JPEG")
    cut, text = root / "good" / "cut off.jpg", root / "crack" / "text.png"
    cut.write_bytes(whole.getvalue()[:-300])
    text.write_text("no image")
    return [text, cut]


def test_unreadable_files_are_all_named_or_skipped(tmp_path: Path) -> None:
    bad = damaged(draw_set(tmp_path, COUNTS))
    with pytest.raises(ZddError) as caught:
        run(make_settings(tmp_path))
    head, *lines = caught.value.lines
    assert "2 images of 27 can't be read" in head
    assert [line.split(": ")[0] for line in lines] == [str(p) for p in bad]
    data, facts = run(make_settings(tmp_path, unreadable="skip"))
    assert len(data.records) == 25
    assert [one["image"] for one in facts["skipped"]] == [str(p) for p in bad]
    assert any("cut off.jpg" in note and "truncated" in note for note in facts["notes"])


def test_a_bomb_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_set(tmp_path, COUNTS)
    Image.new("1", (300, 300)).save(tmp_path / "good" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 * 300 - 1)
    with pytest.raises(ZddError, match=r"bomb.png.*decompression bomb"):
        run(make_settings(tmp_path))


def leak(root: Path) -> None:
    """A test image that was trained on, saved again and a little smaller, and one copied as it is."""
    draw_set(root, {"good": 4, "bad": 4}, ("train", "val", "test"))
    with Image.open(draw(root / "train" / "good" / "p.png", 500, (120, 100))) as image:
        image.resize((112, 94), Image.Resampling.BICUBIC).save(root / "test" / "good" / "again.jpg", quality=80)
    shutil.copy(root / "train/bad/p005.png", root / "val/bad/copy.png")


def test_leaks_warn_refuse_or_are_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leak(tmp_path)
    _, facts = run(make_settings(tmp_path))
    assert facts["n_pairs"] == 2
    assert [(sorted(p["split"]), p["same"]) for p in facts["pairs"]] == [
        (["train", "val"], True),
        (["test", "train"], False),
    ]
    assert "again.jpg" in capsys.readouterr().err
    with pytest.raises(ZddError, match=r"(?s)leakage = \"refuse\".*again.jpg"):
        run(make_settings(tmp_path, leakage="refuse"))
    assert run(make_settings(tmp_path, leakage="ignore"))[1]["n_pairs"] is None


def test_a_table_with_torn_groups_masks_and_two_labels(tmp_path: Path) -> None:
    rows = ["image,label,group,split,mask"]
    for i, split in enumerate(["train", "train", "val", "val", "test", "test"]):
        draw(tmp_path / f"{i}.png", i)
        draw(tmp_path / f"m{i}.png", 50 + i)
        rows.append(f"{i}.png,{'good' if i % 2 else 'bad'},{i if i < 4 else 0},{split},m{i}.png")
    shutil.copy(tmp_path / "0.png", tmp_path / "twin.png")
    rows.append("twin.png,good,9,train,")
    (tmp_path / "set.csv").write_text("\n".join(rows))
    data, facts = run(make_settings(tmp_path / "set.csv", name="csv"))
    assert facts["straddling"] == {"0": ["train", "test"]}
    assert [p["class"] for p in facts["disagreeing"]] == [["bad", "good"]]
    assert data.records[0].mask == str(tmp_path / "m0.png")
    with pytest.raises(ZddError, match="group '0' lies in train and test"):
        run(make_settings(tmp_path / "set.csv", name="csv", leakage="refuse"))
    (tmp_path / "m3.png").unlink()
    with pytest.raises(ZddError, match=r"m3.png: there is no such mask \(of .*3.png\)"):
        run(make_settings(tmp_path, name="csv"))


def test_missing_images_of_a_table_are_named(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("image,label\na.png,good\nb.png,bad\n")
    with pytest.raises(ZddError) as caught:
        run(make_settings(tmp_path, name="csv"))
    assert caught.value.lines[1:] == (
        f"{tmp_path}/a.png: there is no such file",
        f"{tmp_path}/b.png: there is no such file",
    )


@pytest.mark.parametrize(
    ("splits", "remove", "changed", "why"),
    [
        (("train", "val", "test"), "val/good", {}, "no validation image of the good class 'good'"),
        (("train", "val", "test"), "val/crack", {}, "no validation image of any kind of defect"),
        (("train", "val", "test"), "train/crack", {}, "no training image of class 'crack'"),
        (("",), "crack", {}, "only one class, 'good'"),
        (("",), "", {"split": {"val": 0.0, "test": 0.2, "seed": 0}}, "no validation image; give dataset.split.val"),
        (("",), "", {"classes": ["good", "krack"]}, "differs from the data"),
        (("",), "", {"good_class": None, "name": "foldr"}, "did you mean 'folder'"),
    ],
)
def test_sets_that_can_not_be_trained_on(tmp_path: Path, splits: tuple, remove: str, changed: dict, why: str) -> None:
    draw_set(tmp_path, {"good": 3, "crack": 3}, splits)
    if remove:
        shutil.rmtree(tmp_path / remove)
    with pytest.raises(ZddError, match=why):
        run(make_settings(tmp_path, **changed))


def test_a_kind_of_defect_without_validation_is_a_note(tmp_path: Path) -> None:
    draw_set(tmp_path, {"good": 3, "crack": 3, "dent": 3}, ("train", "val", "test"))
    shutil.rmtree(tmp_path / "val/dent")
    shutil.rmtree(tmp_path / "test")
    notes = run(make_settings(tmp_path))[1]["notes"]
    assert any("no validation image of class 'dent'" in note for note in notes)


def test_validation_is_taken_from_training_where_it_lacks(tmp_path: Path) -> None:
    draw_set(tmp_path, {"good": 10, "crack": 5}, ("train", "test"))
    data, facts = run(make_settings(tmp_path))
    assert facts["counts"] == {
        "train": {"good": 8, "crack": 4}, "val": {"good": 2, "crack": 1}, "test": {"good": 10, "crack": 5},
    }  # fmt: skip
    assert all(("/test/" in r.path) == (r.split == "test") for r in data.records)


def test_data_csv_is_read_back_and_changed_files_are_named(tmp_path: Path) -> None:
    data, _ = run(make_settings(draw_set(tmp_path / "a, b", COUNTS), good_class="crack"))
    dataset.save(data, tmp_path / "run" / "data.csv")
    assert dataset.load(tmp_path / "run/data.csv") == data
    head, first = (tmp_path / "run/data.csv").read_text().splitlines()[:2]
    assert head == "image,class,label,defective,split,group,mask,mask_value,parent,sha256,kind"
    assert ",crack,0,0," in first
    Path(data.records[3].path).unlink()
    draw(Path(data.records[7].path), 1234)
    with pytest.raises(ZddError) as caught:
        dataset.load(tmp_path / "run/data.csv")
    missing, changed = caught.value.lines
    assert missing == f"{data.records[3].path}: is missing"
    assert changed.startswith(f"{data.records[7].path}: changed since")
    shutil.rmtree(tmp_path / "a, b")
    with pytest.raises(ZddError, match="none of its 25 images is there any more"):
        dataset.load(tmp_path / "run/data.csv")


def test_no_good_class_survives_data_csv(tmp_path: Path) -> None:
    data, _ = run(make_settings(draw_set(tmp_path / "set", {"b": 4, "a": 5}), good_class=None))
    assert (data.classes, data.has_good) == (("a", "b"), False)
    dataset.save(data, tmp_path / "data.csv")
    assert dataset.load(tmp_path / "data.csv") == data
    assert Counter(r.split for r in data.records)["val"] == len(data.split("val"))


@pytest.mark.parametrize("text", ["", "image,label\na,b\n", "a\n\x00"])
def test_a_damaged_data_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(ZddError, match=r"data\.csv"):
        dataset.load(tmp_path / "data.csv")
    with pytest.raises(ZddError, match="no such file"):
        dataset.load(tmp_path / "none.csv")

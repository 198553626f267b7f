"""Data for methods that learn from good images alone: who trains, who is left out, who is scored."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from small_sets import LOADER, draw, draw_set, make_settings, small_preprocess

from zdd.data import dataset as datasets
from zdd.data.dataset import Dataset, prepare
from zdd.data.one_class import collapse, only_good
from zdd.errors import ZddError
from zdd.marks import ANY
from zdd.records import SPLITS, Record

PRE = small_preprocess()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZDD_CACHE", str(tmp_path / "cache"))


def parts(*counts: tuple[int, str, int]) -> Dataset:
    """Records by (label, split, number) of the classes good, crack, dent; none has a group."""
    records = [
        Record(f"/{label}/{split}/{i:02d}.png", label, split=split)  # type: ignore[arg-type]
        for label, split, n in counts
        for i in range(n)
    ]
    return Dataset(tuple(sorted(records, key=lambda r: r.path)), ("good", "crack", "dent"), True)


def where(dataset: Dataset) -> Counter[tuple[int, str | None]]:
    return Counter((r.label, r.split) for r in dataset.records)


def test_all_kinds_of_defect_become_one() -> None:
    before = parts((0, "train", 2), (1, "train", 1), (2, "test", 1))
    after = collapse(before)
    assert after.classes == ("good", "defect") and after.has_good and after.mask_values is None
    assert [(r.label, r.kind) for r in after.records] == [(0, ""), (0, ""), (1, "crack"), (1, "dent")]
    assert [r.path for r in after.records] == [r.path for r in before.records]
    assert collapse(replace(before, mask_values=(0, 7, 9))).mask_values == (0, ANY)


def test_without_a_good_class_nothing_can_be_told_from_it() -> None:
    with pytest.raises(ZddError, match=r"dataset\.good_class is null: the classes are good, crack, dent"):
        collapse(replace(parts((0, "train", 1)), has_good=False))


def test_defects_are_left_out_of_training() -> None:
    before = collapse(
        parts((0, "train", 10), (1, "train", 3), (2, "train", 1), (0, "val", 2), (1, "val", 2), (2, "test", 4))
    )
    after, notes = only_good(before, 0.0, seed=0)
    assert where(after) == {(0, "train"): 10, (1, None): 4, (0, "val"): 2, (1, "val"): 2, (1, "test"): 4}
    assert notes == ["4 defective training images are left out: the method learns from good ones alone"]
    assert only_good(collapse(parts((0, "train", 3), (1, "test", 1))), 0.0, seed=0)[1] == []


@pytest.mark.parametrize(
    ("share", "n"),
    [(0.1, 1), (0.04, 0), (0.05, 0), (0.15, 2), (0.26, 3)],  # of ten; halves are rounded to even
)
def test_contamination_is_a_share_of_the_good_training_images(share: float, n: int) -> None:
    before = collapse(parts((0, "train", 10), (0, "val", 30), (1, "train", 2), (1, "val", 2), (2, "test", 9)))
    after, notes = only_good(before, share, seed=3)
    trained = [r for r in after.records if r.label == 1 and r.split == "train"]
    assert len(trained) == n
    assert [note for note in notes if "contamination" in note] == [
        f"contamination: {r.path} ({r.kind}) is among the training images" for r in trained
    ]
    assert sum(where(after).values()) == 53 and where(after)[0, "train"] == 10 and where(after)[0, "val"] == 30


def test_contaminating_images_come_from_every_split_and_are_drawn_by_the_seed() -> None:
    before = collapse(parts((0, "train", 20), (1, "train", 5), (1, "val", 5), (2, "test", 5)))
    origin = {r.path: r.split for r in before.records}
    drawn = [
        frozenset(r.path for r in only_good(before, 0.3, seed)[0].records if r.label and r.split == "train")
        for seed in range(20)
    ]
    assert {origin[path] for one in drawn for path in one} == set(SPLITS)
    assert len(set(drawn)) > 10 and all(len(one) == 6 for one in drawn)
    assert drawn[3] == frozenset(r.path for r in only_good(before, 0.3, 3)[0].records if r.label and r.split == "train")


def test_nothing_that_shows_the_same_part_as_a_contaminating_image_is_scored() -> None:
    records = [Record(f"/g{i}", 0, split="train") for i in range(4)]
    records += [Record("/a1", 1, "A", "test"), Record("/a2", 1, "A", "test"), Record("/a3", 0, "A", "val")]
    records += [Record("/a1-drawn", 1, "", "test", parent="/free2;/a1"), Record("/free", 0, "B", "test")]
    before = collapse(Dataset(tuple(records), ("good", "crack"), True))
    seed = next(s for s in range(99) if only_good(before, 0.25, s)[0].records[4].split == "train")  # /a1 is drawn
    after, notes = only_good(before, 0.25, seed)
    assert [r.split for r in after.records] == ["train"] * 5 + [None, None, None, "test"]
    assert notes[-1] == "contamination: 3 more images of the same parts are left out, they are not scored"


def test_more_contamination_than_there_are_defects() -> None:
    with pytest.raises(ZddError, match=r"contamination = 0\.5: of 10 good training images that is 5 defects, .* are 4"):
        only_good(collapse(parts((0, "train", 10), (1, "test", 4))), 0.5, seed=0)


def test_prepared_for_good_images_alone(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", {"good": 10, "crack": 3, "dent": 2}, ("train", "val", "test"))
    settings = make_settings(root, contamination=0.2)
    dataset, audit = prepare(settings, PRE, cache=LOADER, one_class=True)
    trained = [r for r in dataset.split("train") if r.label]
    assert (
        dataset.classes == ("good", "defect") and len(trained) == 2 and {r.kind for r in trained} <= {"crack", "dent"}
    )
    named = [note for note in json.loads(json.dumps(audit.as_dict()))["notes"] if note.startswith("contamination: /")]
    assert sorted(note.split(" ")[1] for note in named) == sorted(r.path for r in trained)
    scored = {r.path for split in ("val", "test") for r in dataset.split(split)}  # type: ignore[arg-type]
    assert not scored & {r.path for r in trained}
    assert all(r.split for r in dataset.records) and audit.counts["train"] == {"good": 10, "defect": 2}
    datasets.save(dataset, tmp_path / "data.csv")
    assert datasets.load(tmp_path / "data.csv") == dataset


def test_contamination_is_refused_where_it_does_nothing(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", {"good": 10, "crack": 9})
    with pytest.raises(ZddError, match=r"contamination = 0\.1: only a method that learns from good images alone"):
        prepare(make_settings(root, contamination=0.1), PRE, cache=LOADER)


def test_defects_together_for_any_method(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", {"good": 10, "crack": 9, "aged": 9})
    dataset, _ = prepare(make_settings(root, defects="one"), PRE, cache=LOADER)
    assert dataset.classes == ("good", "defect") and Counter(r.kind for r in dataset.records) == {
        "": 10, "crack": 9, "aged": 9,
    }  # fmt: skip
    assert any(r.label for r in dataset.split("train"))


def test_good_images_alone_are_enough(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", {"good": 20})
    dataset, audit = prepare(make_settings(root), PRE, cache=LOADER, one_class=True)
    assert dataset.classes == ("good", "defect") and {r.label for r in dataset.records} == {0}
    assert "no test image of class 'defect': its figures will be missing" in audit.notes
    datasets.save(dataset, tmp_path / "data.csv")
    assert datasets.load(tmp_path / "data.csv") == dataset
    with pytest.raises(ZddError, match="only one class"):
        prepare(make_settings(root), PRE, cache=LOADER)


def test_a_class_that_is_held_out_is_neither_trained_on_nor_scored_as_a_defect(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", {"good": 10, "crack": 3, "dent": 2}, ("train", "test"))
    dataset, _ = prepare(make_settings(root, held_out="dent"), PRE, cache=LOADER, one_class=True)
    assert {r.kind for r in dataset.records} == {"", "crack"}
    assert [(r.label, r.kind, r.split) for r in dataset.unknown] == [(-1, "dent", None)] * 4


def test_the_order_of_class_folders_changes_nothing(tmp_path: Path) -> None:
    """Names that sort before and after the good class: the same images train."""
    for name, kinds in (("one", ("aged", "worn")), ("two", ("zapped", "bent"))):
        for i in range(12):
            draw(tmp_path / name / "good" / f"{i:02d}.png", i)
        for k, kind in enumerate(kinds):
            for i in range(4):
                draw(tmp_path / name / kind / f"{i:02d}.png", 100 + 10 * k + i)
    sets = [prepare(make_settings(tmp_path / name), PRE, cache=LOADER, one_class=True)[0] for name in ("one", "two")]
    trained = [sorted(r.sha256 for r in one.split("train")) for one in sets]
    assert trained[0] == trained[1] and {r.label for one in sets for r in one.split("train")} == {0}

"""What is found on disk, and what is said where it can't be right."""

import os
from pathlib import Path

import pytest
from small_sets import draw, draw_set

from zdd.data import roots
from zdd.data.sources import csv, folder
from zdd.errors import ZddError


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    draw_set(tmp_path, {"good": 2, "dent mark": 1})
    draw(tmp_path / "good" / "line 2" / "deep.PNG", 9)  # folders below a class belong to it; endings in any case
    (tmp_path / "good" / "notes.txt").write_text("no image")
    (tmp_path / "good" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "val.cache").write_text("a stray file")
    found = folder.index(tmp_path)
    assert sorted((f.class_name, Path(f.path).name) for f in found) == [
        ("dent mark", "p003.png"), ("good", "deep.PNG"), ("good", "p001.png"), ("good", "p002.png"),
    ]  # fmt: skip
    assert {f.split for f in found} == {None}


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_splits_above_the_classes(tmp_path: Path, val: str) -> None:
    draw_set(tmp_path, {"ok": 1, "bad": 2}, ("train", val, "test"))
    draw(tmp_path / "ground_truth" / "bad" / "m.png", 1)  # neither a split nor, beside splits, a class
    found = folder.index(tmp_path)
    assert sorted({f.split for f in found if f.split}) == ["test", "train", "val"]
    assert len(found) == 9
    assert {f.class_name for f in found} == {"ok", "bad"}


def test_empty_class_folders_are_all_named(tmp_path: Path) -> None:
    draw_set(tmp_path, {"good": 1})
    for name in ("empty one", "other"):
        (tmp_path / name).mkdir()
    with pytest.raises(ZddError) as caught:
        folder.index(tmp_path)
    assert [line.split(": ")[0] for line in caught.value.lines] == [
        str(tmp_path / "empty one"),
        str(tmp_path / "other"),
    ]


def test_images_without_class_folders(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 0)
    with pytest.raises(ZddError, match="no class folder; expected"):
        folder.index(tmp_path)


def test_links_in_a_ring_end(tmp_path: Path) -> None:
    draw_set(tmp_path, {"good": 1, "bad": 1})
    (tmp_path / "good" / "again").symlink_to(tmp_path / "good", target_is_directory=True)
    assert len(folder.index(tmp_path)) <= 3


def write_csv(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8-sig")  # as Excel writes it
    return path


def test_a_table_with_everything(tmp_path: Path) -> None:
    head = "image,label,mask,group,split,parent,operator\n"
    rows = "images/a b.png,good,,7,train,,Eve\nc.png, bad ,m.png,8,valid,images/a b.png,\n"
    write_csv(tmp_path / "table.csv", head + rows)
    first, second = csv.index(tmp_path)
    assert (first.path, first.class_name, first.group, first.split, first.mask) == (
        str(tmp_path / "images/a b.png"), "good", "7", "train", "",
    )  # fmt: skip
    assert (second.class_name, second.split, second.mask) == ("bad", "val", str(tmp_path / "m.png"))
    assert second.parent == first.path
    assert csv.index(tmp_path / "table.csv") == [first, second]


def test_a_table_with_two_columns_and_semicolons(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "label;image\ngood;/abs/a.png\n")
    assert csv.index(tmp_path, delimiter=";")[0].path == "/abs/a.png"


def test_all_wrong_rows_are_named_with_their_lines(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "image,label,split\na.png,,\nb.png,good,trian\nc.png,good,\nc.png,bad,\n")
    with pytest.raises(ZddError) as caught:
        csv.index(tmp_path)
    places = [line.removeprefix(f"{tmp_path}/") for line in caught.value.lines]
    assert [place[:7] for place in places] == ["t.csv:2", "t.csv:3", "t.csv:5"]
    assert "'trian': must be train, val or test" in places[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("image,class\na,b\n", "no column label; the columns are image, class"),
        ("", "no column image and no column label"),
        ("image,label\n", "no row in it"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    write_csv(tmp_path / "t.csv", text)
    with pytest.raises(ZddError, match=why):
        csv.index(tmp_path)


def test_which_table(tmp_path: Path) -> None:
    with pytest.raises(ZddError, match="expected one CSV file, found none"):
        csv.index(tmp_path)
    write_csv(tmp_path / "a.csv", "image,label\nx,y\n")
    write_csv(tmp_path / "b.csv", "image,label\nx,z\n")
    with pytest.raises(ZddError, match=r"found a\.csv, b\.csv; name it in dataset\.file"):
        csv.index(tmp_path)
    assert csv.index(tmp_path, file="b.csv")[0].class_name == "z"
    with pytest.raises(ZddError, match=r"no such file"):
        csv.index(tmp_path, file="c.csv")


def test_a_root_is_looked_for_in_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, first, second = tmp_path / "work", tmp_path / "1", tmp_path / "2"
    for place in (work / "data/mine", first, second / "mine", second / "theirs"):
        place.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("ZDD_DATA", f"{first}{os.pathsep}{second}")
    assert roots.locate("mine") == work / "data/mine"
    assert roots.locate("theirs") == second / "theirs"
    (work / "mine").mkdir()
    assert roots.locate("mine") == work / "mine"
    assert roots.locate(str(second / "mine")) == second / "mine"


def test_a_known_set_that_lies_nowhere_says_where_it_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZDD_DATA", str(tmp_path / "sets"))
    with pytest.raises(ZddError) as caught:
        roots.locate("casting_cls")
    text = str(caught.value)
    assert str(tmp_path / "sets/casting_cls") in text and "real-life industrial dataset of casting product" in text
    with pytest.raises(ZddError, match="zdd data labels"):
        roots.locate("data/labels")
    with pytest.raises(ZddError, match=r'dataset\.root = ""'):
        roots.locate("")

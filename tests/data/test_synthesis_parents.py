"""What a synthetic image was made from: how it is written, and every way in which it must not cross splits."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small_sets import LOADER, draw, draw_set, make_settings, small_preprocess
from synthetic_plates import write_rows

from zdd import cli
from zdd.data import split
from zdd.data.dataset import prepare
from zdd.data.found import Found
from zdd.data.parents import all_parents, parents
from zdd.data.sources import csv
from zdd.errors import ZddError

ROWS = {  # by name: class and split
    f"{where}_{kind}{i}.png": (kind, where)
    for where in ("train", "val", "test")
    for kind in ("good", "bad")
    for i in (0, 1)
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A set with an image `made.png` whose row a test writes."""
    for number, name in enumerate([*ROWS, "made.png", "more.png", "spent.png"]):
        draw(tmp_path / name, 100 + number)
    return tmp_path / "set.csv"


def write(table: Path, *made: tuple[str, str, str]) -> Path:
    """Write the table with synthetic images: name, split, parent."""
    rows = [(name, kind, "", "", where, "") for name, (kind, where) in ROWS.items()]
    write_rows(table, [*rows, *((name, "bad", "", "", where, parent) for name, where, parent in made)])
    return table.parent


def check(root: Path) -> None:
    prepare(make_settings(root, name="csv"), small_preprocess(), cache=LOADER)


def test_one_parent_several_or_a_list(tmp_path: Path) -> None:
    assert parents("") == ()
    assert parents("/a/b c.png") == ("/a/b c.png",)
    assert parents("/a.png; /b.png;") == ("/a.png", "/b.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/class.txt").write_text("../a.png\n\n/b.png\n")
    found = parents(str(tmp_path / "lists/class.txt"))
    assert found == (str(tmp_path / "lists/../a.png"), "/b.png")
    assert all_parents(["", "/a", "/a"]) == {"/a": ("/a",)}
    with pytest.raises(ZddError, match=r"no.txt: there is no such list of parents"):
        parents(str(tmp_path / "no.txt"))


def test_a_table_makes_each_parent_a_path(table: Path) -> None:
    (table.parent / "class.txt").write_text("train_good0.png\n")
    write(table, ("made.png", "train", "train_bad0.png;/away/x.png"), ("more.png", "train", "class.txt"))
    found = {Path(one.path).name: one.parent for one in csv.index(table)}
    assert found["made.png"] == f"{table.parent}/train_bad0.png;/away/x.png"
    assert parents(found["more.png"]) == (f"{table.parent}/train_good0.png",)
    assert found["train_good0.png"] == ""


@pytest.mark.parametrize(
    ("where", "parent"),
    [
        ("train", "train_good0.png"),
        ("train", "train_good0.png;./train_bad1.png"),  # spelt otherwise
        ("train", "spent.png"),  # that stands in no split
        ("val", "spent.png"),
        ("val", "val_good0.png"),  # what is known of validation stays there
    ],
)
def test_what_may_be(table: Path, where: str, parent: str) -> None:
    check(write(table, ("made.png", where, parent)))


@pytest.mark.parametrize(
    ("where", "parent", "said"),
    [
        ("train", "test_good0.png", r"made.png: is in train and was made from .*test_good0.png, which is in test"),
        ("train", "train_good0.png;val_bad1.png", r"made from .*val_bad1.png, which is in val"),
        ("train", "./x/../test_bad0.png", "which is in test"),
        ("val", "train_good0.png", r"is in val and was made from .*, which is in train"),
        ("test", "val_good0.png", r"is in test and was made from .*, which is in val"),
        ("train", "gone.png", r"its parent .*gone.png is not there"),
        ("train", "copy.png", r"its parent .*copy.png is the same file as one in test"),
        ("train", "class.txt", r"made from .*test_bad1.png, which is in test"),
        ("train", "class.txt;train_good0.png", r"made from .*test_bad1.png, which is in test"),  # a list among paths
        ("train", "UPPER.TXT", r"made from .*test_bad1.png, which is in test"),
        ("train", "nested.txt", r"nested.txt: names class.txt; a list of parents names images"),
        ("train", "empty.txt", r"empty.txt: names no image at all"),
        ("train", " ; ", r"its parent ';' names no other image"),
        ("train", "made.png", r"its parent .* names no other image"),
        ("train", "words.png", r"its parent .*words.png can't be read"),
        ("train", "away/../train_good0.png", r"its parent .* is the same file as one in test"),  # up from elsewhere
    ],
)
def test_what_must_not_be(table: Path, where: str, parent: str, said: str) -> None:
    shutil.copy(table.parent / "test_good1.png", table.parent / "copy.png")
    (table.parent / "class.txt").write_text("train_bad0.png\ntest_bad1.png\n")
    shutil.copy(table.parent / "class.txt", table.parent / "UPPER.TXT")
    (table.parent / "nested.txt").write_text("class.txt\n")
    (table.parent / "empty.txt").write_text("\n")
    (table.parent / "words.png").write_text("no picture")
    (table.parent / "other/below").mkdir(parents=True)
    (table.parent / "away").symlink_to(table.parent / "other/below")
    shutil.copy(table.parent / "test_good0.png", table.parent / "other/train_good0.png")
    with pytest.raises(ZddError, match=said) as caught:
        check(write(table, ("made.png", where, parent)))
    assert len(caught.value.lines) == 1


def test_a_parent_that_was_saved_anew_from_a_test_image_is_told(table: Path) -> None:
    with Image.open(table.parent / "test_good1.png") as image:
        image.save(table.parent / "saved.bmp")
    root = write(table, ("made.png", "train", "saved.bmp"))
    _, audit = prepare(make_settings(root, name="csv"), small_preprocess(), cache=LOADER)
    said = f"made.png: is in train, and its parent {root}/saved.bmp looks like {root}/test_good1.png, which is in test"
    assert [note.removeprefix(f"{root}/") for note in audit.notes] == [said]
    with pytest.raises(ZddError, match=r"saved.bmp looks like .*test_good1.png"):
        prepare(make_settings(root, name="csv", leakage="refuse"), small_preprocess(), cache=LOADER)


@pytest.mark.parametrize(("column", "right"), [("parents", "parent"), ("Split", "split"), (" group", "group")])
def test_a_column_that_is_nearly_of_the_right_name_is_not_passed_over(table: Path, column: str, right: str) -> None:
    head, *rows = write(table, ("made.png", "train", "test_good0.png")).joinpath("set.csv").read_text().splitlines()
    table.write_text("\n".join([head.replace(right, column), *rows]))
    with pytest.raises(ZddError, match=f"the column '{column}' is not read; name it '{right}'"):
        csv.index(table)


def test_two_images_of_one_parent_in_two_splits(table: Path) -> None:
    root = write(table, ("made.png", "train", "spent.png"), ("more.png", "val", "spent.png"))
    with pytest.raises(
        ZddError, match=r"more.png: is in val and was made from .*spent.png, as .*made.png, .* in train"
    ):
        check(root)
    check(write(table, ("made.png", "train", "spent.png"), ("more.png", "train", "spent.png")))


def test_a_class_that_is_held_out_has_no_children_in_training(table: Path) -> None:
    root = write(table, ("made.png", "train", "more.png"))
    with table.open("a") as file:
        file.write("more.png,odd,,,train,\n")
    with pytest.raises(ZddError, match="which is in images of no class"):
        prepare(make_settings(root, name="csv", held_out="odd"), small_preprocess(), cache=LOADER)


def test_training_refuses_it_in_one_line(table: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write(table, ("made.png", "train", "test_good0.png"))
    words = ["demo", "--runs", str(tmp_path / "runs"), "--dataset", json.dumps({"name": "csv", "root": str(root)})]
    assert cli.main("train", [*words, "--epochs", "1", "--trainer.threads", "1"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "made.png" in line]
    assert len(lines) == 1 and "which is in test" in lines[0]


def test_a_split_keeps_parents_and_children_together(tmp_path: Path) -> None:
    found = [
        Found("/a", "good"),
        Found("/b", "bad"),
        Found("/c", "bad", parent="/a;/b"),
        Found("/d", "bad", parent="/gone"),
        Found("/e", "bad", group="7", parent="/x;/./gone"),  # of the same parent, which is not here
        Found("/f", "bad"),
    ]
    keys = split.group_keys(found, list("abcdef"))
    assert keys == ["i:a", "i:a", "i:a", "g:7", "g:7", "i:f"]


def test_a_list_of_parents_holds_its_class_together(tmp_path: Path) -> None:
    root = draw_set(tmp_path, {"good": 3})
    names = sorted(str(path) for path in root.rglob("*.png"))
    (tmp_path / "list.txt").write_text("\n".join(names[:2]))
    found = [*(Found(name, "good") for name in names), Found("/made", "good", parent=str(tmp_path / "list.txt"))]
    assert split.group_keys(found, list("abcd")) == ["i:a", "i:a", "i:c", "i:a"]

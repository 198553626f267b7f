"""The data sets of a suite: some images of another set, sets made once, the same recipe in the same folder."""

from collections import Counter
from pathlib import Path

import pytest
from small_suites import planned, two_classes, write

from zdd.data.sources import csv
from zdd.errors import ZddError
from zdd.suite.data import Source


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Six real training images of each class, two of each with an image that was made from it, and a split."""
    root = two_classes(tmp_path / "real", 6)
    rows = ["image,label,split,parent"]
    for path in sorted(root.rglob("*.png")):
        split, label = path.parts[-3:-1]
        rows.append(f"{path},{label},{split},")
        if split == "train" and path.stem in ("00", "01"):
            made = path.with_name(f"made_{path.name}")
            made.write_bytes(path.read_bytes() + b"\0")
            rows.append(f"{made},{label},train,{path}")
    table = tmp_path / "mixed.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def sources(tmp_path: Path, mixed: Path, **recipes: object) -> dict[str, Source]:
    data = {"all": {"use": {"name": "csv", "root": str(mixed)}}, **recipes}
    grid = {"data": ["all", *recipes]}
    return dict(planned(write(tmp_path / "s.json", data=data, parts={"a": {"grid": grid}}), tmp_path / "runs").sources)


def count(source: Source) -> Counter[tuple[str | None, str, bool]]:
    assert source.folder is not None and source.make is not None
    source.make()
    return Counter((one.split, one.class_name, bool(one.parent)) for one in csv.index(source.folder))


def test_some_images_stay(tmp_path: Path, mixed: Path) -> None:
    chosen = {
        "real": {"make": "choose", "of": "all", "without": ["train synthetic"]},
        "made": {"make": "choose", "of": "all", "without": ["train real", "val real"]},
        "few": {"make": "choose", "of": "real", "train": 3},
    }
    found = sources(tmp_path, mixed, **chosen)
    assert list(found) == ["all", "real", "made", "few"]
    splits = [("train", 6), ("val", 6), ("test", 6)]
    assert count(found["real"]) == {(split, name, False): n for split, n in splits for name in ("good", "dark")}
    assert count(found["made"]) == {
        **{("train", name, True): 2 for name in ("good", "dark")},
        **{("test", name, False): 6 for name in ("good", "dark")},
    }
    assert count(found["few"])["train", "dark", False] == 3  # made from what was chosen before


def test_too_few_images_are_said(tmp_path: Path, mixed: Path) -> None:
    found = sources(tmp_path, mixed, few={"make": "choose", "of": "all", "train": 9})
    with pytest.raises(ZddError, match="class 'dark' has 8 training images; train = 9 are wanted"):
        count(found["few"])
    rows = mixed.read_text().splitlines()
    mixed.write_text("\n".join(row for row in rows if "dark/made_00" not in row) + "\n")
    with pytest.raises(ZddError) as caught:
        count(sources(tmp_path, mixed, few={"make": "choose", "of": "all", "train": 8})["few"])
    assert caught.value.lines == ("class 'dark' has 7 training images; train = 8 are wanted",)  # and 'good' has 8


def test_a_folder_is_made_once_and_another_recipe_makes_another(tmp_path: Path, mixed: Path) -> None:
    recipe = {"make": "choose", "of": "all", "train": 3}
    one = sources(tmp_path, mixed, few=recipe)["few"]
    assert not one.ready() and one.needs == "all"
    count(one)
    assert sources(tmp_path, mixed, few=recipe)["few"].ready()
    assert not sources(tmp_path, mixed, few={**recipe, "train": 4})["few"].ready()
    assert one.section["name"] == "csv" and one.section["root"] == str(one.folder)

"""CIFAR-10 in its two forms that are read, and the one that is not."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zdd.data.sources import cifar10
from zdd.data.synthesis import shapes
from zdd.errors import ZddError

RED = [200] * 1024 + [10] * 1024 + [20] * 1024  # the values of a channel stand together


def binary(root: Path, labels: dict[str, list[int]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, of in labels.items():
        rows = np.array([[label, *RED] for label in of], np.uint8)
        rows[:, 1] = np.arange(len(of))  # the first pixel's red tells which picture it is
        rows[:, 2] = 99  # the second pixel, to its right
        rows.tofile(root / name)
    (root / "batches.meta.txt").write_text("airplane\nautomobile\n\n")
    return root


def test_the_binary_version_becomes_pictures(tmp_path: Path) -> None:
    root = binary(
        tmp_path / "cifar-10-batches-bin",
        {"data_batch_1.bin": [0, 1, 1], "data_batch_2.bin": [0], "test_batch.bin": [1]},
    )
    found = cifar10.index(tmp_path)
    assert [(one.class_name, one.split) for one in found] == [
        ("airplane", "train"), ("automobile", "train"), ("automobile", "train"), ("airplane", "train"),
        ("automobile", "test"),
    ]  # fmt: skip
    picture = np.asarray(Image.open(found[2].path))
    assert picture.shape == (32, 32, 3)
    assert picture[0, 0].tolist() == [2, 10, 20] and picture[0, 1].tolist() == [99, 10, 20]
    assert picture[1, 0].tolist() == [200, 10, 20]
    assert sorted(path.name for path in root.iterdir()) == [
        "batches.meta.txt",
        "data_batch_1.bin",
        "data_batch_2.bin",
        "test_batch.bin",
    ]
    before = Path(found[0].path).stat().st_mtime_ns
    assert cifar10.index(tmp_path) == found and Path(found[0].path).stat().st_mtime_ns == before  # unpacked once


def test_what_is_left_of_a_broken_unpacking_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = binary(tmp_path, {"data_batch_1.bin": [0, 0, 1], "test_batch.bin": [1, 0]})
    saved = Image.Image.save
    calls = []

    def full(image: Image.Image, *args: object, **options: object) -> None:
        calls.append(image)
        if len(calls) == 3:
            raise OSError("the disk is full")
        saved(image, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="full"):
        cifar10.index(root)
    monkeypatch.undo()
    assert all(Path(one.path).is_file() for one in cifar10.index(root))


def test_kaggles_version(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / "train" / "train" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(path)
    (tmp_path / "trainLabels.csv").write_text("id,label\n1,frog\n2,cat\n")
    found = cifar10.index(tmp_path)
    assert [(Path(one.path).name, one.class_name, one.split) for one in found] == [
        ("1.png", "frog", None),
        ("2.png", "cat", None),
    ]
    (tmp_path / "trainLabels.csv").write_text("id,label\n1,frog\n3,cat\n")
    with pytest.raises(ZddError, match=r"1 of the pictures that trainLabels\.csv names are not there: 3\.png"):
        cifar10.index(tmp_path)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (b"\xff\xfei\x00", "not readable as a CSV file in UTF-8"),
        (b"id,label\n1,frog\n2,\n", "the row 2, must have an id and a label"),
        (b"id,label\n1,frog\n2\n", "the row 2, must have an id and a label"),
        (b"id,label\n1,frog\n1,cat\n", "1 pictures stand there more than once: 1"),
    ],
)
def test_a_table_of_kaggles_that_cant_be_right(tmp_path: Path, table: bytes, why: str) -> None:
    (tmp_path / "trainLabels.csv").write_bytes(table)
    with pytest.raises(ZddError, match=why):
        cifar10.index(tmp_path)


def test_shares_are_of_each_class_and_evenly(tmp_path: Path) -> None:
    root = binary(tmp_path, {"data_batch_1.bin": [0] * 8 + [1] * 4, "test_batch.bin": [0, 1] * 3})
    found = cifar10.index(root, train_share=0.5, test_share=0.01)
    assert Counter((one.split, one.class_name) for one in found) == {
        ("train", "airplane"): 4, ("train", "automobile"): 2, ("test", "airplane"): 1, ("test", "automobile"): 1,
    }  # fmt: skip
    # Of eight pictures every second one, not the first four.
    assert [Path(one.path).stem[-1] for one in found if (one.split, one.class_name) == ("train", "airplane")] == list(
        "1357"
    )


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["data_batch_1", "test_batch", "batches.meta"], "pickled version .*get the binary version"),
        (["data_batch_1.bin"], r"test_batch\.bin and batches\.meta\.txt is not there"),
        ([], "no CIFAR-10 in it; expected"),
    ],
)
def test_what_is_not_read(tmp_path: Path, names: list[str], why: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(ZddError, match=why) as caught:
        cifar10.index(tmp_path)
    assert len(caught.value.lines) == 1


def test_a_download_that_broke_off_and_a_class_that_is_none(tmp_path: Path) -> None:
    root = binary(tmp_path, {"data_batch_1.bin": [0, 2], "test_batch.bin": [1]})
    with pytest.raises(ZddError, match=r"picture 1 has the class 2; batches\.meta\.txt names 2 classes"):
        cifar10.index(root)
    (root / "data_batch_1.bin").write_bytes(b"\0" * 4000)
    with pytest.raises(ZddError, match=r"4000 bytes; must be a multiple of 3073"):
        cifar10.index(root)


def test_the_drawn_stand_in_is_of_the_binary_form(tmp_path: Path) -> None:
    facts = shapes.draw(tmp_path / "one", per_class=4, seed=0)
    found = cifar10.index(tmp_path / "one")
    assert len(found) == facts["n_images"] == 50  # 4 and a quarter of 4, ten times
    shapes.draw(tmp_path / "two", per_class=4, seed=0)
    first, second = (tmp_path / name / "data_batch_1.bin" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()

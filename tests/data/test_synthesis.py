"""Synthetic training sets: counts by hand, parents in training alone, the same bytes, and what is refused."""

import json
import os
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from small_sets import LOADER, small_preprocess
from synthetic_plates import (
    draw_plate,
    draw_plates,
    read_rows,
    settings,
    split_counts,
    synthetic,
    wish,
    write_rows,
)

from zdd import cli
from zdd.data.dataset import prepare
from zdd.data.found import Found
from zdd.data.roots import source_of
from zdd.data.synthesis import finish
from zdd.data.synthesis.combine import synthesise
from zdd.data.synthesis.job import Job, Style
from zdd.data.synthesis.wish import Wish
from zdd.errors import ZddError

TRAIN = {"good": 8, "crack": 8, "dent mark": 1}  # a class with a space and one image
OTHER = {"good": 2, "crack": 2, "dent mark": 1}


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_plates(tmp_path_factory.mktemp("set of") / "plates", split_counts(TRAIN, val=OTHER, test=OTHER))


def count(out: Path) -> dict[tuple[str, str, bool], int]:
    """Images of `out` by split, class and whether they are synthetic."""
    return Counter((row["split"], row["label"], bool(row["parent"])) for row in read_rows(out / "synthetic.csv"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_all_real_images_and_so_many_synthetic_ones_of_each_class(plates: Path, tmp_path: Path) -> None:
    said = synthesise(wish(tmp_path / "out", plates, train=3))
    counts = count(tmp_path / "out")
    for name, n in TRAIN.items():
        assert (counts["train", name, False], counts["train", name, True]) == (n, 3)
    assert sum(n for (split, _, _), n in counts.items() if split != "train") == 10
    assert (said["n_real"], said["n_synthetic"], said["n_spent"], said["n_left_out"]) == (27, 9, 0, 0)
    assert said["counts"]["train"]["dent mark"] == {"real": 1, "synthetic": 3}
    assert {"README.md", "samples.png", "synthetic.json"} < {path.name for path in (tmp_path / "out").iterdir()}


def test_training_reads_the_folder_and_parents_are_all_in_training(plates: Path, tmp_path: Path) -> None:
    synthesise(wish(tmp_path / "out", plates, train=3))
    data, _ = prepare(settings(tmp_path / "out"), small_preprocess(), cache=LOADER)
    assert data.classes == ("good", "crack", "dent mark")
    where = {os.path.normpath(record.path): record.split for record in data.records}
    made = [record for record in data.records if record.parent]
    assert len(made) == 9
    for record in made:
        of = record.parent.split(";")
        assert len(of) in (1, 2)
        assert {where[os.path.normpath(parent)] for parent in of} == {"train"}
    sources = Counter(record.parent.split(";")[0] for record in made if record.label == 1)
    assert max(sources.values()) == 1  # three of eight cracks, none twice


@pytest.mark.parametrize(
    ("n", "ratio", "real"),
    [
        (6, 0.75, 2),  # 6 / 0.75 = 8 images, 2 of them real
        (2, 0.25, 6),  # 2 / 0.25 = 8
        (4, 0.5, 4),
        (3, 1.0, 0),  # synthetic ones alone
        (3, 0.4, 4),  # int(3 / 0.4) = int(7.5) = 7, as in 002
    ],
)
def test_real_images_are_left_out_for_a_ratio(plates: Path, tmp_path: Path, n: int, ratio: float, real: int) -> None:
    asked = wish(tmp_path / "out", plates, train=n, train_ratio=ratio, classes=("crack",))
    said = synthesise(asked)
    counts = count(tmp_path / "out")
    assert (counts["train", "crack", False], counts["train", "crack", True]) == (real, n)
    assert counts["train", "good", False] == 8  # a class that is not made keeps its images
    assert said["n_left_out"] == 8 - real
    prepare(settings(tmp_path / "out"), small_preprocess(), cache=LOADER) if real else None


def test_without_combining_the_ratio_counts_for_nothing(plates: Path, tmp_path: Path) -> None:
    synthesise(wish(tmp_path / "out", plates, train=3, train_ratio=1.0, combine=False))
    assert count(tmp_path / "out")["train", "crack", False] == 8


def test_too_few_images_for_a_ratio_are_one_line_that_says_what_can_be_had(plates: Path, tmp_path: Path) -> None:
    with pytest.raises(ZddError) as caught:
        synthesise(wish(tmp_path / "out", plates, train=3, train_ratio=0.25, classes=("crack",)))
    assert caught.value.lines == (
        "--train-ratio = 0.25 (--train 3): needs 9 real train images of class 'crack', and there are 8; "
        "a ratio of 0.28 or more can be had, or leave it out",  # 3 / 11 = 0.273
    )
    assert not (tmp_path / "out").exists()


def test_validation_images_spend_their_parents(
    plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    said = synthesise(wish(out, plates, train=4, val=3, test=2, classes=("crack",)))
    assert "training images are spent: synthetic validation and test images" in capsys.readouterr().err
    rows = read_rows(out / "synthetic.csv")
    there = {os.path.normpath(out / row["image"]): row["split"] for row in rows}
    parts = {row["group"]: row["split"] for row in rows if not row["parent"]}
    names = {"train": set(), "val": set(), "test": set()}
    for row in synthetic(rows):
        for parent in row["parent"].split(";"):
            names[row["split"]].add(os.path.normpath(out / parent))
    assert {there.get(name) for name in names["train"]} == {"train"}
    assert {there.get(name) for name in names["val"] | names["test"]} == {None}  # in no split
    assert not names["val"] & names["test"]
    spent_parts = {row["group"] for row in synthetic(rows) if row["split"] != "train"}
    assert not spent_parts & parts.keys()  # nor is another picture of the same part
    assert said["n_spent"] == 8  # of 4 parts with 2 pictures: 1 for each split, of both classes
    prepare(settings(out), small_preprocess(), cache=LOADER)


def test_one_image_can_be_trained_on_but_not_spent(plates: Path, tmp_path: Path) -> None:
    synthesise(wish(tmp_path / "out", plates, train=5, classes=("dent mark",)))
    made = synthetic(read_rows(tmp_path / "out" / "synthetic.csv"))
    assert len(made) == 5 and {row["group"] for row in made} == {"traindent mark0"}
    with pytest.raises(ZddError, match=r"--val 1: of class 'dent mark' 1 training parts are left"):
        synthesise(wish(tmp_path / "other", plates, val=1))


def test_only_synthetic_validation(plates: Path, tmp_path: Path) -> None:
    """Experiment 1c: real training, synthetic validation."""
    synthesise(wish(tmp_path / "out", plates, val=4, val_ratio=1.0, classes=("good", "crack")))
    counts = count(tmp_path / "out")
    assert counts["val", "good", False] == counts["val", "crack", False] == 0
    assert counts["val", "good", True] == counts["val", "crack", True] == 4
    assert counts["val", "dent mark", False] == 1


def test_a_set_without_a_split_is_split_as_training_would(tmp_path: Path) -> None:
    root = draw_plates(tmp_path / "plates", {("", "good"): 20, ("", "crack"): 12})
    asked = settings(root, split={"val": 0.2, "test": 0.1, "seed": 4})
    synthesise(wish(tmp_path / "out", root, dataset=asked, train=1))
    data, _ = prepare(asked, small_preprocess(), cache=LOADER)
    rows = [row for row in read_rows(tmp_path / "out" / "synthetic.csv") if not row["parent"]]
    assert {Path(r.path).name: r.split for r in data.records} == {Path(r["image"]).name: r["split"] for r in rows}
    assert {row["split"] for row in rows} == {"train", "val", "test"}


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_processes(plates: Path, tmp_path: Path) -> None:
    for name, changed in {"a": {}, "b": {"processes": 2}, "c": {"seed": 1}}.items():
        (tmp_path / name).mkdir()
        style = Style(turn=5)
        synthesise(wish(tmp_path / name / "out", plates, style=style, train=4, val=2, classes=("crack",), **changed))
    first, second, third = (contents(tmp_path / name / "out") for name in "abc")
    read_me = "README.md"  # names its folder
    assert {k: v for k, v in first.items() if k != read_me} == {k: v for k, v in second.items() if k != read_me}
    images = [name for name in first if name.startswith("images/train")]
    assert len(images) == 4 and all(first[name] != third[name] for name in images)
    one = Job("crack", "crack", "train", 0, 0, False, Found("/a", "crack"), ())
    others = (replace(one, seed=1), replace(one, number=1), replace(one, split="val"), replace(one, class_name="dent"))
    assert len({job.rng().random() for job in (one, *others)}) == 5


def test_more_images_begin_with_the_fewer(plates: Path, tmp_path: Path) -> None:
    synthesise(wish(tmp_path / "few", plates, train=2))
    synthesise(wish(tmp_path / "many", plates, train=4))
    few, many = contents(tmp_path / "few" / "images"), contents(tmp_path / "many" / "images")
    assert len(few) == 6 and few.items() <= many.items()


@pytest.mark.parametrize("generator", ["regions", "perlin"])
def test_a_mask_lies_where_pixels_changed(
    plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: Any
) -> None:
    monkeypatch.setattr(finish, "MOVE", 0.0)
    classes = ("crack",) if generator == "regions" else ()
    synthesise(wish(tmp_path, plates, generator=generator, train=6, classes=classes))
    for row in synthetic(read_rows(tmp_path / "synthetic.csv")):
        below = np.asarray(Image.open(tmp_path / row["parent"].split(";")[-1]), float)  # what was pasted into
        made = np.asarray(Image.open(tmp_path / row["image"]), float)
        mask = np.asarray(Image.open(tmp_path / row["mask"])) > 0
        off = np.abs(made - below).max(2)
        assert 10 < mask.sum() < 0.2 * mask.size
        near = ndimage.binary_dilation(mask, iterations=7)  # 2 that go with a mask, 4 of the soft edge, 1 of rounding
        assert off[~near].max() == 0, row["image"]
        assert off[mask].mean() > 15


def test_a_crack_stays_a_dark_bar_of_its_size(plates: Path, tmp_path: Path) -> None:
    synthesise(wish(tmp_path, plates, train=4, classes=("crack",)))
    for row in synthetic(read_rows(tmp_path / "synthetic.csv")):
        mask = np.asarray(Image.open(tmp_path / row["mask"])) > 0
        assert mask.sum() == 45  # 3 rows of 15 pixels, as drawn
        grey = np.asarray(Image.open(tmp_path / row["image"]).convert("L"), float)
        ring = ndimage.binary_dilation(mask, iterations=5) & ~ndimage.binary_dilation(mask, iterations=2)
        assert grey[ring].mean() - grey[mask].mean() > 40  # 50 on a plate of about 125


def test_nothing_is_mirrored_where_the_set_says_so(
    plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "MOVE", 0.0)
    for mirror in (False, True):
        out = tmp_path / str(mirror)
        style = Style(turn=0, light=0, mirror=mirror)
        synthesise(wish(out, plates, train=8, classes=("good",), style=style))
        flipped = 0
        for row in synthetic(read_rows(out / "synthetic.csv")):
            made, parent = (np.asarray(Image.open(out / row[key])) for key in ("image", "parent"))
            flipped += bool((made == parent[:, ::-1]).all())
            assert (made == parent).all() or mirror
        assert (0 < flipped < 8) if mirror else flipped == 0


def test_grey_pictures_with_16_bits_and_colours_may_be_mixed(tmp_path: Path) -> None:
    root = draw_plates(tmp_path / "plates", split_counts({"good": 4, "crack": 4}, val={"good": 1}, test={"good": 1}))
    for name in ("traingood00", "traingood02", "traincrack00"):
        wide = np.asarray(Image.open(root / f"{name}.png").convert("L")).astype(np.uint16) * 257
        Image.fromarray(wide).save(root / f"{name}.png")
    Image.open(root / "traincrack01.png").convert("L").save(root / "traincrack01.png")
    synthesise(wish(tmp_path / "out", root, train=12))
    modes = set()
    for row in synthetic(read_rows(tmp_path / "out" / "synthetic.csv")):
        with Image.open(tmp_path / "out" / row["image"]) as made:
            with Image.open(tmp_path / "out" / row["parent"].split(";")[-1]) as below:
                assert (made.mode, made.size) == (below.mode, below.size)
            modes.add(made.mode)
            pixels = np.asarray(made, float) / (65535 if made.mode.startswith("I") else 255)
            assert 0.3 < pixels.mean() < 0.5  # a plate of 125 on a bench of 30, in 8 bits as in 16
    assert "RGB" in modes and modes & {"I;16", "I"}


def test_a_jpeg_is_written_with_the_tables_of_its_parent(tmp_path: Path) -> None:
    root = draw_plates(tmp_path / "plates", split_counts({"good": 4, "crack": 4}), ending="jpg")
    synthesise(wish(tmp_path / "out", root, train=2))
    for row in synthetic(read_rows(tmp_path / "out" / "synthetic.csv")):
        below = tmp_path / "out" / row["parent"].split(";")[-1]
        with Image.open(tmp_path / "out" / row["image"]) as made, Image.open(below) as parent:
            assert made.format == "JPEG"
            assert made.quantization == parent.quantization


def test_good_parts_alone_make_a_training_set(tmp_path: Path) -> None:
    root = draw_plates(tmp_path / "plates", split_counts({"good": 16}, val={"good": 4}, test={"good": 4}))
    said = synthesise(wish(tmp_path / "out", root, generator="perlin", train=6, val=4, test=3))
    assert said["counts"]["val"] == {"good": {"real": 4, "synthetic": 0}, "defect": {"real": 0, "synthetic": 4}}
    data, _ = prepare(settings(tmp_path / "out"), small_preprocess(), cache=LOADER)
    assert data.classes == ("good", "defect")
    assert Counter(r.split for r in data.records if r.label) == {"train": 6, "val": 4, "test": 3}


def test_masks_with_a_number_for_each_class_are_read_as_marked_or_not(tmp_path: Path) -> None:
    root = tmp_path / "plates"
    for split, n in (("train", 6), ("val", 2)):
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True)
        for i in range(n):
            kind = ("good", "crack", "dent mark")[i % 3]
            pixels, mask = draw_plate(kind, 10 * n + i)
            Image.fromarray(pixels).save(root / split / f"images/{i}.png")
            Image.fromarray(mask * np.uint8(i % 3)).save(root / split / f"masks/{i}.png")
    (root / "classes.json").write_text('{"1": "crack", "2": "dent mark"}')
    synthesise(wish(tmp_path / "out", root, dataset=settings(root, name="masks"), train=2))
    for row in read_rows(tmp_path / "out" / "synthetic.csv"):
        found = np.unique(np.asarray(Image.open(tmp_path / "out" / row["mask"]))).tolist()
        assert found == ([0] if row["label"] == "good" else [0, 255])


def test_two_classes_whose_names_look_alike_in_a_file_do_not_meet(tmp_path: Path) -> None:
    root = draw_plates(tmp_path / "plates", split_counts({"good": 2, "crack": 2, "dent mark": 2}))
    rows = read_rows(root / "set.csv")
    for row in rows:
        row["label"] = {"crack": "a b", "dent mark": "a_b"}.get(row["label"], "good")
    write_rows(root / "set.csv", [tuple(row.values()) for row in rows])
    said = synthesise(wish(tmp_path / "out", root, train=2))
    assert len(list((tmp_path / "out/images").iterdir())) == said["n_synthetic"] == 6


def test_without_masks_or_template_it_says_what_would_help(tmp_path: Path) -> None:
    root = draw_plates(tmp_path / "plates", split_counts({"good": 3, "crack": 3}))
    write_rows(
        root / "set.csv", [(*list(row.values())[:2], "", "", row["split"], "") for row in read_rows(root / "set.csv")]
    )
    with pytest.raises(ZddError, match=r"^'crack': no training image has a mask .*--template FILE.*--generator perlin"):
        synthesise(wish(tmp_path / "out", root, train=2))


def test_all_mistakes_of_a_wish_are_named_at_once(plates: Path, tmp_path: Path) -> None:
    with pytest.raises(ZddError) as caught:
        synthesise(wish(tmp_path / "out", plates, train=-1, val_ratio=0.5, style=Style(turn=200), seed=-1, processes=0))
    starts = [line.split(" = ")[0].split(" (")[0] for line in caught.value.lines]
    assert starts == ["--train", "--val-ratio", "--turn", "--processes", "--seed"]
    with pytest.raises(ZddError, match="how many images"):
        Wish(tmp_path, settings(plates)).check()
    with pytest.raises(ZddError, match=r"--train-ratio = 1.5: must be from 0 to 1"):
        wish(tmp_path, plates, train=1, train_ratio=1.5).check()
    wish(tmp_path, plates, train=1, val_ratio=0.0).check()  # only real ones
    with pytest.raises(ZddError, match=r"--classes scratch: there is no such class; there are: good, crack, dent mark"):
        synthesise(wish(tmp_path / "out", plates, train=1, classes=("scratch",)))
    style = Style(templates=(("crak", next(plates.glob("*.png"))),))
    with pytest.raises(ZddError, match=r"--template crak=.*: there is no class 'crak'; there are: good, crack, dent"):
        synthesise(wish(tmp_path / "out", plates, train=1, style=style))


def test_a_folder_of_someone_else_is_refused_before_any_work(plates: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ZddError, match=r"holiday\.jpg"):
        synthesise(wish(tmp_path, plates, train=1))
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_folder_of_its_own_is_replaced(plates: Path, tmp_path: Path) -> None:
    for n in (2, 1):
        synthesise(wish(tmp_path / "out", plates, train=n))
    assert len(list((tmp_path / "out/images").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_holds_what_is_to_be_read_is_not_replaced(plates: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    synthesise(wish(out, plates, train=2))
    before = contents(out)
    with pytest.raises(ZddError, match=r"out: is made anew, and .*out/images/train_.* lies in it.*another folder"):
        synthesise(wish(out, out, train=1))
    assert contents(out) == before
    said = synthesise(wish(tmp_path / "more", out, train=1))  # what was made before is synthetic there, too
    assert said["counts"]["train"]["crack"] == {"real": 8, "synthetic": 3} and said["n_real"] == 27


def test_a_full_disk_leaves_the_old_folder_whole(plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    synthesise(wish(out, plates, train=1))
    before = contents(out)
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        synthesise(wish(out, plates, train=2))
    assert contents(out) == before and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_real_rows_lead_to_the_real_files_from_the_folder(plates: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "below")
    out = tmp_path / "link" / "out"  # ".." leads to another place than its text says
    synthesise(wish(out, plates, train=1))
    rows = read_rows(out / "synthetic.csv")
    assert all((out / row[key]).is_file() for row in rows for key in ("image", "mask") if row[key])
    assert all((out / parent).is_file() for row in synthetic(rows) for parent in row["parent"].split(";"))
    assert not any(Path(row["image"]).is_absolute() for row in rows)


@pytest.mark.parametrize("spelling", ["--no-combine", "--no_combine"])
def test_the_command(plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spelling: str) -> None:
    words = ["data", "synthesise", str(tmp_path / "out"), "--from", str(plates), "--train", "1", "--train-ratio", "1"]
    assert cli.main(None, [*words, spelling, "--set", "mirror_safe=false", "--classes", "crack"]) == 0
    told = capsys.readouterr()
    said = json.loads(told.out.splitlines()[-1])
    assert said["counts"]["train"]["crack"] == {"real": 8, "synthetic": 1}
    root = shlex.quote(f"{tmp_path}/out")
    assert f"EXPERIMENT --dataset.name=csv --dataset.root={root} --dataset.mirror_safe=false" in told.out + told.err
    asked = json.loads((tmp_path / "out/synthetic.json").read_text())
    assert asked["dataset"]["mirror_safe"] is asked["style"]["mirror"] is asked["combine"] is False
    again = ["data", "synthesise", str(tmp_path / "more"), "--from", str(tmp_path / "out"), "--train", "1"]
    assert cli.main(None, again) == 0  # what must not be mirrored is not, though nobody says it again
    assert json.loads((tmp_path / "more/synthetic.json").read_text())["style"]["mirror"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train", "1", "--set", "mirror_saf=false"], "did you mean 'mirror_safe'"),
        (["--train", "1", "--set", "split.val=2"], "split.val = 2"),
        (["--train", "1", "--source", "fodler"], "did you mean 'folder'"),
        (["--train", "1", "--template", "nowhere.png"], "--template nowhere.png: there is no such file"),
        (["--train", "1", "--generator", "gan"], "--generator gan: must be regions or perlin"),
        ([], "how many images?"),
    ],
)
def test_a_wrong_command_is_one_line(
    plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli.main(None, ["data", "synthesise", str(tmp_path / "out"), "--from", str(plates), *words]) == 2
    streams = capsys.readouterr()
    assert streams.out == "" and said in streams.err and len(streams.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_source_is_told_by_what_lies_there(plates: Path, tmp_path: Path) -> None:
    for name, folders in {
        "masks": ["images", "masks"],
        "ok_ng": ["OK", "NG", "NG_MSK"],
        "folder": ["good", "bad"],
    }.items():
        for folder in folders:
            (tmp_path / name / "train" / folder).mkdir(parents=True)
    (tmp_path / "mvtec" / "ground_truth").mkdir(parents=True)
    assert {name: source_of(tmp_path / name) for name in ("masks", "ok_ng", "folder", "mvtec")} == {
        name: name for name in ("masks", "ok_ng", "folder", "mvtec")
    }
    assert source_of(plates) == source_of(plates / "set.csv") == "csv"

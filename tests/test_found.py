"""What methods with a map find in new images: areas and grades as in testing, by engines too, and pictures of them."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from finished_run import finish, settings
from PIL import Image

from zdd import cli, files
from zdd.area import Areas, Scale
from zdd.examine import examine_run
from zdd.exporting import Wish, export
from zdd.predict import predict
from zdd.report import found
from zdd.rundir import RunDir
from zdd.trained import load_trained

GRADES = [
    {"name": "minor", "above_percent": 0.5, "discount_percent": 10},
    {"name": "waste", "above_percent": 50, "discount_percent": 100},
]
BLOCKED = ("torch", "torchvision", "pytorch_lightning", "torchmetrics", "scipy", "pydantic", "rich", "matplotlib")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A U-Net at its random start, whose pixels are taken for defective from the middle of what it says on."""
    made = RunDir(tmp_path_factory.mktemp("runs") / "small" / "start" / "run_0")
    model = {"name": "unet", "encoder": "resnet18", "width": 0.25}
    finish(made, settings(parts, model=model, mm_per_pixel=0.1, grades=GRADES))
    stored = files.read_json(made.model)
    stored["threshold"]["pixel"] = 0.5
    files.write_json(made.model, stored)
    return made


@pytest.fixture(scope="module")
def engine(run: RunDir) -> Path:
    made = export(run.path, Wish("onnx", example_images=4))
    assert made.parity.passed, made.parity.lines()
    return made.folder


@pytest.fixture(scope="module")
def images(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    broken = tmp_path_factory.mktemp("broken") / "empty.png"
    broken.touch()
    return [parts / "test" / "crack", broken, parts / "test" / "dent mark"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_areas_and_grades_are_those_of_a_test(run: RunDir, tmp_path: Path) -> None:
    examine_run(run)
    tested = table(run.predictions)
    predict(run.path, [Path(row["image"]) for row in tested], out=tmp_path / "said.csv", device="cpu")
    said = table(tmp_path / "said.csv")
    assert list(said[0])[-5:] == ["uncertainty", "area_percent", "area_mm2", "grade", "error"]
    for name in ("area_percent", "area_mm2"):
        assert [float(row[name]) for row in said] == pytest.approx([float(row[name]) for row in tested], rel=1e-4)
    assert [row["grade"] for row in said] == [row["grade"] for row in tested]
    assert len({row["area_percent"] for row in said}) > 3, "areas that are all alike prove nothing"


def test_an_engine_gives_the_same_without_torch_or_scipy(
    run: RunDir, engine: Path, images: list[Path], tmp_path: Path
) -> None:
    predict(run.path, images, out=tmp_path / "run.csv", device="cpu")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"  # None: an import of it fails
        "from zdd import cli; sys.exit(cli.main(None, sys.argv[1:]))"
    )
    words = ["predict", str(engine), *map(str, images), "--out", str(tmp_path / "engine.csv")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and json.loads(done.stdout)["errors"] == 1, done.stderr
    ours, theirs = table(tmp_path / "run.csv"), table(tmp_path / "engine.csv")
    assert list(ours[0]) == list(theirs[0]) and len(ours) == len(theirs) == 19
    assert [row["area_percent"] == "" for row in theirs] == [bool(row["error"]) for row in theirs]
    for mine, its in zip(ours, theirs, strict=True):
        assert (mine["predicted"], mine["grade"], bool(mine["error"])) == (
            its["predicted"],
            its["grade"],
            bool(its["error"]),
        )
        if not mine["error"]:
            assert float(its["area_mm2"]) == pytest.approx(float(mine["area_mm2"]), rel=1e-3)
    words = ["predict", str(engine), str(images[0]), "--maps", str(tmp_path / "maps")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stdout == ""
    assert "needs matplotlib; install it with: pip install matplotlib" in done.stderr


def test_pictures_of_a_run_and_of_its_engine_are_alike(
    run: RunDir, engine: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for what in (run.path, engine):
        folder = tmp_path / f"maps of {what.name}"
        assert cli.main(None, ["predict", str(what), *map(str, images), "--maps", str(folder)]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()[:-1]]
        pictures = sorted(folder.iterdir())
        expected = [(i, row) for i, row in enumerate(rows, start=1) if not row["error"]]
        assert [int(path.name[:4]) for path in pictures] == [i for i, _ in expected]
        for path, (_, row) in zip(pictures, expected, strict=True):
            assert row["predicted"].replace(" ", "-") in path.name.replace("_", "-").replace(" ", "-")
            with Image.open(path) as picture:
                # Image, heat map and prediction side by side, below a bar of the verdict's colour.
                assert picture.width > 2 * picture.height * 0.5
                bar = found.BARS[row["verdict"]]
                corner: Any = picture.convert("RGB").getpixel((2, 2))
                assert "#" + bytes(corner).hex().upper() == bar
        names.append([path.name for path in pictures])
    assert names[0] == names[1] and len(names[0]) == 18


def test_pictures_that_can_not_be_had_are_refused(
    run: RunDir, images: list[Path], parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    assert cli.main(None, ["predict", str(run.path), str(images[0]), "--maps", str(tmp_path / "full")]) == 2
    assert "full: is not empty; name a new folder" in capsys.readouterr().err
    plain = RunDir(tmp_path / "small" / "start" / "run_0")
    finish(plain, settings(parts))
    folder = export(plain.path, Wish("onnx", example_images=4)).folder
    for what in (plain.path, folder):
        assert cli.main(None, ["predict", str(what), str(images[0]), "--maps", str(tmp_path / "new")]) == 2
        said = capsys.readouterr()
        assert "this method gives no map" in said.err and said.out == ""
    assert not (tmp_path / "new").exists()


def test_what_is_defective_is_outlined_where_it_is(tmp_path: Path, run: RunDir) -> None:
    import numpy as np

    trained = load_trained(run)
    path = tmp_path / "plate.png"
    Image.new("RGB", (320, 320), "#808080").save(path)
    album = found.album(tmp_path / "maps", Areas(trained.preprocess, 0.5, Scale()), ("good", "crack"), [path])
    values = np.zeros((32, 32), np.float32)
    values[:, :8] = 1.0  # the left quarter
    row: dict[str, Any] = {"predicted": "crack", "verdict": "defective", "score": 0.25, "threshold": 0.1}
    assert album(path, row, values, None) == {"area_percent": 25.0}
    (picture,) = (tmp_path / "maps").iterdir()
    assert picture.name == "0001_crack_plate.png"
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    yellow = (pixels[..., 0] > 120) & (pixels[..., 1] > 120) & (pixels[..., 2] < 110)
    columns = np.flatnonzero(yellow.sum(axis=0) > 200)  # the panel "found", and in the heat map the same quarter
    assert len(columns) and np.ptp(columns[columns > image.width * 2 / 3]) == pytest.approx(80, abs=8)

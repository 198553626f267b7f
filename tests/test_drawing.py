"""Images drawn by a trained GAN: a training set that any method takes, and that says where each image comes from."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from drawn_part import draw_part
from PIL import Image

from zdd import cli, drawing, experiment, files, rundir
from zdd import config as configuration
from zdd.data import dataset as datasets
from zdd.data.parents import parents
from zdd.errors import ZddError
from zdd.models.gan import Gan
from zdd.preprocess import from_settings
from zdd.rundir import Group
from zdd.trained import load_trained

KINDS = {"good": 9, "dent mark": 5}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Group]:
    """A GAN for all classes and one for each, of two epochs, on parts that are wider than high."""
    root = tmp_path_factory.mktemp("parts with a gan")
    for split, factor in (("train", 2), ("val", 1), ("test", 1)):
        for kind, n in KINDS.items():
            (root / "parts" / split / kind).mkdir(parents=True)
            for i in range(n * factor):
                name = root / "parts" / split / kind / f"{i}.png"
                draw_part(kind, 1000 * len(split) + i + 500 * (split == "test")).save(name)
    found = {}
    for name, options in {"all": {}, "each": {"per_class": True}}.items():
        value = settings(root / "parts", **options)
        path = root / f"{name}.json"
        path.write_text(json.dumps(value))
        said = experiment.run_experiment(configuration.load(str(path)), n_runs=1, runs=root / "runs")
        assert said["failed"] == {} and said["next"] == f"zdd data gan {shlex.quote(said['group'])} OUT"
        group = rundir.find(Path(said["group"]))
        assert isinstance(group, Group)
        found[name] = group
    return found


def settings(root: Path, **options: Any) -> dict[str, Any]:
    networks = {"latent_size": 4, "generator": [8, 6, 4], "discriminator": [4, 6], "grid_every": 1}
    return {
        "dataset": {"name": "folder", "root": str(root)},
        "image_size": 24,
        "augmentation": "none",
        "model": {"name": "gan", **networks, **options},
        "optimizer": {"name": "Adam", "lr": 0.0002, "betas": [0.5, 0.999]},
        "scheduler": None,
        "epochs": 2,
        "batch_size": 8,
        "loader": {"workers": 0},
        "trainer": {"accelerator": "cpu", "threads": 1},
    }


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "synthetic.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_training_writes_both_losses_and_grids(made: dict[str, Group]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = made["all"].runs[0]
    events = EventAccumulator(str(run.log), size_guidance={"images": 0})
    events.Reload()
    assert [event.step for event in events.Images("drawn")] == [1, 2]
    assert {"train/loss_generator", "train/loss_discriminator", "val/loss"} <= set(events.Tags()["scalars"])


def test_the_set_holds_the_real_images_where_they_were_and_the_drawn_ones_in_training(
    made: dict[str, Group], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "drawn parts"
    words = ["data", "gan", str(made["all"].path), str(out), "--n_imgs", "6", "--network", "pixels"]
    assert cli.main(None, words) in (0, 1)  # two epochs may draw anything
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["drawn"] == ["good", "dent mark"] and said["likeness"]["memorisation"]["n_held_out"] == 14
    drawn = [row for row in rows(out) if row["parent"]]
    assert [row["label"] for row in drawn] == ["good"] * 6 + ["dent mark"] * 6
    assert {row["split"] for row in drawn} == {"train"} and len(rows(out)) == 56 + 12
    stored = datasets.load(made["all"].runs[0].data)
    kept = {str((out / row["image"]).resolve()): row["split"] for row in rows(out) if not row["parent"]}
    assert kept == {record.path: record.split for record in stored.records}
    with Image.open(out / drawn[0]["image"]) as image:
        assert image.size == (24, 20)  # parts are 44 x 36: no padding is left of 24 x 24
        bare = np.asarray(image.convert("RGB")).astype(int)
    model = load_trained(made["all"].runs[0], generative=True)
    whole = next(drawing._pixels(cast(Gan, model.model), [(0, 0)], 0)).astype(int)
    assert int(np.abs(bare - whole[2:22]).max()) <= 1  # what was padding above and below is cut off, nothing squeezed
    learnt = {str(Path(path).resolve()) for path in parents(str(out / drawn[0]["parent"]))}
    assert learnt == {record.path for record in stored.records if record.split == "train"}
    for name in ("README.md", "synthetic.json", "samples.png", "likeness.json", "nearest.png"):
        assert (out / name).is_file()
    assert files.read_json(out / "synthetic.json")["weights_sha256"] == files.sha256(made["all"].runs[0].weights)


def test_a_folder_that_holds_the_runs_images_is_not_replaced(made: dict[str, Group]) -> None:
    place = Path(datasets.load(made["all"].runs[0].data).records[0].path).parent
    before = sorted(place.iterdir())
    with pytest.raises(ZddError, match="lies in it, which is needed"):
        drawing.draw(made["all"].path, place.parent, n_imgs=2, network="pixels")
    assert sorted(place.iterdir()) == before


def test_a_generator_for_each_class_names_its_class_alone(made: dict[str, Group], tmp_path: Path) -> None:
    drawing.draw(made["each"].path, tmp_path / "out", n_imgs=2, network="pixels")
    drawn = [row for row in rows(tmp_path / "out") if row["parent"]]
    for row in drawn:
        folders = {Path(path).parent.name for path in parents(str(tmp_path / "out" / row["parent"]))}
        assert folders == {row["label"]}
    assert [len(parents(str(tmp_path / "out" / row["parent"]))) for row in drawn] == [18, 18, 10, 10]


def test_any_method_can_be_trained_on_it(made: dict[str, Group], tmp_path: Path) -> None:
    out = tmp_path / "out"
    drawing.draw(made["all"].path, out, n_imgs=3, network="pixels")
    value = settings(out) | {"dataset": {"name": "csv", "root": str(out)}, "model": {"name": "classifier"}}
    path = tmp_path / "small.json"
    path.write_text(json.dumps(value))
    config = configuration.load(str(path)).config
    preprocess = from_settings(config.image_size, config.preprocess)
    dataset, _ = datasets.prepare(config.dataset, preprocess, cache=config.loader)
    assert dataset.task((24, 24)).class_counts == (18 + 3, 10 + 3)
    # A drawn image that is put into another split than what was learnt from is refused.
    text = (out / "synthetic.csv").read_text()
    moved = text.replace("images/good_00000.png,good,,,train", "images/good_00000.png,good,,,test")
    assert moved != text
    (out / "synthetic.csv").write_text(moved)
    with pytest.raises(ZddError, match="an image and its parents must be in one split"):
        datasets.prepare(config.dataset, preprocess, cache=config.loader)


def test_the_same_seed_draws_the_same_and_more_begins_alike(made: dict[str, Group], tmp_path: Path) -> None:
    def pixels(name: str, n: int, seed: int) -> list[bytes]:
        drawing.draw(made["all"].path, tmp_path / name, n_imgs=n, seed=seed, network="pixels")
        return [(tmp_path / name / f"images/good_{i:05d}.png").read_bytes() for i in range(n)]

    few = pixels("a", 2, 0)
    assert pixels("a", 2, 0) == few  # in place of the first
    assert pixels("c", 2, 1) != few
    more = [np.asarray(Image.open(tmp_path / "a" / f"images/good_{i:05d}.png")) for i in range(2)]
    assert len(set(pixels("b", 5, 0))) == 5
    for i, image in enumerate(more):  # another batch: a grey level at most
        other = np.asarray(Image.open(tmp_path / "b" / f"images/good_{i:05d}.png"))
        assert int(np.abs(other.astype(int) - image.astype(int)).max()) <= 1


def test_without_the_networks_weights_copies_are_looked_for_all_the_same(
    made: dict[str, Group], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: Any) -> None:
        raise ZddError("model.weights = 'imagenet': can't download")

    monkeypatch.setattr("zdd.models.weights.load", none)
    said = drawing.draw(made["all"].path, tmp_path / "out", n_imgs=2)
    assert said["likeness"]["classes"] == {} and said["likeness"]["network"].startswith("no network")
    assert "can't download" in capsys.readouterr().err


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (1, -1)])
def test_numbers_out_of_range_are_refused(made: dict[str, Group], tmp_path: Path, n: int, seed: int) -> None:
    with pytest.raises(ZddError, match="1 image at least"):
        drawing.draw(made["all"].path, tmp_path / "out", n_imgs=n, seed=seed)


def test_a_folder_of_someone_elses_is_left_alone(made: dict[str, Group], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ZddError, match=r"holds what was not made here \(mine.txt\)"):
        drawing.draw(made["all"].path, tmp_path, n_imgs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_loss_that_is_no_number_stops_the_run_with_the_files(made: dict[str, Group], tmp_path: Path) -> None:
    root = Path(files.read_json(made["all"].plan)["config"]["dataset"]["root"])
    path = tmp_path / "small.json"
    path.write_text(json.dumps(settings(root) | {"optimizer": {"name": "Adam", "lr": 1e30}}))
    said = experiment.run_experiment(configuration.load(str(path)), n_runs=1, runs=tmp_path / "runs")
    assert "the training loss is" in said["failed"]["run_0"] and ".png" in said["failed"]["run_0"]

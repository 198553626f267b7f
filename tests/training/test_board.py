"""What TensorBoard and metrics.csv hold after a run."""

import csv
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zdd import config
from zdd.experiment import run_experiment
from zdd.rundir import Group, RunDir


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, parts: Path) -> RunDir:
    folder = tmp_path_factory.mktemp("board")
    path = folder / "board.json"
    path.write_text(
        f'{{"dataset": {{"name": "folder", "root": "{parts}"}}, "image_size": 32, "epochs": 3, "batch_size": 8,'
        '"model": {"name": "classifier", "backbone": "luna", "transfer": {"name": "layer_wise", "decay": 0.5}},'
        '"optimizer": {"name": "SGD", "lr": 0.1}, "scheduler": {"name": "StepLR", "step_size": 1, "gamma": 0.1},'
        '"augmentation": "none", "loader": {"workers": 0}, "trainer": {"accelerator": "cpu", "threads": 1}}'
    )
    return Group(Path(run_experiment(config.load(str(path)), n_runs=1, runs=folder)["group"])).runs[0]


@pytest.fixture(scope="module")
def events(run: RunDir) -> EventAccumulator:
    return EventAccumulator(str(run.log)).Reload()


def test_scalars_by_epoch(run: RunDir, events: EventAccumulator) -> None:
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "val/loss", "val/accuracy", "lr/highest", "lr/lowest", "speed/images_per_s"} <= tags
    assert [event.step for event in events.Scalars("val/loss")] == [1, 2, 3]
    with run.epochs.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val/loss"]) for row in rows] == pytest.approx([e.value for e in events.Scalars("val/loss")])


def test_the_rates_are_those_that_the_epoch_was_trained_with(events: EventAccumulator) -> None:
    assert [event.value for event in events.Scalars("lr/highest")] == pytest.approx([0.1, 0.01, 0.001])
    assert events.Scalars("lr/lowest")[0].value < 0.1


def test_pictures(events: EventAccumulator) -> None:
    assert {"input/train, augmented", "input/validation", "validation/confusion matrix"} <= set(events.Tags()["images"])


def test_settings_stand_beside_final_figures(events: EventAccumulator) -> None:
    plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data
    assert plugin.plugin_name == "hparams"
    for word in (b"model.backbone", b"luna", b"optimizer.lr"):
        assert word in plugin.content
    assert "verdict/defect_recall" in events.Tags()["scalars"]

"""What stands in the way of a command is one line and exit code 2, whatever the verb, and leaves nothing behind."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.finished_run import finish, settings
from zdd import cli, files
from zdd.errors import ZddError
from zdd.rundir import RunDir
from zdd.settings import TrainerSettings
from zdd.training import feasible

ABSENT = "mps" if torch.cuda.is_available() else "cuda"


@pytest.fixture(scope="module")
def finished(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = RunDir(tmp_path_factory.mktemp("runs") / "small/start/run_0")
    finish(run, settings(parts))
    return run.path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    (tmp_path / "said.csv").mkdir()
    (tmp_path / "part.png").write_bytes(b"no image")
    return Path(shutil.copytree(finished, tmp_path / "run_0"))


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line that a command is refused with."""
    assert cli.main(None, [str(word) for word in argv]) == 2
    streams = capsys.readouterr()
    assert streams.out == "" and len(streams.err.splitlines()) == 1
    return streams.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("predict run_0 . --out said.csv", "zdd predict: --out said.csv: is a folder; name a file"),
        ("predict run_0 . --out file/said.csv", "zdd predict: file: no folder can be made there (File exists)"),
        (f"predict run_0 . --out {'x' * 251}.csv", "File name too long"),  # the file system's own word
        ("explain run_0 --images part.png", "part.png: not an image of a format that Pillow knows"),
        ("explain run_0 --images gone.png", "gone.png: there is no such file"),
        ("explain run_0 --score --n 0", "zdd explain: --n = 0: must be at least 1"),
        ("test run_0 run_1", "zdd test: unrecognized arguments: run_1; see: zdd test --help"),
        ("benchmark run_0 --takt fast", "zdd benchmark: --takt fast: must be a time"),
        ("train demo --seed 99999999999999", "seed = 99999999999999 (command line): must be 2147483647 at most"),
        ("data likeness gone", "zdd data likeness: gone: there is no such folder; name one that zdd data gan"),
        ("data labels file/labels --per-class 1", "no folder can be made there (Not a directory)"),
        ("data synthesise made --from run_0 --train 1 --processes 0", "--processes = 0: must be at least 1"),
    ],
)
def test_what_stands_in_the_way_is_named(
    argv: str, said: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    before = sorted(run.parent.iterdir())
    assert said in refused(capsys, *argv.split())
    assert sorted(run.parent.iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="there every name is Unicode")
def test_a_name_that_no_table_can_hold(
    run: Path, parts: Path, experiment: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(parts / "test", tmp_path / "set")
    picture = next((tmp_path / "set/good").iterdir())
    picture.rename(os.fsdecode(os.fsencode(picture.parent) + b"/Geh\xe4use.png"))  # from an old zip
    said = "set/good/Geh\\udce4use.png': a name that is not UTF-8; rename it"
    assert said in refused(capsys, "predict", run, tmp_path / "set", "--out", tmp_path / "rows.csv")
    path = experiment(dataset={"name": "folder", "root": str(tmp_path / "set")})
    said = refused(capsys, "train", path, "--runs", tmp_path / "runs")
    assert "Geh\\udce4use.png': a name that is not UTF-8; rename it" in said
    assert not (tmp_path / "rows.csv").exists() and not (tmp_path / "runs").exists()


def test_no_run_begins_where_none_can(
    experiment: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    said = refused(capsys, "train", experiment(), "--runs", tmp_path / "file")
    assert said == f"zdd train: {tmp_path}/file/small: no folder can be made there (Not a directory)\n"
    said = refused(capsys, "train", experiment(), "--runs", tmp_path / "runs", "--trainer.accelerator", ABSENT)
    assert f"trainer.accelerator = '{ABSENT}': torch finds no such device here; take 'auto' or 'cpu'" in said
    said = refused(capsys, "train", experiment(), "--model.weights", experiment())
    assert "or is no file of weights at all" in said
    assert not (tmp_path / "runs").exists()


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # a machine that the tests need not have
    two = TrainerSettings.model_construct(accelerator="auto", devices=2)
    feasible.check_machine(two)
    feasible.check_machine(two.model_copy(update={"accelerator": "cpu", "devices": 3}))
    with pytest.raises(ZddError, match=r"trainer\.devices = 3: of GPUs there are 2 here"):
        feasible.check_machine(two.model_copy(update={"devices": 3}))


def test_a_command_to_go_on_with_can_be_pasted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "DONE").unlink()
    stopped = run.rename(run.with_name("my run"))
    assert refused(capsys, "test", stopped).endswith(f"go on with: python train.py --resume '{stopped}'\n")


def test_a_damaged_run_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = files.read_json(run / "model/model.json")
    del stored["preprocess"]
    files.write_json(run / "model/model.json", stored)
    assert "model.json: lacks preprocess; copy the run anew" in refused(capsys, "test", run)
    (run / "model/model.json").write_text("[]")
    assert "model.json: not what zdd wrote: an object, {...}, was expected" in refused(capsys, "test", run)
    (run.parent / "plan.json").write_text("{}")
    assert "plan.json: not what zdd wrote: n_runs and config" in refused(capsys, "train", "--resume", run.parent)
    for name in (b"", b"../run_0", b"two\nlines/x"):
        (run.parent / "latest").write_bytes(name)
        assert "latest: must hold the name of a folder beside it" in refused(capsys, "test", run.parent / "latest")
    (run.parent / "latest").write_bytes(b"\xff\xfe")
    assert "there is no such run" in refused(capsys, "test", run.parent / "latest")

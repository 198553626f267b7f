"""The command line as people and programs meet it: real processes, exit codes, the two streams."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zdd import cli

ROOT = Path(__file__).parent.parent
VERBS = [
    [],
    ["train"],
    ["test"],
    ["predict"],
    ["suite"],
    ["models"],
    ["data"],
    ["data", "labels"],
    ["data", "synthesise"],
    ["schema"],
]
HAVING_TORCH = "import sys; sys.path.insert(0, {root!r}); from zdd.cli import main; code = main({verb!r}, {argv!r}); "
HAVING_TORCH += "print('torch' if 'torch' in sys.modules else 'no torch', file=sys.stderr); raise SystemExit(code)"


def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=variables, timeout=250)


def torchless(verb: str | None, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must answer without torch."""
    result = run("-c", HAVING_TORCH.format(root=str(ROOT), verb=verb, argv=list(argv)))
    assert result.stderr.splitlines()[-1] == "no torch"
    return result


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.json"
    path.write_text('{"dataset": {"name": "folder", "root": "x"},\n"epochs": 0,\n"batchsize": 4}')
    return path


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_has_examples_and_needs_no_torch(verb: list[str]) -> None:
    result = torchless(None, *verb, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(" ".join(["usage: zdd", *verb]))
    assert "examples:\n  zdd " in result.stdout


@pytest.mark.parametrize("script", ["train", "test"])
def test_scripts_of_six_lines_call_the_same(script: str) -> None:
    result = run(f"{script}.py", "--help")
    assert result.returncode == 0
    assert f"examples:\n  python {script}.py " in result.stdout
    lines = [line for line in (ROOT / f"{script}.py").read_text().splitlines() if line]
    assert len(lines) <= 6


def test_a_refused_configuration_says_everything_without_torch(bad: Path) -> None:
    result = torchless("train", str(bad), "--optimizer.lr", "-1")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[:-1] == [
        f"train.py: epochs = 0 ({bad}:2): must be a whole number of at least 1",
        f"train.py: batchsize = 4 ({bad}:3): there is no such setting; did you mean 'batch_size'?",
        "train.py: optimizer.lr = -1 (command line): must be a number greater than 0",
    ]


def test_print_config_is_an_experiment_with_who_set_what(tmp_path: Path) -> None:
    words = ("casting_mobilenet", "--optimizer.lr=0.5", "--set", "scheduler=null", "--print_config")
    result = torchless("train", *words)
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 1
    printed = json.loads(result.stdout)
    assert printed["optimizer"]["lr"] == 0.5
    assert printed["scheduler"] is None
    assert printed["$origin"]["optimizer.lr"] == "command line"
    table = {line.split()[0]: line for line in result.stderr.splitlines() if line.split()}
    for name, origin in printed["$origin"].items():
        assert table[name].rstrip().endswith(origin)  # not cut off, though no terminal is there
    (tmp_path / "printed.json").write_text(result.stdout)
    again = torchless("train", str(tmp_path / "printed.json"), "--print_config")
    first, second = (dict(json.loads(text.stdout)) for text in (result, again))
    origins = first.pop("$origin"), second.pop("$origin")
    assert first == second
    assert set(origins[1]) == set(origins[0])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "train.py: which experiment? Name a file, or one that lies in experiments/; see --help"),
        (["demo", "--n_run", "5"], "train.py: --n_run: there is no such option or setting; did you mean '--n_runs'?"),
        (["demo", "--print_confg"], "did you mean '--print_config'?"),
        (["demo", "--epoch", "5"], "train.py: --epoch: there is no such option or setting; did you mean '--epochs'?"),
        (["demo", "--zzz"], "train.py: --zzz: there is no such option or setting; see --help"),
        (["demo", "--optimizer.lr"], "--optimizer.lr: wants a value, as in --optimizer.lr 3 or --optimizer.lr=3"),
        (["demo", "--optimizer.lr", "--n_runs", "3"], "--optimizer.lr: wants a value"),
        (["demo", "--set", "lr"], "'lr' (command line): a setting is given as in --set optimizer.lr=0.001"),
        (["demo", "--n_runs", "0"], "train.py: --n_runs = 0: must be at least 1"),
        (["demo", "--n_runs", "x"], "train.py: argument --n_runs: invalid int value: 'x'; see: python train.py --help"),
        (["demo", "second"], "train.py: unrecognized arguments: second; see: python train.py --help"),
        (["demo", "--resume", "runs/x"], "--resume goes on with the run's own configuration; give it alone"),
        (["--resume", "runs/x", "--epochs", "3"], "--resume goes on with the run's own configuration; give it alone"),
        (["dmo"], "dmo: there is no such experiment, neither as given nor in experiments/; did you mean 'demo'?"),
    ],
)  # fmt: skip
def test_wrong_arguments(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main("train", argv) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert said in streams.err
    assert len(streams.err.splitlines()) == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["demo", "--epochs", "7"],
        ["demo", "--epochs=7"],
        ["--epochs", "7", "demo"],
        ["demo", "--set", "epochs=7"],
        ["demo", "--set=epochs=7"],
        ["demo", "--set", "epochs=9", "--epochs", "7"],
    ],
)
def test_every_spelling_of_a_setting(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main("train", [*argv, "--print_config"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 7


def test_zdd_s_own_name_stands_before_its_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(None, ["train", "dmo"]) == 2
    assert capsys.readouterr().err.startswith("zdd train: dmo: ")
    assert cli.main(None, ["trian"]) == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err
    assert cli.main(None, []) == 2


def test_the_schema_is_printed_or_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(None, ["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "An experiment of zdd"


def test_a_reader_who_leaves_early_gets_no_traceback() -> None:
    command = f"{sys.executable} -m zdd.cli schema | true"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


def test_models_for_people_and_for_programs() -> None:
    result = run("-m", "zdd.cli", "models")
    assert result.returncode == 0
    rows = json.loads(result.stdout.splitlines()[-1])["models"]
    assert len(rows) >= 12
    assert all("resnet18" in stream for stream in (result.stdout, result.stderr))


def test_what_torch_refuses_is_said_at_once_before_any_data_is_read(
    experiment: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = experiment(dataset={"name": "folder", "root": "nowhere"}, augmentation=[{"name": "RandomRotatio"}])
    assert cli.main("train", [path, "--optimizer.lrr", "3", "--scheduler.T_mx", "3"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["train.py"] * 3
    assert "optimizer.lrr" in lines[0]
    assert "(command line)" in lines[0]
    assert "scheduler.T_mx" in lines[1]
    assert "RandomRotatio" in lines[2]
    assert "small.json" in lines[2]
    assert not any("nowhere" in line for line in lines)


def test_train_resume_test_predict(
    experiment: Callable[..., str], parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verbs in their order; each ends with one line of JSON."""

    def last_line(verb: str | None, *argv: str) -> dict[str, Any]:
        assert cli.main(verb, argv) == 0
        value: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return value

    runs = tmp_path / "my runs"
    trained = run("train.py", experiment(), "--epochs", "1", "--runs", str(runs))
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["failed"] == {}
    latest = str(runs / "small/latest")
    assert last_line("train", "--resume", latest)["failed"] == {}
    assert Path(last_line("test", latest, "--device", "cpu")["report"]).is_file()
    image, out = next(parts.glob("test/*/*.png")), tmp_path / "verdicts.csv"
    assert last_line(None, "predict", latest, str(image), "--out", str(out))["images"] == 1
    assert len(out.read_text().splitlines()) == 2


def test_ctrl_c_says_how_to_go_on(experiment: Callable[..., str], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = [sys.executable, "train.py", experiment(), "--epochs", "2000", "--runs", str(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    ) as process:  # fmt: skip
        wait_for(lambda: list(runs.glob("small/*/run_0/checkpoints/last.ckpt")), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=200)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == f"train.py: stopped; go on with: python train.py --resume {runs}/small/latest"


def wait_for(done: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 200) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_failed_run_is_exit_code_1(experiment: Callable[..., str], tmp_path: Path) -> None:
    argv = [experiment(optimizer={"name": "SGD", "lr": 1e30}), "--runs", str(tmp_path)]  # the loss is not finite soon
    result = run("train.py", *argv)
    assert result.returncode == 1
    assert list(json.loads(result.stdout.splitlines()[-1])["failed"]) == ["run_0"]


@pytest.mark.slow
def test_answers_come_in_less_than_400_ms() -> None:
    result = run("scripts/bench_start.py")
    assert result.returncode == 0, result.stderr

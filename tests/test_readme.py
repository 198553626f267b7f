"""Every command that the documentation shows is one that zdd takes, and the main ones run."""

import argparse
import json
import operator
import re
import shlex
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zdd import cli, layers, plugins
from zdd.data.synthesis import labels

ROOT = Path(__file__).parents[1]
PAGES = [*(ROOT / name / "README.md" for name in (".", "data", "weights")), *sorted((ROOT / "docs").glob("*.md"))]
MENTIONED = (
    [],
    ["train"],
    ["test"],
    ["predict"],
    *(["data", name] for name in ("labels", "synthesise", "gan", "likeness")),
)
STARTS = ("make ", "python ", "zdd ", "tensorboard ")


def commands() -> list[tuple[str, str]]:
    """Page and command: lines of code blocks, and code in the text, that begin like a command."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fenced = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
        indented = [line for line in text.splitlines() if line.startswith("    ")]
        lines = [line.strip().removeprefix("$ ") for line in [*fenced, *indented]]
        code = [*lines, *re.findall(r"`([^`\n]+)`", text)]
        shown = [line.split("  #")[0].split("   ")[0].strip() for line in code if line.startswith(STARTS)]
        found += [(page.name, line) for line in dict.fromkeys(shown)]
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_shown_command_is_one_that_exists(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(re.split(" > | && ", command)[0], comments=True)
    monkeypatch.chdir(ROOT)
    if "..." in command or {"bad.json", "mine.json"} & set(words):  # the reader's own
        return
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[0] == "tensorboard":
        assert words[1] == "--logdir"
    elif words[0] == "zdd" or words[1] in ("train.py", "test.py"):
        verb = None if words[0] == "zdd" else words[1].removesuffix(".py")
        argv = words[1:] if verb is None else words[2:]
        if "--help" in argv or argv in MENTIONED:
            return
        args = argparse.Namespace(prog="zdd")
        cli._parse(verb, argv, args)
        if getattr(args, "experiment", None):
            assert layers.find(args.experiment).is_file()
    elif words[1].startswith("scripts/"):
        source = (ROOT / words[1]).read_text()
        for option in (word.split("=")[0] for word in words[2:] if word.startswith("--")):
            assert option.removeprefix("--") in source, f"{words[1]} has no {option}"
    else:
        assert words[1] in ("-m", "-c"), command


def test_the_defaults_in_the_tables_are_those_of_the_code() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    part = text.partition("Their own settings:")[2].partition("### `preprocess`")[0]
    rows = re.findall(r"^\| (?:`(\w+)` )?\| `(\w+)` \| .* \| `(.*)` \|$", part, re.MULTILINE)
    assert len(rows) == 8
    source = ""
    for name, option, default in rows:
        source = name or source
        assert _read(default) == plugins.available("dataset")[source].options[option].default, f"{source}.{option}"
    shared = json.loads((ROOT / "configs/DEFAULT.json").read_text())
    rows = re.findall(r"^\| `((?:\w+\.)+\w+)` \| .* \| `?([^|`]+)`? \|$", text, re.MULTILINE)
    named = {name: default for name, default in rows if default not in ("required", "ImageNet's", "the same")}
    assert len(named) > 25
    for name, default in named.items():
        assert _read(default) == reduce(operator.getitem, name.split("."), shared), name


def _read(default: str) -> Any:
    try:
        return json.loads(default)
    except ValueError:
        return default


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_what_make_demo_does_works_on_few_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(verb: str | None, *argv: str) -> dict[str, Any]:
        assert cli.main(verb, argv) == 0
        value: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return value

    drawn, runs = tmp_path / "labels", tmp_path / "runs"
    labels.draw(drawn, per_class=16, seed=0)
    small = ["--dataset.root", str(drawn), "--epochs", "1", "--trainer.threads", "1", "--image_size", "48"]
    run("train", "demo", "--n_runs", "2", "--runs", str(runs), *small)
    assert Path(run("test", str(runs / "demo" / "latest"))["report"]).is_file()
    bad = tmp_path / "no image.png"
    bad.write_text("nothing")
    pictures = [str(path) for path in sorted((drawn / "images").iterdir())[:2]]
    assert Image.open(pictures[0])
    out = tmp_path / "verdicts.csv"
    run(None, "predict", str(runs / "demo" / "latest"), *pictures, str(bad), "--out", str(out))
    assert len(out.read_text().splitlines()) == 4

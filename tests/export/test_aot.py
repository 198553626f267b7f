"""AOTInductor packages: the same numbers, and a line for whatever keeps them from being made or read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.export import aot
from zdd.export.base import probes
from zdd.export.graph import Whole, differs
from zdd.records import Prediction

EXAMPLE = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


class Net(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.first(image).relu()).mean((2, 3))  # type: ignore[no-any-return]


def whole() -> Whole:
    made = Whole(Net(), lambda raw, _: Prediction(score=raw[:, 0], label=raw.argmax(1)), (0.5,) * 3, (0.25,) * 3)
    made.run(EXAMPLE)
    return made


@pytest.mark.slow
def test_it_says_what_the_network_says_at_every_batch_size(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    aot.export(whole(), EXAMPLE, tmp_path)
    engine = aot.load(tmp_path)
    assert engine.names == ("score", "label", "raw") and engine.largest_batch is None
    assert differs(engine, whole(), [*probes(EXAMPLE), EXAMPLE]) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compiled.json", "model.aot.pt2"]
    assert capfd.readouterr().out == ""
    half = tmp_path / "half"
    half.mkdir()
    aot.export(whole(), EXAMPLE, half, precision="bf16")
    said, expected = aot.load(half)(EXAMPLE)["raw"], whole().run(EXAMPLE)["raw"]
    assert said.dtype == np.float32 and 1e-5 < np.abs(said - expected).max() < 0.05


def test_without_a_compiler_a_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def none() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(ZddError, match=r"needs a C\+\+ compiler, .* install g\+\+ or clang\+\+, or use --engine pt2"):
        aot.export(whole(), EXAMPLE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_the_compiler_says_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operation\nand a page more")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", fail)
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "g++")
    with pytest.raises(ZddError) as caught:
        aot.export(whole(), EXAMPLE, tmp_path)
    assert caught.value.lines == ("this network can't be compiled by AOTInductor: no such operation; use --engine pt2",)


@pytest.mark.parametrize(
    ("notes", "line"),
    [
        (None, "compiled.json: not readable"),
        ("{", "compiled.json: not readable"),
        ({"names": []}, r"compiled.json: not readable \('torch'\)"),
        ({"torch": "2.0"}, "was compiled for torch 2.0, processor .* export the run anew on this machine"),
        ({"processor": "AVX9"}, r"model.aot.pt2: was compiled for torch .*, processor AVX9; here is torch"),
        ({}, "model.aot.pt2: can't be loaded"),  # all is right but the file
    ],
)
def test_what_can_not_be_read_is_a_line(notes: Any, line: str, tmp_path: Path) -> None:
    (tmp_path / "model.aot.pt2").write_bytes(b"no package")
    if notes is not None:
        known = {"names": ["score"], **aot._here(torch)} | notes if notes != "{" and "names" not in notes else notes
        (tmp_path / "compiled.json").write_text(notes if notes == "{" else json.dumps(known))
    with pytest.raises(ZddError, match=line):
        aot.load(tmp_path)

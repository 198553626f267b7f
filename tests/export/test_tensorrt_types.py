"""zdd's calls of TensorRT, type-checked against the real bindings, which load where their libraries are empty ones.

pip install --no-deps tensorrt_cu13_bindings (11) or tensorrt_cu12_bindings (10); without them these tests skip.
"""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = ("tensorrt_build", "tensorrt_engine")
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
WANTED = (  # all that the bindings take from them
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
RIGHT = (  # what mypy can't know to be right
    r'"type\[\w+\]" has no attribute "(TF32|FP16|BF16)"',  # only some versions have it: probed before it is used
    r'"bytes" matches argument type "IHostMemory"',  # it has the buffer protocol, of which a stub can't tell
)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tensorrt.pyi, written from the real bindings' signatures."""
    there = importlib.util.find_spec("tensorrt_bindings")
    compiler = shutil.which("cc")
    if there is None or there.origin is None or compiler is None:
        pytest.skip("needs a C compiler and: pip install --no-deps tensorrt_cu13_bindings")
    folder = tmp_path_factory.mktemp("stub")
    source = folder / "empty.c"
    source.write_text("\n".join(f"void *{name}(void) {{ return 0; }}" for name in WANTED))
    binary = next(Path(there.origin).parent.glob("tensorrt*.so")).read_bytes()
    major = re.search(rb"libnvinfer\.so\.(\d+)", binary)
    assert major
    for name in LIBRARIES:
        file = f"lib{name}.so.{major[1].decode()}"
        options = ["-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", str(folder / file)]
        subprocess.run([compiler, str(source), *options], check=True)
    stubgen = ["-c", "from mypy.stubgen import main; main()", "-q", "--inspect-mode"]
    run(folder, *stubgen, "-m", "tensorrt_bindings.tensorrt", "-o", str(folder))
    text = (folder / "tensorrt_bindings/tensorrt.pyi").read_text()
    # pybind11 turns any sequence of numbers into Dims.
    text = re.sub(r"(min|opt|max|shape): Dims\b", r"\1: Dims | collections.abc.Sequence[int]", text)
    # It has __len__ and __getitem__ alone, with which Python iterates and mypy does not.
    text = text.replace("class Dims:", "class Dims:\n    def __iter__(self) -> collections.abc.Iterator[int]: ...")
    (folder / "tensorrt.pyi").write_text(f"{parsable(text)}\n__version__: str\n")
    return folder


def parsable(text: str) -> str:
    """Signatures that are no Python (a default before an argument without one) as ones that take anything."""
    while True:
        try:
            ast.parse(text)
            return text
        except SyntaxError as error:
            lines = text.splitlines()
            assert error.lineno
            wrong = lines[error.lineno - 1]
            lines[error.lineno - 1] = f"{wrong.partition('(')[0]}(self, *args, **kwargs): ..."
            assert lines[error.lineno - 1] != wrong
            text = "\n".join(lines)


def run(folder: Path, *words: str) -> str:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=folder)
    return done.stdout + done.stderr


def mistakes(stub: Path, folder: Path, faults: Sequence[tuple[str, str, str]] = ()) -> list[str]:
    """What mypy says of the files when `trt` is the real module; of a fault: file, a text, what stands for it."""
    for name in FILES:
        text = (ROOT / f"zdd/export/{name}.py").read_text()
        # The module is handed on as an argument, of which mypy knows nothing: in the copies it is imported.
        text = text.replace("trt: Any", "_trt: Any").replace("from zdd", "import tensorrt as trt\nfrom zdd", 1)
        for _, old, new in (fault for fault in faults if fault[0] == name):
            assert old in text
            text = text.replace(old, new)
        (folder / f"{name}.py").write_text(text)
    (folder / "tensorrt.pyi").write_text((stub / "tensorrt.pyi").read_text())
    options = ["--ignore-missing-imports", "--follow-imports=skip", "--check-untyped-defs", "--no-error-summary"]
    said = run(folder, "-m", "mypy", *options, *(f"{name}.py" for name in FILES))
    assert "errors prevented further checking" not in said, said
    lines = [line for line in said.splitlines() if ": error:" in line and not line.startswith("tensorrt.pyi")]
    return [line for line in lines if not any(re.search(right, line) for right in RIGHT)]


def test_every_call_fits_the_real_bindings(stub: Path, tmp_path: Path) -> None:
    assert mistakes(stub, tmp_path) == []


def test_a_wrong_call_is_seen(stub: Path, tmp_path: Path) -> None:
    faults = [
        ("tensorrt_build", "parser.parse(source)", "parser.parse(5)"),
        ("tensorrt_build", "set_memory_pool_limit(", "set_max_workspace_size("),
        ("tensorrt_engine", "execute_async_v3(stream)", "execute_async_v2([1], stream)"),
        ("tensorrt_engine", "get_tensor_mode(name)", "get_tensor_mode(7)"),
    ]
    found = mistakes(stub, tmp_path, faults)
    for word in ("parse", "set_max_workspace_size", "execute_async_v2", "get_tensor_mode"):
        assert any(word in line for line in found), f"{word} is not among {found}"

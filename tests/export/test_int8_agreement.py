"""What rounding does to verdicts, by hand; and which layers go back to float32 for it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.export import onnx as engine
from zdd.export import onnx_back
from zdd.export.agreement import Reference, drop, one_by_one
from zdd.export.graph import Whole
from zdd.records import Prediction

IMAGES = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1).repeat(3, axis=3)


def outputs(score: list[float], label: list[int] | None = None) -> dict[str, Any]:
    return {"score": np.array(score, np.float32)} | ({} if label is None else {"label": np.array(label)})


@pytest.mark.parametrize(
    ("exact", "found", "threshold", "share"),
    [
        # One label of four.
        (outputs([0, 1, 2, 3], [0, 0, 1, 1]), outputs([0, 1, 2, 3], [0, 1, 1, 1]), None, 0.25),
        # No label, but each of four would lie on the other side with one of the four errors 0, 0, 0 and 4.
        (outputs([0, 1, 2, 3], [0, 0, 1, 1]), outputs([4, 1, 2, 3], [0, 0, 1, 1]), 5.0, 3 / 16),  # 1+4, 2+4, 3+4
        # Without labels: |off| is 0.5 in the mean, the deviation of 0, 2 is 1.
        (outputs([0, 2]), outputs([0.5, 1.5]), None, 0.5 / (2 * np.pi) ** 0.5),
        # The same with a threshold: of 0 and 2 neither changes sides of 1, whichever the error.
        (outputs([0, 2]), outputs([0.5, 1.5]), 1.0, 0.5 / (2 * np.pi) ** 0.5),
        # Nothing changed, all alike.
        (outputs([1, 1]), outputs([1, 1]), 1.0, 0.0),
        (outputs([1, 1]), outputs([9, 9]), None, 1.0),
    ],
)
def test_the_share_of_verdicts_that_change(exact: Any, found: Any, threshold: float | None, share: float) -> None:
    assert drop(exact, found, threshold) == pytest.approx(share)


def test_an_image_is_given_the_errors_of_scores_like_its_own_alone() -> None:
    # Large defects are off by much, and far from the threshold; good parts are hardly off: none changes sides.
    score = [*(0.001 * i for i in range(10)), *(100.0 + i for i in range(10))]
    found = [*score[:10], *(s + 5 for s in score[10:])]
    labels = [0] * 10 + [1] * 10
    # The 4 of the good parts nearest to the defects have 1 to 4 of their errors among the 9 of their neighbourhoods.
    assert drop(outputs(score, labels), outputs(found, labels), 0.5) == pytest.approx((1 + 2 + 3 + 4) / 9 / 20)


def test_maps_are_not_kept_and_images_come_one_at_a_time() -> None:
    sizes = []

    def run(pixels: np.ndarray) -> dict[str, Any]:
        sizes.append(len(pixels))
        number = pixels[:, 0, 0, 0].astype(np.float32)
        return {"score": number, "map": number[:, None, None, None], "raw": number[:, None]}

    said = one_by_one(run, IMAGES)
    assert sizes == [1] * 8 and list(said) == ["score", "raw"] and said["raw"].shape == (8, 1)
    reference = Reference.of(run, IMAGES, None)
    assert reference.error(lambda pixels: run(pixels) | {"raw": run(pixels)["raw"] + 3}) == pytest.approx(9)


class Layers:
    """Layers whose rounding adds to the score: what is built is what the file says."""

    def __init__(self, harm: dict[str, float]) -> None:
        self.harm, self.built = harm, list[list[str]]()

    def build(self, float32: Any) -> None:
        self.built.append(sorted(float32))

    def load(self, _: Path) -> Any:
        float32 = self.built[-1] if self.built else []
        off = sum(value for name, value in self.harm.items() if name not in float32)

        def run(pixels: np.ndarray) -> dict[str, Any]:
            number = pixels[:, 0, 0, 0].astype(np.float32)
            return {"score": number + off, "raw": number[:, None] + off}

        return run


def restored(layers: Layers, largest_drop: float) -> list[str]:
    exact = Layers({}).load(Path())
    restore = onnx_back.restorer(Reference.of(exact, IMAGES, None), largest_drop, layers.load)
    return restore(Path("model.onnx"), list(layers.harm), layers.build)


def test_the_worst_layers_go_back_and_no_more_than_it_takes() -> None:
    # The deviation of 0..7 is 2.291, so a drop of 0.4 * off / 2.291: 0.0871 of 0.5, 0.0366 of 0.21, 0.0017 of 0.01.
    layers = Layers({"a": 0.01, "b": 0.29, "c": 0.2, "d": 0.0})
    assert restored(layers, 0.1) == [] and layers.built == []
    assert restored(layers, 0.04) == ["b"]
    # Each alone in integers, then the worst, then the worst two.
    assert layers.built == [["b", "c", "d"], ["a", "c", "d"], ["a", "b", "d"], ["a", "b", "c"], ["b"]]
    assert restored(layers, 0.01) == ["b", "c"]
    assert restored(layers, 0.0) == ["b", "c", "a", "d"]


def test_what_can_not_be_kept_to_is_said() -> None:
    class Hopeless(Layers):
        def build(self, float32: Any) -> None:
            self.built.append([])

    with pytest.raises(ZddError, match=r"0\.0871 of .* largest_drop = 0\.01, even with every convolution and matrix"):
        restored(Hopeless({"a": 0.4, "b": 0.1}), 0.01)


class Touchy(nn.Module):
    """Three layers, the second of which has one weight that is 3000 times as large as the others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.touchy, self.third = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image).relu()
        x = self.touchy(torch.cat([x[:, :1] * 3000, x[:, 1:]], dim=1) / 3000) * 3000
        return self.head(self.third(x.relu()).relu().mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("largest_drop", [None, 0.01])
def test_onnx_brings_back_what_suffers(largest_drop: float | None, tmp_path: Path) -> None:
    example = np.random.default_rng(3).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    made = Whole(Touchy(), lambda raw, _: Prediction(score=raw[:, 0]), (0.5,) * 3, (0.25,) * 3)
    expected = made.run(example)
    engine.export(made, example, tmp_path, precision="int8", largest_drop=largest_drop)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    made_by = {output: node.op_type for node in nodes for output in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    rounded = [made_by.get(node.input[1]) == "DequantizeLinear" for node in convolutions]
    dropped = drop(expected, engine.load(tmp_path)(example), None)
    if largest_drop is None:
        assert rounded == [False, True, True] and dropped > 0.01
    else:
        assert not rounded[1] and dropped <= 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


def test_openvino_brings_back_what_suffers_and_no_more(tmp_path: Path) -> None:
    """In all integers 0.031 would change; by the first output, not the raw one, all three layers went back."""
    ov = pytest.importorskip("openvino")
    from zdd.export import openvino as other

    example = np.random.default_rng(3).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    made = Whole(Touchy(), lambda raw, _: Prediction(score=raw[:, 0]), (0.5,) * 3, (0.25,) * 3)
    expected = made.run(example)
    other.export(made, example, tmp_path, precision="int8", largest_drop=0.01)
    operations = ov.Core().read_model(tmp_path / "model.xml").get_ops()
    layers = [op.input_value(1).get_node() for op in operations if op.get_type_name() == "Convolution"]
    assert [layer.get_type_name() for layer in layers].count("Constant") == 1 and len(layers) == 3
    assert drop(expected, other.load(tmp_path)(example), None) <= 0.01

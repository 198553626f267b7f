"""The whole model from pixels: normalised as in training, in eval mode; and what tells a wrong engine from it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor, nn

from zdd.errors import ZddError
from zdd.export.base import Outputs, library, probes
from zdd.export.graph import Whole, differs
from zdd.preprocess import Preprocess
from zdd.records import Prediction

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EXAMPLE = np.random.default_rng(1).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


def decode(raw: Tensor, image: Tensor) -> Prediction:
    """Of three numbers an image: the score is the last one's share."""
    share = raw.softmax(1)
    return Prediction(score=share[:, 2], label=share.argmax(1), probability=share)


class Means(nn.Module):
    """The mean of each channel, half of them dropped in training."""

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.dropout(image.mean((2, 3)), 0.5, self.training)


def whole(net: nn.Module | None = None) -> Whole:
    return Whole(net or Means().train(), decode, MEAN, STD)


def test_pixels_are_normalised_to_the_last_bit_as_in_training() -> None:
    seen: list[Tensor] = []
    made = whole(nn.Identity())
    made.net.register_forward_hook(lambda *said: seen.append(said[2]))
    made.decode = lambda raw, image: Prediction(score=raw[:, 0, 0, 0])
    made.run(EXAMPLE)
    expected = Preprocess((6, 5), "squeeze", "rgb", "bilinear", MEAN, STD).normalise(EXAMPLE)
    assert np.array_equal(seen[0].numpy(), expected)


def test_outputs_are_those_that_the_method_has_in_their_order() -> None:
    made = whole()
    with pytest.raises(RuntimeError, match="run it first"):
        _ = made.names
    said = made.run(EXAMPLE)
    assert made.names == tuple(said) == ("score", "label", "probability", "raw")
    assert said["score"].shape == (4,) and said["label"].dtype == np.int64


def test_dropout_is_off_whatever_the_net_was_in() -> None:
    made = whole()
    assert np.array_equal(made.run(EXAMPLE)["raw"], made.run(EXAMPLE)["raw"])


class Altered:
    """A runner that does to the network's outputs, or to its pixels, what a wrong engine does."""

    largest_batch = None

    def __init__(self, made: Whole, **faults: Any) -> None:
        self.made, self.faults = made, faults
        made.run(EXAMPLE[:1])
        self.names = made.names

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        seen = self.faults.get("pixels", lambda p: p)(pixels)
        return self.faults.get("said", lambda s: s)(self.made.run(seen))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({}, None),
        ({"said": lambda s: s | {"raw": s["raw"] * (1 + 1e-5)}}, None),  # the rounding of another order of sums
        ({"said": lambda s: s | {"raw": s["raw"] * 1.01}}, "raw: off by"),
        ({"said": lambda s: s | {"raw": s["raw"] * (1 if len(s["raw"]) == 1 else 1.01)}}, "of 3 images at once, raw"),
        ({"pixels": lambda p: np.ascontiguousarray(p[..., ::-1])}, "off by"),  # BGR
        ({"pixels": lambda p: np.broadcast_to(EXAMPLE[:1], p.shape).copy()}, "off by"),  # the same answer to all
        ({"said": lambda s: {k: v[:1] for k, v in s.items()}}, "of 3 images at once"),  # a batch of 1 baked in
        ({"said": lambda s: s | {"label": s["label"].astype(np.int32)}}, "label: int32"),
        ({"said": lambda s: s | {"label": 1 - s["label"]}}, "label: 100.00% of the values differ"),
        ({"said": lambda s: s | {"score": s["score"] * np.nan}}, "score: not all values are finite"),
        ({"said": lambda s: {k: s[k] for k in ("score", "raw")}}, "its outputs are score, raw; those of the network"),
    ],
)  # fmt: skip
def test_a_wrong_engine_is_told_from_the_network(faults: dict[str, Any], reason: str | None) -> None:
    made = whole()
    found = differs(Altered(made, **faults), made, probes(EXAMPLE))
    assert (found is None) == (reason is None), found
    assert reason is None or (found is not None and reason in found)


def test_probes_differ_even_of_a_single_image() -> None:
    one, noise, three = probes(EXAMPLE[:1])
    assert (len(one), len(noise), len(three)) == (1, 1, 3)
    assert len({image.tobytes() for image in (*one, *noise, *three)}) == 3


def test_a_missing_library_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZddError, match=r"no_such_engine is not installed; install it with: pip install 'zdd\[x\]'"):
        library("no_such_engine", install="pip install 'zdd[x]'")
    (tmp_path / "broken_engine.py").write_text("raise ImportError('libnv.so.11: no such file\\nmore')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ZddError, match=r"can't be loaded here \(libnv.so.11: no such file\); install"):
        library("broken_engine", install="pip install 'zdd[x]'")


def test_rounding_of_numbers_that_are_nearly_nought_is_no_difference() -> None:
    made = Whole(Means(), lambda raw, image: Prediction(score=raw[:, 0] * 1e-6, energy=raw[:, 0]), MEAN, STD)
    for added, right in ((1e-7, True), (1e-5, False)):
        said = Altered(made, said=lambda s, a=added: s | {"score": s["score"] + np.float32(a)})
        assert (differs(said, made, probes(EXAMPLE)) is None) == right

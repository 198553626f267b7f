"""Parameters and arithmetic of every backbone."""

import pytest
import torch
from torchvision.models import get_model_weights

from zdd.models import table
from zdd.settings import BACKBONES

TORCHVISION = BACKBONES[:12]


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_own_figures(name: str) -> None:
    """Its tables hold parameters and 10^9 multiply-adds at the size and with the 1000 classes of its weights."""
    meta = get_model_weights(name).IMAGENET1K_V1.meta
    side = {"efficientnet_b1": 240, "efficientnet_v2_s": 384}.get(name, 224)
    (row,) = table.rows([name], image_size=(side, side), n_classes=1000)
    assert row["parameters"] == meta["num_params"]
    assert row["gflops"] == pytest.approx(2 * meta["_ops"], rel=0.02)


def test_luna_by_hand() -> None:
    (row,) = table.rows(["luna"], image_size=(300, 300))
    pixels = [300 * 300, 150 * 150, 75 * 75, 37 * 37]
    channels = [3, 8, 16, 32, 64]
    macs = sum(p * 9 * (a * b + b * b) for p, a, b in zip(pixels, channels, channels[1:], strict=False))
    macs += 64 * 18 * 18 * 2
    assert row["parameters"] == 115_088
    assert row["gflops"] == pytest.approx(2 * macs / 1e9)


def test_every_backbone_has_a_row_and_torch_is_left_as_it_was() -> None:
    torch.backends.mha.set_fastpath_enabled(True)
    rows = table.rows()
    assert [row["backbone"] for row in rows] == list(BACKBONES)
    assert all(row["parameters"] > 50_000 and row["gflops"] > 0.1 for row in rows)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_size_that_cannot_be_is_a_row_with_its_error() -> None:
    alexnet, resnet = table.rows(["alexnet", "resnet18"], image_size=(32, 32))
    assert "from 63 x 63 pixels" in alexnet["error"]
    assert "parameters" not in alexnet
    assert resnet["parameters"] == 11_177_538

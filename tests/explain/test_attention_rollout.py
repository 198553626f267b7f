"""Attention rollout against matrices multiplied out, with the weights that the networks themselves use."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.models.swin_transformer import PatchMerging, ShiftedWindowAttention, SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from tests.explain.lively import linear_evidence
from zdd.explain import attention, attention_rollout
from zdd.explain.base import BATCH, Subject, Unfit

TARGET = torch.tensor([0, 1])


def stir(net: nn.Module) -> nn.Module:
    """Weights so large that attention is far from even."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            scale = 0.6 if "qkv" in name or "in_proj" in name or "bias_table" in name else 0.1
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return net.eval()


def vit() -> nn.Module:
    return stir(VisionTransformer(16, 4, 3, 2, 8, 16, num_classes=2))


def dino(**options: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    small = {"img_size": (16, 24), "patch_size": 8, "embed_dim": 8, "depth": 3, "num_heads": 2, "num_classes": 2}
    return stir(timm.models.vision_transformer.VisionTransformer(**{**small, **options}))


def swin(depths: list[int], window: list[int]) -> nn.Module:
    return stir(SwinTransformer([4, 4], 8, depths, [2] * len(depths), window, num_classes=2))


def explained(net: nn.Module, image: Tensor, **options: Any) -> Tensor:
    subject = Subject(net, linear_evidence)
    return attention_rollout.attribute(subject, image, TARGET[: len(image)], **options).values


def multiplied(mixings: list[Tensor], start: Tensor) -> Tensor:
    """start (N,), mixings (N, N) of the layers from the first on -> (N,)."""
    whole = torch.eye(len(mixings[0]))
    for mixing in mixings:
        whole = (mixing + torch.eye(len(mixing))) / 2 @ whole
    return start @ whole


def fused(shares: Tensor, heads: str) -> Tensor:
    kept = {"mean": shares.mean(0), "max": shares.amax(0), "min": shares.amin(0)}[heads]
    return kept / kept.sum(-1, keepdim=True)


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
def test_of_a_vit(heads: Any) -> None:
    net = vit()
    image = torch.randn(1, 3, 16, 16)
    mixings: list[Tensor] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], _made: Any) -> None:
        x = given[0]
        torchs = layer.forward(x, x, x, need_weights=True, average_attn_weights=False)[1][0]
        mixings.append(fused(torchs, heads))

    hooks = [part.register_forward_hook(note) for part in net.modules() if isinstance(part, nn.MultiheadAttention)]
    with torch.no_grad():
        net(image)
    for hook in hooks:
        hook.remove()
    expected = multiplied(mixings, F.one_hot(torch.tensor(0), 17).float())
    made = explained(net, image, heads=heads)
    assert torch.allclose(made, spread(expected[1:], (4, 4), (16, 16)), atol=1e-6)
    assert float(expected[1:].max() / expected[1:].min()) > 1.2  # not even, or the test would say nothing


def spread(cells: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    return F.interpolate(cells.reshape(1, 1, *grid), size, mode="bilinear")


@pytest.mark.parametrize(("pool", "prefix"), [("token", 1), ("avg", 1), ("avg", 0), ("token", 5)])
def test_of_timms_vit_such_as_dino(pool: str, prefix: int) -> None:
    net: Any = dino(global_pool=pool, class_token=prefix > 0, reg_tokens=max(0, prefix - 1), qk_norm=prefix == 5)
    image = torch.randn(1, 3, 16, 24)
    mixings: list[Tensor] = []
    for block in net.blocks:
        block.attn.fused_attn = False  # then the weights pass attn_drop
        block.attn.attn_drop.register_forward_hook(lambda _layer, given, _made: mixings.append(given[0][0].mean(0)))
    with torch.no_grad():
        net(image)
    start = torch.zeros(6 + prefix)
    if pool == "token":
        start[0] = 1
    else:
        start[prefix:] = 1 / 6
    expected = multiplied(mixings, start)[prefix:]
    assert torch.allclose(explained(net, image), spread(expected, (2, 3), (16, 24)), atol=1e-6)


def dense(layer: ShiftedWindowAttention, x: Tensor, heads: str, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """(1, H, W, C) -> (H * W, H * W): torchvision's own weights, put where its windows lie, place by place."""
    kept: list[Tensor] = []
    softmax = F.softmax
    with monkeypatch.context() as patch:
        patch.setattr(F, "softmax", lambda *a, **k: kept.append(softmax(*a, **k)) or kept[-1])
        layer.forward(x)
    shares = torch.stack([fused(window, heads) for window in kept[0]])  # (windows, n, n)
    height, width = x.shape[1:3]
    rows, columns = layer.window_size
    side = [-(-height // rows) * rows, -(-width // columns) * columns]
    shift = [layer.shift_size[i] if layer.window_size[i] < side[i] else 0 for i in (0, 1)]
    matrix = torch.zeros(height * width, height * width)
    window = 0
    for top in range(0, side[0], rows):
        for left in range(0, side[1], columns):
            places = [
                ((top + i + shift[0]) % side[0], (left + j + shift[1]) % side[1])
                for i in range(rows)
                for j in range(columns)
            ]
            for m, (y, x_) in enumerate(places):
                for n, (v, u) in enumerate(places):
                    if y < height and x_ < width and v < height and u < width:
                        matrix[y * width + x_, v * width + u] = shares[window, m, n]
            window += 1
    return matrix / matrix.sum(1, keepdim=True)


def merging(height: int, width: int) -> Tensor:
    """(h * w, H * W): each place after it is the mean of the up to four that it was merged from."""
    down, across = -(-height // 2), -(-width // 2)
    matrix = torch.zeros(down * across, height * width)
    for y in range(height):
        for x in range(width):
            matrix[(y // 2) * across + x // 2, y * width + x] = 1
    return matrix / matrix.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("size", "window", "heads"),
    [
        ((32, 32), [4, 4], "mean"),  # whole windows, 8 x 8 places and then 4 x 4, where nothing is shifted
        ((36, 52), [4, 4], "mean"),  # 9 x 13 places: padded windows, shifted; then odd sides are merged
        ((36, 52), [4, 4], "max"),
        ((20, 44), [3, 4], "mean"),  # windows that are not square
    ],
)
def test_of_swin_against_brute_force(size, window, heads, monkeypatch: pytest.MonkeyPatch) -> None:
    net = swin([2, 2], window)
    image = torch.randn(1, 3, *size)
    seen: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        part.register_forward_pre_hook(lambda layer, given: seen.append((layer, given[0])))
        for part in net.modules()
        if isinstance(part, ShiftedWindowAttention | PatchMerging)
    ]
    with torch.no_grad():
        net(image)
        for hook in hooks:
            hook.remove()
        whole = torch.eye(size[0] * size[1] // 16)
        for layer, x in seen:
            if isinstance(layer, PatchMerging):
                whole = merging(*x.shape[1:3]) @ whole
            else:
                mixing = dense(layer, x, heads, monkeypatch)
                whole = (mixing + torch.eye(len(mixing))) / 2 @ whole
    expected = whole.mean(0)
    assert math.isclose(float(expected.sum()), 1, rel_tol=1e-4)
    grid = (size[0] // 4, size[1] // 4)
    assert torch.allclose(explained(net, image, heads=heads), spread(expected, grid, size), rtol=1e-3, atol=1e-7)
    assert float(expected.max() / expected.min()) > 1.5


def test_the_weights_are_those_that_make_what_a_layer_gives() -> None:
    torch.manual_seed(1)
    layer = stir(nn.MultiheadAttention(8, 2, batch_first=True))
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        shares = attention.weights(layer, x)
        v = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)[2].reshape(2, 5, 2, 4).transpose(1, 2)
        made = layer.out_proj((shares @ v).transpose(1, 2).reshape(2, 5, 8))
        assert torch.allclose(made, layer(x, x, x)[0], atol=1e-5)


def test_windows_are_cut_and_joined_again() -> None:
    layer = ShiftedWindowAttention(4, [3, 2], [1, 1], 1)
    grid = attention.Windows(layer, 7, 5)
    x = torch.randn(2, 7, 5, 4)
    assert torch.equal(grid.join(grid.cut(x)), x)
    assert grid.cut(x).shape == (2, 9, 6, 4)


@pytest.mark.parametrize("make", [vit, dino, lambda: swin([2, 1], [2, 2])], ids=["vit", "dino", "swin"])
def test_one_image_is_as_many_for_every_target_and_nothing_is_left_behind(make) -> None:
    net = make()
    most = 0

    def count(_net: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal most
        most = max(most, len(given[0]))

    counting = net.register_forward_pre_hook(count)
    size = (16, 24) if hasattr(net, "blocks") else (16, 16)
    image, subject = torch.randn(BATCH + 2, 3, *size), Subject(net, linear_evidence)
    target = torch.arange(BATCH + 2) % 2
    made = attention_rollout.attribute(subject, image, target).values
    assert most == BATCH
    counting.remove()
    assert made.shape == (BATCH + 2, 1, *size) and float(made.min()) >= 0 and made.dtype == torch.float32
    assert torch.allclose(
        made[-1:], attention_rollout.attribute(subject, image[-1:], 1 - target[-1:]).values, atol=1e-6
    )
    assert not torch.allclose(made[:1], made[1:2])
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_where_there_is_no_attention_or_an_unknown_one_it_is_unfit() -> None:
    with pytest.raises(Unfit, match=r"^attention_rollout: this network has no attention; take grad_cam"):
        explained(resnet18(num_classes=2).eval(), torch.randn(1, 3, 32, 32))
    timm = pytest.importorskip("timm")
    other = timm.models.swin_transformer.SwinTransformer(
        img_size=32, patch_size=4, embed_dim=8, depths=(1,), num_heads=(2,), window_size=4, num_classes=2
    )
    with pytest.raises(Unfit, match=r"attention that it does not know \(WindowAttention\); take grad_cam"):
        explained(other.eval(), torch.randn(1, 3, 32, 32))
    with pytest.raises(Unfit, match=r"does not know \(Attention, AttentionPoolLatent\)"):
        explained(dino(global_pool="map", class_token=False), torch.randn(1, 3, 16, 24))

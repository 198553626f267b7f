"""The U-Net: its network against torch's own modules, what it learns from, and how its output is read."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v2
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import StochasticDepth

from tests.models.conftest import make_task, section
from zdd.errors import ZddError
from zdd.models import backbones, build
from zdd.models.base import Recipe, predict_batch
from zdd.models.unet import Unet
from zdd.models.unet_net import TAPS, Network, Taps
from zdd.records import UNKNOWN, Batch, Task

TIMM = "timm/mobilenetv3_small_050"


def make(n: int = 2, size: Any = 64, **options: Any) -> Unet:
    torch.manual_seed(0)
    return Unet(make_task(size, n), **{"width": 0.25, **options})


def make_batch(n: int = 3, size: tuple[int, int] = (64, 64), *, kinds: int = 1) -> Batch:
    """Noise with a square of each kind in turn; the first image is good."""
    mask = torch.zeros(n, 1, *size, dtype=torch.uint8)
    for i in range(1, n):
        mask[i, 0, 10 : 20 + i, 12:20] = 1 + i % kinds
    image = torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(1)) + 2 * (mask > 0)
    label = mask.flatten(1).amax(1).long()
    return {"image": image, "label": label, "index": torch.arange(n), "mask": mask}


def logits_of(p: Any) -> Tensor:
    """(K, ...) probabilities to logits (1, K, ...), off zero mean."""
    return (torch.tensor(p, dtype=torch.float64).log() + 0.7)[None].float()


# The network


def test_it_is_as_large_as_saps() -> None:
    net = Network("mobilenet_v2", "none", 2)

    def size(*modules: nn.Module) -> int:  # Keras counts a batch norm's means and variances too, not torch's counters
        numbers = (t for m in modules for t in m.state_dict().values() if t.ndim)
        return sum(t.numel() for t in numbers)

    assert size(net.encoder) == 1_843_264  # 1.84 M
    # 3x3 x (320x576 + 1152x192 + 384x144 + 288x96 + 192x2), 4 x (576+192+144+96) of batch norms, 2 biases
    assert size(net.ups, net.last) == 4_403_522  # 4.40 M


def test_half_the_width_is_half_the_channels() -> None:
    assert [up[0].out_channels for up in Network("mobilenet_v2", "none", 2, width=0.5).ups] == [288, 96, 72, 48]


def plain(net: Network, image: Tensor, training: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """The same network of torchvision's modules, spelled out, for sides that are multiples of 32; and its leaves."""
    own = {name: value.clone().requires_grad_(value.is_floating_point()) for name, value in net.state_dict().items()}
    theirs = mobilenet_v2()
    theirs.load_state_dict({k.removeprefix("encoder."): v for k, v in own.items() if k.startswith("encoder.")}, False)
    theirs.train(training)
    x, taps = image, []
    for i, block in enumerate(theirs.features[:18]):
        if i in (2, 4, 7, 14):  # block_1, 3, 6, 13 of Keras
            taps.append(block.conv[0](x))
            x = block.conv[1:](taps[-1])
        else:
            x = block(x)
    for i, tap in enumerate(reversed(taps)):
        x = F.conv_transpose2d(x, own[f"ups.{i}.0.weight"], stride=2, padding=1, output_padding=1)
        mean, variance = (own[f"ups.{i}.1.running_{name}"].detach() for name in ("mean", "var"))
        x = F.batch_norm(x, mean, variance, own[f"ups.{i}.1.weight"], own[f"ups.{i}.1.bias"], training=training)
        x = torch.cat([F.relu(x), tap], dim=1)
    x = F.conv_transpose2d(x, own["last.weight"], own["last.bias"], stride=2, padding=1, output_padding=1)
    leaves = {name: value for name, value in own.items() if not name.startswith("encoder.")}
    return x, leaves | {f"encoder.{name}": value for name, value in theirs.named_parameters()}


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_saps(training: bool) -> None:
    torch.manual_seed(0)
    net = Network("mobilenet_v2", "none", 3, width=0.5).train(training)
    image = torch.randn(2, 3, 96, 64)
    expected, _ = plain(net, image, training)
    torch.testing.assert_close(net(image), expected, rtol=1e-4, atol=1e-5)


def test_taps_are_those_of_torchvisions_extractor() -> None:
    for name in ("mobilenet_v2", "resnet18", "efficientnet_b1", "efficientnet_v2_s"):
        taps = TAPS[name]
        torch.manual_seed(0)
        net = backbones.build(name, 2, (64, 64)).eval()
        image = torch.randn(1, 3, 64, 64)
        expected = list(create_feature_extractor(copy.deepcopy(net), list(taps))(image).values())
        said = Taps(net, taps)(image)
        assert len(said) == 5
        for one, other in zip(said, expected, strict=True):
            assert torch.equal(one, other), name


@pytest.mark.parametrize("encoder", [*TAPS, TIMM])
def test_any_encoder_any_size_copied_and_pickled(encoder: str) -> None:
    torch.manual_seed(0)
    net = Network(encoder, "none", 3, width=0.1)
    for module in net.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    net(torch.randn(1, 3, 20, 70)).square().mean().backward()  # one small image is enough for batch norms
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not [name for name in still if not name.endswith("bias")], "every weight has a say"
    net.eval()
    image = torch.randn(2, 3, 33, 47)
    said = net(image)
    assert said.shape == (2, 3, 33, 47)
    assert torch.equal(copy.deepcopy(net)(image), said), "a copy stays in eval mode"
    assert torch.equal(pickle.loads(pickle.dumps(net))(image), said), "processes are sent it"
    torch.testing.assert_close(net(image[1:]), said[1:], rtol=1e-4, atol=1e-5)


def test_what_lies_beyond_the_border_repeats_it() -> None:
    net = make().net.eval()
    image = torch.randn(1, 3, 70, 90)
    wider = torch.nn.ReplicationPad2d((0, 6, 0, 26))(image)  # to 96 x 96
    assert torch.equal(net(image), net(wider)[..., :70, :90])


def test_the_encoders_weights_come_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = {"mobilenet_v2": mobilenet_v2(), TIMM: backbones.build(TIMM, 1000, (64, 64))}
    for name, net in theirs.items():
        torch.save(net.state_dict(), tmp_path / "mine.pth")
        own = Network(name, str(tmp_path / "mine.pth"), 2).encoder.state_dict()
        given = {key.replace("_", "."): value for key, value in net.state_dict().items()}
        assert len(own) > 100
        assert all(torch.equal(value, given[key.replace("_", ".")]) for key, value in own.items())
    with pytest.raises(ZddError, match="does not fit resnet18"):
        Network("resnet18", str(tmp_path / "mine.pth"), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "mobilnet_v2"}, r"model.encoder = 'mobilnet_v2': must be one of mobilenet_v2, resnet18"),
        ({"encoder": "timm/convnext_atto"}, "has no five stages"),
        ({"encoder": "timm/vit_tiny_patch16_224"}, "has no five stages"),
        ({"encoder": "timm/resnt18"}, "model.encoder = 'timm/resnt18': .* no such model; did you mean 'timm/resnet18'"),
        ({"tile": 32, "overlap": 20}, "model.overlap = 20: must be at most half of model.tile = 32"),
        ({"weights": "nowhere.pth"}, "model.weights = 'nowhere.pth': there is no such file"),
    ],
)
def test_what_can_not_be_built_is_refused(options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ZddError, match=message):
        make(**options)


def test_without_a_good_class_there_are_no_pixels_without_a_defect() -> None:
    with pytest.raises(ZddError, match="needs a good class"):
        Unet(Task(("crack", "dent"), has_good=False, image_size=(64, 64)))


# Training


def recipe() -> Recipe:
    return Recipe(nn.Identity(), section("SGD", lr=0.1), None, epochs=4)


def test_a_step_is_that_of_plain_torch() -> None:
    """Two kinds of defect, one image of which nothing is known; cross-entropy and Dice of Milletari et al. (2016)."""
    model, batch = make(3, width=0.25), make_batch(5, kinds=2)
    batch["mask"][4] = UNKNOWN
    model.train()
    raw, leaves = plain(model.inner[0], batch["image"], True)
    probability, losses = raw.softmax(1), []
    for i in range(4):
        p, truth = probability[i, 1:].sum(0), (batch["mask"][i, 0] > 0).float()
        bce = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
        if i == 0:  # the good one: 0.2 % of 64 x 64 are 8.192 pixels
            losses.append(bce + p.sum() / (p.sum() + 8.192))
            continue
        dice = 2 * (p * truth).sum() / (p.sum() + truth.sum())
        of_defects = raw[i, 1:, truth > 0].T.log_softmax(1)
        kinds = batch["mask"][i, 0][truth > 0].long() - 1
        losses.append(bce + 1 - dice - of_defects[torch.arange(len(kinds)), kinds].mean())
    expected = torch.stack(losses).mean()
    expected.backward()
    loss = model.loss(batch)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    loss.backward()
    before = {name: p.detach().clone() for name, p in model.net.named_parameters()}
    torch.optim.SGD([{"params": group["params"]} for group in model.groups(0.1)], lr=0.1).step()
    for name, p in model.net.named_parameters():
        slope = leaves[name].grad
        assert slope is not None
        torch.testing.assert_close(p, before[name] - 0.1 * slope, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("loss", ["bce_dice", "iou", "focal_tversky"])
def test_it_learns(loss: Any) -> None:
    model, batch = make(3, loss=loss, width=0.1), make_batch(4, kinds=2)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    first = last = model.loss(batch).item()
    for _ in range(15):
        optimizer.zero_grad()
        value = model.loss(batch)
        value.backward()
        optimizer.step()
        last = value.item()
    assert last < 0.6 * first


@pytest.mark.parametrize("loss", ["bce_dice", "iou", "focal_tversky"])
def test_an_image_without_a_mask_teaches_nothing(loss: Any) -> None:
    model = make(3, loss=loss).eval()  # in eval mode, so that images don't meet in batch norms
    batch = make_batch(4, kinds=2)
    three: Any = {name: value[:3] for name, value in batch.items()}
    batch["mask"][3] = UNKNOWN
    torch.testing.assert_close(model.loss(batch), model.loss(three))
    batch["mask"][:] = UNKNOWN
    batch["mask"][1, 0, :3, :3] = 0  # turned: its corner is empty
    value = model.loss(batch)
    value.backward()
    assert value.item() == 0
    assert all(float(p.grad.abs().sum()) == 0 for p in model.parameters() if p.grad is not None)
    assert torch.isnan(model.val_loss(model.net(batch["image"]), batch)).all()


@pytest.mark.parametrize("loss", ["bce_dice", "iou", "focal_tversky"])
def test_every_image_weighs_the_same(loss: Any) -> None:
    model, batch = make(3, loss=loss).eval(), make_batch(4, kinds=2)
    batch["mask"][3, 0, 30:, :] = 1  # a large defect beside small ones
    alone = [model.loss({name: value[i : i + 1] for name, value in batch.items()}) for i in range(4)]  # type: ignore[misc]
    torch.testing.assert_close(model.loss(batch), torch.stack(alone).mean())
    torch.testing.assert_close(model.val_loss(model.net(batch["image"]), batch), torch.stack(alone))


@pytest.mark.parametrize("loss", ["bce_dice", "iou", "focal_tversky"])
def test_an_all_good_batch_takes_false_alarms_away(loss: Any) -> None:
    model, batch = make(2, loss=loss), make_batch(4)
    batch["mask"][:] = 0
    model.train()

    def alarms() -> float:
        with torch.no_grad():
            said = model.decode(model.inner[0](batch["image"]), batch["image"])
        assert said.map is not None
        return float(said.map.mean())

    before, optimizer = alarms(), torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model.loss(batch).backward()
        optimizer.step()
    assert alarms() < 0.9 * before


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "efficientnet_b1"])
def test_a_frozen_encoder_rests(encoder: str) -> None:
    model, batch = make(encoder=encoder, freeze_encoder=True), make_batch(4)
    model.recipe = recipe()
    model.train()
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    optimizer = torch.optim.SGD(model.groups(0.1)[0]["params"], lr=0.1, weight_decay=0.1)
    model.loss(batch).backward()
    optimizer.step()
    after = model.net.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name.split(".")[0] for name in moved} == {"ups", "last"}
    assert {name for name in after if name.startswith(("ups", "last"))} == moved, "batch norms' statistics, too"
    assert torch.equal(model.loss(batch), model.loss(batch)), "nothing is dropped at random"


# What is said


def test_a_map_is_read_pixel_by_pixel() -> None:
    model = make(3, size=(64, 64))
    raw = logits_of(
        [  # good, crack, dent: three pixels of two images each, one above the other
            [[0.2, 0.5, 0.9], [0.3, 0.51, 0.98]],
            [[0.1, 0.3, 0.1], [0.6, 0.25, 0.01]],
            [[0.7, 0.2, 0.0001], [0.1, 0.24, 0.01]],
        ]
    )
    raw = torch.cat([raw[:, :, :1], raw[:, :, 1:]])
    said = model.decode(raw, torch.zeros(2, 3, 1, 3))
    assert said.map is not None and said.pixels is not None and said.label is not None
    torch.testing.assert_close(said.map[1, 0], torch.tensor([[0.7, 0.49, 0.02]]), atol=1e-4, rtol=0)
    assert said.pixels.tolist() == [[[2, 1, 1]], [[1, 1, 1]]] and said.pixels.dtype == torch.uint8
    # First image: 0.8 (dent) and 0.5 (crack) are defective: a draw, of which the first kind is told. Second: one crack.
    assert said.label.tolist() == [1, 1]
    torch.testing.assert_close(said.score, torch.tensor([2 + 0.499 * 0.8, 1 + 0.499 * 0.7]) / 3, atol=1e-4, rtol=0)
    by_peak = make(3, score="maximum").decode(raw, torch.zeros(2, 3, 1, 3))
    torch.testing.assert_close(by_peak.score, torch.tensor([0.8, 0.7]), atol=1e-4, rtol=0)


def test_images_without_a_defective_pixel_are_ranked_by_their_peak_below_all_others() -> None:
    model = make()
    p = torch.zeros(4, 4, 4)
    p[1, 0, 0], p[2, 0, 0], p[3, :, :] = 0.3, 0.5001, 0.49
    raw = torch.stack([(1 - p).log(), p.clamp_min(1e-9).log()], dim=1)
    said = model.decode(raw, torch.zeros(4, 3, 4, 4))
    assert said.label is not None and said.label.tolist() == [0, 0, 1, 0]
    assert said.score.argsort().tolist() == [0, 1, 3, 2]
    assert float(said.score.max()) < 1.5 / 16


def test_the_kind_that_most_pixels_are_of_is_told() -> None:
    p = torch.full((1, 3, 4, 4), 0.01)
    p[:, 0], p[0, 0, 0], p[0, 2, 0], p[0, 0, 1, 0], p[0, 1, 1, 0] = 0.9, 0.1, 0.9, 0.1, 0.99  # 4 dents, 1 crack
    said = make(3).decode(p.log(), torch.zeros(1, 3, 4, 4))
    assert said.label is not None and said.label.tolist() == [2]


def test_validation_counts_pixels() -> None:
    model, batch = make(3), make_batch(4, kinds=2)
    batch["mask"][3] = UNKNOWN
    batch["mask"][3, 0, 0, 0] = 0
    model.eval()
    columns = model.validation_step(batch, 0)
    said = predict_batch(model, batch["image"])
    assert said.map is not None
    for i in range(3):
        truth, found = (batch["mask"][i, 0] > 0).flatten(), (said.map[i, 0] >= 0.5).flatten()
        _, fp, fn, tp = confusion_matrix(truth, found, labels=[False, True]).ravel()
        assert [int(columns[name][i]) for name in ("tp", "fp", "fn")] == [tp, fp, fn]
    assert int(columns["fp"][:3].sum()) > 0, "an untrained net finds something"
    assert [int(columns[name][3]) for name in ("tp", "fp", "fn")] == [0, 0, 0]
    assert torch.isnan(columns["loss"]).tolist() == [False, False, False, True]


def test_it_is_saved_and_loaded_by_its_section(tmp_path: Path) -> None:
    wanted = section("unet", width=0.1, tile=64, overlap=16, weights="imagenet", encoder="resnet18")
    task = make_task((80, 100), 3)
    model = build.build(wanted, task, trained=True).eval()
    torch.save(model.net.state_dict(), tmp_path / "kept.pt")
    other = build.build(wanted, task, trained=True).eval()
    other.net.load_state_dict(torch.load(tmp_path / "kept.pt", weights_only=True))
    image = torch.randn(2, 3, 80, 100)
    assert torch.equal(model.net(image), other.net(image))
    assert np.isfinite(predict_batch(other, image).score.numpy()).all()

"""How a classifier's output is read, its loss, LUNA, and what it refuses."""

import sys
from typing import Any

import pytest
import torch
from torch import multiprocessing, nn
from torch.nn import functional as F

from zdd.errors import ZddError
from zdd.models import backbones, build
from zdd.models.base import Recipe, ZddModel
from zdd.models.luna import LunaNet
from zdd.records import Task
from zdd.settings import Section

LN3 = 1.0986122886681098


def classifier(task: Task, criterion: Section | None = None, **options: Any) -> ZddModel:
    model = build.build(Section(name="classifier", options={"backbone": "luna", **options}), task)
    wanted = criterion or Section(name="cross_entropy")
    model.recipe = Recipe(build.criterion(wanted, task), Section(name="SGD"), None, 1)
    return model


IMAGE = torch.zeros(2, 3, 32, 32)
RAW = torch.tensor([[LN3, 0.0, 0.0], [0.0, LN3, 0.0]])  # softmax: 3/5 1/5 1/5 and 1/5 3/5 1/5


def test_score_is_the_probability_of_any_defect() -> None:
    said = classifier(Task(("good", "a", "b"), True, (32, 32))).decode(RAW, IMAGE)
    assert said.score.tolist() == pytest.approx([0.4, 0.8])
    assert said.label.tolist() == [0, 1]
    assert said.probability is not None
    assert said.probability[1].tolist() == pytest.approx([0.2, 0.6, 0.2])


def test_score_without_a_good_class_is_doubt() -> None:
    said = classifier(Task(("a", "b", "c"), False, (32, 32))).decode(RAW, IMAGE)
    assert said.score.tolist() == pytest.approx([0.4, 0.4])


def test_clearly_good_images_are_no_tie() -> None:
    raw = torch.tensor([[30.0, 0.0], [20.0, 0.0], [40.0, 0.0]])
    score = classifier(Task(("good", "bad"), True, (32, 32))).decode(raw, IMAGE).score
    assert score.argsort().tolist() == [2, 0, 1]
    assert len(score.unique()) == 3  # 1 - P(good) in float32 would be 0 for the first and the last


def test_bce_is_read_by_sigmoids() -> None:
    task = Task(("good", "a", "b"), True, (32, 32))
    raw = torch.tensor([[0.0, LN3, -LN3]])  # sigmoids 1/2 3/4 1/4
    assert classifier(task, Section(name="bce")).decode(raw, IMAGE).score.item() == pytest.approx(2 / 3)


def test_half_precision_is_read_in_full() -> None:
    said = classifier(Task(("good", "a", "b"), True, (32, 32))).decode(RAW.bfloat16(), IMAGE)
    assert said.score.dtype == torch.float32


def test_a_model_without_a_recipe_does_not_guess_how_it_is_read() -> None:
    model = build.build(Section(name="classifier", options={"backbone": "luna"}), Task(("a", "b"), True, (32, 32)))
    with pytest.raises(RuntimeError, match=r"build\.recipe"):
        model.decode(RAW, IMAGE)
    with pytest.raises(RuntimeError, match="cannot be trained"):
        model.configure_optimizers()


def test_the_loss_is_torchs_weighted_mean() -> None:
    task = Task(("good", "a", "b"), True, (32, 32), (6, 3, 1))
    model = classifier(task, Section(name="cross_entropy", options={"class_weights": [1.0, 2.0, 7.0]}))
    image, label = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 2])
    batch = {"image": image, "label": label, "index": torch.arange(4)}
    model.eval()  # LUNA's batch norm: the same output twice
    raw = model(image)
    expected = F.cross_entropy(raw, label, torch.tensor([1.0, 2.0, 7.0]))
    torch.testing.assert_close(model.loss(batch), expected)
    each = model.val_loss(raw, batch)
    torch.testing.assert_close(each, F.cross_entropy(raw, label, torch.tensor([1.0, 2.0, 7.0]), reduction="none"))
    only_weightless = classifier(task, Section(name="cross_entropy", options={"class_weights": [0.0, 1.0, 1.0]}))
    assert only_weightless.loss({**batch, "label": torch.zeros(4, dtype=torch.int64)}).item() == 0.0  # not 0 / 0


def _gradient_of_half(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model, batch = _weighted_step()
    half = {name: tensor[rank::2] for name, tensor in batch.items()}
    model.net = nn.parallel.DistributedDataParallel(model.net)
    model.loss(half).backward()
    torch.save(model.net.module.head.weight.grad, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _weighted_step() -> tuple[ZddModel, Any]:
    torch.manual_seed(0)
    task = Task(("good", "a", "b"), True, (16, 16))
    model = classifier(task, Section(name="cross_entropy", options={"class_weights": [1.0, 2.0, 7.0]})).eval()
    batch = {"image": torch.randn(6, 3, 16, 16), "label": torch.tensor([0, 2, 1, 2, 0, 2]), "index": torch.arange(6)}
    return model, batch  # one process sees 0 1 0, the other 2 2 2: their own weighted means would be far off


def test_two_processes_take_the_weighted_mean_of_the_whole_step(tmp_path) -> None:
    model, batch = _weighted_step()
    model.loss(batch).backward()
    # Not forked: autograd may have threads in this process by now, which a fork lacks.
    multiprocessing.start_processes(_gradient_of_half, (str(tmp_path),), nprocs=2, start_method="spawn")
    assert isinstance(model.net, LunaNet)
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), model.net.head.weight.grad)


def test_luna_is_the_original_at_300_px() -> None:
    net = LunaNet(2, (300, 300))
    assert sum(p.numel() for p in net.parameters()) == 115_088  # SEEDS.md 001
    assert net.head.in_features == 64 * 18 * 18
    kinds = [type(module).__name__ for block in net.blocks for module in block]
    assert kinds == ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"] * 4
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [8, 8, 16, 16, 32, 32, 64, 64]
    assert isinstance(net.norm, nn.BatchNorm2d)


@pytest.mark.parametrize(("size", "features"), [((96, 96), 64 * 6 * 6), ((17, 40), 64 * 1 * 2), ((16, 16), 64)])
def test_luna_takes_any_size(size: tuple[int, int], features: int) -> None:
    net = LunaNet(4, size)
    assert net.head.in_features == features
    assert net(torch.zeros(2, 3, *size)).shape == (2, 4)


@pytest.mark.parametrize(
    ("backbone", "size", "said"),
    [
        ("alexnet", (48, 48), "alexnet can't take such images; it takes square ones from 63 x 63 pixels"),
        ("luna", (300, 12), "luna takes images from 16 x 16 pixels"),
        ("vit_b_16", (230, 230), r"multiples of 16, such as \[224, 224\]"),
        ("vit_b_16", (224, 240), "square images only"),
        ("dino_vits8", (60, 64), r"multiples of 8, such as \[64, 64\]"),
        ("convnext_tiny", (16, 64), "can't take such images"),
    ],
)
def test_an_image_size_that_cannot_be_is_refused(backbone: str, size: tuple[int, int], said: str) -> None:
    with pytest.raises(ZddError, match=said) as error:
        backbones.build(backbone, 2, size)
    assert f"image_size = {list(size)}" in str(error.value)
    assert len(error.value.lines) == 1


def test_dino_takes_images_that_are_not_square() -> None:
    net = backbones.build("dino_vits8", 3, (40, 64)).eval()
    assert net(torch.zeros(1, 3, 40, 64)).shape == (1, 3)


def test_any_of_timms_networks() -> None:
    net = backbones.build("timm/mobilenetv3_small_050", 3, (64, 96)).eval()
    assert net(torch.zeros(2, 3, 64, 96)).shape == (2, 3)
    layout = backbones.layout(net)
    assert layout.head == ("classifier.weight", "classifier.bias")
    assert sum(map(len, layout.stages)) + 2 == len(list(net.named_parameters()))


def test_an_unknown_timm_name_gets_the_nearest() -> None:
    with pytest.raises(ZddError, match="did you mean 'timm/mobilenetv3_small_050'"):
        backbones.build("timm/mobilnetv3_small_050", 3, (64, 64))


def test_without_timm_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # what Python itself does for "not importable"
    backbones.size_problem.cache_clear()
    with pytest.raises(ZddError, match=r"'xception' needs timm.*pip install 'zdd\[timm\]'"):
        backbones.build("xception", 2, (64, 64))
    backbones.build("resnet18", 2, (64, 64))


def test_dropout_is_set_or_refused() -> None:
    net = backbones.build("mobilenet_v2", 2, (64, 64), dropout=0.35)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.35]
    own = backbones.build("mobilenet_v2", 2, (64, 64))
    assert [m.p for m in own.modules() if isinstance(m, nn.Dropout)] == [0.2]
    with pytest.raises(ZddError, match="resnet18 has no dropout"):
        backbones.build("resnet18", 2, (64, 64), dropout=0.1)
    backbones.build("resnet18", 2, (64, 64), dropout=0.0)


def test_without_dropout_timms_stochastic_depth_is_off_too() -> None:
    with torch.device("meta"):
        nets = [backbones.build("timm/swin_tiny_patch4_window7_224", 2, (224, 224), dropout=p) for p in (None, 0.0)]
    own, off = ([m.drop_prob for m in net.modules() if type(m).__name__ == "DropPath"] for net in nets)
    assert max(own) > 0
    assert max(off) == 0


def test_the_same_seed_gives_the_same_weights_though_the_first_build_looked_at_the_size() -> None:
    backbones.size_problem.cache_clear()
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(backbones.build("shufflenet_v2_x1_0", 2, (40, 40)).state_dict())
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])

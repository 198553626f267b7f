"""Every parameter that should move moves, and no other: for every backbone and strategy."""

from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from zdd.errors import ZddError
from zdd.models import optim
from zdd.settings import BACKBONES, Section

# Written by hand from the architectures, not taken from the code under test: the head's parameters, and the first
# parameter that moves when half of the layers rest. Parameters are listed from the input to the output in all of them.
HEAD_AND_MIDDLE = {
    "resnet18": ("fc.", "layer2.1.conv1.weight"),  # conv1 and 8 blocks: 4 of 9 rest
    "resnet50": ("fc.", "layer3.0.conv1.weight"),  # conv1 and 16 blocks: 8 of 17
    "mobilenet_v2": ("classifier.1.", "features.10.conv.0.0.weight"),  # 19 features: 10
    "efficientnet_b1": ("classifier.1.", "features.4.3.block.0.0.weight"),  # 2 convolutions and 23 blocks: 12 of 25
    "efficientnet_v2_s": ("classifier.1.", "features.5.4.block.0.0.weight"),  # 2 and 40: 21 of 42
    "shufflenet_v2_x1_0": ("fc.", "stage3.4.branch2.0.weight"),  # 2 and 16: 9 of 18
    "convnext_tiny": ("classifier.2.", "features.5.2.layer_scale"),  # stem, 3 reductions, 18 blocks: 11 of 22
    "vit_b_16": ("heads.head.", "encoder.layers.encoder_layer_5.ln_1.weight"),  # patches and 12 blocks: 6 of 13
    "swin_t": ("head.", "features.5.1.norm1.weight"),  # patches, 3 mergings, 12 blocks: 8 of 16
    "alexnet": ("classifier.6.", "features.10.weight"),  # 5 convolutions, 2 linear layers: 4 of 7
    "vgg16": ("classifier.6.", "features.19.weight"),  # 13 and 2: 8 of 15
    "squeezenet1_1": ("classifier.1.", "features.7.squeeze.weight"),  # conv and 8 fire modules: 4 of 9
    "xception": ("fc.", "block7.rep.1.conv1.weight"),  # 4 convolutions, 12 blocks: 8 of 16
    "dino_vits8": ("head.", "blocks.5.norm1.weight"),  # patches and 12 blocks: 6 of 13
    "luna": ("head.", "blocks.2.0.weight"),  # 8 convolutions: 4
}
STRATEGIES = {
    "full": {},
    "feature_extraction": {},
    "partial": {"share": 0.5},
    "two_stage": {"stage_epochs": 1, "stage_lr": 0.05},
    "layer_wise": {"decay": 0.95},
}
SGD = Section(name="SGD", options={"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1})


def train_step(model, optimizer, batch) -> None:
    optimizer.zero_grad()
    model.loss(batch).backward()
    model.on_before_optimizer_step(optimizer)
    optimizer.step()


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def expected_to_move(backbone: str, strategy: str, epoch: int, names: list[str]) -> set[str]:
    head, middle = HEAD_AND_MIDDLE[backbone]
    if strategy == "feature_extraction" or (strategy == "two_stage" and epoch == 0):
        return {name for name in names if name.startswith(head)}
    return set(names[names.index(middle) :]) if strategy == "partial" else set(names)


def statistics_of(names: set[str], model: nn.Module) -> set[str]:
    """Running statistics of the batch norms whose parameters are among `names`."""
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    return {f"{norm}.{kind}" for norm in norms if f"{norm}.weight" in names for kind in kinds}


# A second each and more; where their halves lie is seen by `partial`, and the strategies are the same code for all.
LARGE = ("vgg16", "vit_b_16", "resnet50", "alexnet", "efficientnet_v2_s", "swin_t")
CASES = [
    pytest.param(backbone, strategy, marks=[pytest.mark.slow] * (backbone in LARGE and strategy != "partial"))
    for backbone in BACKBONES
    for strategy in STRATEGIES
]


@pytest.mark.parametrize(("backbone", "strategy"), CASES)
def test_what_should_move_moves_and_no_other(backbone: str, strategy: str, make_classifier, make_batch) -> None:
    transfer = Section(name=strategy, options=STRATEGIES[strategy])
    model = make_classifier(backbone, transfer=transfer, dropout=0.0)
    optimizer = optim.configure(model.groups, SGD, None, epochs=2)["optimizer"]
    names = [name for name, _ in model.net.named_parameters()]
    model.train()
    for epoch in range(2 if strategy == "two_stage" else 1):
        model.start_epoch(epoch)
        before = tensors(model.net)
        train_step(model, optimizer, make_batch(model))
        moved = expected_to_move(backbone, strategy, epoch, names)
        assert changed(before, model.net) == moved | statistics_of(moved, model.net)
        # Weight decay alone would move a parameter, too: the loss must.
        gradients = dict(model.net.named_parameters())
        assert [name for name in moved if gradients[name].grad.abs().sum() == 0] == []


@pytest.mark.parametrize("backbone", ["resnet18", "dino_vits8", "luna"])
def test_layer_wise_rates_fall_with_depth(backbone: str, make_classifier, make_batch) -> None:
    model = make_classifier(backbone, transfer=Section(name="layer_wise", options={"decay": 0.5}), dropout=0.0).train()
    model.double()  # 0.5^13 of a gradient would drown in float32
    optimizer = optim.configure(model.groups, Section(name="SGD", options={"lr": 0.08}), None, epochs=2)["optimizer"]
    before = tensors(model.net)
    batch = make_batch(model)
    train_step(model, optimizer, {**batch, "image": batch["image"].double()})
    rates = {}
    for name, parameter in model.net.named_parameters():
        step, gradient = before[name] - parameter.detach(), parameter.grad
        rates[name] = float((step * gradient).sum() / (gradient * gradient).sum())
    n_stages = {"resnet18": 9, "dino_vits8": 13, "luna": 8}[backbone]
    head, _ = HEAD_AND_MIDDLE[backbone]
    assert rates[f"{head}weight"] == pytest.approx(0.08, rel=1e-6)
    first = {"resnet18": "conv1.weight", "dino_vits8": "patch_embed.proj.weight", "luna": "norm.weight"}[backbone]
    assert rates[first] == pytest.approx(0.08 * 0.5**n_stages, rel=1e-6)  # the head is depth 0
    last_block = {"resnet18": "layer4.1.bn2.bias", "dino_vits8": "norm.bias", "luna": "blocks.3.2.weight"}[backbone]
    assert rates[last_block] == pytest.approx(0.04, rel=1e-6)


@pytest.mark.parametrize(("share", "n_frozen"), [(0.0, 0), (0.2, 2), (0.5, 4), (1.0, 9)])
def test_partial_freezes_the_share_from_the_input(share: float, n_frozen: int, make_classifier) -> None:
    model = make_classifier("resnet18", transfer=Section(name="partial", options={"share": share}))
    resting = {name.split(".")[0] for name, p in model.net.named_parameters() if not p.requires_grad}
    assert resting == {0: set(), 2: {"conv1", "bn1", "layer1"}, 4: {"conv1", "bn1", "layer1", "layer2"}}.get(
        n_frozen, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}
    )
    assert model.net.layer2[1].conv1.weight.requires_grad == (n_frozen <= 4)
    assert all(p.requires_grad for p in model.net.fc.parameters())


def test_frozen_norms_stay_in_eval_mode_whoever_calls_train(make_classifier) -> None:
    model = make_classifier("resnet18", transfer=Section(name="two_stage", options={"stage_epochs": 2}))
    model.start_epoch(0)
    model.train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert model.net.training
    model.start_epoch(2)  # within a training loop: nobody calls train() again
    assert all(norm.training for norm in norms)
    model.eval()
    model.start_epoch(0)
    assert not any(module.training for module in model.modules())


def test_resuming_in_any_epoch_is_as_having_been_there(make_classifier) -> None:
    transfer = Section(name="two_stage", options={"stage_epochs": 2})
    for epochs in ([0, 1, 2, 3], [3], [2, 0, 3]):  # the last: best weights of the first stage are loaded back
        model = make_classifier("luna", transfer=transfer)
        for epoch in epochs:
            model.start_epoch(epoch)
        assert all(p.requires_grad for p in model.net.parameters())
        model.start_epoch(1)
        assert [name for name, p in model.net.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]


@pytest.fixture
def process_group(tmp_path: Path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_two_stages_under_ddp(process_group, make_classifier, make_batch) -> None:
    model = make_classifier("resnet18", transfer=Section(name="two_stage", options=STRATEGIES["two_stage"]))
    optimizer = optim.configure(model.groups, SGD, None, epochs=2)["optimizer"]
    model.net = DistributedDataParallel(model.net)  # reduces the gradients of what requires one at this moment
    wrapped, inner = model.net, model.net.module
    names = [name for name, _ in inner.named_parameters()]
    for epoch in range(2):
        model.net = inner
        model.start_epoch(epoch)
        model.train()
        before = tensors(inner)
        model.net = wrapped
        optimizer.zero_grad()
        model.loss(make_batch(model)).backward()
        model.net = inner
        model.on_before_optimizer_step(optimizer)
        optimizer.step()
        moved = expected_to_move("resnet18", "two_stage", epoch, names)
        assert changed(before, inner) == moved | statistics_of(moved, inner)
        assert all(p.requires_grad for p in inner.parameters())


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("two_stage", {"stage_lr": 0.0}, "model.transfer.stage_lr = 0.0"),
        ("layer_wise", {"decay": 1.5}, "model.transfer.decay = 1.5"),
        ("layer_wise", {"decay": 0.0}, "model.transfer.decay = 0.0"),
        ("two_stages", {}, "did you mean 'two_stage'"),
    ],
)
def test_impossible_settings_are_refused(name: str, options: dict, key: str, make_classifier) -> None:
    with pytest.raises(ZddError, match=key):
        make_classifier("luna", transfer=Section(name=name, options=options))

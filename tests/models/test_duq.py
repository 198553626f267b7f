"""DUQ against the paper's equations written down plainly (van Amersfoort et al. 2020), and the ends of a network."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from zdd.errors import ZddError
from zdd.models import backbones, surgery
from zdd.models.classifier import Classifier
from zdd.models.duq import Duq, binary_cross_entropy, gradient_penalty
from zdd.records import Batch, Task
from zdd.settings import BACKBONES

TASK = Task(("good", "crack", "dent"), True, (32, 32))


def model(**settings: object) -> Duq:
    torch.manual_seed(0)
    return Duq(TASK, **{"backbone": "luna", "embedding_size": 5, **settings})  # type: ignore[arg-type]


def batch(n: int = 6, seed: int = 1) -> Batch:
    torch.manual_seed(seed)
    return {"image": torch.randn(n, 3, 32, 32), "label": torch.arange(n) % 3, "index": torch.arange(n)}


def kernels_by_the_paper(duq: Duq, image: Tensor) -> Tensor:
    """K_c = exp(-(1/n) |W_c f(x) - e_c|^2 / (2 sigma^2)), one image and one class at a time."""
    parts = duq.kernels
    feature = parts.features(image)
    rows = []
    for f in feature:
        row = []
        for c in range(3):
            centre = parts.m[:, c] / parts.n[c]
            distance = ((parts.weight[:, c] @ f - centre) ** 2).sum() / len(centre)
            row.append(torch.exp(-distance / (2 * parts.length_scale**2)))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def test_the_net_says_the_logarithms_of_the_paper_s_kernels() -> None:
    duq = model(length_scale=0.7).eval()
    image = batch()["image"]
    expected = kernels_by_the_paper(duq, image)
    torch.testing.assert_close(duq.net(image).exp(), expected)
    said = duq.decode(duq.net(image), image)
    assert said.uncertainty is not None and said.probability is not None and said.label is not None
    torch.testing.assert_close(said.uncertainty.float(), 1 - expected.amax(1))
    far = duq.decode(torch.tensor([[-20.0, -30.0, -40.0], [-25.0, -30.0, -40.0]]), image).uncertainty
    assert far is not None and 1 > far[1] > far[0]  # 1 - exp(-20) is 1 in single precision
    torch.testing.assert_close(said.probability, expected / expected.sum(1, keepdim=True))
    assert torch.equal(said.label, expected.argmax(1))
    torch.testing.assert_close(said.score, 1 - said.probability[:, 0])


def test_the_loss_is_torch_s_on_one_hot_and_holds_where_a_kernel_underflows() -> None:
    raw, label = torch.tensor([[-0.1, -2.0, -0.5], [-3.0, -0.01, -1.0]]), torch.tensor([0, 2])
    hot = torch.eye(3)[label]
    expected = nn.functional.binary_cross_entropy(raw.exp(), hot, reduction="none").mean(1)
    torch.testing.assert_close(binary_cross_entropy(raw, label), expected)
    far = torch.tensor([[-500.0, -800.0, 0.0]], requires_grad=True)  # exp(-500) is 0, log(0) is not 500
    loss = binary_cross_entropy(far, torch.tensor([0]))
    loss.sum().backward()
    assert loss.item() == pytest.approx((500 + 0 - math.log(1e-7)) / 3, rel=1e-2)
    assert far.grad is not None and torch.isfinite(far.grad).all() and far.grad[0, 0].item() == pytest.approx(-1 / 3)


def test_the_gradient_penalty_is_two_sided() -> None:
    image = torch.zeros(2, 1, 1, 2, requires_grad=True)
    slope = torch.tensor([[0.3, 0.4], [3.0, 4.0]]).view(2, 1, 1, 2)  # lengths 0.5 and 5
    kernels = torch.stack([(image * slope).flatten(1).sum(1), torch.zeros(2)], dim=1)
    assert gradient_penalty(kernels, image).item() == pytest.approx((0.5**2 + 4**2) / 2)


def test_one_step_is_that_of_the_equations() -> None:
    duq = model(length_scale=0.5, gp_const=0.3)
    plain, one = copy.deepcopy(duq), batch()
    duq.loss(one).backward()
    image = one["image"].clone().requires_grad_(True)
    kernels = kernels_by_the_paper(plain, image)
    hot = torch.eye(3)[one["label"]]
    (slope,) = torch.autograd.grad(kernels.sum(), image, create_graph=True)
    penalty = sum((s.pow(2).sum().sqrt() - 1) ** 2 for s in slope) / len(slope)
    (nn.functional.binary_cross_entropy(kernels, hot) + 0.3 * penalty).backward()
    for (name, got), (_, expected) in zip(duq.net.named_parameters(), plain.net.named_parameters(), strict=True):
        assert got.grad is not None and expected.grad is not None, name
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-3, atol=1e-6)


def test_the_centres_are_moving_averages_of_what_the_network_in_use_says() -> None:
    duq = model(backbone="mobilenet_v2", gamma=0.9, dropout=0.5)
    duq.train()
    m, n = duq.kernels.m.clone(), duq.kernels.n.clone()
    means = duq.kernels.features.state_dict()["features.0.1.running_mean"].clone()  # type: ignore[union-attr]
    for seed in (1, 2):
        one = batch(seed=seed)
        with torch.no_grad():
            z = copy.deepcopy(duq).eval().kernels.embed(one["image"])
        for c in range(3):
            own = one["label"] == c
            n[c] = 0.9 * n[c] + 0.1 * own.sum()
            m[:, c] = 0.9 * m[:, c] + 0.1 * z[own, :, c].sum(0)
        duq.move_centres(one)
    torch.testing.assert_close(duq.kernels.n, n)
    torch.testing.assert_close(duq.kernels.m, m)
    assert duq.training and all(part.training for part in duq.net.modules())
    # batch norm saw nothing of it
    assert torch.equal(duq.kernels.features.state_dict()["features.0.1.running_mean"], means)  # type: ignore[union-attr]
    assert not duq.kernels.m.requires_grad and {"m", "n"} <= set(duq.net.state_dict())


def _centres_of_half(rank: int, folder: str) -> None:
    torch.set_num_threads(1)  # the pool of OpenMP is not there in a fork
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    duq, one = model(gamma=0.9), batch(6)
    mine = slice(rank, None, 2)
    half: Batch = {"image": one["image"][mine], "label": one["label"][mine], "index": one["index"][mine]}
    duq.move_centres(half)
    torch.save({"m": duq.kernels.m, "n": duq.kernels.n}, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_move_the_centres_as_one_does(tmp_path: Path) -> None:
    duq = model(gamma=0.9)
    duq.move_centres(batch(6))
    multiprocessing.start_processes(_centres_of_half, (str(tmp_path),), nprocs=2, start_method="fork")
    for rank in (0, 1):
        moved = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(moved["m"], duq.kernels.m)
        torch.testing.assert_close(moved["n"], duq.kernels.n)


def test_half_precision_does_not_reach_the_distances() -> None:
    duq, image = model(length_scale=0.1).eval(), batch()["image"]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert duq.net(image).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(gp_const=0.1).loss(batch())
    assert torch.isfinite(loss)


LARGE = ("vit_b_16", "vgg16", "resnet50", "efficientnet_v2_s")  # 6 to 10 s each


@pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in BACKBONES]
)
def test_every_backbone_gives_features_and_learns_with_the_penalty(backbone: str) -> None:
    size = {"vit_b_16": 224, "alexnet": 72}.get(backbone, 64)
    task = Task(("good", "crack"), True, (size, size))
    duq = Duq(task, backbone=backbone, embedding_size=4, gp_const=0.1)
    one: Batch = {"image": torch.randn(2, 3, size, size), "label": torch.tensor([0, 1]), "index": torch.arange(2)}
    duq.loss(one).backward()
    grads = [p.grad for p in duq.net.parameters() if p.grad is not None]
    assert torch.isfinite(torch.stack([g.norm() for g in grads])).all() and duq.kernels.weight.grad is not None
    assert duq.net(one["image"]).shape == (2, 2)


@pytest.mark.parametrize("name", surgery.SMALL_STEMS)
def test_the_small_stem_keeps_four_times_the_pixels(name: str) -> None:
    image = torch.randn(2, 3, 32, 32)
    sides = {}
    for stem in ("imagenet", "small"):
        net = backbones.build(name, 2, (32, 32))
        surgery.set_stem(net, name, stem, (32, 32))
        seen: list[Tensor] = []
        last = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)][-1]
        last.register_forward_hook(lambda m, i, o, seen=seen: seen.append(o))
        net.eval()(image)
        sides[stem] = seen[0].shape[-1]
    assert sides["small"] >= 2 * sides["imagenet"]


def test_auto_is_small_up_to_64_pixels_and_refused_where_there_is_none() -> None:
    def first(side: int, stem: str) -> tuple[int, ...]:
        task = Task(("good", "bad"), True, (side, side))
        net = Classifier(task, backbone="resnet18", stem=stem).net  # type: ignore[arg-type]
        return tuple(net.conv1.stride)  # type: ignore[union-attr,arg-type]

    assert first(64, "auto") == (1, 1) and first(65, "auto") == (2, 2)
    assert first(64, "imagenet") == (2, 2) and first(65, "small") == (1, 1)
    with pytest.raises(ZddError, match=r"small.*luna has none"):
        Classifier(TASK, backbone="luna", stem="small")
    Classifier(TASK, backbone="luna")  # auto leaves it as it is


def test_the_classifier_s_own_uncertainties() -> None:
    from zdd.models import build
    from zdd.settings import Section

    one = Classifier(TASK, backbone="luna").eval()
    one.recipe = build.Recipe(build.criterion(Section(name="cross_entropy"), TASK), Section(name="SGD"), None, 1)
    raw = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    said = one.decode(raw, torch.zeros(2, 3, 32, 32))
    assert said.uncertainty is not None and said.energy is not None
    torch.testing.assert_close(said.uncertainty, 1 - raw.softmax(1).amax(1))
    assert said.energy[1].item() == pytest.approx(-math.log(3))  # Liu et al. 2020: -log sum exp
    assert said.energy[0].item() == pytest.approx(-math.log(math.exp(2) + 1 + math.exp(-1)))

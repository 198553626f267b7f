"""PatchCore against brute force: the distances, the greedy choice, and what a training leaves behind."""

import copy
import itertools
import json
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.models import mobilenet_v2

from zdd import config as configuration
from zdd.errors import ZddError
from zdd.models import build, maps, patchcore_bank
from zdd.models.base import predict_batch
from zdd.models.patchcore import LAYERS, Patchcore
from zdd.models.patchcore_bank import coreset, nearest
from zdd.records import Batch, Task
from zdd.settings import Section

SIZE = (40, 56)


def make(size: tuple[int, int] = SIZE, **options: Any) -> Patchcore:
    torch.manual_seed(0)
    return Patchcore(Task(("good", "defect"), True, size), **{"weights": "none", **options})


def noise(n: int, size: tuple[int, int] = SIZE, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))


class Noise(Dataset[Batch]):
    """Images of noise; the whole batch comes from the collation."""

    def __init__(self, n: int) -> None:
        self.image = noise(n)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Any:
        return {"image": self.image[index], "label": 0, "index": index}


def fit(model: Patchcore, n: int = 5, batch_size: int = 2) -> Noise:
    images = Noise(n)
    loader = DataLoader(images, batch_size=batch_size)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, loader, loader)
    model.eval()
    return images


# Distances


@pytest.mark.parametrize("neighbours", [1, 3, 100])
@pytest.mark.parametrize("chunk", [1 << 24, 40])  # 40: two patches at a time, and a short last part
def test_distances_are_scikit_learns(neighbours: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchcore_bank, "CHUNK", chunk)
    memory, patches = torch.randn(17, 6) * 3 + 20, torch.randn(31, 6) * 3 + 20
    k = min(neighbours, 17)  # more than there are: all
    expected = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(memory.double()).kneighbors(patches.double())[0]
    torch.testing.assert_close(nearest(patches, memory, neighbours), torch.tensor(expected.mean(1)).float())


def test_what_is_remembered_is_at_no_distance() -> None:
    memory = torch.randn(50, 128) + 100  # far from the origin: |p|^2 - 2pm + |m|^2 would leave 0.1 to 0.5
    assert float(nearest(memory, memory).max()) == 0


def test_an_empty_memory_says_so() -> None:
    with pytest.raises(RuntimeError, match="is empty"):
        nearest(torch.zeros(2, 3), torch.zeros(0, 3))


def test_half_precision_around_it_changes_no_distance() -> None:
    memory, patches = torch.randn(9, 6), torch.randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        inside = nearest(patches, memory)
    assert torch.equal(inside, nearest(patches, memory))


# The coreset


def greedy(patches: Tensor, n: int, first: int) -> list[int]:
    """The k-centre choice by its definition: the largest distance to the nearest of those chosen."""
    chosen = [first]
    while len(chosen) < n:
        far = torch.cdist(patches.double(), patches[chosen].double(), compute_mode="donot_use_mm_for_euclid_dist")
        nearest_one = far.amin(1)
        nearest_one[chosen] = -1
        chosen.append(int(nearest_one.argmax()))
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_the_coreset_is_the_greedy_one(seed: int) -> None:
    torch.manual_seed(seed)
    patches = torch.randn(60, 5) + 3
    chosen = coreset(patches, 20).tolist()
    assert chosen == greedy(patches, 20, chosen[0])


def test_equal_patches_are_chosen_once_each_and_only_after_all_others() -> None:
    patches = torch.tensor([[0.0], [0.0], [1.0], [0.0], [9.0]])
    chosen = coreset(patches, 4).tolist()
    assert len(set(chosen)) == 4
    assert sorted({float(patches[i]) for i in chosen}) == [0.0, 1.0, 9.0]
    assert coreset(patches, 5).tolist() == coreset(patches, 9).tolist() == [0, 1, 2, 3, 4]  # all there are


def test_the_greedy_choice_covers_at_most_twice_as_badly_as_the_best() -> None:
    patches = torch.randn(11, 2, generator=torch.Generator().manual_seed(3))
    between = torch.cdist(patches, patches)

    def radius(rows: Any) -> float:
        return float(between[:, list(rows)].amin(1).max())

    best = min(radius(rows) for rows in itertools.combinations(range(11), 4))
    assert radius(coreset(patches, 4).tolist()) <= 2 * best + 1e-6  # Gonzalez (1985)


def test_wide_patches_are_chosen_in_fewer_dimensions_and_still_cover() -> None:
    torch.manual_seed(1)
    centres = 20 * torch.randn(6, 400)
    patches = centres.repeat_interleave(30, 0) + torch.randn(180, 400)
    groups = {i // 30 for i in coreset(patches, 6).tolist()}
    assert groups == set(range(6))  # one of each heap


# The network


def test_patches_are_means_over_neighbourhoods_on_the_finest_grid() -> None:
    model = make()
    plain, image = mobilenet_v2(num_classes=2).eval(), noise(2)
    state = model.net.features.state_dict()  # type: ignore[union-attr,operator]
    assert all(name.startswith("features.") for name in state)
    plain.load_state_dict({**plain.state_dict(), **state})
    with torch.no_grad():
        x, taps = image, []
        for i, block in enumerate(plain.features):
            x = block(x)
            if i in (6, 13):
                taps.append(F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, stride=1))
    wide = F.interpolate(taps[1], taps[0].shape[-2:], mode="bilinear")
    assert taps[0].shape == (2, 32, 5, 7) and taps[1].shape[1] == 96
    torch.testing.assert_close(model.net.patch(image), torch.cat([taps[0], wide], 1))  # type: ignore[operator,union-attr]


@pytest.mark.parametrize("backbone", LAYERS)
def test_each_backbone_gives_grids_at_an_eighth_and_a_sixteenth(backbone: str) -> None:
    with torch.device("meta"):
        model = make((64, 96), backbone=backbone)
        first, second = model.net.features(torch.zeros(1, 3, 64, 96))  # type: ignore[operator,union-attr]
    for tap, at in ((first, 8), (second, 16)):
        assert all(abs(side - full / at) <= 1 for side, full in zip(tap.shape[2:], (64, 96), strict=True))


def test_the_network_rests_also_when_it_is_trained_or_copied() -> None:
    model, image = make(), noise(3)
    fit(model)
    with torch.no_grad():
        before = model.net(image)
        state = copy.deepcopy(model.state_dict())
        model.train()
        assert torch.equal(model.net(image), before)
        assert torch.equal(copy.deepcopy(model).net(image), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad for p in model.net.parameters())


@pytest.mark.parametrize(
    "layers",
    [
        ["features.6", "features.99"],  # there is no such
        ["features.13", "features.6"],  # the other way round
        ["features.6.conv.0", "features.13"],  # past a shortcut
        ["features.6", "classifier.1"],  # no grid
        [],
    ],
)
def test_layers_that_can_not_be_had_are_refused(layers: list[str]) -> None:
    with pytest.raises(ZddError, match=r"model.layers = .*: must be blocks"):
        make(layers=layers)


def test_other_backbones_need_layers() -> None:
    with pytest.raises(ZddError, match=r"needs model\.layers; without them: resnet18"):
        make(backbone="alexnet")
    with pytest.raises(ZddError, match="must be blocks"):
        make((32, 32), backbone="vit_b_16", layers=["encoder.layers.encoder_layer_0"])
    assert make((64, 64), backbone="alexnet", layers=["features.5"]).net is not None


# What a training leaves


def test_the_memory_is_all_patches_where_there_is_room() -> None:
    model = make(patches=10**6, pool=10**6)
    images = fit(model)  # five images in batches of two: the last one is short
    with torch.no_grad():
        every = model.net.patch(images.image).permute(0, 2, 3, 1).reshape(-1, 128)  # type: ignore[operator,union-attr]
    kept = model.net.patches
    assert isinstance(kept, Tensor) and kept.shape == (5 * 5 * 7, 128)
    torch.testing.assert_close(kept[kept[:, 0].argsort()], every[every[:, 0].argsort()])
    assert float(predict_batch(model, images.image).score.max()) < 1e-3


def test_the_memory_and_its_pool_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model, largest = make(patches=12, pool=50), []
    choose = patchcore_bank.coreset
    monkeypatch.setattr("zdd.models.patchcore.coreset", lambda p, n: largest.append(len(p)) or choose(p, n))
    step = Patchcore.on_train_batch_end

    def count(self: Patchcore, *rest: Any) -> None:
        largest.append(sum(map(len, self.seen)))
        step(self, *rest)

    monkeypatch.setattr(Patchcore, "on_train_batch_end", count)
    fit(model, n=6)
    assert largest == [20, 40, 60, 50][: len(largest)] or max(largest) <= 54  # 9 of each image's 35
    assert largest[-1] == 50 and isinstance(model.net.patches, Tensor) and len(model.net.patches) == 12


def test_learning_twice_is_learning_once() -> None:
    model = make(patches=30)
    torch.manual_seed(5)
    fit(model)
    first = model.net.patches.clone()  # type: ignore[operator,union-attr]
    torch.manual_seed(5)
    fit(model)
    assert torch.equal(first, model.net.patches)  # type: ignore[arg-type]


def test_saved_and_loaded_bit_equal_whatever_its_size() -> None:
    model, image = make(patches=23), noise(2)
    fit(model)
    other = make(patches=7)
    other.net.load_state_dict(model.net.state_dict())
    assert torch.equal(predict_batch(other.eval(), image).score, predict_batch(model, image).score)
    whole = make()
    whole.load_state_dict(model.state_dict())  # a checkpoint's names have a prefix
    assert torch.equal(whole.net.patches, model.net.patches)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(40, 56), (37, 65), (33, 33)])
def test_one_image_is_as_many_at_any_size(size: tuple[int, int]) -> None:
    model, image = make(size, patches=20), noise(4, size)
    model.loss({"image": noise(3, size, seed=2), "label": torch.zeros(3), "index": torch.arange(3)})
    model.remember(torch.cat(model.seen))
    whole = predict_batch(model.eval(), image)
    assert whole.map is not None and whole.map.shape == (4, 1, *size)
    for i in range(4):
        alone = predict_batch(model, image[i : i + 1])
        assert alone.map is not None
        torch.testing.assert_close(alone.score[0], whole.score[i])
        torch.testing.assert_close(alone.map[0], whole.map[i])


def test_a_strange_spot_is_seen_where_it_is() -> None:
    model = make((128, 128), blur=2.0)
    torch.manual_seed(3)
    for module in model.net.modules():  # as wide as trained weights make the activations
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    ground = 0.1 * noise(6, (128, 128))
    model.loss({"image": ground[:5], "label": torch.zeros(5), "index": torch.arange(5)})
    model.remember(torch.cat(model.seen))
    image = ground[5:].clone()
    image[..., 72:96, 24:48] += 3
    said, good = predict_batch(model.eval(), image), predict_batch(model, ground[5:])
    assert said.map is not None and float(said.score) > 1.5 * float(good.score)
    row, column = divmod(int(said.map.argmax()), 128)
    assert 60 <= row < 108 and 12 <= column < 60


def test_scores_and_maps_by_hand() -> None:
    raw = torch.tensor([[[[1.0, 2.0], [3.0, 10.0]]]])
    assert maps.score(raw, "maximum", 0.1).tolist() == [10.0]
    assert maps.score(raw, "mean", 0.1).tolist() == [4.0]
    assert maps.score(raw, "top_k", 0.5).tolist() == [6.5]
    assert maps.score(raw, "top_k", 0.001).tolist() == [10.0]  # one at least
    said = make((4, 4), layers=["features.1"], blur=0.0).decode(raw, torch.zeros(1, 3, 4, 4))
    assert said.map is not None and said.label is None and said.probability is None
    # Bilinear from 2 x 2 to 4 x 4: the corners stay, and a quarter of the way between the upper ones is 1.25.
    assert said.map[0, 0, 0].tolist() == [1.0, 1.25, 1.75, 2.0] and float(said.map[0, 0, 3, 3]) == 10


def test_the_blur_is_scipys_and_keeps_the_mean() -> None:
    from scipy.ndimage import gaussian_filter

    errors = torch.rand(2, 1, 40, 31, generator=torch.Generator().manual_seed(0))
    expected = torch.stack(
        [torch.tensor(gaussian_filter(e[0].numpy(), 2.0, mode="mirror", truncate=3))[None] for e in errors]
    )
    torch.testing.assert_close(maps.blurred(errors, 2.0), expected, rtol=1e-4, atol=1e-5)
    assert maps.blurred(errors, 0.0) is errors
    assert maps.blurred(errors[..., :3, :5], 9.0).shape == (2, 1, 3, 5)  # wider than the image


# Settings


def test_what_would_do_nothing_is_refused(tmp_path: Any) -> None:
    def check(**changes: Any) -> list[str]:
        path = tmp_path / "one.json"
        model = {"name": "patchcore", "weights": "none"}
        path.write_text(
            json.dumps({"dataset": {"name": "mvtec", "root": "x"}, "model": model, "image_size": 64, **changes})
        )
        return build.check(configuration.load(str(path)).config)

    assert check() == []
    assert any("learns on one device" in line for line in check(trainer={"devices": 2}))
    assert any("trainer.accumulate" in line for line in check(trainer={"accumulate": 2}))
    assert any("trainer.gradient_clip" in line for line in check(trainer={"gradient_clip": 1.0}))


def test_built_from_its_section() -> None:
    section = Section(name="patchcore", options={"weights": "none", "neighbours": 2, "layers": ["features.3"]})
    made = build.build(section, Task(("good", "defect"), True, (32, 32)))
    assert isinstance(made, Patchcore) and made.net.neighbours == 2
    assert (made.one_class, made.one_pass, made.pixelwise, made.pixel_threshold) == (True, True, True, None)


def test_its_graph_takes_any_number_of_images() -> None:
    model = make(backbone="squeezenet1_1")
    patch = model.net.patch(noise(2))  # type: ignore[operator, union-attr]
    model.remember(patch.permute(0, 2, 3, 1).reshape(-1, patch.shape[1])[:20])
    net = model.eval().net
    batch = torch.export.Dim("batch", min=1)
    graph = torch.export.export(net, (noise(2),), dynamic_shapes=({0: batch},)).module()
    for n in (1, 2, 5):
        torch.testing.assert_close(graph(noise(n, seed=n)), net(noise(n, seed=n)), rtol=1e-4, atol=1e-4)

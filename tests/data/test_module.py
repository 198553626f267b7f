"""Loaders: what a batch holds, that workers change nothing, and that a second epoch decodes nothing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import LOADER, draw, draw_set, make_config, make_settings, small_preprocess

from zdd.data.dataset import Dataset, prepare
from zdd.data.folders import cache_folder
from zdd.data.images import seed_of
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
from zdd.records import Batch

PRE = small_preprocess()


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("ZDD_CACHE", str(tmp_path / "cache"))
    root = draw_set(tmp_path / "set", {"good": 12, "crack": 8})
    Image.fromarray(np.full((30, 20), 40000, np.uint16)).save(root / "good" / "deep.png")
    Image.new("RGBA", (9, 40), (200, 10, 10, 128)).save(root / "crack" / "clear.png")
    return prepare(make_settings(root), PRE, cache=LOADER)[0]


def module(dataset: Dataset, **changed: Any) -> DataModule:
    options = {"batch_size": 4, "augmentation": [{"name": "categorical"}], "loader__workers": 0, **changed}
    return DataModule(dataset, PRE, make_config(**options))


def epochs(loader: Any, n: int) -> list[list[Batch]]:
    result = []
    for epoch in range(n):
        loader.batch_sampler.set_epoch(epoch)
        result.append(list(loader))
    return result


def equal(a: list[list[Batch]], b: list[list[Batch]]) -> bool:
    pairs = [(x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True)]
    return all(torch.equal(x[k], y[k]) for x, y in pairs for k in ("image", "label", "index"))  # type: ignore[literal-required]


def test_an_evaluation_batch_is_what_preprocessing_makes(dataset: Dataset) -> None:
    for cache in (True, False):
        batches = list(module(dataset, loader__cache=cache).loader("val", batch_size=3))
        records = dataset.split("val")
        assert [int(i) for b in batches for i in b["index"]] == list(range(len(records)))
        assert [int(i) for b in batches for i in b["label"]] == [r.label for r in records]
        expected = np.stack([PRE.normalise(PRE.load(r.path)) for r in records])
        images = torch.cat([b["image"] for b in batches])
        assert images.dtype == torch.float32 and images.shape[1:] == (3, 16, 20)
        assert torch.equal(images, torch.from_numpy(expected))
        assert batches[0]["label"].dtype == torch.int64
        assert "mask" not in batches[0]


def test_workers_change_nothing(dataset: Dataset) -> None:
    alone = epochs(module(dataset).train_dataloader(), 2)
    two = epochs(module(dataset, loader__workers=2).train_dataloader(), 2)
    assert equal(alone, two)
    assert not equal(alone[:1], alone[1:])  # another epoch, other orders and changes
    assert not equal(alone, epochs(module(dataset, seed=9).train_dataloader(), 2))


def test_an_image_is_changed_in_another_way_in_every_epoch(dataset: Dataset) -> None:
    images: Any = module(dataset).train_dataloader().dataset
    seen = [images.__getitems__([(epoch, index)])["image"] for epoch in (0, 0, 1, 2) for index in (0, 1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(seen[:3], seen[3:6], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(seen[3:6], seen[6:9], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(seen[6:9], seen[9:], strict=True))


def test_the_cache_changes_nothing(dataset: Dataset) -> None:
    with_cache = epochs(module(dataset).train_dataloader(), 2)
    assert equal(with_cache, epochs(module(dataset, loader__cache=False).train_dataloader(), 2))


def test_the_models_random_numbers_go_on_undisturbed(dataset: Dataset) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    epochs(module(dataset).train_dataloader(), 1)
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that is decoded from here on."""
    paths: list[str] = []
    load = Preprocess.load

    def counting(self: Preprocess, path: str | Path) -> Any:
        paths.append(str(path))
        return load(self, path)

    monkeypatch.setattr(Preprocess, "load", counting)
    return paths


def test_a_second_epoch_decodes_nothing(dataset: Dataset, decoded: list[str]) -> None:
    loader = module(dataset).train_dataloader()
    first = epochs(loader, 1)
    assert sorted(decoded) == [r.path for r in dataset.split("train")]
    again = epochs(loader, 1)
    list(module(dataset).train_dataloader())  # nor does another run
    assert len(decoded) == len(dataset.split("train"))
    assert equal(first, again)


@pytest.mark.parametrize("how", ["delete", "truncate", "scribble"])
def test_a_cache_that_was_tampered_with_between_epochs_is_not_trusted(
    dataset: Dataset, decoded: list[str], how: str
) -> None:
    loader = module(dataset).train_dataloader()
    first = epochs(loader, 1)
    (file,) = (cache_folder() / "images").glob("*.images")
    if how == "delete":
        shutil.rmtree(cache_folder())
    elif how == "truncate":
        file.write_bytes(b"")
    else:
        file.write_bytes(b"\7" * file.stat().st_size)
    assert equal(first, epochs(loader, 1))
    assert equal(first, epochs(module(dataset).train_dataloader(), 1))
    assert len(decoded) == 2 * len(dataset.split("train"))


def test_masks_come_when_asked_for_and_move_with_the_image(tmp_path: Path) -> None:
    rows = ["image,label,mask,split"]
    for i in range(8):
        picture = Image.new("L", (20, 16))
        picture.paste(255, (0, 0, 7, 16))
        picture.save(tmp_path / f"{i}.png")
        picture.save(tmp_path / f"m{i}.png")
        mask = f"m{i}.png" if i % 2 else ""
        rows.append(f"{i}.png,{'bad' if i % 2 else 'good'},{mask},{'train' if i < 4 else 'val'}")
    (tmp_path / "set.csv").write_text("\n".join(rows))
    data = prepare(
        make_settings(tmp_path, name="csv", leakage="ignore", split={"val": 0.2, "test": 0.0, "seed": 0}),
        PRE,
        cache=LOADER,
    )[0]
    config = make_config(augmentation=[{"name": "simple"}], batch_size=8, dataset__mirror_safe=True, loader__workers=0)
    loader = DataModule(data, PRE, config, masks=True).train_dataloader()
    mirrored = 0
    for (batch,) in epochs(loader, 8):
        assert batch["mask"].shape == (4, 1, 16, 20) and batch["mask"].dtype == torch.uint8
        for image, mask, label in zip(batch["image"], batch["mask"], batch["label"], strict=True):
            assert mask.any() == (label == 1)
            if label == 1:
                assert torch.equal(image[:1] > 0, mask > 0)
                mirrored += int(mask[0, 0, -1])
    assert 0 < mirrored < 16  # 2 masks in each of 8 epochs
    assert "mask" not in next(iter(DataModule(data, PRE, config).loader("val")))


def test_augmentations_that_know_no_masks_are_refused_with_them(dataset: Dataset) -> None:
    with pytest.raises(ZddError, match="rand_augment"):
        DataModule(dataset, PRE, make_config(augmentation=[{"name": "rand_augment"}]), masks=True)


def test_seeds_are_their_own() -> None:
    seeds = {seed_of(s, e, i) for s in range(10) for e in range(10) for i in range(10)}
    assert len(seeds) == 1000 and all(0 <= s < 2**63 for s in seeds)


def test_an_uncached_image_that_vanishes_is_named(dataset: Dataset) -> None:
    loader = module(dataset, loader__cache=False).loader("test")
    Path(dataset.split("test")[0].path).unlink()
    with pytest.raises(OSError, match="there is no such file") as caught:
        list(loader)
    assert dataset.split("test")[0].path in str(caught.value)


def test_workers_are_chosen_where_none_are_given(dataset: Dataset) -> None:
    cold = module(dataset, loader__workers=None)
    assert cold.train_dataloader().num_workers <= 4
    list(module(dataset).loader("train")), list(module(dataset).loader("val"))
    assert module(dataset, loader__workers=None).train_dataloader().num_workers == 0  # few, and all cached
    assert module(dataset, loader__workers=None).val_dataloader().num_workers == 0


def test_one_broken_image_in_a_worker_is_an_error_and_no_hang(dataset: Dataset) -> None:
    loader = module(dataset, loader__cache=False, loader__workers=1).loader("test")
    draw(Path(dataset.split("test")[0].path), 1)
    Path(dataset.split("test")[0].path).write_bytes(b"gone bad")
    with pytest.raises(OSError, match="not an image"):
        list(loader)

"""The images of one split as batches: read or taken from the cache, augmented, normalised."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors

from zdd.data.cache import ImageCache
from zdd.data.masks import Masks
from zdd.data.planted import plant
from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Batch, Record

Key = tuple[int, int]  # epoch, position in the split


class Images(TorchDataset[Batch]):
    """Batches by lists of keys; a sampler hands out the keys, so that a worker knows the epoch.

    Args:
        records: The split's images, in order.
        preprocess: From file to pixels.
        cache: Where decoded pixels are kept, a row for each record, or None.
        augment: From (3, H, W) uint8 to the same, or None; with masks it is called on an image and its mask.
        seed: With epoch and position it decides an image's augmentation, whatever the number of workers.
        masks: What makes the masks that batches carry, or None.
    """

    def __init__(
        self,
        records: Sequence[Record],
        preprocess: Preprocess,
        cache: ImageCache | None,
        augment: Callable[..., Tensor] | None = None,
        *,
        seed: int = 0,
        masks: Masks | None = None,
    ) -> None:
        self.records = records
        self.preprocess = preprocess
        self.cache = cache
        self.augment = augment
        self.seed = seed
        self.masks = masks

    def __len__(self) -> int:
        return len(self.records)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch: the DataLoader asks for it at once."""
        pixels = np.empty((len(keys), *self.preprocess.size, 3), np.uint8)
        masks = np.zeros((len(keys), 1, *self.preprocess.size), np.uint8) if self.masks else None
        for position, (epoch, index) in enumerate(keys):
            image, mask = self._one(epoch, index)
            pixels[position] = image
            if masks is not None and mask is not None:
                masks[position, 0] = mask
        batch: Batch = {
            "image": torch.from_numpy(self.preprocess.normalise(pixels)),
            "label": torch.tensor([self.records[index].label for _, index in keys], dtype=torch.int64),
            "index": torch.tensor([index for _, index in keys], dtype=torch.int64),
        }
        if masks is not None:
            batch["mask"] = torch.from_numpy(masks)
        return batch

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """The fitted image before augmentation, (H, W, 3) uint8."""
        kept = self.cache.get(index) if self.cache else None
        if kept is not None:
            return kept
        fresh = self.preprocess.load(self.records[index].path)
        if self.cache:
            self.cache.put(index, fresh)
        return fresh

    def _one(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        pixels, mask = self.pixels(index), None
        if self.masks:
            mask = self.masks.of(self.records[index])
        if self.augment is None:
            return pixels, mask
        image = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)
        # The model's own random numbers go on undisturbed; v2's transforms draw from the CPU's generator alone.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(self.seed, epoch, index))
            if mask is None or (mask == UNKNOWN).any():  # what is not known stays so, wherever it moves
                return self.augment(image).permute(1, 2, 0).numpy(), mask
            both = self.augment(tv_tensors.Image(image), tv_tensors.Mask(torch.from_numpy(mask)[None]))
        return both[0].permute(1, 2, 0).numpy(), both[1][0].numpy()


class PlantedImages(Images):
    """The same images, none of them augmented, each with an anomaly that its position and the seed decide."""

    def _one(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:  # noqa: ARG002
        return plant(self.pixels(index), seed_of(self.seed, index))


def seed_of(*numbers: int) -> int:
    """One 63-bit seed of several numbers, none of which shines through."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))

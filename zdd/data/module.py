"""From records to loaders."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import distributed
from torch.utils.data import DataLoader

from zdd.data import augment
from zdd.data.cache import ImageCache
from zdd.data.dataset import Dataset
from zdd.data.images import Images, PlantedImages
from zdd.data.look import processors
from zdd.data.masks import Masks
from zdd.data.sampler import Batches
from zdd.errors import ZddError
from zdd.preprocess import Preprocess
from zdd.records import Batch, Record, Split
from zdd.settings import Config

FEW = 500  # cached images that are augmented sooner than workers are started and fed
MOST_WORKERS = 4


class DataModule(pl.LightningDataModule):
    """The loaders of a data set. Lightning's own distributed sampler must be off: this one splits batches itself.

    Args:
        dataset: Records in their splits.
        preprocess: From file to pixels.
        config: Its `augmentation`, `batch_size`, `loader`, `seed` and `dataset.mirror_safe` are read.
        masks: Whether training batches carry masks.

    Raises:
        ZddError: If an augmentation can't move masks along.
    """

    def __init__(self, dataset: Dataset, preprocess: Preprocess, config: Config, *, masks: bool = False) -> None:
        super().__init__()
        self.dataset = dataset
        self.preprocess = preprocess
        self.config = config
        self.masks = masks
        self._masks = Masks(preprocess, dataset.mask_values)
        settings, hashes = config.loader, [record.sha256 for record in dataset.records]
        self._cache = ImageCache(hashes, preprocess, limit_gb=settings.cache_gb) if settings.cache else None
        self._augment = augment.build(config.augmentation, mirror_safe=config.dataset.mirror_safe)
        if masks:
            augment.check_masks(self._augment, config)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Augmented training images, in another order every epoch."""
        return self._loader("train", self.config.batch_size, train=True, masks=self.masks)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation images in order."""
        return self.loader("val", masks=self.masks)

    def loader(self, split: Split, *, batch_size: int | None = None, masks: bool = False) -> DataLoader[Batch]:
        """One split's images in the records' order, without augmentation."""
        return self._loader(split, batch_size or self.config.batch_size, train=False, masks=masks)

    def loader_of(self, records: Sequence[Record], *, masks: bool = False) -> DataLoader[Batch]:
        """Any images, in the order given, as a test sees them; none of them is kept in the cache."""
        return self._once(Images(records, self.preprocess, None, masks=self._masks if masks else None))

    def planted(self, records: Sequence[Record]) -> DataLoader[Batch]:
        """Images with an anomaly planted in each, the same ones every time, and masks of what was planted."""
        return self._once(PlantedImages(records, self.preprocess, None, seed=self.config.seed, masks=self._masks))

    def _once(self, images: Images) -> DataLoader[Batch]:
        records = images.records
        batches = Batches(len(records), self.config.batch_size, shuffle=False)
        workers = min(self._workers(images, 1), -(-len(records) // self.config.batch_size))
        return DataLoader(
            images,
            batch_sampler=batches,
            num_workers=workers if self.config.loader.workers is None else self.config.loader.workers,
            collate_fn=_whole,  # type: ignore[arg-type]  # as below
            worker_init_fn=_one_thread,
        )

    def _loader(self, split: Split, batch_size: int, *, train: bool, masks: bool) -> DataLoader[Batch]:
        where = [i for i, record in enumerate(self.dataset.records) if record.split == split]
        records, settings, seed = self.dataset.split(split), self.config.loader, self.config.seed
        rank, world = (distributed.get_rank(), distributed.get_world_size()) if _distributed() else (0, 1)
        if batch_size % world:
            raise ZddError(f"batch_size = {batch_size}: must be a multiple of the {world} processes that share a step")
        cache = self._cache.part(where) if self._cache else None
        made = self._masks if masks else None
        images = Images(records, self.preprocess, cache, self._augment if train else None, seed=seed, masks=made)
        batches = Batches(len(records), batch_size, shuffle=train, seed=seed, rank=rank, world=world)
        workers = settings.workers if settings.workers is not None else self._workers(images, world)
        return DataLoader(
            images,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=_whole,  # type: ignore[arg-type]  # torch has no type for __getitems__ that makes the batch itself
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=_one_thread,
            generator=torch.Generator(),  # of its own: each new epoch draws from it, else from the model's
        )

    def _workers(self, images: Images, world: int) -> int:
        """None for what is cached and not augmented, or few; else one a core, up to four, with a core left."""
        if images.cache and images.cache.full() and (images.augment is None or len(images) <= FEW):
            return 0
        return max(0, min(MOST_WORKERS, processors() // world - 1))


def _distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _whole(batch: Batch) -> Batch:
    """`Images` makes whole batches: nothing is left to collate."""
    return batch


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)  # workers are what runs side by side

"""Which images make up which batch, in every epoch and on every process."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from zdd.data.images import Key


class Batches(Sampler[list[Key]]):
    """Lists of (epoch, index). Lightning calls `set_epoch`; the order depends on the seed and the epoch alone.

    `batch_size` is the whole step's: of each batch, process r of W takes images r, r + W, r + 2 W, ... Training
    (`shuffle`) leaves out the last n % W images of an epoch's order, and adds a last batch of one image a process to
    the batch before it, since batch norm can't learn from one image. Evaluation keeps the order and repeats the last
    image until every process has as many.

    Args:
        n: Images of the split.
        batch_size: Images a step over all processes.
        shuffle: Whether this is training.
        seed: Of the order.
        rank: This process.
        world: Number of processes.
    """

    def __init__(self, n: int, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        self.n = n
        self.batch_size = max(batch_size, world)
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    @property
    def sampler(self) -> "Batches":
        """Itself: Lightning looks here for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[list[Key]]:
        order, epoch = self._order(), self.epoch
        starts = self._starts()
        for start, end in itertools.pairwise([*starts, len(order)]):
            yield [(epoch, int(index)) for index in order[start + self.rank : end : self.world]]

    @property
    def _total(self) -> int:
        if self.shuffle:
            return self.n - self.n % self.world
        return math.ceil(self.n / self.world) * self.world

    def _starts(self) -> range:
        batches = math.ceil(self._total / self.batch_size)
        last = self._total - (batches - 1) * self.batch_size
        if self.shuffle and batches > 1 and last <= self.world < self.batch_size:
            batches -= 1
        return range(0, batches * self.batch_size, self.batch_size)

    def _order(self) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.n)
            return order[: self._total]
        return np.minimum(np.arange(self._total), self.n - 1)

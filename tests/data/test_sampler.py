"""Which image is in which batch, on one process and on several."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zdd.data.sampler import Batches


def epoch(batches: Batches, number: int = 0) -> list[list[int]]:
    batches.set_epoch(number)
    result = list(batches)
    assert len(result) == len(batches)
    assert all(e == number for batch in result for e, _ in batch)
    return [[index for _, index in batch] for batch in result]


def test_evaluation_keeps_the_order_and_the_short_last_batch() -> None:
    assert epoch(Batches(7, 3, shuffle=False)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_training_sees_every_image_once_in_another_order_each_epoch() -> None:
    batches = Batches(11, 4, shuffle=True, seed=5)
    first, second = epoch(batches, 0), epoch(batches, 1)
    assert sorted(itertools.chain(*first)) == list(range(11))
    assert [len(b) for b in first] == [4, 4, 3]
    assert first != second
    assert epoch(batches, 0) == first  # by the epoch's number alone, not by how many went before
    assert epoch(Batches(11, 4, shuffle=True, seed=6), 0) != first


def test_a_last_training_batch_of_one_joins_the_one_before() -> None:
    """Batch norm refuses to learn from one value a channel."""
    assert [len(b) for b in epoch(Batches(9, 4, shuffle=True))] == [4, 5]
    assert [len(b) for b in epoch(Batches(9, 4, shuffle=False))] == [4, 4, 1]
    assert [len(b) for b in epoch(Batches(3, 1, shuffle=True))] == [1, 1, 1]  # as asked
    assert [len(b) for b in epoch(Batches(1, 4, shuffle=True))] == [1]
    assert [len(b) for b in epoch(Batches(10, 4, shuffle=True, world=2))] == [2, 3]  # one image on each of two


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 4), st.booleans(), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_processes_share_every_step_of_one_process(n: int, each: int, world: int, shuffle: bool, seed: int) -> None:
    size = each * world
    ranks = [epoch(Batches(n, size, shuffle=shuffle, seed=seed, rank=r, world=world)) for r in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    for step in zip(*ranks, strict=True):
        assert len({len(batch) for batch in step}) == 1
    seen = [index for batches in ranks for batch in batches for index in batch]
    if shuffle:
        assert len(set(seen)) == len(seen) == n - n % world
    else:
        assert set(seen) == set(range(n)) and len(seen) - n < world
    whole = epoch(Batches(n, size, shuffle=shuffle, seed=seed))
    joined = [[step[i % world][i // world] for i in range(len(step[0]) * world)] for step in zip(*ranks, strict=True)]
    if n % world == 0 and [len(b) for b in joined] == [len(b) for b in whole]:
        assert joined == whole  # rank r takes images r::W of each batch


def test_evaluation_repeats_the_last_image_until_all_processes_have_as_many() -> None:
    ranks = [epoch(Batches(7, 6, shuffle=False, rank=rank, world=3)) for rank in range(3)]
    assert ranks == [[[0, 3], [6]], [[1, 4], [6]], [[2, 5], [6]]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_no_images_no_batches(shuffle: bool) -> None:
    assert epoch(Batches(0, 4, shuffle=shuffle)) == []


def test_lightning_finds_set_epoch() -> None:
    from lightning_fabric.utilities.data import _set_sampler_epoch
    from torch.utils.data import DataLoader

    batches = Batches(5, 2, shuffle=True)
    _set_sampler_epoch(DataLoader(list(range(5)), batch_sampler=batches), 7)
    assert batches.epoch == 7

"""Splits: seeded, stratified, never through a group, the same whatever the order of the files."""

from collections import Counter, defaultdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zdd.data import split as splitting
from zdd.data.found import Found
from zdd.errors import ZddError
from zdd.records import SPLITS

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


@st.composite
def parts(draw: st.DrawFn) -> list[tuple[str, str]]:
    """(group, class) of each image; each group is of one class."""
    sizes = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), min_size=1, max_size=40))
    return [(f"g{i}", label) for i, (label, n) in enumerate(sizes) for _ in range(n)]


@given(parts(), st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_groups_stay_whole_and_shares_are_kept(images: list[tuple[str, str]], seed: int) -> None:
    groups, labels = [g for g, _ in images], [c for _, c in images]
    result = splitting.assign(groups, labels, SHARES, seed)
    where = defaultdict(set)
    for group, split in zip(groups, result, strict=True):
        where[group].add(split)
    assert all(len(splits) == 1 for splits in where.values())
    for label in set(labels):
        total = labels.count(label)
        mine = Counter(split for split, other in zip(result, labels, strict=True) if other == label)
        largest = max(Counter(g for g, c in images if c == label).values())
        n_groups = len({g for g, c in images if c == label})
        for split, share in SHARES.items():
            assert mine[split] - share * total < largest  # over its share by less than the largest group
        assert mine["train"] > 0
        assert len([s for s in SPLITS if mine[s]]) == min(3, n_groups)  # everywhere, where there are enough groups


@given(parts(), st.integers(0, 100), st.randoms())
@settings(max_examples=50, deadline=None)
def test_the_order_of_files_does_not_matter(images: list[tuple[str, str]], seed: int, random: Random) -> None:
    shuffled = list(enumerate(images))
    random.shuffle(shuffled)
    straight = splitting.assign([g for g, _ in images], [c for _, c in images], SHARES, seed)
    mixed = splitting.assign([g for _, (g, _) in shuffled], [c for _, (_, c) in shuffled], SHARES, seed)
    assert mixed == [straight[i] for i, _ in shuffled]


@given(
    st.lists(st.tuples(st.sampled_from("pqrst"), st.sampled_from("abc")), min_size=1, max_size=30), st.integers(0, 99)
)
@settings(max_examples=50, deadline=None)
def test_a_group_of_several_classes_stays_whole(images: list[tuple[str, str]], seed: int) -> None:
    result = splitting.assign([g for g, _ in images], [c for _, c in images], SHARES, seed)
    assert len({(g, s) for (g, _), s in zip(images, result, strict=True)}) == len({g for g, _ in images})


@given(st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_a_rare_class_in_mixed_groups_is_everywhere(seed: int) -> None:
    """Parts 0, 1 and 2 have a dent and four good sides each; what places the good sides must not move the dents."""
    images = [(f"p{i}", "good") for i in range(30) for _ in range(4)] + [(f"p{i}", "dent") for i in range(3)]
    result = splitting.assign([g for g, _ in images], [c for _, c in images], SHARES, seed)
    assert {split for (_, c), split in zip(images, result, strict=True) if c == "dent"} == set(SPLITS)


def test_single_images_meet_the_shares_to_one() -> None:
    names = [f"i{i}" for i in range(200)]
    result = Counter(splitting.assign(names, ["a"] * 200, SHARES, 3))
    assert all(abs(result[split] - share * 200) <= 1 for split, share in SHARES.items())


def test_the_seed_changes_the_split_and_one_more_image_hardly() -> None:
    names = [f"i{i}" for i in range(100)]
    first = splitting.assign(names, ["a"] * 100, SHARES, 0)
    assert splitting.assign(names, ["a"] * 100, SHARES, 0) == first
    assert splitting.assign(names, ["a"] * 100, SHARES, 1) != first
    more = splitting.assign([*names, "new"], ["a"] * 101, SHARES, 0)[:100]
    assert sum(a != b for a, b in zip(first, more, strict=True)) < 30  # a shuffle would move about half


def complete(given: list, n: int, val: float = 0.2, test: float = 0.2) -> list:
    return splitting.complete(given, [f"i{i}" for i in range(n)], ["a"] * n, val, test, 0)


def test_what_the_data_says_stands() -> None:
    given = ["train", "test", "val", "train"]
    assert complete(given, 4) == given


def test_missing_validation_comes_from_training_alone() -> None:
    result = complete(["train"] * 10 + ["test"] * 5, 15)
    assert result[10:] == ["test"] * 5
    assert Counter(result[:10]) == {"train": 8, "val": 2}


def test_training_alone_gives_validation_and_test() -> None:
    assert Counter(complete(["train"] * 20, 20)) == {"train": 12, "val": 4, "test": 4}


def test_no_test_images_when_none_are_asked_for() -> None:
    assert Counter(complete([None] * 10, 10, test=0.0)) == {"train": 8, "val": 2}


@pytest.mark.parametrize(
    ("given", "val", "why"),
    [
        ([None, "train"], 0.2, "some images have a split of their own"),
        (["test", "val"], 0.2, "no training images"),
        ([None, None], 0.8, "leave nothing to train on"),
    ],
)
def test_impossible_splits(given: list, val: float, why: str) -> None:
    with pytest.raises(ZddError, match=why):
        complete(given, 2, val=val)


def test_groups_from_file_names() -> None:
    found = [Found("/set/good/part 7_a.png", "good"), Found("/set/good/part 7_b.png", "good", group="own")]
    assert [f.group for f in splitting.with_groups(found, r"part (\d+)_")] == ["7", "own"]
    assert [f.group for f in splitting.with_groups(found, r"\d")] == ["7", "own"]  # no bracket: the whole match
    assert splitting.with_groups(found, None) == found
    with pytest.raises(ZddError, match=r"dataset.group = \"q\(\.\)\": matches no part of 1 file names: part 7_a.png"):
        splitting.with_groups(found, "q(.)")
    with pytest.raises(ZddError, match="not a regular expression"):
        splitting.with_groups(found, "(")


def test_a_synthetic_image_stays_with_its_parent() -> None:
    found = [
        Found("/a", "good", group="7"),
        Found("/b", "good"),
        Found("/c", "bad", parent="/a"),
        Found("/d", "bad", parent="/c"),  # made from one that was made
        Found("/e", "bad", parent="/elsewhere"),
    ]
    assert splitting.group_keys(found, ["a", "b", "c", "d", "e"]) == ["g:7", "i:b", "g:7", "g:7", "i:e"]


def test_a_synthetic_group_joins_the_groups_of_all_its_parents() -> None:
    found = [
        Found("/a", "good", group="1"),
        Found("/b", "good", group="2"),
        Found("/x", "bad", group="made", parent="/a"),
        Found("/y", "bad", group="made", parent="/b"),
        Found("/c", "good", group="3"),
    ]
    keys = splitting.group_keys(found, list("abxyc"))
    assert len(set(keys[:4])) == 1
    assert keys[4] not in keys[:4]


def test_parents_in_a_ring_stay_together() -> None:
    found = [Found("/a", "good", parent="/b"), Found("/b", "good", parent="/a")]
    assert len(set(splitting.group_keys(found, ["a", "b"]))) == 1


def test_torn_groups_are_found() -> None:
    assert splitting.straddling(["g:1", "g:1", "g:2"], ["test", "train", "val"]) == {"1": ["train", "test"]}

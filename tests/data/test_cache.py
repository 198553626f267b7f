"""A second epoch decodes nothing; whatever happens to the file, no wrong pixel comes out of it."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from small_sets import small_preprocess

from zdd.data.cache import ImageCache, make_room

N, SIZE = 6, (16, 20)
HASHES = [f"{i:064x}" for i in range(N)]
ROW = 16 * 20 * 3


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (*SIZE, 3), np.uint8)


def new(folder: Path, hashes: list[str] = HASHES, limit_gb: float = 1.0, size: tuple[int, int] = SIZE) -> ImageCache:
    return ImageCache(hashes, small_preprocess(size), limit_gb=limit_gb, folder=folder)


def filled(folder: Path) -> ImageCache:
    cache = new(folder)
    for i in range(N):
        cache.put(i, pixels(i))
    return cache


def file_of(folder: Path) -> Path:
    (path,) = folder.glob("*.images")
    return path


def same(a: np.ndarray | None, b: np.ndarray) -> bool:
    return a is not None and a.shape == b.shape and bool((a == b).all())


def test_what_is_put_is_got_by_any_process(tmp_path: Path) -> None:
    cache = new(tmp_path)
    assert all(cache.get(i) is None for i in range(N)) and not cache.full()
    cache.put(2, pixels(2))
    assert same(cache.get(2), pixels(2)) and cache.get(3) is None and not cache.full()
    again = filled(tmp_path)
    assert same(new(tmp_path).get(5), pixels(5))
    assert again.full() and cache.full()  # one file


def test_black_images_are_kept_too(tmp_path: Path) -> None:
    black = np.zeros((*SIZE, 3), np.uint8)
    cache = new(tmp_path)
    cache.put(0, black)
    assert same(cache.get(0), black)


def test_the_key_is_the_content_not_the_order(tmp_path: Path) -> None:
    filled(tmp_path)
    assert same(new(tmp_path, HASHES[::-1]).get(0), pixels(N - 1))
    assert new(tmp_path, HASHES[:3]).get(0) is None  # another set
    assert new(tmp_path, size=(20, 16)).get(0) is None  # another preprocessing
    twins = new(tmp_path / "twins", [HASHES[0], HASHES[1], HASHES[0]])
    twins.put(0, pixels(0))
    assert same(twins.get(2), pixels(0)) and len(twins) == 2


def test_a_part_reads_the_same_file(tmp_path: Path) -> None:
    part = filled(tmp_path).part([4, 1])
    assert same(part.get(0), pixels(4)) and same(part.get(1), pixels(1)) and part.full()


def test_a_row_without_its_checksum_does_not_count(tmp_path: Path) -> None:
    """The flag is written last: a process that was killed in between leaves bytes and no flag."""
    filled(tmp_path)
    with file_of(tmp_path).open("r+b") as file:
        file.seek(4 * 3)
        file.write(bytes(4))
    cache = new(tmp_path)
    assert cache.get(3) is None and same(cache.get(4), pixels(4)) and not cache.full()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    with file_of(tmp_path).open("r+b") as file:
        file.seek(4096 + 2 * ROW + 7)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    assert cache.get(2) is None and same(cache.get(1), pixels(1))
    cache.put(2, pixels(2))
    assert same(cache.get(2), pixels(2))


@pytest.mark.parametrize("length", [0, 10, 4096 + ROW])
def test_a_truncated_file_is_made_anew_even_while_it_is_open(tmp_path: Path, length: int) -> None:
    cache = filled(tmp_path)
    os.truncate(file_of(tmp_path), length)
    assert all(cache.get(i) is None for i in range(N))  # touching the map there would kill the process
    cache.put(1, pixels(1))
    assert same(cache.get(1), pixels(1))
    os.truncate(file_of(tmp_path), length)
    assert new(tmp_path).get(1) is None


def test_a_file_that_is_cut_short_while_it_is_read_kills_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(tmp_path)
    whole = file_of(tmp_path).stat()
    os.truncate(file_of(tmp_path), 0)
    monkeypatch.setattr("zdd.data.cache.os.fstat", lambda number: whole)  # cut just after this look
    process = multiprocessing.get_context("fork").Process(target=_nothing_is_there, args=(cache,))
    process.start()
    process.join(200)
    assert process.exitcode == 0


def _nothing_is_there(cache: ImageCache) -> None:
    assert not cache.full() and all(cache.get(i) is None for i in range(N))


def test_a_deleted_file_may_go_on_and_is_made_anew_later(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    file_of(tmp_path).unlink()
    assert same(cache.get(0), pixels(0))  # who has it open goes on
    other = new(tmp_path)
    assert other.get(0) is None
    other.put(0, pixels(0))
    assert same(new(tmp_path).get(0), pixels(0))


def test_what_does_not_fit_is_not_kept(tmp_path: Path) -> None:
    cache = new(tmp_path, limit_gb=(4096 + 3 * (ROW + 4)) / 1e9)
    for i in range(N):
        cache.put(i, pixels(i))
    assert [cache.get(i) is not None for i in range(N)] == [True] * 3 + [False] * 3
    assert not cache.full() and file_of(tmp_path).stat().st_size <= 4096 + 3 * (ROW + 4)
    nothing = new(tmp_path / "none", limit_gb=1e-6)
    nothing.put(0, pixels(0))
    assert nothing.get(0) is None and not (tmp_path / "none").exists()


def test_the_files_used_least_recently_make_room(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "older", "oldest", "mine")):
        path = tmp_path / f"{name}.images"
        path.write_bytes(bytes(8192))
        os.utime(path, (time.time() - 100 * age,) * 2)
    make_room(tmp_path, 2 * 8192, keep=tmp_path / "mine.images")
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["mine", "new", "older"]


def test_a_folder_that_can_not_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = new(tmp_path / "file" / "cache")
    for i in range(N):
        cache.put(i, pixels(i))
        assert cache.get(i) is None
    assert capsys.readouterr().err.count("can't be used") == 1


def _fill(folder: str, start: int) -> None:
    cache = new(Path(folder))
    for k in range(200):
        i = (start + k) % N
        got = cache.get(i)
        assert got is None or same(got, pixels(i))
        cache.put(i, pixels(i))


def test_processes_may_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(str(tmp_path), start)) for start in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(200)
        assert worker.exitcode == 0
    assert all(same(new(tmp_path).get(i), pixels(i)) for i in range(N))
    assert [p.suffix for p in tmp_path.iterdir()] == [".images"]  # nothing half-made is left

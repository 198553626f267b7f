"""Decoded, fitted images on disk, so that a second epoch decodes nothing.

One file for each pair of preprocessing and set of images: a CRC-32 for each row, then the rows, fixed in size. A row
counts only once its CRC stands, which is written after its bytes, and only if the bytes have that CRC: what a crash, a
full disk or another hand left behind is decoded again. Processes may share a file: the worst race decodes an image
twice. The file is sparse, may be deleted at any time (who has it open goes on with it), and the files that were used
least recently make room for new ones.
"""

import copy
import hashlib
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from rich.console import Console

from zdd.data.folders import cache_folder
from zdd.preprocess import Preprocess

_VERSION = 1
_PAGE = 4096
_CRC = 4  # bytes
_SUFFIX = ".images"


class ImageCache:
    """Rows of (H, W, 3) uint8, one for each distinct image.

    It opens its file late, so that it can be handed to workers; where the folder can't be
    written, it holds nothing and says so once.

    Args:
        sha256: Of each record; equal images share a row.
        preprocess: What makes the pixels.
        limit_gb: Size of the whole cache folder; rows beyond it are not kept.
        folder: Where to keep the file; the cache folder by default.
    """

    def __init__(
        self, sha256: Sequence[str], preprocess: Preprocess, *, limit_gb: float, folder: Path | None = None
    ) -> None:
        distinct, rows = np.unique(np.array(sha256, dtype="S64"), return_inverse=True)
        self._rows: NDArray[np.int64] = rows
        self._shape = (*preprocess.size, 3)
        self._row_bytes = int(np.prod(self._shape))
        self._limit = int(limit_gb * 1e9)
        self._capacity = min(len(distinct), max(0, self._limit - _PAGE) // (self._row_bytes + _CRC))
        self._start = -(-self._capacity * _CRC // _PAGE) * _PAGE
        key = hashlib.sha256(f"{_VERSION} {PIL.__version__} {preprocess.hash()} {self._capacity}".encode())
        key.update(distinct.tobytes())
        self._path = (folder or cache_folder() / "images") / f"{key.hexdigest()[:32]}{_SUFFIX}"
        self._open: int | None = None
        self._broken = self._capacity == 0

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": None}  # a process that was not forked opens the file itself

    def __len__(self) -> int:
        """Rows that may be kept."""
        return self._capacity

    def part(self, indices: Sequence[int]) -> "ImageCache":
        """The same file, for some of the records: index i of the part is record `indices[i]`."""
        part = copy.copy(self)
        part._rows = self._rows[np.asarray(indices, np.int64)]
        part._open = None
        return part

    @property
    def size(self) -> int:
        """Bytes of the full file."""
        return self._start + self._capacity * self._row_bytes

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """The pixels of a record, (H, W, 3) uint8, read-only; None if they are not kept or not whole."""
        row, file = int(self._rows[index]), self._file()
        if file is None or row >= self._capacity:
            return None
        try:
            # Read, not mapped: a file that was cut short, or a full disk in memory (/dev/shm), would kill the process.
            if os.fstat(file).st_size != self.size:
                self._forget()
                return None
            crc = int.from_bytes(os.pread(file, _CRC, row * _CRC), "little")
            if not crc:
                return None
            data = os.pread(file, self._row_bytes, self._start + row * self._row_bytes)
        except OSError:
            return None
        if len(data) != self._row_bytes:
            return None
        return np.frombuffer(data, np.uint8).reshape(self._shape) if _crc(data) == crc else None

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Keep the pixels of a record, if there is room."""
        row, file = int(self._rows[index]), self._file()
        if file is None or row >= self._capacity or pixels.shape != self._shape:
            return
        data = pixels.tobytes()
        try:
            _write(file, data, self._start + row * self._row_bytes)
            _write(file, _crc(data).to_bytes(_CRC, "little"), row * _CRC)
        except OSError as error:
            self._give_up(error)

    def full(self) -> bool:
        """Whether the pixels of all records seem to be there already."""
        file = self._file()
        if file is None or self._capacity <= int(self._rows.max(initial=-1)):
            return False
        there = os.pread(file, self._start, 0)
        return len(there) == self._start and bool(np.frombuffer(there, np.uint32)[self._rows].all())

    def _file(self) -> int | None:
        if self._broken:
            return None
        if self._open is None:
            try:
                self._open = self._opened()
            except OSError as error:
                self._give_up(error)
        return self._open

    def _opened(self) -> int:
        if not (self._path.is_file() and self._path.stat().st_size == self.size):
            self._make()
        os.utime(self._path)  # last use, by which old files are thrown away
        return os.open(self._path, os.O_RDWR)

    def _make(self) -> None:
        """Make the file under another name first, so that nobody opens it half-made; the second takes the first's."""
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        make_room(folder, self._limit - self.size, keep=self._path)
        temporary = folder / f".{self._path.name}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            with temporary.open("wb") as file:
                file.truncate(self.size)
            if self._path.is_file() and self._path.stat().st_size != self.size:
                self._path.unlink(missing_ok=True)  # damaged
            if not self._path.is_file():
                temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def _forget(self) -> None:
        if self._open is not None:
            os.close(self._open)
        self._open = None

    def _give_up(self, error: OSError) -> None:
        self._forget()
        self._broken = True
        Console(stderr=True, soft_wrap=True).print(
            f"the image cache {self._path.parent} can't be used: {error}", style="yellow", markup=False
        )


def make_room(folder: Path, room: int, *, keep: Path) -> None:
    """Throw away cache files, least recently used first, until those left take at most `room` bytes of the disk."""
    files = []
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            state = path.stat()
        except OSError:
            continue  # another process threw it away
        if path != keep:
            files.append((state.st_mtime_ns, getattr(state, "st_blocks", state.st_size // 512) * 512, path))
    taken = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if taken <= room:
            return
        path.unlink(missing_ok=True)
        taken -= size


def _write(number: int, data: bytes, offset: int) -> None:
    while data:
        n = os.pwrite(number, data, offset)
        data, offset = data[n:], offset + n


def _crc(data: bytes) -> int:
    return zlib.crc32(data) or 1  # 0 means that nothing is there

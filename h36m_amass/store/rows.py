"""Rows of a store's positions, and the three ways of reading them.

Uncompressed rows take one system call per window, straight into the caller's memory. Nothing is mapped, so a file that
is cut short gives an error, not a signal. At a URL all requested ranges are fetched at the same time. HDF5 reads rows
that are compressed, or that another program wrote.
"""

from __future__ import annotations

import atexit
import os
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from itertools import accumulate, groupby
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

import h5py
import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.files.paths import FileVersion, Location, UrlError, is_url, joined, shown
from h36m_amass.store.errors import StoreError
from h36m_amass.store.extents import NEVER, Extents
from h36m_amass.store.open_file import LocalFile, check_same, fetch_ranges, open_file

if TYPE_CHECKING:
    from upath import UPath

Frames: TypeAlias = Float32[np.ndarray, "frames joints 3"]
Runs: TypeAlias = Int[np.ndarray, "runs"]
SECONDS_UNCHECKED = 10.0  # between two looks at whether a file at a URL is still the same
FEW = 8  # runs, which are read sooner one by one than their pieces are computed together
BYTES_AT_ONCE = 2**26  # that are fetched from a URL at the same time
CACHED_BYTES, CACHE_SLOTS = 2**25, 10007
"""Bytes and slots of HDF5's cache of decoded chunks, per process; slots should be prime and well above the chunks."""


class FrameReader(ABC):
    """Reads rows for many threads, pickled or forked, or raises `StoreError`: damaged, or another file than it was."""

    def __init__(self, path: Location, version: FileVersion) -> None:
        self._path, self._version = path, version
        self._opened: Any = None
        self._opening = Lock()

    @abstractmethod
    def read_into(self, start: int, frames: Frames) -> None:
        """Fill the contiguous array `frames` with the rows from `start` on."""

    def read_runs(self, starts: Runs, frames: Frames, begins: Runs, ends: Runs) -> None:
        """Fill ``frames[begin:end]`` of each run with the rows from its start on."""
        for start, begin, end in zip(starts.tolist(), begins.tolist(), ends.tolist(), strict=True):
            self.read_into(start, frames[begin:end])

    def close(self) -> None:
        """Close the file, once nobody reads from it any more; it opens again when rows are read."""
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None, "_opening": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _opening=Lock())


class RawFrameReader(FrameReader):
    """Reads rows from the extents where they lie in a file of this machine."""

    def __init__(self, path: Path, version: FileVersion, frame_shape: tuple[int, ...], extents: Extents) -> None:
        super().__init__(path, version)
        self._row_bytes, self._extents = int(np.prod(frame_shape)) * 4, extents
        # For single windows: to look one number up in an array takes several times as long.
        self._lists = [*extents.first_rows.tolist(), NEVER], extents.offsets.tolist()

    def read_into(self, start: int, frames: Frames) -> None:
        file = self._opened or self._open()
        first_rows, offsets = self._lists
        buffer, extent = _memory_of(frames), bisect_right(first_rows, start) - 1
        try:
            while len(buffer):
                piece = buffer[: (first_rows[extent + 1] - start) * self._row_bytes]
                offset = offsets[extent] + (start - first_rows[extent]) * self._row_bytes
                count = os.preadv(file.descriptor, [piece], offset)
                if count != len(piece):
                    self._read_rest(file, piece[count:], offset + count)
                buffer, start, extent = buffer[len(piece) :], first_rows[extent + 1], extent + 1
        except OSError as error:
            raise StoreError(f"cannot be read ({error.strerror})", self._path) from error

    def read_runs(self, starts: Runs, frames: Frames, begins: Runs, ends: Runs) -> None:
        if len(starts) <= FEW:
            super().read_runs(starts, frames, begins, ends)
            return
        file = self._opened or self._open()
        descriptor, buffer, preadv = file.descriptor, _memory_of(frames), os.preadv
        try:
            for columns in self._extents.pieces(self._row_bytes, starts, begins, ends):
                for offset, first, last in zip(*(column.tolist() for column in columns), strict=True):
                    count = preadv(descriptor, [buffer[first:last]], offset)
                    if count != last - first:
                        self._read_rest(file, buffer[first + count : last], offset + count)
        except OSError as error:
            raise StoreError(f"cannot be read ({error.strerror})", self._path) from error

    def _read_rest(self, file: LocalFile, buffer: memoryview, offset: int) -> None:
        """Go on where the system has returned less than requested."""
        while len(buffer):
            count = os.preadv(file.descriptor, [buffer], offset)
            if not count:
                raise StoreError("was cut short while it was open; build it again", self._path)
            buffer, offset = buffer[count:], offset + count

    def _open(self) -> Any:
        """The file, which stays open for as long as it is held."""
        with self._opening:
            # A fork's copy of the descriptor serves as well: nothing is shared but the file itself.
            self._opened = file = self._opened or open_file(self._path, self._version)
            return file


class UrlFrameReader(FrameReader):
    """Reads rows from the extents where they lie in a file at a URL. Ranges close together are one request."""

    def __init__(self, path: UPath, version: FileVersion, frame_shape: tuple[int, ...], extents: Extents) -> None:
        super().__init__(path, version)
        self._url, self._row_bytes, self._extents = path, int(np.prod(frame_shape)) * 4, extents

    def read_into(self, start: int, frames: Frames) -> None:
        self.read_runs(np.array([start]), frames, np.array([0]), np.array([len(frames)]))

    def read_runs(self, starts: Runs, frames: Frames, begins: Runs, ends: Runs) -> None:
        pieces = list(self._extents.pieces(self._row_bytes, starts, begins, ends))
        if not frames.size or not pieces:
            return
        offsets, firsts, lasts = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.argsort(offsets, kind="stable")
        order = order[(lasts > firsts)[order]]
        offsets, firsts, lasts = offsets[order], firsts[order], lasts[order]
        reach = np.maximum.accumulate(offsets + lasts - firsts)
        ranges = list(joined(offsets.tolist(), reach.tolist()))
        buffer = _memory_of(frames)
        if self._opened is None or time.monotonic() - self._opened >= SECONDS_UNCHECKED:
            check_same(self._url, self._version)
            self._opened = time.monotonic()
        sizes = accumulate(int(reach[stop - 1] - offsets[begin]) for begin, stop in ranges)
        for _, numbered in groupby(zip(sizes, ranges, strict=True), lambda pair: pair[0] // BYTES_AT_ONCE):
            batch = [bounds for _, bounds in numbered]
            contents = fetch_ranges(self._url, [(int(offsets[begin]), int(reach[stop - 1])) for begin, stop in batch])
            for (begin, stop), content in zip(batch, contents, strict=True):
                columns = offsets[begin:stop] - offsets[begin], firsts[begin:stop], lasts[begin:stop]
                for offset, first, last in zip(*(column.tolist() for column in columns), strict=True):
                    buffer[first:last] = content[offset : offset + last - first]


class Hdf5FrameReader(FrameReader):
    """Reads rows of the dataset `name` through HDF5, which keeps `CACHED_BYTES` of decoded chunks per process."""

    def __init__(self, path: Location, version: FileVersion, name: str) -> None:
        super().__init__(path, version)
        self._name = name

    def read_into(self, start: int, frames: Frames) -> None:
        try:
            positions = self._open().id
            rows, memory = positions.get_space(), h5py.h5s.create_simple(frames.shape)
            rows.select_hyperslab((start, 0, 0), frames.shape)
            positions.read(memory, rows, frames)
        except (StoreError, UrlError):
            raise
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise StoreError(f"is damaged ({error}); build it again", shown(self._path)) from error

    def _open(self) -> h5py.Dataset:
        """The dataset, which is opened once per process: HDF5's handles do not survive a fork."""
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            with self._opening:
                opened = self._opened
                if opened is None or opened[0] != os.getpid():
                    self._opened = opened = os.getpid(), self._open_file()[self._name]
        return opened[1]

    def _open_file(self) -> h5py.File:
        """The file, once it is clear that it is still the same."""
        cache = {"rdcc_nbytes": CACHED_BYTES, "rdcc_nslots": CACHE_SLOTS}
        if is_url(self._path):
            check_same(self._path, self._version)
        content = open_file(self._path, self._version)
        try:
            if not is_url(self._path):
                return h5py.File(self._path, "r", locking=False, **cache)  # a tenth faster than through Python
        except OSError as error:
            if "locking flag" not in str(error):  # somebody in this process has opened it with locks
                raise
        _readers_through_python.add(self)
        return h5py.File(content, "r", **cache)


_readers_through_python: WeakSet[Hdf5FrameReader] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Close files while there still is a Python for HDF5 to call."""
    for reader in list(_readers_through_python):
        reader.close()


def _memory_of(frames: Frames) -> memoryview:
    """The bytes of a contiguous array; `TypeError` for any other, because it would be a copy."""
    return frames.data.cast("B") if frames.size else memoryview(b"")

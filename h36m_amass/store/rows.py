"""Rows of a store's positions, read from any process and thread.

Chunks that are not compressed are read straight from the file, at the places that HDF5 gives: one call of the
system a window, without HDF5's locks and caches, and straight into the caller's memory. Everything else goes
through HDF5. Nothing is mapped into memory: a file that is cut short is an error then, and not a signal, and what
was read does not count as the process's memory.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import h5py
import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.remote import MAX_RUN, Address, RemoteError, RemoteFile, joined, ranges, stat
from h36m_amass.store.remote_store import StoreFile

CACHED_BYTES, CACHE_SLOTS = 2**25, 10007
"""Of decoded chunks, a process; HDF5 wants a prime number of slots, well above that of the chunks."""
SECONDS_UNCHECKED = 10.0
"""Between two looks at whether a file at an address is still the same."""
BYTES_AT_ONCE = 2**26
"""Of a file at an address that are fetched at the same time."""
_NEVER = 2**40
"""A row that no store has."""


class StoreError(H36mAmassError):
    """A store cannot be opened or does not hold what was asked for."""


class FrameReader(Protocol):
    """Reads rows of positions. Survives being pickled and forked, and may be used by many threads at once."""

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        """Fill the contiguous array `frames` with the rows from `start` on.

        Raises
        ------
        StoreError
            The file is damaged, or is another one than it was.
        """

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        """Fill ``frames[begin:end]`` of each run with the rows from its start on; raises as `read_into` does."""

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        """The rows of each run, one run after the other; raises as `read_into` does."""

    def close(self) -> None:
        """Close the file; it opens again when rows are read."""


@dataclass(frozen=True)
class FileIdentity:
    """What tells a file from one that has taken its place since.

    Attributes
    ----------
    size
        In bytes.
    version
        Nanoseconds of its last change, or what `h36m_amass.files.remote.RemoteFile.version` says.
    """

    size: int
    version: int

    @staticmethod
    def of(status: os.stat_result) -> FileIdentity:
        return FileIdentity(status.st_size, status.st_mtime_ns)


def frame_reader(
    positions: h5py.Dataset, path: Path | Address, identity: FileIdentity, cached_bytes: int = CACHED_BYTES
) -> FrameReader:
    """The fastest reader there is for positions of an open store.

    Parameters
    ----------
    positions
        A dataset of the store.
    path
        The store.
    identity
        Of the file before it was opened.
    cached_bytes
        Of decoded chunks that are kept, if there are any.

    Raises
    ------
    StoreError
        The positions are damaged.
    """
    stretches = _stretches(positions, identity.size, path) if positions.file.userblock_size == 0 else None
    if stretches is not None and isinstance(path, Address):
        file = RemoteFile(path, identity.size, identity.version)
        return RemoteFrameReader(file, positions.shape[1:], *stretches)
    if stretches is not None and isinstance(path, Path) and hasattr(os, "preadv"):
        return RawFrameReader(path, identity, positions.shape[1:], *stretches)
    return Hdf5FrameReader(path, identity, positions.name, cached_bytes)


class OpenFile:
    """A descriptor, closed when nobody holds it any more: to close one that another thread reads from is a race.

    Raises
    ------
    StoreError
        The file cannot be opened, or is another one than it was.
    """

    def __init__(self, path: Path, identity: FileIdentity) -> None:
        self.descriptor = -1
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened ({error.strerror})") from error
        if FileIdentity.of(os.fstat(self.descriptor)) != identity:
            raise StoreError(f"{path}: is another file than when it was opened; open it again")

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class RawFrameReader:
    """Reads rows from the places in the file where they lie.

    Parameters
    ----------
    path, identity
        The file.
    frame_shape
        Joints and 3.
    first_rows, places
        First row, and its first byte in the file, of each stretch of rows that lie one after another.
    """

    def __init__(
        self,
        path: Path,
        identity: FileIdentity,
        frame_shape: tuple[int, ...],
        first_rows: Int[np.ndarray, "stretches"],
        places: Int[np.ndarray, "stretches"],
    ) -> None:
        self._path, self._identity = path, identity
        self._row_bytes = int(np.prod(frame_shape)) * 4
        self._first_rows, self._places = first_rows, places
        self._next_rows = np.append(first_rows[1:], _NEVER)
        # For single windows: to look one number up in an array takes several times as long.
        self._lists = [*first_rows.tolist(), _NEVER], places.tolist()
        self._file: OpenFile | None = None
        self._opening = Lock()

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        file = self._file or self.open_file()
        first_rows, places = self._lists
        buffer, stretch = memory_of(frames), bisect_right(first_rows, start) - 1
        try:
            while len(buffer):
                wanted = buffer[: (first_rows[stretch + 1] - start) * self._row_bytes]
                place = places[stretch] + (start - first_rows[stretch]) * self._row_bytes
                count = os.preadv(file.descriptor, [wanted], place)
                if count != len(wanted):
                    self.read_rest(file, wanted[count:], place + count)
                buffer, start, stretch = buffer[len(wanted) :], first_rows[stretch + 1], stretch + 1
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read ({error.strerror})") from error

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        file = self._file or self.open_file()
        descriptor = file.descriptor
        buffer, preadv = memory_of(frames), os.preadv
        for stretch, own_starts, own_begins, own_ends in cut_runs(
            self._first_rows, self._next_rows, starts, begins, ends
        ):
            places = self._places[stretch] + (own_starts - self._first_rows[stretch]) * self._row_bytes
            firsts, lasts = own_begins * self._row_bytes, own_ends * self._row_bytes
            try:
                for place, first, last in zip(places.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
                    count = preadv(descriptor, [buffer[first:last]], place)
                    if count != last - first:
                        self.read_rest(file, buffer[first + count : last], place + count)
            except OSError as error:
                raise StoreError(f"{self._path}: cannot be read ({error.strerror})") from error

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        return read_in_turn(self, (self._row_bytes // 12, 3), starts, stops)

    def close(self) -> None:
        self._file = None  # whoever is reading still holds it

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_file", "_opening")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _file=None, _opening=Lock())

    @property
    def stretches(self) -> tuple[Int[np.ndarray, "stretches"], Int[np.ndarray, "stretches"]]:
        """First row, and its first byte in the file, of each stretch of rows that lie one after another."""
        return self._first_rows, self._places

    def read_rest(self, file: OpenFile, buffer: memoryview, place: int) -> None:
        """Go on where the system has given less than was asked for."""
        while len(buffer):
            count = os.preadv(file.descriptor, [buffer], place)
            if not count:
                raise StoreError(f"{self._path}: was cut short while it was open; build it again")
            buffer, place = buffer[count:], place + count

    def open_file(self) -> OpenFile:
        """The file, which stays open for as long as it is held; raises `StoreError` as that says."""
        with self._opening:
            file = self._file
            if file is None:
                # A fork's copy of the descriptor serves as well: nothing is shared but the file itself.
                self._file = file = OpenFile(self._path, self._identity)
            return file


class RemoteFrameReader:
    """Reads rows from the places in a file at an address where they lie: all that is asked for at the same time.

    Ranges that lie close together are one request. Nothing is held open.

    Parameters
    ----------
    file
        As it was when the store was opened.
    frame_shape, first_rows, places
        As for `RawFrameReader`.
    """

    def __init__(
        self,
        file: RemoteFile,
        frame_shape: tuple[int, ...],
        first_rows: Int[np.ndarray, "stretches"],
        places: Int[np.ndarray, "stretches"],
    ) -> None:
        self._file, self._frame_shape = file, frame_shape
        self._row_bytes = int(np.prod(frame_shape)) * 4
        self._first_rows, self._places = first_rows, places
        self._next_rows = np.append(first_rows[1:], _NEVER)
        self._checked = -SECONDS_UNCHECKED

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        self.read_runs(np.array([start]), frames, np.array([0]), np.array([len(frames)]))

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        wanted = [[own.ravel() for own in np.broadcast_arrays(*piece)] for piece in self._pieces(starts, begins, ends)]
        if not wanted:
            return
        places, firsts, lasts = (np.concatenate(column) for column in zip(*wanted, strict=True))
        order = np.argsort(places, kind="stable")
        places, firsts, lasts = places[order], firsts[order], lasts[order]
        reach = np.maximum.accumulate(places + lasts - firsts)
        runs = list(joined(places.tolist(), reach.tolist()))
        buffer = memory_of(frames)
        self._check()
        held: list[tuple[int, int]] = []
        num_bytes = 0
        for begin, stop in runs:
            held.append((begin, stop))
            num_bytes += int(reach[stop - 1] - places[begin])
            if num_bytes >= BYTES_AT_ONCE or (begin, stop) == runs[-1]:
                fetched = self._fetch([(int(places[a]), int(reach[b - 1])) for a, b in held])
                for (a, b), content in zip(held, fetched, strict=True):
                    for place, first, last in zip(
                        (places[a:b] - places[a]).tolist(), firsts[a:b].tolist(), lasts[a:b].tolist(), strict=True
                    ):
                        buffer[first:last] = content[place : place + last - first]
                held, num_bytes = [], 0

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        return read_together(self, self._frame_shape, starts, stops)

    def close(self) -> None:
        self._checked = -SECONDS_UNCHECKED

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_checked": -SECONDS_UNCHECKED}

    def _pieces(
        self, starts: Int[np.ndarray, "runs"], begins: Int[np.ndarray, "runs"], ends: Int[np.ndarray, "runs"]
    ) -> Iterator[tuple[Int[np.ndarray, "pieces"], Int[np.ndarray, "pieces"], Int[np.ndarray, "pieces"]]]:
        """First byte in the file, and first and last in the buffer, of what lies in one stretch each."""
        for stretch, own_starts, own_begins, own_ends in cut_runs(
            self._first_rows, self._next_rows, starts, begins, ends
        ):
            places = self._places[stretch] + (own_starts - self._first_rows[stretch]) * self._row_bytes
            some = own_ends > own_begins
            yield places[some], (own_begins * self._row_bytes)[some], (own_ends * self._row_bytes)[some]

    def _fetch(self, runs: list[tuple[int, int]]) -> list[bytes]:
        """The bytes of each run, long ones in several requests at the same time."""
        cuts = [range(begin, stop, MAX_RUN) for begin, stop in runs]
        starts = [cut for own in cuts for cut in own]
        stops = [min(cut + MAX_RUN, stop) for own, (_, stop) in zip(cuts, runs, strict=True) for cut in own]
        try:
            pieces = iter(ranges(self._file, starts, stops))
        except FileNotFoundError as error:
            raise StoreError(f"{self._file}: is gone since it was opened; open another one") from error
        return [b"".join(islice(pieces, len(own))) for own in cuts]

    def _check(self) -> None:
        """See now and then that the file is still the same: one that replaces it has its rows elsewhere."""
        if time.monotonic() - self._checked < SECONDS_UNCHECKED:
            return
        _check_same(self._file)
        self._checked = time.monotonic()


def _check_same(file: RemoteFile) -> None:
    try:
        if stat(file.address) == file:
            return
    except FileNotFoundError as error:
        raise StoreError(f"{file}: is gone since it was opened; open another one") from error
    raise StoreError(f"{file}: is another file than when it was opened; open it again")


class Hdf5FrameReader:
    """Reads rows through HDF5, which decodes compressed chunks and keeps some of them, `cached_bytes` a process."""

    def __init__(self, path: Path | Address, identity: FileIdentity, name: str, cached_bytes: int) -> None:
        self._path, self._identity, self._name, self._cached_bytes = path, identity, name, cached_bytes
        self._file: h5py.File | None = None
        self._process = 0
        self._opening = Lock()

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        try:
            positions = self._positions()
            rows, memory = positions.get_space(), h5py.h5s.create_simple(frames.shape)
            rows.select_hyperslab((start, 0, 0), frames.shape)
            positions.read(memory, rows, frames)
        except (StoreError, RemoteError):
            raise
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise StoreError(f"{self._path}: is damaged ({error}); build it again") from error

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        for start, begin, end in zip(starts.tolist(), begins.tolist(), ends.tolist(), strict=True):
            self.read_into(start, frames[begin:end])

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        return read_in_turn(self, self._positions().shape[1:], starts, stops)

    def close(self) -> None:
        self._file = None  # h5py closes it when nobody reads from it any more

    def __getstate__(self) -> dict[str, Any]:
        names = "_path", "_identity", "_name", "_cached_bytes"
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _file=None, _process=0, _opening=Lock())

    def _positions(self) -> h5py.h5d.DatasetID:
        file = self._file
        if file is None or self._process != os.getpid():
            with self._opening:
                file = self._file
                if file is None or self._process != os.getpid():
                    file = h5py.File(self._same(), "r", rdcc_nbytes=self._cached_bytes, rdcc_nslots=CACHE_SLOTS)
                    self._file, self._process = file, os.getpid()
        return file[self._name].id

    def _same(self) -> Path | StoreFile:
        """What h5py opens, once it is clear that it is still the same file."""
        if isinstance(self._path, Address):
            file = RemoteFile(self._path, self._identity.size, self._identity.version)
            _check_same(file)
            return StoreFile(file)
        OpenFile(self._path, self._identity)
        return self._path


def cut_runs(
    first_rows: Int[np.ndarray, "stretches"],
    next_rows: Int[np.ndarray, "stretches"],
    starts: Int[np.ndarray, "runs"],
    begins: Int[np.ndarray, "runs"],
    ends: Int[np.ndarray, "runs"],
) -> Iterator[tuple[Int[np.ndarray, "cut"], Int[np.ndarray, "cut"], Int[np.ndarray, "cut"], Int[np.ndarray, "cut"]]]:
    """Cut runs of rows at the ends of the stretches that they lie in.

    Parameters
    ----------
    first_rows, next_rows
        First row of each stretch, and the one behind its last; the stretches follow one another.
    starts
        First row of each run.
    begins, ends
        Where its rows go.

    Yields
    ------
    stretch, starts, begins, ends
        Of the pieces: first those that the runs begin with, then what goes on in the next stretch, which few runs do.
    """
    while len(starts):
        stretch = np.searchsorted(first_rows, starts, side="right") - 1
        stops = np.minimum(ends, begins + next_rows[stretch] - starts)
        yield stretch, starts, begins, stops
        more = stops < ends
        starts, begins, ends = (starts + stops - begins)[more], stops[more], ends[more]


def read_in_turn(
    reader: FrameReader,
    frame_shape: tuple[int, ...],
    starts: Int[np.ndarray, "runs"],
    stops: Int[np.ndarray, "runs"],
) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
    """Rows ``start .. stop`` of each run, each read when it is asked for."""
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        frames = np.empty((stop - start, *frame_shape), np.float32)
        reader.read_into(start, frames)
        yield frames


def read_together(
    reader: FrameReader,
    frame_shape: tuple[int, ...],
    starts: Int[np.ndarray, "runs"],
    stops: Int[np.ndarray, "runs"],
) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
    """The same, where all are read at once, and held."""
    ends = np.cumsum(stops - starts)
    begins = ends - (stops - starts)
    frames = np.empty((int(ends[-1]) if len(ends) else 0, *frame_shape), np.float32)
    reader.read_runs(starts, frames, begins, ends)
    return (frames[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True))


def memory_of(frames: Float32[np.ndarray, "frames joints 3"]) -> memoryview:
    """The bytes of a contiguous array; of any other it would be a copy, and this raises `TypeError`."""
    return frames.data.cast("B") if frames.size else memoryview(b"")


def _stretches(
    positions: h5py.Dataset, file_size: int, path: Path | Address
) -> tuple[Int[np.ndarray, "stretches"], Int[np.ndarray, "stretches"]] | None:
    """First rows and places of what lies in one piece, or None where the file does not hold the rows as they are."""
    chunks, dtype = positions.chunks, np.dtype(np.float32)
    plain = positions.dtype == dtype and positions.id.get_create_plist().get_nfilters() == 0
    if not plain or not hasattr(positions.id, "chunk_iter") or chunks is None or chunks[1:] != positions.shape[1:]:
        return None
    places = np.full(-(-len(positions) // chunks[0]), -1)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        if chunk.chunk_offset[0] < len(positions):
            places[chunk.chunk_offset[0] // chunks[0]] = chunk.byte_offset

    positions.id.chunk_iter(note)
    chunk_bytes = int(np.prod(chunks)) * dtype.itemsize
    if (places < 0).any() or (places > file_size - chunk_bytes).any():
        raise StoreError(f"{path}: is damaged (some of its frames are not there); build it again")
    begins = np.flatnonzero(np.diff(places, prepend=-chunk_bytes) != chunk_bytes)
    return begins * chunks[0], places[begins]

"""Rows of a split store's positions, which lie in several files.

Each file has a reader of its own, which is made when rows of it are first wanted. Many runs of rows that lie in files
as they are, the windows of a batch say, are looked up together, in one table of all files: a batch touches many files,
and few rows of each.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.files.remote import Address
from h36m_amass.store.data_files import PlacedFile
from h36m_amass.store.header import joint_set_group, opened, readable
from h36m_amass.store.rows import (
    CACHED_BYTES,
    FrameReader,
    RawFrameReader,
    StoreError,
    cut_runs,
    frame_reader,
    memory_of,
    read_in_turn,
    read_together,
)

MAX_OPEN = 128
"""Files that are open from one call to the next, of a joint set in a process; systems allow a process 256 or more."""


@dataclass(frozen=True)
class _Table:
    """Where rows lie, for each stretch of rows that lie one after another in a file.

    Attributes
    ----------
    first_rows, next_rows
        Of all rows of the store.
    files
        Number of the file.
    places
        First byte in it; -1 for all of a file that has no reader yet.
    """

    first_rows: Int[np.ndarray, "stretches"]
    next_rows: Int[np.ndarray, "stretches"]
    files: Int[np.ndarray, "stretches"]
    places: Int[np.ndarray, "stretches"]


class SplitFrameReader:
    """Reads rows that lie in several files; a `h36m_amass.store.rows.FrameReader`.

    Parameters
    ----------
    files
        In the order of their rows.
    joint_set, joint_sets
        The joint set whose positions are read, and all that there are.
    num_joints
        That it has.
    """

    def __init__(
        self, files: Sequence[PlacedFile], joint_set: str, joint_sets: tuple[str, ...], num_joints: int
    ) -> None:
        self._files = files
        self._joint_set, self._joint_sets, self._num_joints = joint_set, joint_sets, num_joints
        self._firsts = list(accumulate((own.record.frames for own in files), initial=0))
        self._readers: list[FrameReader | None] = [None] * len(files)
        self._table: _Table | None = self._tabulated()
        self._open: dict[int, None] = {}  # in the order in which they were opened
        self._opening = Lock()

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        number, read = bisect_right(self._firsts, start) - 1, 0
        while read < len(frames):
            first, end = self._firsts[number], self._firsts[number + 1]
            count = min(len(frames) - read, end - start)
            self._reader(number).read_into(start - first, frames[read : read + count])
            number, start, read = number + 1, end, read + count

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        while len(starts):
            table = self._table
            if table is None:
                self._read_file_by_file(starts, frames, begins, ends)
                return
            stretch = np.searchsorted(table.first_rows, starts, side="right") - 1
            numbers, places = table.files[stretch], table.places[stretch]
            if (places < 0).any():
                for number in np.unique(numbers[places < 0]).tolist():
                    self._reader(number)
                self._table = self._tabulated()
                continue
            row_bytes = self._num_joints * 12
            places = places + (starts - table.first_rows[stretch]) * row_bytes
            stops = np.minimum(ends, begins + table.next_rows[stretch] - starts)
            distinct = np.unique(numbers)
            for first in range(0, len(distinct), MAX_OPEN):
                own = np.flatnonzero(np.isin(numbers, distinct[first : first + MAX_OPEN]))
                self._read_places(numbers[own], places[own], frames, begins[own] * row_bytes, stops[own] * row_bytes)
            # What goes on in the next stretch; few runs do.
            more = stops < ends
            starts, begins, ends = (starts + stops - begins)[more], stops[more], ends[more]

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        if any(isinstance(own.path, Address) for own in self._files):
            return read_together(self, (self._num_joints, 3), starts, stops)
        return read_in_turn(self, (self._num_joints, 3), starts, stops)

    def close(self) -> None:
        with self._opening:
            self._open.clear()
            for reader in self._readers:
                if reader is not None:
                    reader.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_open", "_opening")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open={}, _opening=Lock())

    def _read_places(
        self,
        numbers: Int[np.ndarray, "runs"],
        places: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        firsts: Int[np.ndarray, "runs"],
        lasts: Int[np.ndarray, "runs"],
    ) -> None:
        """Fill bytes ``firsts .. lasts`` of `frames` with those from places in the files of these numbers on.

        All of these files are open at once.
        """
        buffer, preadv = memory_of(frames), os.preadv
        readers = {number: self._raw_reader(number) for number in set(numbers.tolist())}
        files = {number: reader.open_file() for number, reader in readers.items()}
        columns = (column.tolist() for column in (numbers, places, firsts, lasts))
        for number, place, first, last in zip(*columns, strict=True):
            file = files[number]
            try:
                count = preadv(file.descriptor, [buffer[first:last]], place)
                if count != last - first:
                    readers[number].read_rest(file, buffer[first + count : last], place + count)
            except OSError as error:
                raise StoreError(f"{self._files[number].path}: cannot be read ({error.strerror})") from error
        for number, reader in readers.items():
            if number not in self._open:  # there were too many at once
                reader.close()

    def _read_file_by_file(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        """`read_runs` through the readers, each of which gets all runs in its file at once."""
        firsts = np.array(self._firsts)
        for numbers, rows, own_begins, own_ends in cut_runs(firsts[:-1], firsts[1:], starts, begins, ends):
            for number in np.unique(numbers).tolist():
                own = numbers == number
                self._reader(number).read_runs(rows[own] - firsts[number], frames, own_begins[own], own_ends[own])

    def _tabulated(self) -> _Table | None:
        """Where rows lie as far as it is known, or None if a file of this machine does not hold them as they are."""
        if any(isinstance(own.path, Address) for own in self._files):
            return None
        first_rows, files, places = [], [], []
        for number, (reader, first) in enumerate(zip(self._readers, self._firsts, strict=False)):
            if reader is not None and not isinstance(reader, RawFrameReader):
                return None
            own_rows, own_places = (np.zeros(1, int), np.full(1, -1)) if reader is None else reader.stretches
            first_rows.append(own_rows + first)
            files.append(np.full(len(own_rows), number))
            places.append(own_places)
        all_rows = np.concatenate(first_rows)
        next_rows = np.append(all_rows[1:], self._firsts[-1])
        return _Table(all_rows, next_rows, np.concatenate(files), np.concatenate(places))

    def _raw_reader(self, number: int) -> RawFrameReader:
        reader = self._reader(number)
        if not isinstance(reader, RawFrameReader):  # which `_tabulated` has seen to
            raise TypeError(f"{self._files[number].path} is not read as it is")
        return reader

    def _reader(self, number: int) -> FrameReader:
        """The reader of one of the files; the file that has been open longest is closed for it, if too many are."""
        reader = self._readers[number]
        if reader is None or number not in self._open:
            with self._opening:
                reader = self._readers[number] or self._made(number)
                self._readers[number] = reader
                self._open[number] = None
                while len(self._open) > MAX_OPEN:
                    oldest = next(iter(self._open))
                    del self._open[oldest]
                    closed = self._readers[oldest]
                    if closed is not None:
                        closed.close()  # whoever is reading from it still holds it
        return reader

    def _made(self, number: int) -> FrameReader:
        own = self._files[number]
        if not own.path.is_file():
            raise StoreError(f"{own.path}: is not there any more; open the store again")
        with opened(own.path) as (file, identity):
            if identity != own.identity:
                raise StoreError(f"{own.path}: is another file than when it was opened; open it again")
            positions = readable(joint_set_group(file, self._joint_set, self._joint_sets)["positions_3d"])
            if positions.shape != (own.record.frames, self._num_joints, 3) or positions.dtype.kind != "f":
                raise StoreError(f"{own.path}: is damaged (positions_3d is {positions.dtype} {positions.shape})")
            # All together have as much room for decoded chunks as one file would.
            return frame_reader(positions, own.path, identity, CACHED_BYTES // min(len(self._files), MAX_OPEN))

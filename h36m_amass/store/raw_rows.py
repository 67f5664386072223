"""Rows of uncompressed positions, read straight from their file.

It takes one call of the system a window, without HDF5's locks and caches, and straight into the caller's memory.
Nothing is mapped into memory: a file that is cut short is an error then, and not a signal, and what was read does not
count as the process's memory.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.files.paths import FileVersion
from h36m_amass.store.errors import StoreError
from h36m_amass.store.extents import NEVER, Extents, cut_runs
from h36m_amass.store.rows import memory_of, read_in_turn


class OpenFile(io.FileIO):
    """A store's file, closed when nobody holds it any more: to close one that another thread reads from is a race.

    Raises
    ------
    StoreError
        The file cannot be opened, or is another one than it was.
    """

    def __init__(self, path: Path, version: FileVersion) -> None:
        self.descriptor = -1
        try:
            self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise StoreError(f"cannot be opened ({error.strerror})", path) from error
        super().__init__(self.descriptor, closefd=False)
        status = os.fstat(self.descriptor)
        if FileVersion(status.st_size, status.st_mtime_ns) != version:
            raise StoreError("is another file than when it was opened; open it again", path)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class RawFrameReader:
    """Reads rows from the extents in the file where they lie.

    Parameters
    ----------
    path, version
        The file.
    frame_shape
        Joints and 3.
    extents
        Of the positions.
    """

    def __init__(self, path: Path, version: FileVersion, frame_shape: tuple[int, ...], extents: Extents) -> None:
        self._path, self._version, self._frame_shape = path, version, frame_shape
        self._row_bytes = int(np.prod(frame_shape)) * 4
        self._first_rows, self._offsets = extents
        self._next_rows = np.append(self._first_rows[1:], NEVER)
        # For single windows: to look one number up in an array takes several times as long.
        self._lists = [*self._first_rows.tolist(), NEVER], self._offsets.tolist()
        self._file: OpenFile | None = None
        self._opening = Lock()

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        file = self._file or self._open()
        first_rows, offsets = self._lists
        buffer, extent = memory_of(frames), bisect_right(first_rows, start) - 1
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

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        file = self._file or self._open()
        descriptor = file.descriptor
        buffer, preadv = memory_of(frames), os.preadv
        for extent, cut_starts, cut_begins, cut_ends in cut_runs(
            self._first_rows, self._next_rows, starts, begins, ends
        ):
            offsets = self._offsets[extent] + (cut_starts - self._first_rows[extent]) * self._row_bytes
            firsts, lasts = cut_begins * self._row_bytes, cut_ends * self._row_bytes
            try:
                for offset, first, last in zip(offsets.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
                    count = preadv(descriptor, [buffer[first:last]], offset)
                    if count != last - first:
                        self._read_rest(file, buffer[first + count : last], offset + count)
            except OSError as error:
                raise StoreError(f"cannot be read ({error.strerror})", self._path) from error

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        return read_in_turn(self, self._frame_shape, starts, stops)

    def close(self) -> None:
        self._file = None  # whoever is reading still holds it

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_file", "_opening")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _file=None, _opening=Lock())

    def _read_rest(self, file: OpenFile, buffer: memoryview, offset: int) -> None:
        """Go on where the system has given less than was asked for."""
        while len(buffer):
            count = os.preadv(file.descriptor, [buffer], offset)
            if not count:
                raise StoreError("was cut short while it was open; build it again", self._path)
            buffer, offset = buffer[count:], offset + count

    def _open(self) -> OpenFile:
        """The file, which stays open for as long as it is held; raises `StoreError` as that says."""
        with self._opening:
            file = self._file
            if file is None:
                # A fork's copy of the descriptor serves as well: nothing is shared but the file itself.
                self._file = file = OpenFile(self._path, self._version)
            return file

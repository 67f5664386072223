"""Rows of uncompressed positions, read from a file at a URL: all that is asked for at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.files.paths import FileVersion, joined, read_ranges, shown
from h36m_amass.store.errors import StoreError
from h36m_amass.store.extents import NEVER, Extents, cut_runs
from h36m_amass.store.rows import memory_of
from h36m_amass.store.url_file import REQUEST, check_same

if TYPE_CHECKING:
    from upath import UPath

SECONDS_UNCHECKED = 10.0
"""Between two looks at whether a file at a URL is still the same."""
BYTES_AT_ONCE = 2**26
"""That are fetched at the same time."""


class UrlFrameReader:
    """Reads rows from the extents in a file at a URL where they lie. Ranges that lie close together are one request.

    Parameters
    ----------
    path, version
        The file.
    frame_shape
        Joints and 3.
    extents
        Of the positions.
    """

    def __init__(self, path: UPath, version: FileVersion, frame_shape: tuple[int, ...], extents: Extents) -> None:
        self._path, self._version, self._frame_shape = path, version, frame_shape
        self._row_bytes = int(np.prod(frame_shape)) * 4
        self._first_rows, self._offsets = extents
        self._next_rows = np.append(self._first_rows[1:], NEVER)
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
        pieces = list(self._pieces(starts, begins, ends))
        if not pieces:
            return
        offsets, firsts, lasts = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.argsort(offsets, kind="stable")
        offsets, firsts, lasts = offsets[order], firsts[order], lasts[order]
        reach = np.maximum.accumulate(offsets + lasts - firsts)
        ranges = list(joined(offsets.tolist(), reach.tolist()))
        buffer = memory_of(frames)
        self._check()
        batch: list[tuple[int, int]] = []
        num_bytes = 0
        for begin, stop in ranges:
            batch.append((begin, stop))
            num_bytes += int(reach[stop - 1] - offsets[begin])
            if num_bytes >= BYTES_AT_ONCE or (begin, stop) == ranges[-1]:
                contents = self._fetch([(int(offsets[a]), int(reach[b - 1])) for a, b in batch])
                for (a, b), content in zip(batch, contents, strict=True):
                    for offset, first, last in zip(
                        (offsets[a:b] - offsets[a]).tolist(), firsts[a:b].tolist(), lasts[a:b].tolist(), strict=True
                    ):
                        buffer[first:last] = content[offset : offset + last - first]
                batch, num_bytes = [], 0

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        """The rows of each run; all are read at once, and held."""
        ends = np.cumsum(stops - starts)
        begins = ends - (stops - starts)
        frames = np.empty((int(ends[-1]) if len(ends) else 0, *self._frame_shape), np.float32)
        self.read_runs(starts, frames, begins, ends)
        return (frames[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True))

    def close(self) -> None:
        self._checked = -SECONDS_UNCHECKED

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_checked": -SECONDS_UNCHECKED}

    def _pieces(
        self, starts: Int[np.ndarray, "runs"], begins: Int[np.ndarray, "runs"], ends: Int[np.ndarray, "runs"]
    ) -> Iterator[tuple[Int[np.ndarray, "pieces"], Int[np.ndarray, "pieces"], Int[np.ndarray, "pieces"]]]:
        """First byte in the file, and first and last in the buffer, of what lies in one extent each."""
        for extent, cut_starts, cut_begins, cut_ends in cut_runs(
            self._first_rows, self._next_rows, starts, begins, ends
        ):
            offsets = self._offsets[extent] + (cut_starts - self._first_rows[extent]) * self._row_bytes
            some = cut_ends > cut_begins
            yield offsets[some], (cut_begins * self._row_bytes)[some], (cut_ends * self._row_bytes)[some]

    def _fetch(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range, long ones in several requests at the same time."""
        cuts = [range(begin, stop, REQUEST) for begin, stop in ranges]
        starts = [start for cut in cuts for start in cut]
        stops = [min(start + REQUEST, stop) for cut, (_, stop) in zip(cuts, ranges, strict=True) for start in cut]
        try:
            pieces = iter(read_ranges(self._path, starts, stops))
        except FileNotFoundError as error:
            raise StoreError("is gone since it was opened; open another one", shown(self._path)) from error
        return [b"".join(islice(pieces, len(cut))) for cut in cuts]

    def _check(self) -> None:
        """See now and then that the file is still the same."""
        if time.monotonic() - self._checked < SECONDS_UNCHECKED:
            return
        check_same(self._path, self._version)
        self._checked = time.monotonic()

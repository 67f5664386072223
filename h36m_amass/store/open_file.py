"""The file of a store, open for reading, on this machine or at a URL, as a Python file for h5py."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from h36m_amass.files.paths import FileVersion, Location, UrlFile, is_url, read_ranges, shown, version_of
from h36m_amass.store import footer
from h36m_amass.store.errors import StoreError

if TYPE_CHECKING:
    from upath import UPath

END = 2**20  # bytes of the end that come with the head: for most stores all that opening reads
REQUEST = 2**22  # bytes of one request; more of them are under way at the same time

_GONE = "is gone since it was opened; open another one"


class LocalFile(io.FileIO):
    """A store of this machine, closed when nobody holds it any more: to close it while a thread reads is a race."""

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


class RemoteFile(UrlFile):
    """A store at a URL whose two ends are held in memory: a store of any size is opened with three requests."""

    def __init__(self, path: UPath, version: FileVersion) -> None:
        super().__init__(path, version)
        size = version.size
        self._start = max(0, size - END)
        self._head, self._end = b"", b""
        if self._start:
            self._head, self._end = read_ranges(path, [0, self._start], [min(footer.HEAD, self._start), size])
        elif size:
            self._end = read_ranges(path, [0], [size])[0]
        parsed = footer.read(cast("IO[bytes]", self))
        if parsed is not None and parsed.tail_start < self._start:
            self._end = fetch_ranges(path, [(parsed.tail_start, self._start)])[0] + self._end
            self._start = parsed.tail_start

    def fill(self, position: int, view: memoryview) -> int:
        stop = position + len(view)
        for held, content in ((0, self._head), (self._start, self._end)):
            if held <= position and stop <= held + len(content):
                view[:] = content[position - held : stop - held]
                return len(view)
        return super().fill(position, view)


def open_file(path: Location, version: FileVersion) -> LocalFile | RemoteFile:
    """A store's file; `StoreError` if it is another one than it was, `FooterError` if it lacks bytes."""
    return RemoteFile(path, version) if is_url(path) else LocalFile(path, version)


def fetch_ranges(path: UPath, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of each range, long ones in several requests at the same time."""
    cuts = [range(start, stop, REQUEST) for start, stop in ranges]
    starts = [start for cut in cuts for start in cut]
    stops = [min(start + REQUEST, stop) for cut, (_, stop) in zip(cuts, ranges, strict=True) for start in cut]
    try:
        pieces = iter(read_ranges(path, starts, stops))
    except FileNotFoundError as error:
        raise StoreError(_GONE, shown(path)) from error
    return [b"".join(islice(pieces, len(cut))) for cut in cuts]


def check_same(path: UPath, version: FileVersion) -> None:
    """Check that a file at a URL is the one that was opened: one that replaces it has its rows elsewhere."""
    try:
        if version_of(path) == version:
            return
    except FileNotFoundError as error:
        raise StoreError(_GONE, shown(path)) from error
    raise StoreError("is another file than when it was opened; open it again", shown(path))

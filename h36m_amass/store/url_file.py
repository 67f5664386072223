"""The file of a store at a URL, in the form in which h5py takes Python files."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, cast

from h36m_amass.files.paths import FileVersion, UrlFile, read_ranges, shown, version_of
from h36m_amass.store import footer
from h36m_amass.store.errors import StoreError

if TYPE_CHECKING:
    from upath import UPath

END = 2**20
"""Bytes of the end that are fetched with the head: of most stores they hold all that is read to open one."""
REQUEST = 2**22
"""Bytes of one request; more of them are under way at the same time."""


class StoreUrlFile(UrlFile):
    """A store at a URL whose two ends are held in memory: a store of any size is opened with three requests.

    Raises
    ------
    h36m_amass.store.footer.FooterError
        The file has another size than its footer says.
    """

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
            self._end = fetch_range(path, parsed.tail_start, self._start) + self._end
            self._start = parsed.tail_start

    def fill(self, position: int, view: memoryview) -> int:
        stop = position + len(view)
        for held, content in ((0, self._head), (self._start, self._end)):
            if held <= position and stop <= held + len(content):
                view[:] = content[position - held : stop - held]
                return len(view)
        return super().fill(position, view)


def fetch_range(path: UPath, start: int, stop: int) -> bytes:
    """The bytes ``start .. stop`` of a file, in several requests at the same time where they are many."""
    starts = list(range(start, stop, REQUEST))
    return b"".join(read_ranges(path, starts, [*starts[1:], stop])) if starts else b""


def check_same(path: UPath, version: FileVersion) -> None:
    """See that a file is the one that was opened: one that replaces it has its rows elsewhere.

    Raises
    ------
    StoreError
        It is gone, or another one.
    h36m_amass.files.paths.UrlError
        It cannot be reached.
    """
    try:
        if version_of(path) == version:
            return
    except FileNotFoundError as error:
        raise StoreError("is gone since it was opened; open another one", shown(path)) from error
    raise StoreError("is another file than when it was opened; open it again", shown(path))

"""What a file can be read from: a path, a URL, bytes in memory, or a range of a local file."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, cast

from h36m_amass.files.paths import open_file, shown, version_of

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from Python 3.12 on
    from upath import UPath

MAX_SMALL = 2**18
"""Bytes of a local file that is read with one call: a recording of two seconds has fewer, and most are of a few."""


@dataclass(frozen=True)
class Held:
    """A file whose bytes are in memory, and what it is called in messages."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FileSlice:
    """Bytes ``start .. start + size`` of a local file or a URL, which are a file of their own, called `name`."""

    name: str
    path: Path | UPath
    start: int
    size: int

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = "Path | UPath | Held | FileSlice"


def name_of(source: Source) -> str:
    """What a source is called in messages."""
    return shown(source)


def size_of(source: Source) -> int:
    """Bytes of a source; 0 for a file that is not there."""
    if isinstance(source, Held):
        return len(source.content)
    if isinstance(source, FileSlice):
        return source.size
    try:
        return version_of(source).size
    except OSError:
        return 0


def open_source(source: Source) -> tuple[IO[bytes], int]:
    """An unbuffered file with the bytes of a source, and how many there are; a small one is in memory.

    Raises
    ------
    OSError
        There is no such file, or it is not a regular one.
    h36m_amass.files.paths.UrlError
        It cannot be reached.
    """
    if isinstance(source, Held):
        return io.BytesIO(source.content), len(source.content)
    is_slice = isinstance(source, FileSlice)
    file = open_file(source.path if isinstance(source, FileSlice) else source, 0)
    try:
        if isinstance(source, FileSlice):
            start, size = source.start, source.size
        else:
            start, size = 0, file.seek(0, os.SEEK_END)
        if size <= MAX_SMALL:
            file.seek(start)
            content = _read(file, size)
            file.close()
            return io.BytesIO(content), size
    except BaseException:
        file.close()
        raise
    return (cast(IO[bytes], _SliceFile(file, start, size)) if is_slice else file), size


def _read(file: IO[bytes], size: int) -> bytes:
    """The next `size` bytes, or those that there are: a raw file may give fewer than it has."""
    content = file.read(size)
    while len(content) < size and (more := file.read(size - len(content))):
        content += more
    return content


class _SliceFile(io.RawIOBase):
    """A range of an open file as a file; closing it closes both."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"a position of {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Buffer) -> int:
        view = memoryview(target)[: max(0, self._size - self._position)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(view) or 0  # type: ignore[attr-defined]  # every binary file has it
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

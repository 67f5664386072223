"""What a file can be read from: a path, a URL, bytes in memory, or a range of a local file."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, cast

from h36m_amass.files.paths import RandomFile, open_file, version_of

if TYPE_CHECKING:
    from upath import UPath

MAX_SMALL = 2**18  # bytes of a local file that is read with one call, as a recording of two seconds is


@dataclass(frozen=True)
class Held:
    """A file whose bytes are in memory, and what it is called in messages."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FileSlice:
    """Bytes ``start .. start + size`` of a local file, which are a file of their own, called `name`."""

    name: str
    path: Path
    start: int
    size: int

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = "Path | UPath | Held | FileSlice"


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


def open_source(source: Source) -> tuple[IO[bytes], int, bytes | None]:
    """An unbuffered file, its size, and its bytes if it is small; `OSError` or `UrlError` if there is none."""
    if isinstance(source, Held):
        return io.BytesIO(source.content), len(source.content), source.content
    part = source if isinstance(source, FileSlice) else None
    file = open_file(source.path if isinstance(source, FileSlice) else source, 0)
    try:
        start, size = (part.start, part.size) if part else (0, file.seek(0, os.SEEK_END))
        if size > MAX_SMALL:
            return (cast(IO[bytes], _SliceFile(file, start, size)) if part else file), size, None
        file.seek(start)
        content = file.read(size)
        while len(content) < size and (more := file.read(size - len(content))):  # a raw file may give fewer
            content += more
    except BaseException:
        file.close()
        raise
    file.close()
    return io.BytesIO(content), size, content


class _SliceFile(RandomFile):
    """A range of an open file as a file; closing it closes both."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        super().__init__(size)
        self._file, self._start = file, start

    def fill(self, position: int, view: memoryview) -> int:
        self._file.seek(self._start + position)
        return self._file.readinto(view) or 0  # type: ignore[attr-defined]  # every binary file has it

    def close(self) -> None:
        self._file.close()
        super().close()

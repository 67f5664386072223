"""The members of a tar, one after the other: its headers are parsed by `tarfile`, whose reader is left aside.

That reads ahead, takes damage for the end, and bounds neither headers nor what a stream may grow to.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import IO

from h36m_amass.files.archive_names import (
    LINK_PROBLEM,
    ArchiveError,
    base_name,
    damaged,
    may_lead_to_a_folder,
)

BLOCK = 2**20
MAX_TAR_HEADER = 2**20
"""Bytes of a member's long name, or of its extended header."""


class ForwardFile:
    """A tar's bytes, read forward; what tarfile's parser of headers needs of a file.

    Parameters
    ----------
    most
        Bytes that there may be.
    seekable
        Whether `file` need not be read to be skipped.
    """

    def __init__(self, file: IO[bytes], most: int, seekable: bool) -> None:
        self._file, self._most, self._seekable = file, most, seekable
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        self.skip_to(position)

    def read(self, num_bytes: int) -> bytes:
        """Bytes of a header, and at the file's end fewer."""
        if not 0 <= num_bytes <= MAX_TAR_HEADER:
            raise ArchiveError(damaged(f"a header of {num_bytes} bytes"))
        content = b""
        while len(content) < num_bytes and (more := self._file.read(num_bytes - len(content))):
            content += more
        self._position += len(content)
        return content

    def block(self, end: int) -> bytes:
        """The next bytes of a member that goes up to `end`."""
        content = self._file.read(min(BLOCK, end - self._position))
        if not content:
            raise ArchiveError(damaged("its end is missing"))
        self._position += len(content)
        return content

    def skip_to(self, position: int) -> None:
        """Go on at `position`."""
        if position < self._position:
            raise ArchiveError(damaged("a member lies before the one before it"))
        self.check(position)
        if self._seekable:
            self._file.seek(position)
            self._position = position
        while self._position < position:
            self.block(position)

    def skip_padding(self) -> None:
        """Read what follows the last member, so that an end that is missing or damaged is seen."""
        while not self._seekable and (count := len(self._file.read(BLOCK))):
            self._position += count
            self.check(self._position)

    def check(self, position: int) -> None:
        """Refuse a position that the file may not have."""
        if position > self._most:
            what = "its end is missing" if self._seekable else f"it grows to more than {self._most} bytes"
            raise ArchiveError(damaged(what))


def walk(stream: ForwardFile) -> Iterator[tarfile.TarInfo]:
    """Headers of all members but folders; what is not read of a member is skipped.

    Raises
    ------
    ArchiveError
        There is no more, though the archive has not ended.
    """
    # The constructor reads ahead, and `next` ends at damage as if there were no more: only the parser is used.
    tar = tarfile.TarFile(fileobj=io.BytesIO(bytes(tarfile.RECORDSIZE)))
    tar.fileobj, tar.offset = stream, 0  # type: ignore[assignment]  # what the parser needs of a file
    while True:
        header = tar.offset
        stream.skip_to(header)
        try:
            info = tarfile.TarInfo.fromtarfile(tar)
        except tarfile.HeaderError as error:
            # Of these subclasses tarfile documents only the base.
            kind = type(error).__name__
            if kind == "EOFHeaderError":
                break
            cut = kind in ("EmptyHeaderError", "TruncatedHeaderError")
            raise ArchiveError(damaged("its end is missing" if cut else str(error))) from error
        if info.size < 0 or tar.offset <= header:
            raise ArchiveError(damaged("a member claims less than nothing"))
        if not info.isdir():
            yield info
    stream.skip_padding()


def problem_of(info: tarfile.TarInfo, wanted: Callable[[str], bool]) -> str | None:
    """Why a member cannot be read, if it may be a recording or lead to some, and is no plain file."""
    base = base_name(info.name)
    if info.isreg() and not info.issparse():
        return None
    matters = wanted(base) or (info.issym() and may_lead_to_a_folder(base))
    return LINK_PROBLEM if matters else None

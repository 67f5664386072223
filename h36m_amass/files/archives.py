"""Archives of recordings, as AMASS ships them: ``.tar``, compressed or not, and ``.zip``.

An archive is read once, front to back, and members are copied block by block. Damage costs the members behind it in a
tar, and one member in a zip. Names in an archive are only compared and printed; nothing is written under them.
"""

from __future__ import annotations

import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO

from h36m_amass.files.archive_names import DAMAGE, VIDEOS, Explained, base_name, kind_of, safe_name
from h36m_amass.files.archive_names import ArchiveError as ArchiveError
from h36m_amass.files.archive_names import dataset_name as dataset_name
from h36m_amass.files.first_bytes import NUM_BYTES, archive_kind, mishap
from h36m_amass.files.paths import Location, UrlError
from h36m_amass.files.tar_reading import BLOCK, TarFile, open_packed, walk
from h36m_amass.files.zip_reading import ENCRYPTED, MAX_DEFLATION, METHODS, open_zip

MAX_MEMBERS = 1_000_000
MAX_MEMBER = 2**32  # bytes of a member, which is copied to the disk; a recording of ten hours has half of it
MAX_DIRECTORY = 2**24  # bytes of a zip archive's directory; each member takes about a hundred
_LINK, _FILE_TYPES = 0xA000, 0xF000


def open_archive(path: Location, is_wanted: Callable[[str], bool], threads: int = 1) -> ArchiveStream:
    """Open an archive for one pass; `ArchiveError` or `UrlError` if it cannot be opened.

    `is_wanted` says of a name without folders whether the file matters; a local ``.tar.bz2`` is decoded by `threads`,
    where rapidgzip is installed. Its first bytes tell its kind, and where they do not its name.
    """
    with Explained():
        packed, size = open_packed(path)
        try:
            begin = packed.read(NUM_BYTES)
            packed.seek(0)
            what = mishap(begin)
            if what is not None:
                raise ArchiveError(what)
            kind = archive_kind(begin) or kind_of(path.name)
            return (_ZipStream if kind == "zip" else _TarStream)(path, packed, size, is_wanted, threads, kind)
        except BaseException:
            packed.close()
            raise


class StreamedMember:
    """A file in an archive, as it comes by; `problem` says why it cannot be read though the archive goes on."""

    def __init__(
        self, name: str, size: int, problem: str | None, stream: ArchiveStream, blocks: Callable[[], Iterator[bytes]]
    ) -> None:
        self.name, self.size, self.problem = name, size, problem
        self._stream, self._blocks = stream, blocks

    def copy_to(self, file: IO[bytes], check: Callable[[], None] = lambda: None) -> None:
        """Write the content to `file` before the stream goes on to the next member, and call `check` before each block.

        Raises `ArchiveError` if the member has a problem, or the archive is damaged here and the stream will end.
        """
        if self.problem is not None:
            raise ArchiveError(self.problem)
        try:
            for block in self._blocks():
                check()
                file.write(block)
        except ArchiveError as error:
            if self._stream.damage is None:
                self.problem = error.reason
            raise


class ArchiveStream(ABC):
    """A context manager that gives the wanted members once, in archive order; then `damage` says if there is any."""

    def __init__(
        self, path: Location, packed: IO[bytes], size: int, is_wanted: Callable[[str], bool], threads: int, kind: str
    ) -> None:
        self.damage: str | None = None
        self._packed, self._size, self._is_wanted = packed, size, is_wanted
        self._unsafe: set[str] = set()
        self._num_videos = 0
        self._open(path, threads, kind)

    def __enter__(self) -> ArchiveStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._packed.close()

    @abstractmethod
    def _open(self, path: Location, threads: int, kind: str) -> None: ...

    @property
    @abstractmethod
    def position(self) -> int:
        """Bytes of the archive that have been read."""

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Wanted names that lead out of the archive, so far."""
        return tuple(sorted(self._unsafe))

    def __iter__(self) -> Iterator[StreamedMember]:
        has_members = False
        try:
            with Explained():
                for number, member in enumerate(self._members()):
                    if number >= MAX_MEMBERS:
                        raise ArchiveError(f"holds more than {MAX_MEMBERS} files; unpack it")
                    if member is not None:
                        has_members = True
                        yield member
                    if self.damage is not None:
                        return
            if self._num_videos and not has_members:
                self.damage = VIDEOS
        except ArchiveError as error:
            self.damage = error.reason

    @abstractmethod
    def _members(self) -> Iterator[StreamedMember | None]:
        """All members, None for those that do not matter."""

    def _member(
        self, raw_name: str, size: int, is_file: bool, is_link: bool, blocks: Callable[[], Iterator[bytes]]
    ) -> StreamedMember | None:
        """A member that matters: a recording, or a link that may lead to some."""
        name, base = safe_name(raw_name), base_name(raw_name)
        self._num_videos += base.lower().endswith(".mp4")
        is_wanted, problem = self._is_wanted(base), None
        if is_wanted and name is None:
            self._unsafe.add(raw_name)
        if name is None or (not is_wanted and (is_file or not is_link or "." in base)):
            return None
        if not is_file:
            problem = "is a link or no plain file in its archive; unpack the archive"
        elif size > MAX_MEMBER:
            problem = f"has {size} bytes, more than the {MAX_MEMBER} that are copied; unpack the archive"
        return StreamedMember(name, size, problem, self, blocks)


class _TarStream(ArchiveStream):
    def _open(self, path: Location, threads: int, kind: str) -> None:
        self._tar = TarFile(path, self._packed, self._size, threads, kind)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._tar.close()

    @property
    def position(self) -> int:
        return self._tar.packed_position()

    def _members(self) -> Iterator[StreamedMember | None]:
        for info in walk(self._tar):
            self._tar.check(info.offset_data + info.size)
            is_file = info.isreg() and not info.issparse()
            yield self._member(info.name, info.size, is_file, info.issym(), partial(self._blocks, info))

    def _blocks(self, info: tarfile.TarInfo) -> Iterator[bytes]:
        end = info.offset_data + info.size
        try:
            with Explained():
                self._tar.skip_to(info.offset_data)
                while self._tar.tell() < end:
                    yield self._tar.block(end)
        except ArchiveError as error:
            self.damage = error.reason
            raise


class _ZipStream(ArchiveStream):
    position = 0

    def _open(self, path: Location, threads: int, kind: str) -> None:
        self._archive = open_zip(self._packed, MAX_DIRECTORY)

    def _members(self) -> Iterator[StreamedMember | None]:
        encrypted = 0
        for info in self._archive.infolist():
            if info.flag_bits & ENCRYPTED:
                encrypted += 1
            elif not info.is_dir():
                is_link = (info.external_attr >> 16) & _FILE_TYPES == _LINK
                member = self._member(info.filename, info.file_size, not is_link, is_link, partial(self._blocks, info))
                if member is not None:
                    member.problem = member.problem or self._problem(info)
                yield member
            self.position = max(self.position, min(self._size, info.header_offset + info.compress_size))
        self.position = self._size
        self.damage = f"holds {encrypted} encrypted files; unpack it" if encrypted else None

    def _problem(self, info: zipfile.ZipInfo) -> str | None:
        if info.compress_type not in METHODS:
            return "is compressed in a way that is not read here; unpack the archive"
        growth = MAX_DEFLATION if info.compress_type == zipfile.ZIP_DEFLATED else 1
        fits = info.compress_size <= self._size and info.file_size <= info.compress_size * growth
        return None if fits else "claims more than its archive can hold; download the archive again"

    def _blocks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        left = info.file_size
        with Explained():
            try:
                with self._archive.open(info) as file:  # which compares the CRC at the end
                    while block := file.read(BLOCK):
                        left -= len(block)
                        yield block
                if left:
                    raise EOFError("the data end too early")
            except (ArchiveError, UrlError):
                raise
            except DAMAGE as error:
                raise ArchiveError("is damaged in its archive; download the archive again") from error

"""Archives of recordings, as AMASS ships them, whose members are read where they lie: ``.tar`` and ``.zip``.

Nothing is unpacked to list them. Names in an archive are only ever compared and printed; nothing is written under
them. Compressed tars are streams: see `h36m_amass.files.tar_stream`.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from isal.isal_zlib import crc32

from h36m_amass.files.archive_names import (
    LINK_PROBLEM,
    MAX_MEMBERS,
    Explained,
    base_name,
    kind_of,
    may_lead_to_a_folder,
    safe_name,
)
from h36m_amass.files.archive_names import SUFFIXES as SUFFIXES
from h36m_amass.files.archive_names import ArchiveError as ArchiveError
from h36m_amass.files.archive_names import dataset_name as dataset_name
from h36m_amass.files.archive_names import is_unread as is_unread
from h36m_amass.files.paths import Location, open_file
from h36m_amass.files.sources import FileSlice, Held, Source
from h36m_amass.files.tar_headers import BLOCK, ForwardFile, problem_of, walk
from h36m_amass.files.zip_reading import ENCRYPTED, MAX_DEFLATION, open_zip

MAX_HELD = 2**28
"""Bytes of a deflated member, which is held in memory."""
MAX_DIRECTORY = 2**24
"""Bytes of a zip archive's directory; each member takes about a hundred."""
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_LINK, _FILE_TYPES = 0xA000, 0xF000


@dataclass(frozen=True)
class Member:
    """Where a file lies in an archive.

    Attributes
    ----------
    archive
        File name of the archive.
    start
        First byte in the tar; of the member's own header in a zip archive.
    size
        Bytes of its content.
    packed_size, crc
        How many bytes that takes in a zip archive where it is deflated, and its CRC-32; otherwise None.
    problem
        Why it cannot be read, if so.
    """

    archive: str
    start: int
    size: int
    packed_size: int | None = None
    crc: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Contents:
    """What an archive holds.

    Attributes
    ----------
    members
        By name, with forward slashes; of several members of one name the last, as in unpacking.
    unsafe
        Names that lead out of the archive, and would be recordings elsewhere.
    damage
        Why there is no more, if the archive is damaged.
    """

    members: Mapping[str, Member]
    unsafe: tuple[str, ...]
    damage: str | None


def list_members(path: Location, wanted: Callable[[str], bool]) -> Contents:
    """List a ``.tar`` or a ``.zip``, of which nothing is decompressed.

    Parameters
    ----------
    wanted
        Whether a file of this name, without its folders, matters.

    Raises
    ------
    h36m_amass.files.paths.UrlError
        Its URL cannot be reached.
    """
    listing = _Listing(path.name, wanted)
    damage = None
    try:
        with Explained(), open_file(path) as file:
            size = file.seek(0, os.SEEK_END)
            if kind_of(path.name) == "zip":
                damage = listing.zip(file, size)
            else:
                file.seek(0)
                listing.tar(ForwardFile(file, size, seekable=True))
    except ArchiveError as error:
        damage = error.reason
    return Contents(listing.members, tuple(sorted(listing.unsafe)), damage)


def read_member(path: Location, member: Member, name: str) -> Source:
    """What a member is read from: a part of its archive, or its content if it is deflated.

    Parameters
    ----------
    name
        What it is called in messages.

    Raises
    ------
    ArchiveError
        It is damaged.
    h36m_amass.files.paths.UrlError
        Its URL cannot be reached.
    """
    if kind_of(member.archive) == "tar":
        return FileSlice(name, path, member.start, member.size)
    with Explained(), open_file(path) as file:
        file.seek(member.start)
        local = file.read(_LOCAL_HEADER.size)
        if len(local) < _LOCAL_HEADER.size or local[:4] != b"PK\3\4":
            raise zipfile.BadZipFile("a member is not where the archive says")
        start = member.start + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(local)[-2:])
        if member.packed_size is None:
            return FileSlice(name, path, start, member.size)
        file.seek(start)
        return Held(name, _inflate(file, member, member.packed_size))


def _inflate(file: IO[bytes], member: Member, packed_size: int) -> bytes:
    content = io.BytesIO()
    inflate, left = zlib.decompressobj(-zlib.MAX_WBITS), packed_size
    while left and content.tell() <= member.size:
        packed = file.read(min(BLOCK, left))
        if not packed:
            break
        left -= len(packed)
        # No more than fits and one byte, which tells that it is too much.
        content.write(inflate.decompress(packed, member.size + 1 - content.tell()))
    inflated = content.getvalue()  # the buffer itself, not a copy
    if len(inflated) != member.size or not inflate.eof or crc32(inflated) != member.crc:
        raise ArchiveError("is damaged in its archive; download the archive again")
    return inflated


class _Listing:
    """One look through an archive."""

    def __init__(self, archive: str, wanted: Callable[[str], bool]) -> None:
        self._archive, self._wanted = archive, wanted
        self.members: dict[str, Member] = {}
        self.unsafe: set[str] = set()

    def tar(self, stream: ForwardFile) -> None:
        for info in walk(stream):
            stream.check(info.offset_data + info.size)
            problem = problem_of(info, self._wanted)
            self._add(info.name, Member(self._archive, info.offset_data, info.size, problem=problem))

    def zip(self, file: IO[bytes], size: int) -> str | None:
        """List a zip archive, of which its directory tells all; gives what is wrong with it."""
        encrypted = 0
        for info in open_zip(file, MAX_DIRECTORY).infolist():
            if info.flag_bits & ENCRYPTED:
                encrypted += 1
            elif not info.is_dir():
                is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
                packed_size, crc = (info.compress_size, info.CRC) if is_deflated else (None, None)
                problem = self._zip_problem(info, size)
                member = Member(self._archive, info.header_offset, info.file_size, packed_size, crc, problem)
                self._add(info.filename, member)
        return f"holds {encrypted} encrypted files; unpack it" if encrypted else None

    def _zip_problem(self, info: zipfile.ZipInfo, size: int) -> str | None:
        base = base_name(info.filename)
        is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
        is_link = (info.external_attr >> 16) & _FILE_TYPES == _LINK
        if is_link and (self._wanted(base) or may_lead_to_a_folder(base)):
            return LINK_PROBLEM
        if not self._wanted(base):
            return None
        if not is_deflated and info.compress_type != zipfile.ZIP_STORED:
            return "is compressed in a way that is not read here; unpack the archive"
        if info.compress_size > size or info.file_size > info.compress_size * (MAX_DEFLATION if is_deflated else 1):
            return "claims more than its archive can hold; download the archive again"
        if is_deflated and info.file_size > MAX_HELD:
            return f"has {info.file_size} bytes, more than the {MAX_HELD} that are held in memory; unpack the archive"
        return None

    def _add(self, raw_name: str, member: Member) -> None:
        name, base = safe_name(raw_name), base_name(raw_name)
        if name is not None:
            self.members[name] = member
            if len(self.members) > MAX_MEMBERS:
                raise ArchiveError(f"holds more than {MAX_MEMBERS} files; unpack it")
        elif base and self._wanted(base):
            self.unsafe.add(raw_name)

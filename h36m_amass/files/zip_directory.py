"""The directory of a zip archive: which members it has, and where they lie.

Recordings are small archives, of which a build looks through thousands. Where all goes well this takes one read, and
the size of the directory is known before any of it is taken; `zipfile` is left to unpack members.

Format: PKWARE, .ZIP File Format Specification (APPNOTE.TXT), sections 4.3.12 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple
from zipfile import BadZipFile

ReadAt = Callable[[int, int], bytes]
"""Gives so many bytes from a place of a file on, or those that there are."""

TAIL = 1024
"""Bytes: the directory of a dozen arrays and what stands behind it."""
MAX_COMMENT = 2**16
UTF8 = 0x800
_END = struct.Struct("<4s4H2LH")
_END_64_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENDS = _END_64.size + _END_64_LOCATOR.size + _END.size
_ENTRY = struct.Struct("<4s6H3L5H2L")
_FIELD = struct.Struct("<2H")
_LARGE, _SIZES_64 = 2**32 - 1, 1


class Member(NamedTuple):
    """What the directory says of a member.

    Attributes
    ----------
    name
        As text, and `raw_name` as it stands in the archive.
    flags, method
        General purpose flags and compression method, numbers of the format.
    crc, size
        CRC-32 and number of the bytes that were packed.
    start
        Where its local header begins in the file.
    """

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    size: int
    start: int


class _Directory(NamedTuple):
    """Where the directory begins and ends in the file, and where it says that it begins."""

    start: int
    stop: int
    told_start: int


def read_members(read_at: ReadAt, size: int, max_directory: int) -> list[Member]:
    """The members of an archive of `size` bytes.

    Raises
    ------
    zipfile.BadZipFile
        There is no directory, it has more than `max_directory` bytes, or it is damaged.
    """
    before = max(0, size - TAIL)
    tail = read_at(before, TAIL)
    found = _find(read_at, size, tail)
    if found is None:
        raise BadZipFile("it has no directory")
    _check_size(found, max_directory)
    if found.start < 0:
        raise BadZipFile("a directory longer than the file")
    length = found.stop - found.start
    content = tail[found.start - before : found.stop - before] if found.start >= before else None
    if content is None:
        content = read_at(found.start, length)
    if len(content) != length:
        raise BadZipFile("the directory is cut short")
    # An archive may have something in front of it, which the places in it do not count.
    return _members(content, found.start - found.told_start)


def check_directory(read_at: ReadAt, size: int, max_directory: int) -> None:
    """Refuse an archive whose directory would take much memory, before zipfile reads it whole."""
    found = _find(read_at, size, read_at(max(0, size - _ENDS), _ENDS))
    if found is not None:  # zipfile has its own words for that
        _check_size(found, max_directory)


def _check_size(found: _Directory, max_directory: int) -> None:
    if found.stop - found.start > max_directory:
        raise BadZipFile(f"a directory of {found.stop - found.start} bytes")


def _find(read_at: ReadAt, size: int, tail: bytes) -> _Directory | None:
    """Find the directory by what ends it; looked for in zipfile's order, so that both find the same."""
    place = len(tail) - _END.size
    if place < 0 or tail[place : place + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        tail = read_at(max(0, size - _ENDS - MAX_COMMENT), _ENDS + MAX_COMMENT)  # a comment may follow
        place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        return None
    *_, length, told_start, _ = _END.unpack_from(tail, place)
    stop = size - len(tail) + place
    before = place + _END.size - _ENDS
    locator = place - _END_64_LOCATOR.size
    if before >= 0 and tail[locator : locator + 4] == b"PK\6\7" and tail[before : before + 4] == b"PK\6\6":
        *_, length, told_start = _END_64.unpack_from(tail, before)
        stop += _END.size - _ENDS
    return _Directory(stop - length, stop, told_start)


def _members(content: bytes, offset: int) -> list[Member]:
    members, place = [], 0
    while place < len(content):
        if len(content) - place < _ENTRY.size:
            raise BadZipFile("an entry of the directory is cut short")
        entry = _ENTRY.unpack_from(content, place)
        signature, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length = entry[:13]
        if signature != b"PK\1\2":
            raise BadZipFile("an entry of the directory does not begin like one")
        start, place = entry[-1], place + _ENTRY.size
        raw_name = content[place : place + name_length]
        place += name_length
        if _LARGE in (packed, size, start):
            size, start = _large_values(content[place : place + extra_length], packed, size, start)
        place += extra_length + comment_length
        name = raw_name.decode("utf-8" if flags & UTF8 else "cp437")
        members.append(Member(name, raw_name, flags, method, crc, size, start + offset))
    return members


def _large_values(extra: bytes, packed: int, size: int, start: int) -> tuple[int, int]:
    """Size and start of a member where they take 64 bits: those that do stand one behind the other."""
    place = 0
    while place + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, place)
        place += _FIELD.size
        if kind == _SIZES_64:
            values = iter(struct.unpack_from(f"<{min(length, len(extra) - place) // 8}Q", extra, place))
            try:
                size = next(values) if size == _LARGE else size
                _ = next(values) if packed == _LARGE else packed
                return size, next(values) if start == _LARGE else start
            except StopIteration:
                break
        place += length
    raise BadZipFile("a large member without its size")

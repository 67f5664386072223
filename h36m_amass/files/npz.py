"""NumPy's npz files, read without ever unpickling, and in runs of rows, so that memory does not grow with their length.

The zip CRC of every member that is read to its end is checked.
"""

from __future__ import annotations

import math
import struct
import threading
import zipfile
from collections.abc import Generator, Iterable
from typing import IO, Any, NamedTuple

import numpy as np
from isal.isal_zlib import crc32

from h36m_amass.files.first_bytes import mishap_of
from h36m_amass.files.npy import (
    MAGIC,
    MAX_CONTENT,
    MAX_HEADER,
    ArrayHeader,
    Explained,
    as_array,
    end_of_header,
    read_header,
    whole_header,
)
from h36m_amass.files.npy import NpzError as NpzError
from h36m_amass.files.paths import shown
from h36m_amass.files.sources import Source, open_source
from h36m_amass.files.zip_reading import ENCRYPTED, MAX_DEFLATION, METHODS, UTF8, open_zip

_LOCAL_HEADER = struct.Struct("<6xH18x2H")  # flags and lengths of the name and what follows it
_PREFIX = 512  # bytes of a member that are read for its headers; the values of a small array come with them
MAX_WHOLE = 2**28  # bytes of an array that can only be read whole
MAX_DIRECTORY = 2**20  # bytes of an archive's directory; each array takes about a hundred
_BLOCK = 2**18  # bytes that stay in a core's cache while they are checked and converted
_memory = threading.local()


class _StoredArray(NamedTuple):
    """An uncompressed array: where its values start, the CRC up to there and at the end, and the values if held."""

    member: str
    header: ArrayHeader
    start: int
    crc_before: int
    crc: int
    content: memoryview | None

    def array(self) -> np.ndarray:
        """The values that are in memory, read-only."""
        assert self.content is not None
        self.check(crc32(self.content, self.crc_before))
        return as_array(self.content, self.header)

    def check(self, crc: int) -> None:
        if crc != self.crc:
            raise zipfile.BadZipFile(f"the CRC of {self.member!r} does not fit")


class NpzReader:
    """Random access to the members of an ``.npz`` file, opened once; a context manager.

    All raise `NpzError` if the file is missing or no zip archive, or a member that is read is damaged or holds Python
    objects (a pickle), and `UrlError` if a URL cannot be reached.
    """

    def __init__(self, source: Source) -> None:
        self.name = shown(source)
        self._stored: dict[str, _StoredArray | None] = {}
        with Explained(self.name):
            self._file, self._size, self._content = open_source(source)
            try:
                self._archive = open_zip(self._file, MAX_DIRECTORY)
                arrays = [info for info in self._archive.infolist() if info.filename.endswith(".npy")]
                self._members = {info.filename.removesuffix(".npy"): info for info in arrays}
                if len(self._members) < len(arrays):
                    raise NpzError("holds two arrays of one name; save it again", self.name)
            except BaseException as error:
                what = mishap_of(self._file) if isinstance(error, zipfile.BadZipFile) else None
                self._file.close()
                if what is not None:
                    raise NpzError(what, self.name) from error
                raise

    def __enter__(self) -> NpzReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> tuple[str, ...]:
        """Names of the arrays, without the ``.npy`` that they carry inside the archive."""
        return tuple(self._members)

    def checksums(self, names: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
        """Name, bytes and CRC-32 (checked when read) of the `names` that are in the archive's directory."""
        members = [(name, self._members[name]) for name in names if name in self._members]
        return tuple((name, member.file_size, member.CRC) for name, member in members)

    def header(self, name: str) -> ArrayHeader:
        """Shape and type of the array `name`."""
        with Explained(self.name):
            stored = self._find(name)
            return self._open(name)[1] if stored is None else stored.header

    def read(self, name: str, max_bytes: int = MAX_CONTENT) -> np.ndarray:
        """The array `name`, whole, unless it has more than `max_bytes`."""
        with Explained(self.name):
            values, header = self._open(name)
            self._check_taken(name, header.num_bytes, max_bytes, " in Fortran order" if header.fortran_order else "")
            return values.array().copy() if isinstance(values, _StoredArray) else _read_array(values, header)

    def pickled(self, name: str) -> bytes:
        """The pickle in an array `name` of Python objects, not read; `h36m_amass.files.unpickling` reads it safely."""
        with Explained(self.name):
            member = self._member(name)
            if member.file_size > MAX_CONTENT:
                raise NpzError(f"'{name}' has {member.file_size} bytes, more than {MAX_CONTENT}", self.name)
            content = self._archive.read(member)
            if not content.startswith(b"\x93NUMPY"):
                raise NpzError(f"'{name}' is not a NumPy array; copy or download the file again", self.name)
            end = end_of_header(content, 0)
            if b"|O" not in content[:end]:
                raise NpzError(
                    f"'{name}' is an array of numbers or text, not a pickled dictionary; save that again", self.name
                )
            return content[end:]

    def rows(
        self, name: str, num_rows: int, overlap: int = 0, dtype: np.dtype[Any] | None = None
    ) -> Generator[np.ndarray, None, None]:
        """The array `name` in runs of at most `num_rows` new rows, each after the last `overlap` rows before them.

        Values are converted to `dtype` while what was read is still in the processor's cache. An array in Fortran order
        has no contiguous rows: it is read whole, and cut. What is in memory at a time, beside a file that is held
        there, has `MAX_WHOLE` bytes at most.
        """
        with Explained(self.name):
            values, header = self._open(name)
            length, item_bytes = header.shape[0], max(header.dtype.itemsize, (dtype or header.dtype).itemsize)
            has_no_rows = header.fortran_order and len(header.shape) > 1
            taken = length if has_no_rows else min(num_rows + overlap, length)
            extent = " in Fortran order" if has_no_rows else f" in {taken} rows"
            self._check_taken(name, taken * math.prod(header.shape[1:]) * item_bytes, MAX_WHOLE, extent)
            if has_no_rows or isinstance(values, _StoredArray):
                array = values.array() if isinstance(values, _StoredArray) else _read_array(values, header)
                for start in range(0, length, num_rows):
                    with np.errstate(over="ignore", invalid="ignore"):  # a number that does not fit becomes infinite
                        run = array[max(0, start - overlap) : start + num_rows].astype(dtype or header.dtype)
                    yield run
                return
            run = np.empty((0, *header.shape[1:]), dtype or header.dtype)
            for start in range(0, length, num_rows):
                kept, stop = min(overlap, start), min(start + num_rows, length)
                before, run = run, np.empty((kept + stop - start, *header.shape[1:]), run.dtype)
                run[:kept] = before[len(before) - kept :]
                _read_converted(values, header.dtype, run[kept:])
                if stop == length:
                    _check_end(values)
                yield run

    def _open(self, name: str) -> tuple[IO[bytes] | _StoredValues | _StoredArray, ArrayHeader]:
        """The values of an array, in memory or to be read from front to back, and its header."""
        stored = self._find(name)
        if stored is not None:
            in_memory = stored.content is not None
            return stored if in_memory else _StoredValues(self._file, stored), stored.header
        file = self._archive.open(self._members[name])
        try:
            header, text = read_header(file)
        except NpzError as error:
            raise NpzError(f"'{name}': {error.reason}", self.name) from error
        self._check_size(name, header, self._members[name].file_size - len(text))
        return file, header

    def _find(self, name: str) -> _StoredArray | None:
        """Where the values of an array lie, unless they are compressed."""
        if name not in self._stored:
            member = self._member(name)
            is_stored = member.compress_type == zipfile.ZIP_STORED
            self._stored[name] = self._find_stored(name, member) if is_stored else None
        return self._stored[name]

    def _member(self, name: str) -> zipfile.ZipInfo:
        """Where the archive has an array, once it is clear that it can be read."""
        if name not in self._members:
            raise NpzError(f"has no array '{name}'", self.name)
        member = self._members[name]
        if member.compress_type not in METHODS or member.flag_bits & ENCRYPTED:
            raise NpzError(f"'{name}' is compressed in a way that npz files are not; save it again", self.name)
        is_stored = member.compress_type == zipfile.ZIP_STORED
        if member.file_size > self._size * (1 if is_stored else MAX_DEFLATION):
            raise NpzError(f"'{name}' claims more than the file can hold; copy or download it again", self.name)
        return member

    def _find_stored(self, name: str, member: zipfile.ZipInfo) -> _StoredArray:
        offset, bytes_read = member.header_offset, self._content
        begin = offset  # of the member in `bytes_read`
        if bytes_read is None:
            begin, bytes_read = 0, self._read(offset, _PREFIX)
        if begin < 0 or bytes_read[begin : begin + 4] != b"PK\3\4":
            raise zipfile.BadZipFile("a member is not where the archive says")
        flags, name_length, extra_length = _LOCAL_HEADER.unpack_from(bytes_read, begin)
        end_of_name = begin + _LOCAL_HEADER.size + name_length
        start = end_of_name + extra_length
        if self._content is None and len(bytes_read) == _PREFIX < end_of_header(bytes_read, start):
            bytes_read = self._read(offset, start + MAGIC + 4 + MAX_HEADER)
        raw_name = bytes_read[begin + _LOCAL_HEADER.size : end_of_name]
        coding = "utf-8" if flags & UTF8 or raw_name.isascii() else "cp437"
        if raw_name.decode(coding) != member.orig_filename:
            raise zipfile.BadZipFile("a member's name is not what the archive says")
        first = end_of_header(bytes_read, start)
        try:
            header, crc = whole_header(bytes_read[start:first])
        except NpzError as error:
            raise NpzError(f"'{name}': {error.reason}", self.name) from error
        self._check_size(name, header, member.file_size - (first - start))
        end = first + header.num_bytes
        content = memoryview(bytes_read)[first:end] if end <= len(bytes_read) else None
        return _StoredArray(member.filename, header, offset + first - begin, crc, member.CRC, content)

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)

    def _check_taken(self, name: str, num_bytes: int, max_bytes: int, extent: str) -> None:
        if num_bytes > max_bytes:
            claim = f"has {num_bytes} bytes{extent}, more than the {max_bytes} that can be read at once"
            raise NpzError(f"'{name}' {claim}; download or save it again", self.name)

    def _check_size(self, name: str, header: ArrayHeader, held: int) -> None:
        if header.num_bytes != held:
            claim = f"claims {header.num_bytes} bytes and holds {held}"
            raise NpzError(f"'{name}' {claim}; copy or download the file again", self.name)


class _StoredValues:
    """Values that are not compressed, read straight into the target; the CRC is compared at the end.

    zipfile's reader copies twice, and zlib's CRC is slow: together they took longer than computing the joints.
    """

    def __init__(self, file: IO[bytes], stored: _StoredArray) -> None:
        self._stored, self._num_bytes = stored, stored.header.num_bytes
        self._file, self._start = file, stored.start
        self._position, self._crc = 0, stored.crc_before

    def readinto(self, target: memoryview) -> int:
        """Fill `target` as far as there are values; an empty one asks whether this is the end."""
        target = target[: self._num_bytes - self._position]
        count = 0
        if len(target):
            # The file is not buffered, and several arrays are read in turn: each says where it goes on.
            self._file.seek(self._start + self._position)
            count = self._file.readinto(target)  # type: ignore[attr-defined]  # every binary file has it
            self._crc = crc32(target[:count], self._crc)
            self._position += count
        if self._position == self._num_bytes:
            self._stored.check(self._crc)
        return count


def _read_array(file: IO[bytes] | _StoredValues, header: ArrayHeader) -> np.ndarray:
    flat = np.empty(math.prod(header.shape), header.dtype)
    _read_into(file, flat)
    _check_end(file)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _read_into(file: IO[bytes] | _StoredValues, array: np.ndarray) -> None:
    """Fill `array`, whose rows are contiguous."""
    target = array.reshape(-1).view(np.uint8).data
    while len(target):
        count = file.readinto(target)  # type: ignore[union-attr]  # every binary file has it; IO does not say so
        if not count:
            raise EOFError("the data end too early")
        target = target[count:]


def _read_converted(file: IO[bytes] | _StoredValues, dtype: np.dtype[np.generic], array: np.ndarray) -> None:
    """Fill `array`, whose rows are contiguous, with values that are of `dtype` in the file."""
    if array.dtype == dtype or array.size == 0:
        _read_into(file, array)
        return
    flat = array.reshape(-1)
    num_bytes = _BLOCK // dtype.itemsize * dtype.itemsize or dtype.itemsize
    # Kept for this thread: new memory costs more than the use that is made of it.
    if len(getattr(_memory, "bytes", ())) < num_bytes:
        _memory.bytes = np.empty(num_bytes, np.uint8)
    block = _memory.bytes[:num_bytes].view(dtype)
    for start in range(0, flat.size, block.size):
        part = block[: flat.size - start]
        _read_into(file, part)
        with np.errstate(over="ignore", invalid="ignore"):  # a number that does not fit becomes infinite
            flat[start : start + part.size] = part


def _check_end(file: IO[bytes] | _StoredValues) -> None:
    """Read past the end, which makes zipfile, too, compare the member's CRC."""
    if file.readinto(memoryview(bytearray(1))):  # type: ignore[union-attr]  # see above
        raise EOFError("data follow the array")

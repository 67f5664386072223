"""NumPy's npz and npy files, read without ever unpickling, and in runs of rows where they are long.

``numpy.load`` reads a member whole; a recording of hours is read here a few thousand frames at a time, so that
memory does not grow with its length. The zip CRC of every member that is read to its end is checked, and a
header that promises more bytes than the file holds is refused before memory is taken.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import io
import math
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from isal.isal_zlib import crc32

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.regular_file import open_regular
from h36m_amass.files.remote import RangeReader, RemoteError, RemoteFile
from h36m_amass.files.zip_directory import Member, read_members

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from Python 3.12 on

_MAGIC = 8
MAX_HEADER = 10_000
MAX_DIMENSIONS = 32
MAX_TRAILER = 1_000
"""Bytes behind an npy file's array that are looked at."""
_HEADER_LENGTHS = {(1, 0): "<H", (2, 0): "<I"}
MAX_DEFLATION = 1032
"""No deflated data grow by more than this."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_PREFIX = 512
"""Bytes that are read of a member for its headers; the values of a small array come with them."""
MAX_CONTENT = 2**30
"""Bytes of a file that is read whole; body models have a tenth of it."""
MAX_WHOLE = 2**28
"""Bytes of an array that can only be read whole."""
MAX_DIRECTORY = 2**20
"""Bytes of an archive's directory; each array takes about a hundred."""
_PREADS = hasattr(os, "preadv")
_memory = threading.local()
_BLOCK = 2**18
"""Bytes that stay in a core's cache while they are checked and converted."""


# What zipfile and zlib raise, and what falls out of zipfile when an archive lies about places and lengths.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OverflowError, LookupError, struct.error)


class NpzError(H36mAmassError):
    """A file is not the npz or npy file it should be."""


@dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of an array on disk, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def num_bytes_as_floats(self) -> int:
        """Bytes that the values take once they are float64."""
        return math.prod(self.shape) * max(8, self.dtype.itemsize)


def read_content(path: Path) -> bytes:
    """All bytes of a file.

    Raises
    ------
    NpzError
        The file cannot be read, is no regular file, or is larger than `MAX_CONTENT`.
    """
    with _Explained(path), open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_CONTENT:
            raise NpzError(f"{path}: is larger than {MAX_CONTENT} bytes, which no such file is; download it again")
        return file.read(MAX_CONTENT)


def read_npy(path: Path, content: bytes | None = None) -> tuple[np.ndarray, bytes]:
    """Array of an ``.npy`` file, whose `content` may be in memory already, and the first bytes that follow it.

    The values are not copied: the array can only be read.

    Raises
    ------
    NpzError
        The file is missing, damaged or holds Python objects (a pickle).
    """
    content = read_content(path) if content is None else content
    with _Explained(path), io.BytesIO(content) as file:
        try:
            header, text = _read_header(file)
        except NpzError as error:
            raise NpzError(f"{path}: {error}") from error
        end = len(text) + header.num_bytes
        if len(content) < end:
            raise NpzError(f"{path}: is cut short; copy or download it again")
        return _as_array(memoryview(content)[len(text) : end], header), content[end : end + MAX_TRAILER]


@dataclass(frozen=True)
class ArrayPlace:
    """Where the values of an uncompressed array lie in its file.

    Attributes
    ----------
    member
        Name in the archive.
    start
        Their first byte.
    crc_before, crc
        CRC of the member up to the values, and as it must be behind them.
    """

    member: str
    header: ArrayHeader
    start: int
    crc_before: int
    crc: int


@dataclass(frozen=True)
class Layout:
    """Places of arrays in a file of this size and modification time (nanoseconds)."""

    size: int
    modified: int
    places: Mapping[str, ArrayPlace]


@dataclass(frozen=True)
class ByteRange:
    """Bytes of a file, which are a file of their own."""

    path: str | RemoteFile
    start: int
    size: int


@dataclass(frozen=True)
class HeldFile:
    """A file that lies in another one, or in memory.

    Attributes
    ----------
    name
        What it is called in messages.
    content
        Its bytes, or where they are.
    modified
        When the file that it lies in was last changed, in nanoseconds.
    """

    name: str
    content: bytes | ByteRange
    modified: int

    def __str__(self) -> str:
        return self.name


Source = Path | str | HeldFile | RemoteFile
"""What an npz file can be read from."""


class NpzReader:
    """Random access to the members of an ``.npz`` file; a context manager.

    Parameters
    ----------
    path
        The file.
    content
        Its content, if that is in memory already.
    layout
        From an earlier reader of the file, which spares looking through the archive again. It is not used if the
        file has changed.

    Raises
    ------
    NpzError
        If the file is missing or not a zip archive, or if a member that is read is damaged or holds Python objects
        (a pickle).
    """

    def __init__(self, path: Source, content: bytes | None = None, layout: Layout | None = None) -> None:
        self.path = path
        self._places: dict[str, ArrayPlace] = {}
        self._small: dict[str, bytes] = {}
        with _Explained(self.path):
            self._file = _opened(path if content is None else HeldFile(str(path), content, 0))
            # Where it can be asked for bytes of any place, no buffer stands between.
            self._descriptor = self._file.fileno() if isinstance(self._file, io.FileIO) and _PREADS else None
            try:
                self._size, self._modified = _size_and_time(self._file, path, content)
                if layout is not None and (layout.size, layout.modified) == (self._size, self._modified):
                    self._places.update(layout.places)
                else:
                    _ = self._members
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> NpzReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> tuple[str, ...]:
        """Names of the arrays, without the ``.npy`` that they carry inside the archive."""
        return tuple(self._members)

    def checksums(self, names: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
        """Name, bytes and CRC-32 of those of the arrays `names` that there are, as the archive's directory has them.

        What is read is compared with them; so they tell two contents apart without reading either.
        """
        members = [(name, self._members[name]) for name in names if name in self._members]
        return tuple((name, member.size, member.crc) for name, member in members)

    def layout(self, names: Iterable[str]) -> Layout:
        """Where those of the arrays `names` lie that are not compressed."""
        places = {}
        with _Explained(self.path):
            for name in names:
                place = self._place(name)
                if place is not None:
                    places[name] = place
        return Layout(self._size, self._modified, places)

    def header(self, name: str) -> ArrayHeader:
        """Shape and type of the array `name`."""
        with _Explained(self.path):
            place = self._place(name)
        if place is not None:
            return place.header
        with self._open(name) as (_, header):
            return header

    def read(self, name: str, max_bytes: int = MAX_CONTENT) -> np.ndarray:
        """The array `name`, whole, unless it has more than `max_bytes`."""
        with _Explained(self.path):
            place = self._place(name)
            if place is not None and name in self._small:
                self._check_taken(name, place.header.num_bytes, max_bytes, "")
                if crc32(self._small[name], place.crc_before) != place.crc:
                    raise _wrong_crc(place.member)
                return _as_array(memoryview(self._small[name]), place.header).copy()
        with self._open(name) as (values, header):
            extent = " in Fortran order" if header.fortran_order else ""
            self._check_taken(name, header.num_bytes, max_bytes, extent)
            return _read_array(values, header)

    def rows(
        self, name: str, num_rows: int, overlap: int = 0, dtype: np.dtype[Any] | None = None
    ) -> Generator[np.ndarray, None, None]:
        """The array `name` in runs of at most `num_rows` new rows, each after the last `overlap` rows before them.

        Values are converted to `dtype`, if one is given, while what was read is still in the processor's cache. An
        array in Fortran order has no contiguous rows: it is read whole, and cut. What is in memory at a time, a run or
        the whole array, has `MAX_WHOLE` bytes at most, before and after it is converted.
        """
        with self._open(name) as (values, header):
            length, item_bytes = header.shape[0], max(header.dtype.itemsize, (dtype or header.dtype).itemsize)
            whole = header.fortran_order and len(header.shape) > 1
            taken = length if whole else min(num_rows + overlap, length)
            extent = " in Fortran order" if whole else f" in {taken} rows"
            self._check_taken(name, taken * math.prod(header.shape[1:]) * item_bytes, MAX_WHOLE, extent)
            if whole:
                with np.errstate(over="ignore", invalid="ignore"):  # a number that does not fit becomes infinite
                    array = _read_array(values, header).astype(dtype or header.dtype, copy=False)
                for start in range(0, length, num_rows):
                    yield array[max(0, start - overlap) : start + num_rows]
                return
            run = np.empty((0, *header.shape[1:]), dtype or header.dtype)
            for start in range(0, length, num_rows):
                kept = min(overlap, start)
                stop = min(start + num_rows, length)
                before, run = run, np.empty((kept + stop - start, *header.shape[1:]), run.dtype)
                run[:kept] = before[len(before) - kept :]
                _read_converted(values, header.dtype, run[kept:])
                if stop == length:
                    _check_end(values)
                yield run

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._file)

    @cached_property
    def _members(self) -> dict[str, Member]:
        arrays = [own for own in read_members(self._read_at, self._size, MAX_DIRECTORY) if own.name.endswith(".npy")]
        members = {own.name.removesuffix(".npy"): own for own in arrays}
        if len(members) < len(arrays):
            raise NpzError(f"{self.path}: holds two arrays of one name; save it again")
        return members

    def _read_at(self, start: int, num_bytes: int) -> bytes:
        """So many bytes of the file, or those that there are."""
        if self._descriptor is not None:
            return os.pread(self._descriptor, num_bytes, start)
        self._file.seek(start)
        return self._file.read(num_bytes)

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes] | _StoredValues, ArrayHeader]]:
        with _Explained(self.path):
            place = self._place(name)
            if place is not None:
                yield _StoredValues(self._file, self._descriptor, place), place.header
                return
            with self._archive.open(f"{name}.npy") as file:
                try:
                    header, text = _read_header(file)
                except NpzError as error:
                    raise NpzError(f"{self.path}: '{name}': {error}") from error
                self._check_size(name, header, self._members[name].size - len(text))
                yield file, header

    def _member(self, name: str) -> Member:
        if name not in self._members:
            raise NpzError(f"{self.path}: has no array '{name}'")
        return self._members[name]

    def _is_stored(self, member: Member) -> bool:
        """Whether a member is not compressed, once it is clear that it can be read at all."""
        name = member.name.removesuffix(".npy")
        if member.method not in _METHODS or member.flags & _ENCRYPTED:
            raise NpzError(f"{self.path}: '{name}' is compressed in a way that npz files are not; save it again")
        stored = member.method == zipfile.ZIP_STORED
        if member.size > self._size * (1 if stored else MAX_DEFLATION):
            raise NpzError(f"{self.path}: '{name}' claims more than the file can hold; copy or download it again")
        return stored

    def _place(self, name: str) -> ArrayPlace | None:
        """Where the values of an array lie, unless they are compressed."""
        if name in self._places:
            return self._places[name]
        member = self._member(name)
        if not self._is_stored(member):
            return None
        begin = self._read_at(member.start, _PREFIX)
        if len(begin) < _LOCAL_HEADER.size or begin[:4] != b"PK\3\4":
            raise zipfile.BadZipFile("a member is not where the archive says")
        name_length, extra_length = _LOCAL_HEADER.unpack_from(begin)[-2:]
        start = _LOCAL_HEADER.size + name_length + extra_length
        if len(begin) == _PREFIX < _end_of_header(begin, start):
            begin = self._read_at(member.start, start + _MAGIC + 4 + MAX_HEADER)
        if begin[_LOCAL_HEADER.size : _LOCAL_HEADER.size + name_length] != member.raw_name:
            raise zipfile.BadZipFile("a member's name is not what the archive says")
        first = _end_of_header(begin, start)
        try:
            header, crc = _whole_header(begin[start:first])
        except NpzError as error:
            raise NpzError(f"{self.path}: '{name}': {error}") from error
        self._check_size(name, header, member.size - (first - start))
        place = ArrayPlace(member.name, header, member.start + first, crc, member.crc)
        if first + header.num_bytes <= len(begin):
            self._small[name] = begin[first : first + header.num_bytes]
        self._places[name] = place
        return place

    def _check_taken(self, name: str, num_bytes: int, max_bytes: int, extent: str) -> None:
        if num_bytes > max_bytes:
            raise NpzError(
                f"{self.path}: '{name}' has {num_bytes} bytes{extent}, more than the {max_bytes} that can be read at "
                "once; download or save it again"
            )

    def _check_size(self, name: str, header: ArrayHeader, held: int) -> None:
        if header.num_bytes != held:
            claim = f"claims {header.num_bytes} bytes and holds {held}"
            raise NpzError(f"{self.path}: '{name}' {claim}; copy or download the file again")


class _StoredValues:
    """Values that are not compressed, read straight into where they are wanted; the CRC is compared at the end.

    zipfile's own reader copies twice, and zlib's CRC is much slower than ISA-L's: together they took longer
    than computing the joints.
    """

    def __init__(self, file: IO[bytes], descriptor: int | None, place: ArrayPlace) -> None:
        # With a descriptor it is one call of the system a run, and none that only finds that the end is reached.
        self._file, self._descriptor, self._place = file, descriptor, place
        self._position, self._crc = 0, place.crc_before

    def readinto(self, target: memoryview) -> int:
        """Fill `target` as far as there are values; an empty one asks whether this is the end."""
        num_bytes = self._place.header.num_bytes
        target = target[: num_bytes - self._position]
        count = self._read(target, self._place.start + self._position) if len(target) else 0
        self._crc = crc32(target[:count], self._crc)
        self._position += count
        if self._position == num_bytes and self._crc != self._place.crc:
            raise _wrong_crc(self._place.member)
        return count

    def _read(self, target: memoryview, start: int) -> int:
        if self._descriptor is not None:
            return os.preadv(self._descriptor, [target], start)
        self._file.seek(start)
        count: int = self._file.readinto(target)  # type: ignore[attr-defined]  # every binary file has it
        return count


def _wrong_crc(member: str) -> zipfile.BadZipFile:
    return zipfile.BadZipFile(f"the CRC of {member!r} does not fit")


def _end_of_header(content: bytes, start: int) -> int:
    """Where the values of an array begin whose header begins at `start`, if it is one."""
    wide = content[start + 6 : start + 7] == b"\2"
    length = content[start + _MAGIC : start + _MAGIC + (4 if wide else 2)]
    return start + _MAGIC + (4 if wide else 2) + int.from_bytes(length, "little")


@lru_cache(maxsize=4096)
def _whole_header(text: bytes) -> tuple[ArrayHeader, int]:
    """A header, and the CRC-32 of its bytes; the same few come again and again."""
    return _read_header(io.BytesIO(text))[0], crc32(text)


def _read_header(file: IO[bytes]) -> tuple[ArrayHeader, bytes]:
    """Header of an array, and all bytes up to the values."""
    try:
        begin = _read_exactly(file, _MAGIC)
        if begin[:6] != b"\x93NUMPY":
            raise ValueError("it does not begin like one")
        version = (begin[6], begin[7])
        if version not in _HEADER_LENGTHS:
            raise NpzError(f"is in npy format {version[0]}.{version[1]}; save it with numpy.save")
        begin += _read_exactly(file, 2 * version[0])
        (length,) = struct.unpack(_HEADER_LENGTHS[version], begin[_MAGIC:])
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        text = _read_exactly(file, length)
        return _parse_header(text), begin + text
    except NpzError:
        raise
    # Whatever a parser of hostile text can raise; numpy's own one tries Python 2 syntax, and raises more.
    except (ValueError, SyntaxError, TypeError, LookupError, EOFError, MemoryError, RecursionError) as error:
        raise NpzError(f"is not a NumPy array ({error}); copy or download the file again") from error


@lru_cache(maxsize=4096)
def _parse_header(text: bytes) -> ArrayHeader:
    """Shape, order and type out of a header's Python literal."""
    literal = ast.literal_eval(text.decode("latin1"))
    shape, dtype = literal["shape"], np.lib.format.descr_to_dtype(literal["descr"])
    if dtype.hasobject:
        raise NpzError(
            "holds Python objects, which only pickle can read, and a pickle can run any code; "
            "save it again as a plain numeric array"
        )
    plain = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
    if not plain or math.prod(max(n, 1) for n in shape) >= 2**48 or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise NpzError(f"has the impossible shape {shape} of {dtype}; copy or download the file again")
    return ArrayHeader(shape, dtype, bool(literal["fortran_order"]))


def _read_array(file: IO[bytes] | _StoredValues, header: ArrayHeader) -> np.ndarray:
    flat = np.empty(math.prod(header.shape), header.dtype)
    _read_into(file, flat)
    _check_end(file)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _as_array(payload: memoryview, header: ArrayHeader) -> np.ndarray:
    flat = np.frombuffer(payload, header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _read_exactly(file: IO[bytes], num_bytes: int) -> bytes:
    payload = file.read(num_bytes)
    if len(payload) != num_bytes:
        raise EOFError("the data end too early")
    return payload


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
    block = _scratch(_BLOCK // dtype.itemsize * dtype.itemsize or dtype.itemsize).view(dtype)
    for start in range(0, flat.size, block.size):
        part = block[: flat.size - start]
        _read_into(file, part)
        with np.errstate(over="ignore", invalid="ignore"):  # a number that does not fit becomes infinite
            flat[start : start + part.size] = part


def _scratch(num_bytes: int) -> np.ndarray:
    """Memory of this thread, for what is overwritten before anything else is read: new memory costs more than the use
    that is made of it."""
    if len(getattr(_memory, "bytes", ())) < num_bytes:
        _memory.bytes = np.empty(num_bytes, np.uint8)
    scratch: np.ndarray = _memory.bytes[:num_bytes]
    return scratch


def _check_end(file: IO[bytes] | _StoredValues) -> None:
    """Read past the end, which makes zipfile, too, compare the member's CRC."""
    if file.readinto(memoryview(bytearray(1))):  # type: ignore[union-attr]  # see above
        raise EOFError("data follow the array")


def _opened(source: Source) -> IO[bytes]:
    if not isinstance(source, HeldFile):
        return open_regular(source, 0 if _PREADS else -1)
    if isinstance(source.content, bytes):
        return io.BytesIO(source.content)
    return io.BufferedReader(_RangeFile(source.content), _PREFIX)


def _size_and_time(file: IO[bytes], source: Source, content: bytes | None) -> tuple[int, int]:
    """Bytes of a file, and when it was last changed, in nanoseconds; 0 for one in memory."""
    if content is not None:
        return len(content), 0
    if isinstance(source, HeldFile):
        held = source.content
        return held.size if isinstance(held, ByteRange) else len(held), source.modified
    if isinstance(file, RangeReader):
        return file.file.size, file.file.version
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


class _RangeFile(io.RawIOBase):
    """A range of a file's bytes as a file."""

    def __init__(self, where: ByteRange) -> None:
        self._where, self._position = where, 0
        self._file = open_regular(where.path, 0)  # closed by `close`

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._where.size}[whence]
        if before + offset < 0:
            raise ValueError(f"a place of {before + offset}")
        self._position = before + offset
        return self._position

    def readinto(self, target: Buffer) -> int:
        wanted = memoryview(target)[: max(0, self._where.size - self._position)]
        self._file.seek(self._where.start + self._position)
        count = self._file.readinto(wanted) or 0  # type: ignore[attr-defined]  # every binary file has it
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Explained:
    """Turns what zipfile, zlib and the file system raise about `path` into one clear line; a context manager.

    A generator's would take several times as long, and there are a dozen a recording.
    """

    __slots__ = ("path",)

    def __init__(self, path: Source) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, FileNotFoundError):
            raise NpzError(f"{self.path}: there is no such file") from error
        if isinstance(error, OSError):
            raise NpzError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        if isinstance(error, _DAMAGE) and not isinstance(error, NpzError | RemoteError):
            message = f"is damaged or not a plain npz file ({error}); copy or download it again"
            raise NpzError(f"{self.path}: {message}") from error

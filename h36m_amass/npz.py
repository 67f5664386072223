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
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

MAX_HEADER = 10_000
MAX_DIMENSIONS = 32
_HEADER_LENGTHS = {(1, 0): "<H", (2, 0): "<I"}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class NpzError(ValueError):
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


def read_content(path: Path) -> bytes:
    """All bytes of a file.

    Raises
    ------
    NpzError
        The file cannot be read.
    """
    with _explained(path):
        return Path(path).read_bytes()


def read_npy(path: Path, content: bytes | None = None) -> tuple[np.ndarray, bytes]:
    """Array of an ``.npy`` file, whose `content` may be in memory already, and whatever bytes follow it.

    Raises
    ------
    NpzError
        The file is missing, damaged or holds Python objects (a pickle).
    """
    with _explained(path), io.BytesIO(read_content(path) if content is None else content) as file:
        header = _read_header(file, str(path))
        payload = file.read()
        if len(payload) < header.num_bytes:
            raise NpzError(f"{path}: is cut short; copy or download it again")
        return _as_array(payload[: header.num_bytes], header), payload[header.num_bytes :]


class NpzReader:
    """Random access to the members of an ``.npz`` file; a context manager.

    Parameters
    ----------
    path
        The file.
    content
        Its content, if that is in memory already.

    Raises
    ------
    NpzError
        On opening, if the file is missing or not a zip archive; on reading, if a member is damaged or holds
        Python objects (a pickle).
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.path = Path(path)
        with _explained(self.path):
            self._zip = zipfile.ZipFile(self.path if content is None else io.BytesIO(content))
        self._members = {
            info.filename.removesuffix(".npy"): info for info in self._zip.infolist() if info.filename.endswith(".npy")
        }

    def __enter__(self) -> NpzReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> tuple[str, ...]:
        """Names of the arrays, without the ``.npy`` that they carry inside the archive."""
        return tuple(self._members)

    def header(self, name: str) -> ArrayHeader:
        """Shape and type of the array `name`."""
        with self._open(name) as (_, header):
            return header

    def read(self, name: str) -> np.ndarray:
        """The array `name`, whole."""
        with self._open(name) as (file, header):
            array = _as_array(_read_exactly(file, header.num_bytes), header)
            _check_end(file)
            return array

    def rows(self, name: str, num_rows: int, overlap: int = 0) -> Generator[np.ndarray, None, None]:
        """The array `name` in runs of at most `num_rows` new rows, each after the last `overlap` rows before them.

        An array in Fortran order has no contiguous rows: it is read whole, and cut.
        """
        with self._open(name) as (file, header):
            length = header.shape[0]
            if header.fortran_order and len(header.shape) > 1:
                array = _as_array(_read_exactly(file, header.num_bytes), header)
                _check_end(file)
                for start in range(0, length, num_rows):
                    yield array[max(0, start - overlap) : start + num_rows]
                return
            run = np.empty((0, *header.shape[1:]), header.dtype)
            for start in range(0, length, num_rows):
                kept = min(overlap, start)
                stop = min(start + num_rows, length)
                before, run = run, np.empty((kept + stop - start, *header.shape[1:]), header.dtype)
                run[:kept] = before[len(before) - kept :]
                _read_into(file, run[kept:])
                if stop == length:
                    _check_end(file)
                yield run

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], ArrayHeader]]:
        if name not in self._members:
            raise NpzError(f"{self.path}: has no array '{name}'")
        info = self._members[name]
        if info.compress_type not in _METHODS:
            raise NpzError(f"{self.path}: '{name}' is compressed in a way that npz files are not; save it again")
        with _explained(self.path), self._zip.open(info) as file:
            header = _read_header(file, f"{self.path}: '{name}'")
            if header.num_bytes != info.file_size - file.tell():
                raise NpzError(
                    f"{self.path}: '{name}' claims {header.num_bytes} bytes and holds "
                    f"{info.file_size - file.tell()}; copy or download the file again"
                )
            yield file, header


def _read_header(file: IO[bytes], what: str) -> ArrayHeader:
    try:
        major, minor = np.lib.format.read_magic(file)
        if (major, minor) not in _HEADER_LENGTHS:
            raise NpzError(f"{what}: is in npy format {major}.{minor}; save it with numpy.save")
        (length,) = struct.unpack(_HEADER_LENGTHS[major, minor], file.read(2 * major))
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = ast.literal_eval(_read_exactly(file, length).decode("latin1"))
        shape, fortran_order = header["shape"], bool(header["fortran_order"])
        dtype = np.lib.format.descr_to_dtype(header["descr"])
    except NpzError:
        raise
    # Whatever a parser of hostile text can raise; numpy's own one tries Python 2 syntax, and raises more.
    except (ValueError, SyntaxError, TypeError, LookupError, struct.error, MemoryError, RecursionError) as error:
        raise NpzError(f"{what}: is not a NumPy array ({error}); copy or download the file again") from error
    if dtype.hasobject:
        raise NpzError(
            f"{what}: holds Python objects, which only pickle can read, and a pickle can run any code; "
            "save it again as a plain numeric array"
        )
    plain = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
    if not plain or math.prod(max(n, 1) for n in shape) >= 2**48 or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise NpzError(f"{what}: has the impossible shape {shape} of {dtype}; copy or download the file again")
    return ArrayHeader(shape, dtype, fortran_order)


def _as_array(payload: bytes, header: ArrayHeader) -> np.ndarray:
    flat = np.frombuffer(payload, header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _read_exactly(file: IO[bytes], num_bytes: int) -> bytes:
    payload = file.read(num_bytes)
    if len(payload) != num_bytes:
        raise EOFError("the data end too early")
    return payload


def _read_into(file: IO[bytes], array: np.ndarray) -> None:
    """Fill `array`, whose rows are contiguous."""
    target = array.reshape(-1).view(np.uint8).data
    while len(target):
        count = file.readinto(target)  # type: ignore[attr-defined]  # every binary file has it; IO does not say so
        if not count:
            raise EOFError("the data end too early")
        target = target[count:]


def _check_end(file: IO[bytes]) -> None:
    """Read past the end, which makes zipfile compare the member's CRC."""
    if file.read(1):
        raise EOFError("data follow the array")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what zipfile, zlib and the file system raise about `path` into one clear line."""
    try:
        yield
    except FileNotFoundError as error:
        raise NpzError(f"{path}: there is no such file") from error
    except OSError as error:
        raise NpzError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise NpzError(f"{path}: is damaged or not a plain npz file ({error}); copy or download it again") from error

"""NumPy's npy files, read without ever unpickling; a header that promises too much is refused before memory is taken.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import ast
import hashlib
import io
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from isal.isal_zlib import crc32

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.first_bytes import NUM_BYTES, mishap
from h36m_amass.files.paths import UrlError, open_file

MAGIC = 8  # bytes before a header's length
MAX_HEADER = 10_000
MAX_DIMENSIONS = 32
MAX_TRAILER = 1_000  # bytes behind an npy file's array that are looked at
MAX_CONTENT = 2**30  # bytes of a file that is read whole; body models have a tenth of it
# What zipfile and zlib raise, and what falls out of zipfile when an archive lies about positions and lengths.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OverflowError, LookupError, struct.error)


class NpzError(H36mAmassError):
    """A file is not the npz or npy file it should be."""


@dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of an array on disk, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool

    @cached_property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def num_bytes_as_floats(self) -> int:
        """Bytes that the values take once they are float64."""
        return math.prod(self.shape) * max(8, self.dtype.itemsize)


def read_content(path: Path) -> bytes:
    """All bytes of a file; `NpzError` if it cannot be read, is not a regular file, or is larger than `MAX_CONTENT`."""
    with Explained(str(path)), _bounded(path) as file:
        return file.read(MAX_CONTENT)


def content_sha256(path: Path) -> bytes:
    """SHA-256 of a file's content, which is not held in memory; raises as `read_content` does."""
    with Explained(str(path)), _bounded(path) as file:
        return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # every binary file will do


def _bounded(path: Path) -> IO[bytes]:
    file = open_file(path)
    if os.fstat(file.fileno()).st_size > MAX_CONTENT:
        file.close()
        raise NpzError(f"is larger than {MAX_CONTENT} bytes, which no such file is; download it again", path)
    return file


def read_npy(path: Path, content: bytes | None = None) -> tuple[np.ndarray, bytes]:
    """Array of an ``.npy`` file, read-only, and the first bytes that follow it, or `NpzError`; it may be in memory."""
    content = read_content(path) if content is None else content
    with Explained(str(path)):
        try:
            header, text = read_header(io.BytesIO(content))
        except NpzError as error:
            raise NpzError(mishap(content[:NUM_BYTES]) or error.reason, path) from error
        end = len(text) + header.num_bytes
        if len(content) < end:
            raise NpzError("is cut short; copy or download it again", path)
        return as_array(memoryview(content)[len(text) : end], header), content[end : end + MAX_TRAILER]


def as_array(payload: bytes | memoryview, header: ArrayHeader) -> np.ndarray:
    """The array whose values `payload` is, without a copy."""
    flat = np.frombuffer(payload, header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def end_of_header(content: bytes, start: int) -> int:
    """Where the values of an array begin whose header begins at `start`, if it is one."""
    num_bytes = 4 if content[start + 6 : start + 7] == b"\2" else 2
    length = content[start + MAGIC : start + MAGIC + num_bytes]
    return start + MAGIC + num_bytes + int.from_bytes(length, "little")


@lru_cache(maxsize=4096)
def whole_header(text: bytes) -> tuple[ArrayHeader, int]:
    """A header, and the CRC-32 of its bytes; the same few come again and again."""
    return read_header(io.BytesIO(text))[0], crc32(text)


def read_header(file: IO[bytes]) -> tuple[ArrayHeader, bytes]:
    """Header of an array, and all bytes up to the values; errors do not name the file."""
    try:
        begin = file.read(MAGIC)
        if begin[:6] != b"\x93NUMPY":
            raise ValueError("it does not begin like one")
        major, minor = begin[6:]
        if (major, minor) not in ((1, 0), (2, 0)):
            raise NpzError(f"is in npy format {major}.{minor}; save it with numpy.save")
        begin += file.read(2 * major)
        length = int.from_bytes(begin[MAGIC:], "little")
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes")
        text = file.read(length)
        if len(begin) < MAGIC + 2 * major or len(text) < length:
            raise EOFError("the data end too early")
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
        danger = "which only pickle can read, and a pickle can run any code; save it again as a plain numeric array"
        raise NpzError(f"holds Python objects, {danger}")
    plain = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
    if not plain or math.prod(max(n, 1) for n in shape) >= 2**48 or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise NpzError(f"has the impossible shape {shape} of {dtype}; copy or download the file again")
    return ArrayHeader(shape, dtype, bool(literal["fortran_order"]))


class Explained:
    """Makes one line of what zipfile, zlib and the file system raise; faster than a generator's context manager."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise NpzError("there is no such file", self.name) from error
        if isinstance(error, OSError):
            raise NpzError(f"cannot be read ({error.strerror or error})", self.name) from error
        if isinstance(error, _DAMAGE) and not isinstance(error, NpzError | UrlError):
            reason = f"is damaged or not a plain npz file ({error}); copy or download it again"
            raise NpzError(reason, self.name) from error

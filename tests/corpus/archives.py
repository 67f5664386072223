"""Npz files that NumPy would not write: claims that are not true, methods that are not npz's, names that lead away."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from isal import isal_zlib

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")


@dataclass(frozen=True)
class Member:
    """A member of an archive and what the archive says of it."""

    name: str
    stored: bytes
    size: int
    crc: int
    method: int = zipfile.ZIP_STORED
    flags: int = 0

    def claiming(self, size: int) -> Member:
        """The same, deflated, with another size claimed."""
        deflate = isal_zlib.compressobj(1, zlib.DEFLATED, -15)
        return replace(self, stored=deflate.compress(self.stored) + deflate.flush(), size=size, method=8)


def npy(array: np.ndarray, header: bytes | None = None, version: tuple[int, int] = (1, 0)) -> bytes:
    """An array as an npy file, with another header if one is given."""
    if header is None:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        content = bytearray(buffer.getvalue())
        content[6:8] = bytes(version)
        return bytes(content)
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + array.tobytes()


def header(shape: str, descr: str = "'<f8'", fortran: bool = False) -> bytes:
    """The text of an npy header."""
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()


def member(name: str, content: bytes) -> Member:
    """A member that is what it says."""
    return Member(f"{name}.npy", content, len(content), zlib.crc32(content))


def claimed(name: str, shape: tuple[int, ...], descr: str) -> Member:
    """A member that claims an array of this shape, and holds none of its values."""
    text = npy(np.zeros(0), header(str(shape), f"'{descr}'"))
    return member(name, text).claiming(len(text) + math.prod(shape) * np.dtype(descr).itemsize)


def members(arrays: Mapping[str, np.ndarray]) -> dict[str, Member]:
    """Members of a plain npz file."""
    return {name: member(name, npy(array)) for name, array in arrays.items()}


def write(path: Path, of: Mapping[str, Member] | list[Member], padding: int = 0, directory_padding: int = 0) -> None:
    """An archive; `padding` zeros lie in it without being any member's."""
    listed = list(of.values()) if isinstance(of, Mapping) else of
    central = bytearray()
    with path.open("wb") as file:
        for entry in listed:
            name, offset = entry.name.encode(), file.tell()
            sizes = entry.crc, len(entry.stored) % 2**32, min(entry.size, 2**32 - 1)
            extra = struct.pack("<HHQ", 1, 8, entry.size) if entry.size >= 2**32 - 1 else b""
            file.write(LOCAL.pack(b"PK\3\4", 45, entry.flags, entry.method, 0, 33, *sizes, len(name), 0) + name)
            file.write(entry.stored)
            central += CENTRAL.pack(
                b"PK\1\2", 45, 45, entry.flags, entry.method, 0, 33, *sizes, len(name), len(extra), 0, 0, 0, 0, offset
            )
            central += name + extra
        if padding:
            file.seek(padding, 1)
        for number in range(directory_padding):
            empty = f"{number:08}".encode()
            central += CENTRAL.pack(b"PK\1\2", 45, 45, 0, 0, 0, 33, 0, 0, 0, len(empty), 0, 0, 0, 0, 0, 0) + empty
        start, number = file.tell(), min(len(listed) + directory_padding, 65535)
        file.write(central + END.pack(b"PK\5\6", 0, 0, number, number, len(central), start, 0))

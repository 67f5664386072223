"""The last bytes of a store: its size and checksums, behind the end of what HDF5 reads.

HDF5 does not notice a flipped byte of its own, and some make it hang or crash: the seal is compared before HDF5 is
asked, with the beginning of the file when a store is opened, with all of it when it is verified.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from isal.isal_zlib import crc32

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.regular_file import open_regular
from h36m_amass.files.remote import Address, RemoteFile

HEAD = 2**16
"""Bytes with a checksum of their own: the attributes, the skeleton and the heap that their strings are in."""
_LENGTH = 128
_FORM = re.compile(rb"\nh36m-amass store: (\d{16}) bytes, CRC-32 ([0-9a-f]{8}), head ([0-9a-f]{8})\n *\n")
_BLOCK = 2**20


class SealError(H36mAmassError):
    """A store is not, byte for byte, what was written; the message does not name the file."""


class Seal(NamedTuple):
    """What a seal says of the file before it.

    Attributes
    ----------
    bytes
        How many there are.
    checksum, head
        CRC-32 of all of them, and of the first `HEAD`.
    """

    bytes: int
    checksum: int
    head: int


def read_seal(path: Path | Address | RemoteFile) -> Seal:
    """The seal of a file, which is not compared with more than the file's size.

    Raises
    ------
    SealError
        It has none, or is of another size.
    """
    with open_regular(path) as file:
        found = _read(file)
    if found is None:
        raise SealError("has no seal at its end")
    return found


def seal(path: Path) -> None:
    """Append the seal to a file that is whole."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        text = b"\nh36m-amass store: %016d bytes, CRC-32 %08x, head %08x\n"
        text %= size, _checksum(file, size), _checksum(file, min(HEAD, size))
        file.seek(size)
        file.write(text.ljust(_LENGTH - 1) + b"\n")


def check_head(file: IO[bytes]) -> None:
    """Compare the beginning of a store, which is open, with its seal; one without a seal passes.

    Raises
    ------
    SealError
        A byte has changed, or the file is cut short.
    """
    found = _read(file)
    if found is None:
        return
    size, _, checksum = found
    if _checksum(file, min(HEAD, size)) != checksum:
        raise SealError("its first bytes are not what was written")


def check_all(path: Path | Address, progress: Callable[[int, int], None] | None = None) -> None:
    """Compare all of a store with its seal.

    `progress` is called with the bytes read so far, and all of them.

    Raises
    ------
    SealError
        It has none, is cut short, or a byte has changed.
    """
    with open_regular(path) as file:
        found = _read(file)
        if found is None:
            raise SealError("has no seal at its end: it was cut short, or changed, or written by an older version")
        size, checksum, _ = found
        if _checksum(file, size, progress) != checksum:
            raise SealError("does not have the checksum of its seal: a byte of it was changed")


def _read(file: IO[bytes]) -> Seal | None:
    """The seal, if there is one."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _LENGTH))
    found = _FORM.fullmatch(file.read())
    if found is None:
        return None
    if int(found[1]) != size - _LENGTH:
        raise SealError(f"is of {size - _LENGTH} bytes and not the {int(found[1])} of its seal: it was changed")
    return Seal(int(found[1]), int(found[2], 16), int(found[3], 16))


def _checksum(file: IO[bytes], num_bytes: int, progress: Callable[[int, int], None] | None = None) -> int:
    """CRC-32 of the first bytes of a file."""
    file.seek(0)
    read = checksum = 0
    while block := file.read(min(_BLOCK, num_bytes - read)):
        read, checksum = read + len(block), crc32(block, checksum)
        if progress is not None:
            progress(read, num_bytes)
    return checksum

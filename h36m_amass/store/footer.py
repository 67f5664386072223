"""The last bytes of a store: its size and checksums, behind the end of what HDF5 reads.

HDF5 does not notice every flipped byte, and some make it hang or crash. So it is compared before HDF5 is asked: with
all that is read to open a store, which lies at its two ends, and with the whole file when it is verified.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from isal.isal_zlib import crc32

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.paths import Location, open_file

HEAD = 2**16  # bytes of the head: superblock, root group, skeletons and the headers of the positions
LENGTH = 128
_TEXT = b"\nh36m-amass store: %016d bytes, CRC-32 %08x, head %08x, tail %016d %08x\n"
_FORM = re.compile(
    rb"\nh36m-amass store: (\d{16}) bytes, CRC-32 ([0-9a-f]{8}), head ([0-9a-f]{8}), tail (\d{16}) ([0-9a-f]{8})\n *\n"
)
_BLOCK = 2**20


class FooterError(H36mAmassError):
    """A store is not, byte for byte, what was written; the message does not name the file."""


class Footer(NamedTuple):
    """What a footer says of the file before it."""

    size: int
    checksum: int  # CRC-32 of all its bytes
    head: int  # CRC-32 of the first `HEAD`
    tail_start: int  # behind positions and views, where the index and all that the store says of itself begin
    tail: int  # CRC-32 of everything from there on


def write(path: Path, tail_start: int | None = None) -> None:
    """Append the footer to a file that is whole; without `tail_start` its tail is empty."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        tail_start = size if tail_start is None else tail_start
        whole, head = _checksum(file, 0, size), _checksum(file, 0, min(HEAD, size))
        text = _TEXT % (size, whole, head, tail_start, _checksum(file, tail_start, size))
        file.seek(size)
        file.write(text.ljust(LENGTH - 1) + b"\n")


def read(file: IO[bytes]) -> Footer | None:
    """The footer of an open file, if it has one; `FooterError` if the file has another size than that says."""
    size = max(0, file.seek(0, 2) - LENGTH)
    file.seek(size)
    match = _FORM.fullmatch(file.read())
    if match is None:
        return None
    footer = Footer(int(match[1]), int(match[2], 16), int(match[3], 16), int(match[4]), int(match[5], 16))
    if footer.size != size or footer.tail_start > size:
        raise FooterError(f"has {size} bytes and not the {footer.size} of its footer: it was changed")
    return footer


def check_ends(file: IO[bytes]) -> Footer | None:
    """Compare the head and the tail of an open file with its footer, if it has one; `FooterError` if they differ."""
    footer = read(file)
    if footer is not None:
        head = _checksum(file, 0, min(HEAD, footer.size))
        if (head, _checksum(file, footer.tail_start, footer.size)) != (footer.head, footer.tail):
            raise FooterError("checksum mismatch at its ends: a byte was changed or damaged")
    return footer


def check_all(path: Location, progress: Callable[[int, int], None] | None = None) -> None:
    """Compare all of a store with its footer, or `FooterError`; `progress` gets the bytes read so far, and all."""
    with open_file(path, _BLOCK) as file:
        footer = read(file)
        if footer is None:
            raise FooterError("has no footer: it was cut short, or another program wrote to it")
        if _checksum(file, 0, footer.size, progress) != footer.checksum:
            raise FooterError("checksum mismatch: a byte was changed or damaged")


def _checksum(file: IO[bytes], start: int, stop: int, progress: Callable[[int, int], None] | None = None) -> int:
    """CRC-32 of the bytes ``start .. stop`` of a file."""
    file.seek(start)
    done, checksum = start, 0
    while block := file.read(min(_BLOCK, stop - done)):
        done, checksum = done + len(block), crc32(block, checksum)
        if progress is not None:
            progress(done, stop)
    return checksum

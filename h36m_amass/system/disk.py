"""How much room a build or an export needs on its disk, and whether it is there."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from h36m_amass.errors import H36mAmassError
from h36m_amass.store.format import CHUNK_FRAMES

BYTES_A_CHUNK = 128
"""Of HDF5's tree of chunks, rounded up."""
BYTES_A_SEQUENCE = 4096
"""Of a store's index and view of a sequence but its names, rounded up; of a part's record of it, too."""
COPIES_OF_NAMES = 4
"""The index has names once, and the views' groups in heaps that grow by doubling; in a part they may be escaped."""
BYTES_A_JOINT = 256
BYTES_A_FILE = 2**16
BYTES_A_DATA_FILE = 2**12
"""In the index of a split store: its name in a column, and in the positions of each joint set."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system calls a full disk, a used-up quota and a file that may not grow."""


_UNITS = {
    unit.lower(): factor**power
    for factor, ending in ((1000, "B"), (1024, "iB"))
    for power, unit in enumerate((f"{letter}{ending}" for letter in "KMGT"), 1)
}


class SizeError(H36mAmassError):
    """A size is not what a person would write for one."""


class SpaceError(H36mAmassError):
    """The disk has too little room."""


def store_bytes(num_frames: int, num_joints: int, num_sequences: int, name_bytes: int = 0) -> int:
    """What a store, a part, or an npz file of that many frames has at most, if it is not compressed.

    Parameters
    ----------
    name_bytes
        Of the strings of a row of the index, each as long as the longest of its column.
    """
    chunks = -(-num_frames // CHUNK_FRAMES)  # the last is stored whole
    return (
        chunks * (CHUNK_FRAMES * num_joints * 12 + BYTES_A_CHUNK)
        + num_sequences * (BYTES_A_SEQUENCE + COPIES_OF_NAMES * name_bytes)
        + num_joints * BYTES_A_JOINT
        + BYTES_A_FILE
    )


def bytes_of(size: str) -> int:
    """Bytes of a size with its unit: ``"500MB"``, ``"2.5 GB"``, ``"2GiB"``.

    Raises
    ------
    SizeError
        It is none.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([a-zA-Z]{2,3})", size.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise SizeError(f"{size!r} is no size; give a number and a unit of kB, MB, GB, TB, KiB, MiB, GiB or TiB: 10GB")
    return int(Fraction(found[1]) * _UNITS[found[2].lower()])


def num_data_files(position_bytes: int, split_size: int, num_sequences: int) -> int:
    """How many data files a split store has at most: two that follow each other hold more than `split_size`."""
    return min(2 * position_bytes // split_size + 1, num_sequences)


def split_store_bytes(num_files: int, num_frames: int, num_joints: int, num_sequences: int, name_bytes: int = 0) -> int:
    """What a store of `num_files` data files and an index has at most; of none, what `store_bytes` says.

    Each data file is a store of some of the sequences, and the index a store of all of them, without positions.
    """
    whole = store_bytes(num_frames, num_joints, num_sequences, name_bytes)
    if not num_files:
        return whole
    each = store_bytes(1, num_joints, 0) + BYTES_A_DATA_FILE
    return whole + store_bytes(0, num_joints, num_sequences, name_bytes) + num_files * each


def require(needed: int, folder: Path, what: str) -> None:
    """Raise `SpaceError` unless `needed` bytes are free on the disk of `folder`.

    Parameters
    ----------
    what
        What needs them, for the message.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(f"needs about {_size(needed)}, and {folder} has {_size(free)} free; make room first", what)


@contextmanager
def guarded(needed: int, folder: Path, what: str) -> Iterator[None]:
    """Turn what the system says of a disk that is full after all into a `SpaceError`, which says how much is needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SpaceError(
            f"the disk of {folder} is full ({error.strerror}), and this needs about {_size(needed)} of it; "
            "make room first",
            what,
        ) from error


def _size(num_bytes: float) -> str:
    """In the unit that a person would choose."""
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes = num_bytes / 1000
    return f"{num_bytes:.3g} GB"

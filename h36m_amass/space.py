"""How much room a build or an export needs on its disk, and whether it is there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BYTES_A_SEQUENCE = 4096
"""Of a store's index and view of a sequence, rounded up; of a part's record of it, too."""
BYTES_A_FILE = 2**16
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system calls a full disk, a used-up quota and a file that may not grow."""


class SpaceError(ValueError):
    """The disk has too little room."""


def store_bytes(num_frames: int, num_joints: int, num_sequences: int) -> int:
    """Size of a store, not compressed, rounded up; also of that many frames in parts or npz files."""
    return num_frames * num_joints * 12 + num_sequences * BYTES_A_SEQUENCE + BYTES_A_FILE


def require(needed: int, folder: Path, what: str) -> None:
    """Raise `SpaceError` unless `needed` bytes are free on the disk of `folder`.

    Parameters
    ----------
    what
        What needs them, for the message.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(f"{what}: needs about {_size(needed)}, and {folder} has {_size(free)} free; make room first")


@contextmanager
def guarded(needed: int, folder: Path, what: str) -> Iterator[None]:
    """Turn what the system says of a disk that is full after all into a `SpaceError`, which says how much is needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SpaceError(
            f"{what}: the disk of {folder} is full ({error.strerror}), and this needs about {_size(needed)} of it; "
            "make room first"
        ) from error


def _size(num_bytes: float) -> str:
    """In the unit that a person would choose."""
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes = num_bytes / 1000
    return f"{num_bytes:.3g} GB"

"""Whether a disk has the room that a build or an export needs."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from h36m_amass.errors import H36mAmassError
from h36m_amass.wording import bytes_as_text

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system calls a full disk, a used-up quota and a file that may not grow."""


class SpaceError(H36mAmassError):
    """The disk has too little room."""


def require(needed: int, folder: Path, what: str) -> None:
    """Raise `SpaceError` unless `needed` bytes, for `what` in the message, are free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(
            f"needs about {bytes_as_text(needed)}, and {folder} has {bytes_as_text(free)} free; make room first", what
        )


@contextmanager
def guarded(needed: int, folder: Path, what: str) -> Iterator[None]:
    """Turn what the system says of a disk that is full after all into a `SpaceError`, which says how much is needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        full = f"the disk of {folder} is full ({error.strerror})"
        raise SpaceError(
            f"{full}, and this needs about {bytes_as_text(needed)} of it; make room first", what
        ) from error

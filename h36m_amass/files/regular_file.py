"""Opening a file that somebody else names: a pipe would keep its reader waiting for ever, and it may be far away."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, cast

from h36m_amass.files import remote
from h36m_amass.files.remote import Address, RangeReader, RemoteFile


def open_regular(path: Path | str | Address | RemoteFile, buffering: int = -1) -> IO[bytes]:
    """The file at `path`, open for reading bytes; one at an address is a `RangeReader`.

    Raises
    ------
    OSError
        There is none, it may not be read, or it is a pipe, a device or a socket.
    h36m_amass.files.remote.RemoteError
        Its address cannot be reached; what is read of it later raises that, too.
    """
    if isinstance(path, Address | RemoteFile):
        return cast(IO[bytes], RangeReader(path if isinstance(path, RemoteFile) else remote.stat(path)))
    file = open(path, "rb", buffering, opener=open_at_once)  # noqa: SIM115  # closed by the caller
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return file


def size_and_time(path: str | Address) -> tuple[int, int]:
    """Bytes of a file, and when it was last changed in nanoseconds, or else a number that is another one then."""
    if isinstance(path, Address):
        file = remote.stat(path)
        return file.size, file.version
    status = os.stat(path)  # noqa: PTH116  # a string all along
    return status.st_size, status.st_mtime_ns


def open_at_once(path: str, flags: int) -> int:
    """A descriptor of a file; of a pipe, too, without waiting for somebody who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

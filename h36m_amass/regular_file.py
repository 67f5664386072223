"""Opening a file that somebody else names: it may be a pipe, which would keep its reader waiting for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO


def open_regular(path: Path | str, buffering: int = -1) -> IO[bytes]:
    """The file at `path`, open for reading bytes.

    Raises
    ------
    OSError
        There is none, it may not be read, or it is a pipe, a device or a socket.
    """
    file = open(path, "rb", buffering, opener=open_at_once)  # noqa: SIM115  # closed by the caller
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return file


def open_at_once(path: str, flags: int) -> int:
    """A descriptor of a file; of a pipe, too, without waiting for somebody who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

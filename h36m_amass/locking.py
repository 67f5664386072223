"""One process at a time writes a store, or clips: a lock that the kernel releases when its owner ends, in any way."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment] # a module is no None; `locked` asks which it is

FILE_NAME = "lock"
_OWNER = b"process "
"""How a lock's file begins that has an owner."""
_MAX_OWNER = 1000


class LockedError(ValueError):
    """Another process is writing the same, or the lock cannot be told from somebody's file."""


@contextmanager
def locked(folder: Path, wanted: Path) -> Iterator[None]:
    """Hold the lock in `folder`, which is made if it is not there, and removed at the end if nothing else is in it.

    Raises
    ------
    LockedError
        Another process holds it, whose name the message gives; or a file of that name is no lock.
    OSError
        The folder cannot be made or written to.
    """
    descriptor = _acquire(folder, wanted)
    try:
        yield
    finally:
        # While it is held: whoever finds it gone, or another file in its place, tries again.
        (folder / FILE_NAME).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        os.close(descriptor)


def _acquire(folder: Path, wanted: Path) -> int:
    path = folder / FILE_NAME
    while True:
        with contextlib.suppress(FileExistsError):  # mkdir's exist_ok fails if it has just been removed
            folder.mkdir()
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except FileNotFoundError:  # its last owner has just removed the folder
            continue
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                if os.pread(descriptor, len(_OWNER), 0) not in (b"", _OWNER):
                    raise LockedError(f"{path}: is there and no lock that was left behind; move it away")
                with contextlib.suppress(OSError):  # on a full disk it is held all the same
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, _OWNER + f"{os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
            os.close(descriptor)
        except FileNotFoundError:
            os.close(descriptor)
        except BlockingIOError:
            owner = os.pread(descriptor, _MAX_OWNER, 0).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            raise LockedError(
                f"{wanted}: {owner} is writing it; wait until that is done, or stop it, or write to another place"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise

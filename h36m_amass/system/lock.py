"""One process at a time writes a store, or clips."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from h36m_amass.errors import H36mAmassError

FILE_NAME = "lock"
ATTEMPTS = 100


class LockedError(H36mAmassError):
    """Another process is writing the same, or the file system has no locks."""


@contextmanager
def locked(folder: Path, target: Path) -> Iterator[None]:
    """Hold the lock in `folder`, which is made if it is missing, and removed at the end if nothing else is in it.

    `target` is what it is for, in the message. Raises `LockedError`, or `OSError` if the folder cannot be made.
    """
    lock = FileLock(folder / FILE_NAME, timeout=0)
    try:
        _acquire(lock, folder)
    except Timeout:
        advice = "wait until it has finished, stop it, or write somewhere else"
        raise LockedError(f"another process is writing it; {advice}", target) from None
    except NotImplementedError as error:
        reason = "the file system has no locks; mount it with locks, or write to another disk"
        raise LockedError(reason, folder) from error
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        raise
    try:
        yield
    finally:
        with suppress(OSError):
            # While it is held: a process that waits for this file tries again with a new one.
            (folder / FILE_NAME).unlink()
        lock.release()
        with suppress(OSError):
            folder.rmdir()


def _acquire(lock: FileLock, folder: Path) -> None:
    """Acquire a lock in a folder that the process that held it before may just be removing."""
    for attempt in range(ATTEMPTS):
        try:
            folder.mkdir(exist_ok=True)
            lock.acquire()
        except (FileExistsError, FileNotFoundError):
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return

"""One process at a time writes a store, or clips: a lock that the kernel releases when its owner ends, in any way.

Shards of one store hold a share of its lock beside each other, and each a lock of its own. Locks are `flock`'s, which
hold between machines where the file system is shared with its locks (NFS since Linux 2.6.12; see flock(2)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from h36m_amass.errors import H36mAmassError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment] # a module is no None; `locked` asks which it is

FILE_NAME = "lock"
_OWNER = b"process "
"""How a lock's file begins that has an owner."""
_SHARD = "(shard "
_MAX_OWNER = 1000
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""What the system says where a file system has none: NFS without its lock service, Lustre without ``-o flock``."""


class LockedError(H36mAmassError):
    """Another process is writing the same, or the lock cannot be told from somebody's file, or cannot be had here."""


@contextmanager
def locked(folder: Path, wanted: Path, shard: str = "") -> Iterator[None]:
    """Hold the lock in `folder`, which is made if it is not there, and removed at the end if nothing else is in it.

    Parameters
    ----------
    wanted
        What it is held for, for the message.
    shard
        As ``3-of-16``: hold the lock together with other shards, and the lock of this shard alone. The file that is
        shared stays, because no shard knows whether it is the last.

    Raises
    ------
    LockedError
        Another process holds it, whose name the message gives; a file of that name is no lock; or the file system has
        no locks.
    OSError
        The folder cannot be made or written to.
    """
    with contextlib.ExitStack() as stack:
        if shard:
            stack.callback(os.close, _acquire(folder, FILE_NAME, wanted, shard, shared=True))
        name = f"{FILE_NAME}-{shard}" if shard else FILE_NAME
        descriptor = _acquire(folder, name, wanted, shard)
        try:
            yield
        finally:
            # While it is held: whoever finds it gone, or another file in its place, tries again.
            (folder / name).unlink(missing_ok=True)
            os.close(descriptor)  # before the folder goes: NFS keeps what is open in it, under another name
            with contextlib.suppress(OSError):
                folder.rmdir()


def _acquire(folder: Path, name: str, wanted: Path, shard: str, shared: bool = False) -> int:
    path = folder / name
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
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            held = os.fstat(descriptor)
            # NFS may remember a name for a while that another machine has removed, but not how many the file has.
            if held.st_nlink and os.path.samestat(held, path.stat()):
                if os.pread(descriptor, len(_OWNER), 0) not in (b"", _OWNER):
                    raise LockedError(f"{path}: is there and no lock that was left behind; move it away")
                _sign(descriptor, shard, shared)
                return descriptor
            os.close(descriptor)
        except FileNotFoundError:
            os.close(descriptor)
        except OSError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            if error.errno == errno.ESTALE:  # how NFS says that its last owner has removed it
                continue
            if error.errno in _WITHOUT_LOCKS:
                raise LockedError(
                    f"{path}: the file system has no locks ({error.strerror}); have it mounted with them, or write to "
                    "another place"
                ) from error
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                raise
            raise LockedError(_refusal(wanted, owner, of_shards=name == FILE_NAME and _SHARD in owner)) from None
        except BaseException:
            os.close(descriptor)
            raise


def _sign(descriptor: int, shard: str, shared: bool) -> None:
    """Say in a lock's file who holds it; of those who share it, who was the last to begin."""
    owner = _OWNER + f"{os.getpid()} on {socket.gethostname()}".encode()
    if shard:
        owner += f" {_SHARD}{shard.replace('-of-', '/')})".encode()
    with contextlib.suppress(OSError):  # on a full disk it is held all the same
        if not shared:
            os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.ljust(_MAX_OWNER), 0)  # in one piece: another may be writing too
        os.fsync(descriptor)  # so that other machines can read it


def _owner(descriptor: int) -> str:
    with contextlib.suppress(OSError):  # SMB lets nobody read what another has locked
        return os.pread(descriptor, _MAX_OWNER, 0).decode("utf-8", "replace").strip()
    return ""


def _refusal(wanted: Path, owner: str, of_shards: bool) -> str:
    if of_shards:
        return (
            f"{wanted}: shards are at work on it, the last to begin is {owner}; wait until all are done, or stop them"
        )
    return (
        f"{wanted}: {owner or 'another process'} is writing it; wait until that is done, or stop it, or write to "
        "another place"
    )

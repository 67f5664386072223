"""Files that are there whole or not at all: written under another name, brought to the disk, and renamed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SUFFIX = ".h36m-amass-tmp"
"""What nobody else's file is called: one that is found was left by a process that was killed."""


def unfinished(path: Path) -> Path:
    """The name that `path` has while it is written."""
    return path.with_name(path.name + SUFFIX)


@contextmanager
def written(
    path: Path, ending: str = "", check: Callable[[Path], None] = lambda temporary: None
) -> Iterator[IO[bytes]]:
    """A file to write to, which replaces `path` at the end; if that is not reached, nothing has changed.

    Until then its name ends in `ending`, for those who go by that. `check` is called with the whole new file before it
    replaces the old one, and may raise.
    """
    temporary = unfinished(path)
    temporary = temporary.with_name(temporary.name + ending)
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:  # never through a link that lies there
            yield file
            file.flush()
            os.fsync(file.fileno())
        check(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot sync a folder; the file in it still has its name
            raise
    finally:
        os.close(descriptor)

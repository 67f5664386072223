"""A file that HDF5 can always write to, and that keeps what went wrong for later."""

import os
from collections.abc import Callable
from pathlib import Path


class WritableFile:
    """The file of a store in the making, in the form in which h5py takes Python files. No file may exist there.

    HDF5 does not survive a failed write: closing fails too, and the interpreter crashes at its end. So from the first
    error on what is written is kept in memory, to be read there, and `check`, to be called soon, raises the error.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._position = self._size = 0
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the first `OSError` that there was."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]  # SEEK_SET, SEEK_CUR and SEEK_END
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: memoryview) -> int:
        begin, count = self._position, max(0, min(len(target), self._size - self._position))
        content = bytearray(os.pread(self._descriptor, count, self._position)).ljust(count, b"\0")
        for start, piece in self._unwritten:
            first, last = max(begin, start), min(begin + count, start + len(piece))
            if first < last:
                content[first - begin : last - begin] = piece[first - start : last - start]
        target[:count] = content
        self._position += count
        return count

    def write(self, content: memoryview) -> int:
        begin, remaining = self._position, memoryview(content).cast("B")
        end = begin + len(remaining)
        if self._error is None:
            try:
                while len(remaining):
                    remaining = remaining[os.pwrite(self._descriptor, remaining, end - len(remaining)) :]
            except OSError as error:
                self._error = error
        if len(remaining):
            self._unwritten.append((end - len(remaining), bytes(remaining)))
        self._position, self._size = end, max(self._size, end)
        return end - begin

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        self._try(os.ftruncate, self._size)
        return self._size

    def flush(self) -> None: ...

    def sync(self) -> None:
        self._try(os.fsync)

    def _try(self, call: Callable[..., None], *values: int) -> None:
        if self._error is None:
            try:
                call(self._descriptor, *values)
            except OSError as error:
                self._error = error

    def close(self) -> None:
        os.close(self._descriptor)

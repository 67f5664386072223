"""Zip archives by `zipfile`, once the size of their directory is known."""

import zipfile
from typing import IO, cast

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED, UTF8 = 1, 0x800  # general purpose flags of a member
MAX_DEFLATION = 1032  # no deflated data grow by more than this


def open_zip(file: IO[bytes], max_directory: int) -> zipfile.ZipFile:
    """A zip archive; `BadZipFile` if its directory is missing, damaged or of more than `max_directory` bytes."""
    bounded = _BoundedFile(file, max_directory)
    archive = zipfile.ZipFile(cast(IO[bytes], bounded))
    bounded.max_read = None
    return archive


class _BoundedFile:
    """What zipfile asks of a file, which reads a directory with one call, as large as its archive says that it is."""

    def __init__(self, file: IO[bytes], max_read: int) -> None:
        self.max_read: int | None = max_read
        self.seek, self.tell, self.seekable, self._read = file.seek, file.tell, file.seekable, file.read

    def read(self, size: int = -1) -> bytes:
        if self.max_read is not None and size > self.max_read:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return self._read(size)

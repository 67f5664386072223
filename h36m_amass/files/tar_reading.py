"""The bytes and the headers of a tar, compressed or not, read once from front to back.

The optional rapidgzip decodes the blocks of a ``.tar.bz2`` in parallel. `tarfile` parses headers, but its reader is not
used: it reads ahead, takes damage for the end, and bounds neither headers nor what a stream may grow to.
"""

import bz2
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from isal import igzip

from h36m_amass.files.archive_names import ArchiveError, damaged, kind_of
from h36m_amass.files.paths import Location, is_url, open_file

BLOCK = 2**20
MAX_TAR_HEADER = 2**20  # bytes of a member's long name, or of its extended header
MAX_GROWTH = 1000  # a compressed tar may grow by this, `FREE_GROWTH` bytes apart; AMASS's grow by less than ten
FREE_GROWTH = 2**30
MAX_THREADS = 4  # more would hold too much of a hostile archive, whose blocks grow to fifty times their size
FETCHED_AT_ONCE = 2**22  # bytes of an archive at a URL
# igzip checks what gzip does, at five times the speed.
_OPENERS: Mapping[str, Callable[[Any], Any]] = {
    **{"bz2": bz2.open, "xz": lzma.open, "gz": igzip.open},
    "tar": lambda file: file,
}


def open_packed(path: Location) -> tuple[IO[bytes], int]:
    """An archive as it lies on the disk or at its URL, and its size."""
    file = open_file(path, FETCHED_AT_ONCE if is_url(path) else BLOCK)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return file, size


class TarFile:
    """A tar's bytes, decompressed and read forward: all that tarfile's parser of headers needs of a file."""

    def __init__(self, path: Location, packed: IO[bytes], size: int, threads: int, kind: str) -> None:
        self._packed, self._size, self._position = packed, size, 0
        # What is not compressed need not be read to be skipped.
        self._seekable = kind == "tar"
        self._most = size if self._seekable else MAX_GROWTH * size + FREE_GROWTH
        rapidgzip = _rapidgzip() if kind == "bz2" and not is_url(path) else None
        self._is_rapid = rapidgzip is not None
        if rapidgzip is not None:
            # With a single thread it would decode within the interpreter's lock, one archive at a time.
            self._file = rapidgzip.IndexedBzip2File(str(path), parallelization=max(2, min(threads, MAX_THREADS)))
        else:
            self._file = _OPENERS[kind](packed)

    def packed_position(self) -> int:
        """Compressed bytes that have been read."""
        position: int = self._file.tell_compressed() // 8 if self._is_rapid else self._packed.tell()
        return min(position, self._size)

    def tell(self) -> int:
        return self._position

    def read(self, num_bytes: int) -> bytes:
        """Bytes of a header, and at the file's end fewer."""
        if not 0 <= num_bytes <= MAX_TAR_HEADER:
            raise ArchiveError(damaged(f"a header of {num_bytes} bytes"))
        content = b""
        while len(content) < num_bytes and (more := self._read(num_bytes - len(content))):
            content += more
        return content

    def block(self, end: int) -> bytes:
        """The next bytes of a member that goes up to `end`."""
        content = self._read(min(BLOCK, end - self._position))
        if not content:
            raise ArchiveError(damaged("its end is missing"))
        return content

    def skip_to(self, position: int) -> None:
        if position < self._position:
            raise ArchiveError(damaged("a member lies before the one before it"))
        self.check(position)
        if self._seekable:
            self._file.seek(position)
            self._position = position
        while self._position < position:
            self.block(position)

    seek = skip_to  # for tarfile

    def skip_padding(self) -> None:
        """Read what follows the last member, so that an end that is missing or damaged is seen."""
        while not self._seekable and self._read(BLOCK):
            self.check(self._position)

    def check(self, position: int) -> None:
        if position > self._most:
            what = "its end is missing" if self._seekable else f"it grows to more than {self._most} bytes"
            raise ArchiveError(damaged(what))

    def _read(self, num_bytes: int) -> bytes:
        """At most `num_bytes`, none at the end. rapidgzip loses what lies just before damage, and bz2 does not."""
        try:
            content: bytes = self._file.read(num_bytes)
        except Exception:  # it raises whatever C++ did
            if not self._is_rapid:
                raise
            self._file.close()
            self._file, self._is_rapid = bz2.open(self._packed), False  # noqa: SIM115  # closed by `close`
            left = self._position
            while left and (skipped := len(self._file.read(min(BLOCK, left)))):
                left -= skipped
            content = self._file.read(num_bytes)
        self._position += len(content)
        return content

    def close(self) -> None:
        self._file.close()


def walk(stream: TarFile) -> Iterator[tarfile.TarInfo]:
    """Headers of all members but folders; what is not read of one is skipped. `ArchiveError` if the end is missing."""
    # The constructor reads ahead, and `next` ends at damage as if there were no more: only the parser is used.
    tar = tarfile.TarFile(fileobj=io.BytesIO(bytes(tarfile.RECORDSIZE)))
    tar.fileobj, tar.offset = stream, 0  # type: ignore[assignment]  # what the parser needs of a file
    while True:
        header = tar.offset
        stream.skip_to(header)
        try:
            info = tarfile.TarInfo.fromtarfile(tar)
        except tarfile.HeaderError as error:
            # Of these subclasses tarfile documents only the base.
            kind = type(error).__name__
            if kind == "EOFHeaderError":
                break
            cut = kind in ("EmptyHeaderError", "TruncatedHeaderError")
            raise ArchiveError(damaged("its end is missing" if cut else str(error))) from error
        if info.size < 0 or tar.offset <= header:
            raise ArchiveError(damaged("a member claims less than nothing"))
        if not info.isdir():
            yield info
    stream.skip_padding()


def useful_threads(path: Location, num_cores: int) -> int:
    """How many threads would decode an archive, as far as its name tells what it is."""
    is_parallel = kind_of(path.name) == "bz2" and not is_url(path) and _rapidgzip() is not None
    return min(num_cores, MAX_THREADS) if is_parallel else 1


def _rapidgzip() -> Any:
    """The library of the extra ``archives``, where it is installed."""
    try:
        import rapidgzip
    except ImportError:
        return None
    return rapidgzip

"""A compressed tar, decompressed once, front to back.

Decompressing takes most of the time that AMASS's archives take; of a ``.tar.bz2`` the optional rapidgzip decodes blocks
in parallel. Memory is bounded: a member is copied block by block. Damage costs what lies behind it.
"""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import ModuleType, TracebackType
from typing import IO, Any, cast

from isal import igzip

from h36m_amass.files.archive_names import MAX_MEMBERS, ArchiveError, Explained, base_name, kind_of, safe_name
from h36m_amass.files.paths import Location, is_url, open_file
from h36m_amass.files.tar_headers import BLOCK, ForwardFile, problem_of, walk

MAX_GROWTH = 1000
"""A compressed tar may grow by this, `FREE_GROWTH` bytes apart; AMASS's grow by less than ten."""
FREE_GROWTH = 2**30
MAX_MEMBER = 2**32
"""Bytes of a member, which is copied to the disk; a recording of ten hours has half of it."""
MAX_THREADS = 4
"""More would hold too much of a hostile archive, whose blocks grow to fifty times their size."""
FETCHED_AT_ONCE = 2**22
"""Bytes of an archive at a URL."""
# igzip checks what gzip does, at five times the speed.
_DECOMPRESSORS: Mapping[str, Callable[[Any], Any]] = {"bz2": bz2.open, "xz": lzma.open, "gz": igzip.open}


class TarStream:
    """The wanted members of a compressed tar, in archive order; a context manager that can be iterated over once.

    Parameters
    ----------
    path
        The archive.
    wanted
        Whether a file of this name, without its folders, matters.
    threads
        Decoders of a local ``.tar.bz2``, where rapidgzip is installed.

    Attributes
    ----------
    damage
        Once exhausted: why there is no more, if the archive is damaged.

    Raises
    ------
    ArchiveError
        The archive cannot be opened.
    h36m_amass.files.paths.UrlError
        Its URL cannot be reached.
    """

    def __init__(self, path: Location, wanted: Callable[[str], bool], threads: int = 1) -> None:
        self.damage: str | None = None
        self._wanted = wanted
        self._unsafe: set[str] = set()
        with Explained():
            self._file = _Decompressed(path, threads)
        self._stream = ForwardFile(cast(IO[bytes], self._file), MAX_GROWTH * self._file.size + FREE_GROWTH, False)

    def __enter__(self) -> TarStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """Compressed bytes that have been gone through."""
        return self._file.packed_position()

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Wanted names that lead out of the archive, so far."""
        return tuple(sorted(self._unsafe))

    def __iter__(self) -> Iterator[StreamedMember]:
        try:
            with Explained():
                for number, info in enumerate(walk(self._stream)):
                    if number >= MAX_MEMBERS:
                        raise ArchiveError(f"holds more than {MAX_MEMBERS} files; unpack it")
                    member = self._member(info)
                    if member is not None:
                        yield member
                    if self.damage is not None:
                        return
        except ArchiveError as error:
            self.damage = error.reason

    def _member(self, info: tarfile.TarInfo) -> StreamedMember | None:
        problem, name = problem_of(info, self._wanted), safe_name(info.name)
        if not self._wanted(base_name(info.name)) and problem is None:
            return None
        if name is None:
            if self._wanted(base_name(info.name)):
                self._unsafe.add(info.name)
            return None
        if problem is None and info.size > MAX_MEMBER:
            problem = f"has {info.size} bytes, more than the {MAX_MEMBER} that are copied; unpack the archive"
        return StreamedMember(self, name, info.offset_data, info.size, problem)

    def _copy(self, start: int, size: int, file: IO[bytes]) -> None:
        end = start + size
        try:
            with Explained():
                self._stream.check(end)
                self._stream.skip_to(start)
            while self._stream.tell() < end:
                with Explained():
                    block = self._stream.block(end)
                file.write(block)
        except ArchiveError as error:
            self.damage = error.reason
            raise


class StreamedMember:
    """A member of a compressed tar, as it comes by.

    Attributes
    ----------
    name
        With forward slashes.
    size
        In bytes.
    problem
        Why it cannot be read, if so.
    """

    def __init__(self, stream: TarStream, name: str, start: int, size: int, problem: str | None) -> None:
        self.name, self.size, self.problem = name, size, problem
        self._stream, self._start = stream, start

    def copy_to(self, file: IO[bytes]) -> None:
        """Write the content to `file`, before the stream goes on to the next member.

        Raises
        ------
        ArchiveError
            The member has a problem, or the archive is damaged here or before, and the stream will end.
        OSError
            The file cannot be written.
        """
        if self.problem is not None:
            raise ArchiveError(self.problem)
        self._stream._copy(self._start, self.size, file)


class _Decompressed:
    """A compressed file's content, read forward."""

    def __init__(self, path: Location, threads: int) -> None:
        self._path, self._position = path, 0
        self._packed = open_file(path, FETCHED_AT_ONCE if is_url(path) else BLOCK)
        self.size = self._packed.seek(0, io.SEEK_END)
        self._packed.seek(0)
        kind = kind_of(path.name)
        rapidgzip = _rapidgzip() if kind == "bz2" and not is_url(path) else None
        self._is_rapid = rapidgzip is not None
        if rapidgzip is not None:
            self._file = rapidgzip.IndexedBzip2File(str(path), parallelization=max(1, min(threads, MAX_THREADS)))
        else:
            self._file = _DECOMPRESSORS[kind](self._packed)

    def packed_position(self) -> int:
        """Compressed bytes that have been read."""
        position: int = self._file.tell_compressed() // 8 if self._is_rapid else self._packed.tell()
        return min(position, self.size)

    def read(self, num_bytes: int) -> bytes:
        """At most `num_bytes`, none at the end.

        rapidgzip does not give out all that lies before the damage: there bz2 goes on from where it was.
        """
        try:
            content: bytes = self._file.read(num_bytes)
        except Exception:  # it raises whatever C++ did
            if not self._is_rapid:
                raise
            self._file.close()
            self._file, self._is_rapid = _DECOMPRESSORS["bz2"](self._packed), False
            left = self._position
            while left and (skipped := len(self._file.read(min(BLOCK, left)))):
                left -= skipped
            content = self._file.read(num_bytes)
        self._position += len(content)
        return content

    def close(self) -> None:
        self._file.close()
        self._packed.close()


@lru_cache(maxsize=1)
def _rapidgzip() -> ModuleType | None:
    """The library of the extra ``archives``, where it is installed."""
    try:
        import rapidgzip
    except ImportError:
        return None
    module: ModuleType = rapidgzip
    return module

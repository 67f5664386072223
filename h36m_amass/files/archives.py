"""Archives of recordings, as AMASS ships them: what lies in them and its bytes, without unpacking anything to the disk.

Members of a ``.tar`` and of a ``.zip`` are read where they lie. A compressed tar is one stream. Its first pass lists
the members and shows the wanted ones; later passes go forward through it, and hold what is wanted of them in memory.
Of a ``.tar.bz2`` the optional rapidgzip decodes blocks in parallel, and finds any of them again without a pass.

Names in an archive are only ever compared and printed; nothing is written under them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType, TracebackType
from typing import IO, Any

from isal.isal_zlib import crc32

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.npz import MAX_DEFLATION, ByteRange, HeldFile
from h36m_amass.files.regular_file import open_regular, size_and_time
from h36m_amass.files.remote import Address, RemoteError, RemoteFile, stat
from h36m_amass.files.zip_directory import check_directory

SUFFIXES = {
    **{".tar.bz2": "bz2", ".tar.xz": "xz", ".tar.gz": "gz", ".tar": "tar", ".zip": "zip"},
    **{".tbz2": "bz2", ".txz": "xz", ".tgz": "gz"},
}
"""Endings of archives, whatever their case, and the kinds that they stand for."""
OTHER_SUFFIXES = (
    ".rar",
    ".7z",
    ".tbz",
    ".tar.zst",
    ".tzst",
    ".tar.lzma",
    ".tar.z",
    ".part",
    ".crdownload",
    ".download",
)
"""Endings of archives that are not read, or of such that are still being downloaded."""
MAX_HELD = 2**28
"""Bytes of members that are held in memory at a time."""
MAX_GROWTH = 1000
"""A compressed tar may grow by this, `FREE_GROWTH` bytes apart; AMASS's grow by less than ten."""
FREE_GROWTH = 2**30
MAX_MEMBERS = 1_000_000
MAX_TAR_HEADER = 2**20
"""Bytes of a member's long name, or of its extended header."""
MAX_DIRECTORY = 2**24
"""Bytes of a zip archive's directory; each member takes about a hundred."""
MAX_THREADS = 4
"""More would hold too much of a hostile archive, whose blocks grow to fifty times their size."""
_BLOCK = 2**20
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 1
_LINK, _FILE_TYPES = 0xA000, 0xF000
_DECOMPRESSORS: Mapping[str, Callable[[Any], Any]] = {"bz2": bz2.open, "xz": lzma.open, "gz": gzip.open}
# What tarfile, the decompressors and rapidgzip raise at damage.
_DAMAGE = (
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error),
    *(RuntimeError, ValueError, OverflowError, LookupError),
)

MegabytesDone = Callable[[int], None]
"""Called with how many megabytes of an archive have been looked through."""


class ArchiveError(H36mAmassError):
    """An archive, or a member of one, cannot be read; the message is a reason that does not name the archive."""


@dataclass(frozen=True)
class Archive:
    """An archive file, as it was when it was looked through.

    Attributes
    ----------
    name
        Of the file, which lies in the AMASS folder.
    kind
        One of the values of `SUFFIXES`.
    size, modified
        In bytes, and as `h36m_amass.files.regular_file.size_and_time` tells it.
    blocks
        Where rapidgzip finds the blocks of a ``.tar.bz2``, if it is at hand.
    """

    name: str
    kind: str
    size: int
    modified: int
    blocks: Mapping[int, int] | None = None


@dataclass(frozen=True)
class Place:
    """Where a member of an archive lies.

    Attributes
    ----------
    start
        First byte in the tar, without its compression; of the member's own header in a zip archive.
    size
        Bytes of its content.
    packed_size, crc
        How many bytes that takes in a zip archive where it is deflated, and its CRC-32; otherwise None.
    problem
        Why it cannot be read, if so.
    """

    start: int
    size: int
    packed_size: int | None = None
    crc: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    archive: Archive
    place: Place

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return self.place.size

    @property
    def problem(self) -> str | None:
        """Why it cannot be read, if so."""
        return self.place.problem


@dataclass(frozen=True)
class Contents:
    """What an archive holds.

    Attributes
    ----------
    places
        By name, with forward slashes; of several members of one name the last, as in unpacking.
    unnamed
        Names that lead out of the archive, and would be recordings elsewhere.
    damage
        Why there is no more, if the archive is damaged.
    """

    archive: Archive
    places: Mapping[str, Place]
    unnamed: tuple[str, ...]
    damage: str | None


def dataset_name(file_name: str) -> str | None:
    """The dataset that a file is an archive of, by its name; None if it is none."""
    name = file_name[: -len(_suffix(file_name)) or None]
    return None if name in ("", file_name) or name.startswith(".") else name


def is_unread(file_name: str) -> bool:
    """Whether a file is an archive by its name, of a kind that is not read or not there as a whole."""
    return not file_name.startswith(".") and file_name.lower().endswith(OTHER_SUFFIXES)


def _suffix(file_name: str) -> str:
    """Which of `SUFFIXES` a file's name ends with, or nothing."""
    return next((suffix for suffix in SUFFIXES if file_name.lower().endswith(suffix)), "")


def examine(
    path: str | Address,
    wanted: Callable[[str], bool],
    show: Callable[[str, HeldFile], None],
    progress: MegabytesDone,
) -> Contents:
    """Look through an archive once.

    Parameters
    ----------
    wanted
        Whether a file of this name, without its folders, matters.
    show
        Called with the name and the content of each such member of a compressed tar, which is then let go of. The
        members of other archives can be read at any time.
    progress
        Called now and then.
    """
    name = path.name if isinstance(path, Address) else path.rpartition(os.sep)[2]
    kind = SUFFIXES[_suffix(name)]
    walk = _Walk(path, wanted, show, progress)
    blocks: Mapping[int, int] | None = None
    size = modified = 0
    try:
        with _explained():
            size, modified = size_and_time(path)
        if kind == "zip":
            walk.zip()
        elif kind == "bz2" and isinstance(path, str) and _rapidgzip() is not None:
            blocks = walk.blocks_of_bz2(size, modified)
        else:
            walk.plainly(kind, size, modified)
    except ArchiveError as error:
        walk.damage = str(error)
    return Contents(
        Archive(name, kind, size, modified, blocks),
        walk.places,
        tuple(sorted(walk.unnamed)),
        walk.damage,
    )


class MemberReader:
    """Reads members of archives, in the order in which they will be asked for; a context manager.

    Of a compressed tar that can only be read forward, as many of the coming members as `MAX_HELD` allows are taken
    along on one pass, so that a run of members in any order costs about one pass and not one each.

    Parameters
    ----------
    folder
        Where the archives lie.
    members
        All that will be asked for.
    check
        Called often during a pass, which may take minutes; what it raises ends it.
    """

    def __init__(self, folder: str | Address, members: Sequence[Member], check: Callable[[], None]) -> None:
        self._folder, self._order, self._check = folder, list(members), check
        self._places = {_key(member): number for number, member in enumerate(self._order)}
        self._held: dict[tuple[str, int], bytes] = {}
        self._looked_at: dict[str, RemoteFile] = {}
        self._name = ""
        self._file: IO[bytes] | None = None

    def __enter__(self) -> MemberReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and members."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
        self._name, self._file = "", None

    def read(self, member: Member, name: str) -> HeldFile:
        """Content of one of the members, which is given out once; `name` is for messages.

        Raises
        ------
        ArchiveError
            It is damaged, or the archive has changed since it was looked through.
        """
        archive, place = member.archive, member.place
        with _explained():
            path: str | RemoteFile
            if isinstance(self._folder, Address):
                path = self._remote(archive.name, self._folder)
                now = path.size, path.version
            else:
                path = f"{self._folder}/{archive.name}"
                now = size_and_time(path)
            if now != (archive.size, archive.modified):
                raise ArchiveError("its archive has changed since the build began; build again")
            if archive.kind == "tar":
                return HeldFile(name, ByteRange(path, place.start, place.size), archive.modified)
            if archive.kind == "zip":
                return HeldFile(name, _zip_content(path, place), archive.modified)
            if _key(member) not in self._held:
                self._gather(member, path)
            return HeldFile(name, self._held.pop(_key(member)), archive.modified)

    def _remote(self, name: str, folder: Address) -> RemoteFile:
        """An archive at an address, looked at once: to ask for it costs as much as to read a member."""
        if name not in self._looked_at:
            self._looked_at[name] = stat(folder / name)
        return self._looked_at[name]

    def _gather(self, member: Member, path: str | RemoteFile) -> None:
        """Hold `member` and those to come, as far as one pass allows."""
        archive = member.archive
        if self._name != archive.name or self._file is None:
            self.close()
            self._name, self._file = archive.name, _open_again(path, archive)
        taken, total = [member], member.place.size
        total += sum(map(len, self._held.values()))
        if not _has_random_access(archive):
            for following in self._order[self._places.get(_key(member), len(self._order)) + 1 :]:
                if following.archive.name != archive.name or _key(following) in self._held:
                    continue
                total += following.place.size
                if total > MAX_HELD:
                    break
                taken.append(following)
        for one in sorted(taken, key=lambda one: one.place.start):
            self._go_to(self._file, one.place.start, archive)
            self._held[_key(one)] = _exactly(self._file, one.place.size, self._check)

    def _go_to(self, file: IO[bytes], position: int, archive: Archive) -> None:
        if _has_random_access(archive) or file.tell() > position:
            file.seek(position if _has_random_access(archive) else 0)
        while file.tell() < position and file.read(min(_BLOCK, position - file.tell())):
            self._check()


class _Walk:
    """One pass through an archive."""

    def __init__(
        self,
        path: str | Address,
        wanted: Callable[[str], bool],
        show: Callable[[str, HeldFile], None],
        progress: MegabytesDone,
    ) -> None:
        self._path, self._wanted, self._show, self._progress = path, wanted, show, progress
        self.places: dict[str, Place] = {}
        self.unnamed: set[str] = set()
        self.damage: str | None = None

    def blocks_of_bz2(self, size: int, modified: int) -> Mapping[int, int] | None:
        """Walk a ``.tar.bz2`` with rapidgzip, and give its blocks; without, if it is damaged.

        rapidgzip does not give out all that lies before the damage, so another pass looks for it.
        """
        rapidgzip = _rapidgzip()
        if rapidgzip is not None:
            try:
                with _explained(), _rapid_file(rapidgzip, str(self._path), _threads()) as file:
                    self._compressed_tar(file, lambda: file.tell_compressed() // 8, size, modified)
                    if file.block_offsets_complete():
                        return dict(file.block_offsets())
            except ArchiveError:
                self.places.clear()
                self.unnamed.clear()
            else:
                return None
        self.plainly("bz2", size, modified)
        return None

    def plainly(self, kind: str, size: int, modified: int) -> None:
        """Walk a tar of this `kind` with the standard library."""
        with _explained(), open_regular(self._path) as file:
            if kind == "tar":
                self._tar(_Forward(file, size, None), modified)
                return
            with _DECOMPRESSORS[kind](file) as stream:
                self._compressed_tar(stream, file.tell, size, modified)

    def _compressed_tar(self, file: IO[bytes], done: Callable[[], int], size: int, modified: int) -> None:
        """`done` gives how many of the archive's `size` bytes have been read."""
        most = MAX_GROWTH * size + FREE_GROWTH
        self._tar(_Forward(file, most, lambda: self._progress(min(done(), size) // 10**6)), modified)

    def _tar(self, stream: _Forward, modified: int) -> None:
        """List the members of a tar, and show the wanted ones of a compressed one."""
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
                raise ArchiveError(_damaged("its end is missing" if cut else str(error))) from error
            if info.size < 0 or tar.offset <= header:
                raise ArchiveError(_damaged("a member claims less than nothing"))
            if not info.isdir():
                self._add_tar_member(info, stream, modified)
        stream.skip_padding()

    def _add_tar_member(self, info: tarfile.TarInfo, stream: _Forward, modified: int) -> None:
        problem = None
        base = info.name.rpartition("/")[2]
        plain = info.isreg() and not info.issparse()
        if not plain and (self._wanted(base) or (info.issym() and _may_lead_to_a_folder(base))):
            problem = "is a link or no plain file in its archive; unpack the archive"
        elif stream.compressed and self._wanted(base) and info.size > MAX_HELD:
            problem = f"has {info.size} bytes, more than the {MAX_HELD} that are held in memory; unpack the archive"
        if not stream.compressed:
            stream.check(info.offset_data + info.size)
        name = self._safe(info.name)
        if name is None:
            return
        if problem is None and stream.compressed and self._wanted(base):
            stream.skip_to(info.offset_data)
            self._show(name, HeldFile(name, stream.content(info.size), modified))
        self._add(name, Place(info.offset_data, info.size, problem=problem))

    def zip(self) -> None:
        """List the members of a zip archive, of which its directory tells all."""
        with _explained(), open_regular(self._path) as file:
            size = file.seek(0, os.SEEK_END)

            def read_at(start: int, num_bytes: int) -> bytes:
                file.seek(start)
                return file.read(num_bytes)

            check_directory(read_at, size, MAX_DIRECTORY)
            encrypted = 0
            for info in zipfile.ZipFile(file).infolist():
                encrypted += info.flag_bits & _ENCRYPTED
                name = None if info.is_dir() or info.flag_bits & _ENCRYPTED else self._safe(info.filename)
                if name is not None:
                    self._add(name, self._zip_place(name, info, size))
        if encrypted:
            self.damage = f"holds {encrypted} encrypted files; unpack it"

    def _zip_place(self, name: str, info: zipfile.ZipInfo, size: int) -> Place:
        problem = None
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        base = name.rpartition("/")[2]
        link = (info.external_attr >> 16) & _FILE_TYPES == _LINK
        if link and (self._wanted(base) or _may_lead_to_a_folder(base)):
            problem = "is a link or no plain file in its archive; unpack the archive"
        elif not self._wanted(base):
            pass
        elif not deflated and info.compress_type != zipfile.ZIP_STORED:
            problem = "is compressed in a way that is not read here; unpack the archive"
        elif info.compress_size > size or info.file_size > info.compress_size * (MAX_DEFLATION if deflated else 1):
            problem = "claims more than its archive can hold; download the archive again"
        elif deflated and info.file_size > MAX_HELD:
            problem = (
                f"has {info.file_size} bytes, more than the {MAX_HELD} that are held in memory; unpack the archive"
            )
        packed = info.compress_size if deflated else None
        return Place(info.header_offset, info.file_size, packed, info.CRC if deflated else None, problem)

    def _add(self, name: str, place: Place) -> None:
        self.places[name] = place
        if len(self.places) > MAX_MEMBERS:
            raise ArchiveError(f"holds more than {MAX_MEMBERS} files; unpack it")

    def _safe(self, name: str) -> str | None:
        """A member's name without what means nothing; None if it leads out, or elsewhere on another system."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts:
            return None
        if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
            if self._wanted(parts[-1]):
                self.unnamed.add(name)
            return None
        return "/".join(parts)


class _Forward:
    """A tar's bytes, read forward; what tarfile's parser of headers needs of a file.

    Parameters
    ----------
    most
        Bytes that there may be.
    tell_progress
        Called while a compressed tar is decompressed; None for one that is not, and need not be read to be skipped.
    """

    def __init__(self, file: IO[bytes], most: int, tell_progress: Callable[[], None] | None) -> None:
        self._file, self._most, self._tell_progress = file, most, tell_progress
        self._position = 0

    @property
    def compressed(self) -> bool:
        return self._tell_progress is not None

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        self.skip_to(position)

    def read(self, num_bytes: int) -> bytes:
        """Bytes of a header, and at the file's end fewer."""
        if not 0 <= num_bytes <= MAX_TAR_HEADER:
            raise ArchiveError(_damaged(f"a header of {num_bytes} bytes"))
        content = self._file.read(num_bytes)
        self._position += len(content)
        return content

    def content(self, num_bytes: int) -> bytes:
        """All of a member."""
        self.check(self._position + num_bytes)
        content = _exactly(self._file, num_bytes, self._tell_progress or _nothing)
        self._position += num_bytes
        return content

    def skip_to(self, position: int) -> None:
        if position < self._position:
            raise ArchiveError(_damaged("a member lies before the one before it"))
        self.check(position)
        if not self.compressed:
            self._file.seek(position)
            self._position = position
        while self._position < position:
            count = len(self._file.read(min(_BLOCK, position - self._position)))
            if not count:
                raise ArchiveError(_damaged("its end is missing"))
            self._position += count
            if self._tell_progress is not None:
                self._tell_progress()

    def skip_padding(self) -> None:
        """Read what follows the last member, so that an end that is missing or damaged is seen."""
        while self.compressed and (count := len(self._file.read(_BLOCK))):
            self._position += count
            if self._position > self._most:
                raise ArchiveError(_damaged(f"it grows to more than {self._most} bytes"))

    def check(self, position: int) -> None:
        if position > self._most:
            what = f"it grows to more than {self._most} bytes" if self.compressed else "its end is missing"
            raise ArchiveError(_damaged(what))


def _may_lead_to_a_folder(name: str) -> bool:
    """Whether a link of this name, which is no recording's, may stand for a folder of recordings."""
    return "." not in name


def _key(member: Member) -> tuple[str, int]:
    return member.archive.name, member.place.start


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what the system, zipfile, tarfile and the decompressors raise into one clear line."""
    try:
        yield
    except (ArchiveError, RemoteError):
        raise
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"is damaged or cut short ({error}); download it again, or unpack what there is") from error
    except OSError as error:
        if error.errno is not None:
            raise ArchiveError(f"cannot be read ({error.strerror})") from error
        raise ArchiveError(_damaged(" ".join(str(error).split()))) from error
    except _DAMAGE as error:
        raise ArchiveError(_damaged(" ".join(str(error).split()))) from error


def _damaged(what: str) -> str:
    return f"is damaged or cut short ({what}); what lies before that is used; download it again"


def _exactly(file: IO[bytes], num_bytes: int, between: Callable[[], None]) -> bytes:
    """So many bytes, in blocks: `between` is called after each, and signals are answered."""
    content = io.BytesIO()
    while (left := num_bytes - content.tell()) > 0:
        if not content.write(file.read(min(_BLOCK, left))):
            raise ArchiveError(_damaged("its end is missing"))
        between()
    return content.getvalue()  # the buffer itself, not a copy


def _nothing() -> None:
    pass


def _zip_content(path: str | RemoteFile, place: Place) -> bytes | ByteRange:
    """Content of a member of a zip archive."""
    with open_regular(path) as file:
        file.seek(place.start)
        local = file.read(_LOCAL_HEADER.size)
        if len(local) < _LOCAL_HEADER.size or local[:4] != b"PK\3\4":
            raise zipfile.BadZipFile("a member is not where the archive says")
        start = place.start + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(local)[-2:])
        if place.packed_size is None:
            return ByteRange(path, start, place.size)
        file.seek(start)
        content = io.BytesIO()
        inflate, left = zlib.decompressobj(-zlib.MAX_WBITS), place.packed_size
        while left and content.tell() <= place.size:
            packed = file.read(min(_BLOCK, left))
            if not packed:
                break
            left -= len(packed)
            # No more than fits and one byte, which tells that it is too much.
            content.write(inflate.decompress(packed, place.size + 1 - content.tell()))
    inflated = content.getvalue()  # the buffer itself, not a copy
    if len(inflated) != place.size or not inflate.eof or crc32(inflated) != place.crc:
        raise ArchiveError("is damaged in its archive; download the archive again")
    return inflated


def _open_again(path: str | RemoteFile, archive: Archive) -> IO[bytes]:
    """A compressed tar that has been looked through."""
    rapidgzip = _rapidgzip()
    if isinstance(path, RemoteFile):
        return _DECOMPRESSORS[archive.kind](open_regular(path))
    if archive.blocks is None or rapidgzip is None:
        return _DECOMPRESSORS[archive.kind](path)
    file = _rapid_file(rapidgzip, path, 1)  # each worker process has its own core
    file.set_block_offsets(dict(archive.blocks))
    return file


def _has_random_access(archive: Archive) -> bool:
    return archive.blocks is not None and _rapidgzip() is not None


def _rapid_file(rapidgzip: ModuleType, path: str, threads: int) -> Any:
    return rapidgzip.IndexedBzip2File(path, parallelization=threads)


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_THREADS)


@lru_cache(maxsize=1)
def _rapidgzip() -> ModuleType | None:
    """The library of the extra ``archives``, where it is installed."""
    try:
        import rapidgzip
    except ImportError:
        return None
    module: ModuleType = rapidgzip
    return module

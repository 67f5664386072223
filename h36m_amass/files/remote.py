"""Files at fsspec addresses, such as ``s3://bucket/key``: listed, read in ranges, and written whole.

Everything that a store or a recording needs of a place that is no disk goes through here. fsspec is imported when an
address is used and not before; whatever its backends raise becomes one line. Nothing is kept on the disk.

fsspec: https://filesystem-spec.readthedocs.io
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from h36m_amass.errors import H36mAmassError

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from Python 3.12 on

BLOCK = 2**15
"""Bytes that are fetched for a few: the arrays of a recording are found with a handful of such."""
MAX_RUN = 2**22
"""Bytes that are fetched at once where a file is read from front to back."""
MAX_HELD = 2**25
"""Bytes of a file that are held while it is open."""
MAX_GAP = 2**16
"""Bytes between two ranges that are fetched along with them: a request costs more than these."""
CONNECTIONS = 16
"""Requests that wait for a server at the same time."""
MAX_REASON = 300
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_WEB = ("http", "https")
_WHOLE_AT_ONCE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
"""Object stores, where an object is there once its last byte is, and the one before it until then."""
_UNFINISHED = ".h36m-amass-tmp"
_GONE = (404, 410)
"""What a web server answers where nothing is."""
_USERINFO, _QUERY = re.compile(r"(?<=://)[^/\s'\"]*@"), re.compile(r"(?<=://)([^\s'\"?]*)\?[^\s'\"]*")
# What backends call the token, or else the time, that changes with an object; the first that is there counts.
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created")


class RemoteError(H36mAmassError):
    """An address cannot be reached, read or written.

    It says nothing about what lies there, so no recording is left out for it: it ends a build.
    """


@dataclass(frozen=True)
class Address:
    """A place that fsspec knows, with what the library asks of a `pathlib.Path` where either may stand.

    Attributes
    ----------
    url
        As it was given, with passwords and tokens if it has some; `str` and `repr` leave these out.
    """

    url: str

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self.url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The last of its names."""
        name = self._path.rstrip("/").rpartition("/")[2]
        return _unquoted(name) if self.protocol in _WEB else name

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The ending of its name, with the dot."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> Address:
        """The address beside it that ends in `name`."""
        if self.protocol not in _WEB:
            return Address(f"{self.url.rstrip('/').rpartition('/')[0]}/{name}")
        parts = urlsplit(self.url)
        folder = parts.path.rstrip("/").rpartition("/")[0]
        return Address(urlunsplit(parts._replace(path=f"{folder}/{_quoted(name)}")))

    def __truediv__(self, names: str) -> Address:
        if self.protocol not in _WEB:
            return Address(f"{self.url.rstrip('/')}/{names}")
        parts = urlsplit(self.url)  # a token of access stands behind the path
        return Address(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{_quoted(names)}")))

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")
        return urlunsplit(shown._replace(fragment="") if self.protocol in _WEB else shown)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def absolute(self) -> Address:
        return self

    def is_dir(self) -> bool:
        """Whether anything lies below it."""
        filesystem, path = _filesystem(self)
        with _explained(self):
            return bool(filesystem.isdir(path))

    def is_file(self) -> bool:
        """Whether a file lies there."""
        try:
            stat(self)
        except FileNotFoundError:
            return False
        return True

    @property
    def _path(self) -> str:
        return urlsplit(self.url).path if self.protocol in _WEB else self.url.partition("://")[2]


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address, as it was when it was looked at.

    Attributes
    ----------
    size
        In bytes.
    version
        A number that is another one when the file is; 0 where the backend does not tell.
    """

    address: Address
    size: int
    version: int

    problem = None
    """Why it cannot be read, as of a member of an archive."""

    def __str__(self) -> str:
        return str(self.address)


def place(text: Path | str | Address) -> Path | Address:
    """What a user names: an `Address` if it begins like one, else a path of this machine."""
    if isinstance(text, Address):
        return text
    return Address(text) if isinstance(text, str) and _ADDRESS.match(text) else Path(text)


def stat(address: Address) -> RemoteFile:
    """The file at `address`.

    Raises
    ------
    FileNotFoundError
        There is none.
    RemoteError
        It cannot be reached.
    """
    filesystem, path = _filesystem(address)
    with _explained(address):
        filesystem.invalidate_cache(getattr(filesystem, "_parent", lambda own: own)(path))
        found = filesystem.info(path)
    if found.get("type") == "directory":
        raise FileNotFoundError(errno.ENOENT, "is a folder, not a file", str(address))
    return _file(address, found)


def children(folder: Address) -> tuple[list[str], dict[str, RemoteFile]]:
    """Names of the folders in a folder, and its files by name, both sorted; of a folder that is not there nothing."""
    if folder.protocol in _WEB:
        found = _page(folder)
    else:
        found = _listing(folder, lambda filesystem, path: filesystem.ls(path, detail=True))
    return sorted(name for name, info in found.items() if info.get("type") == "directory"), _files(folder, found)


def descendants(folder: Address) -> dict[str, RemoteFile]:
    """All files below a folder by their names from there on, in sorted order: thousands a request, but on the web."""
    if folder.protocol not in _WEB:
        return _files(folder, _listing(folder, lambda filesystem, path: filesystem.find(path, detail=True).values()))
    found: dict[str, RemoteFile] = {}
    waiting = [""]
    for inside in waiting:  # which grows
        folders, files = children(folder / inside if inside else folder)
        waiting += [f"{inside}{name}/" for name in folders]
        found |= {f"{inside}{name}": file for name, file in files.items()}
    return dict(sorted(found.items()))


def content(file: RemoteFile) -> bytes:
    """All bytes of a file, in one request; raises as `ranges` does."""
    return ranges(file, [0], [file.size])[0] if file.size else b""


def ranges(file: RemoteFile, starts: Sequence[int], stops: Sequence[int]) -> list[bytes]:
    """The bytes ``start .. stop`` of each range, fetched at the same time where the backend can.

    Raises
    ------
    FileNotFoundError
        The file is gone.
    RemoteError
        It cannot be reached, or is shorter than it was.
    """
    filesystem, path = _filesystem(file.address)
    with _explained(file.address):
        if len(starts) == 1:
            found = [filesystem.cat_file(path, start=starts[0], end=stops[0])]
        else:
            found = filesystem.cat_ranges([path] * len(starts), list(starts), list(stops))
        for piece in found:
            if isinstance(piece, BaseException):
                raise piece
    for piece, start, stop in zip(found, starts, stops, strict=True):
        if len(piece) > stop - start:
            raise RemoteError(f"{file}: its server sends the whole file where a range is asked for; copy it to a disk")
        if len(piece) < stop - start:
            raise RemoteError(f"{file}: has changed since it was looked at; run the command again")
    return found


def joined(starts: Sequence[int], stops: Sequence[int], gap: int = MAX_GAP) -> Iterator[tuple[int, int]]:
    """Ascending ranges with those joined that lie no more than `gap` bytes apart: half-open runs of their numbers."""
    breaks = [0, *(n + 1 for n, (stop, start) in enumerate(zip(stops, starts[1:], strict=False)) if start - stop > gap)]
    return pairwise([*breaks, len(starts)]) if len(starts) else iter(())


class RangeReader(io.RawIOBase):
    """A file at an address as a Python file, of which only the blocks that are asked for are fetched.

    Where it is read from front to back, in one or in several places in turn, more and more is fetched at a time. The
    blocks that were used last are held.
    """

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next_runs: dict[int, int] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.file.size}[whence]
        if before + offset < 0:
            raise ValueError(f"a place of {before + offset}")
        self._position = before + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Buffer) -> int:
        wanted = memoryview(target).cast("B")[: max(0, self.file.size - self._position)]
        done, last = 0, (self._position + len(wanted) - 1) // BLOCK
        while done < len(wanted):
            number, offset = divmod(self._position + done, BLOCK)
            piece = memoryview(self._block(number, last))[offset : offset + len(wanted) - done]
            wanted[done : done + len(piece)] = piece
            done += len(piece)
        self._position += done
        return done

    def _block(self, number: int, last: int) -> bytes:
        """A block, which may be fetched with those behind it, up to the `last` that is wanted at least."""
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        run = min(MAX_RUN // BLOCK, max(last - number + 1, self._next_runs.pop(number, 1)))
        stop = next((n for n in range(number + 1, number + run) if n in self._blocks), number + run)
        begin, end = number * BLOCK, min(stop * BLOCK, self.file.size)
        self._hold(number, ranges(self.file, [begin], [end])[0])
        self._next_runs[stop] = 2 * run
        return self._blocks[number]

    def _hold(self, number: int, whole: bytes) -> None:
        for offset in range(0, len(whole), BLOCK):
            # Copies: of a view of it, one that is held would hold all.
            self._blocks[number + offset // BLOCK] = whole[offset : offset + BLOCK]
        while len(self._blocks) * BLOCK > MAX_HELD and len(self._blocks) * BLOCK > len(whole):
            self._blocks.popitem(last=False)


def check_writable(address: Address) -> None:
    """Write an empty file beside `address` and remove it again: better to fail now than when all is computed.

    It has a name of its own: another build may be trying the same, or copying its store there.

    Raises
    ------
    RemoteError
        Nothing can be written there.
    """
    trial = address.with_name(f"{address.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    filesystem, path = _filesystem(trial)
    try:
        with _explained(address, "written"):
            filesystem.pipe_file(path, b"")
        remove(trial)
    except FileNotFoundError as error:
        raise RemoteError(f"{address}: cannot be written: there is no such bucket or folder; make it first") from error


def unfinished(address: Address) -> Address | None:
    """Where a file lies while it is copied to `address`; None in object stores, where none is until it is whole."""
    return None if address.protocol in _WHOLE_AT_ONCE else address.with_name(address.name + _UNFINISHED)


def put(local: Path, address: Address, progress: Callable[[int, int], None]) -> None:
    """Copy a file to `address`.

    In object stores, and where the backend renames, whatever is there is whole until the new one is. Where a backend
    has nothing but copying and removing for that, it is cut short if the copying is.

    Parameters
    ----------
    progress
        Called with the bytes that are there, and all of them.

    Raises
    ------
    RemoteError
        It cannot be written.
    """
    from fsspec.callbacks import Callback

    class Told(Callback):  # type: ignore[misc]  # fsspec has no types
        def call(self, *_: object, **__: object) -> None:
            progress(min(self.value, size), size)

    size = local.stat().st_size
    temporary = unfinished(address)
    filesystem, path = _filesystem(temporary or address)
    try:
        with _explained(address, "written"):
            filesystem.put_file(str(local), path, callback=Told())
            if filesystem.info(path)["size"] != size:
                raise RemoteError(f"{address}: did not arrive whole; run the command again")
            if temporary is not None:
                filesystem.mv(path, _filesystem(address)[1])
    except FileNotFoundError as error:
        raise RemoteError(f"{address}: cannot be written: its bucket or folder is gone; make it again") from error
    finally:
        if temporary is not None:  # it has its name by now, or will never get it
            with suppress(RemoteError):  # a dead line is told of already
                remove(temporary)


def remove(address: Address) -> None:
    """Remove a file, if it is there.

    Raises
    ------
    RemoteError
        It cannot be removed.
    """
    filesystem, path = _filesystem(address)
    with suppress(FileNotFoundError), _explained(address, "removed"):
        filesystem.rm_file(path)


def _filesystem(address: Address) -> tuple[Any, str]:
    """What fsspec has for an address, one a process, and the path of it there."""
    return _found_filesystem(address, os.getpid())


@lru_cache(maxsize=256)
def _found_filesystem(address: Address, process: int) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        with _explained(address, "used"):
            filesystem, path = url_to_fs(address.url)
    except ImportError as error:
        raise RemoteError(
            f"{address}: cannot be used ({_reason(error, address)}); pip install 'h36m-amass[remote]' brings what s3 "
            "and http need"
        ) from error
    return filesystem, path


@contextmanager
def _explained(address: Address, done: str = "read") -> Iterator[None]:
    """Turn whatever a backend raises into one line; a file that is not there stays a `FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError as error:
        # fsspec says so, too, of a web server that does not answer, or refuses to.
        cause = error.__cause__
        if address.protocol in _WEB:
            is_told = cause is None or getattr(cause, "status", None) in _GONE
        else:
            is_told = not isinstance(cause, OSError) or isinstance(cause, FileNotFoundError)
        if not is_told and isinstance(cause, Exception):
            raise RemoteError(f"{address}: cannot be {done} ({_reason(cause, address)})") from error
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(address)) from error
    except (RemoteError, ImportError):
        raise
    except Exception as error:  # backends raise what their own libraries do, which have no base in common
        raise RemoteError(f"{address}: cannot be {done} ({_reason(error, address)})") from error


def _reason(error: Exception, address: Address) -> str:
    parts = urlsplit(address.url)
    text = str(error).replace(address.url, str(address))
    for secret in ("".join(parts.netloc.rpartition("@")[:2]), parts.query):
        for form in {secret, unquote(secret)} - {""}:
            text = text.replace(form, "")
    # Backends write addresses in other ways than they were given, and those that they were sent on to.
    text = _QUERY.sub(r"\1", _USERINFO.sub("", text))
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


def _listing(folder: Address, entries_of: Callable[[Any, str], Any]) -> dict[str, Mapping[str, Any]]:
    """What a backend tells of the things below a folder, by their names from there on."""
    filesystem, path = _filesystem(folder)
    root = path.rstrip("/") + "/"
    try:
        with _explained(folder, "listed"):
            filesystem.invalidate_cache(path.rstrip("/"))
            entries = list(entries_of(filesystem, path))
    except FileNotFoundError:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        name = str(entry["name"])
        if name.startswith(root) and (relative := name.removeprefix(root).rstrip("/")):
            # A key that ends with a slash stands for the folder in the consoles of object stores.
            kind = "directory" if name.endswith("/") else entry.get("type")
            found[relative] = {**entry, "type": kind}
    return found


class _Links(HTMLParser):
    """Where the links of a page lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if (tag, name) == ("a", "href") and value]


def _page(folder: Address) -> dict[str, Mapping[str, Any]]:
    """What the page of a web server links to that lies in a folder, by name.

    fsspec's own listing takes links that sort the page for files, and none that begin with a slash where the address
    ends with a token.
    """
    parts = urlsplit(folder.url)
    page = Address(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/")))
    filesystem, path = _filesystem(page)
    root, links = _unquoted(urlsplit(page.url).path), _Links()
    found: dict[str, Mapping[str, Any]] = {}
    try:
        with _explained(folder, "listed"):
            links.feed(filesystem.cat_file(path).decode(errors="replace"))
            for link in links.found:
                to = urlsplit(urljoin(page.url, link))
                below = _unquoted(to.path)
                name = below.removeprefix(root).rstrip("/")
                is_own = to.hostname == parts.hostname and below.startswith(root)
                if is_own and name not in ("", ".", "..") and "/" not in name:
                    found[name] = {"type": "directory" if below.endswith("/") else "file"}
    except FileNotFoundError:
        return {}
    return found


def _files(folder: Address, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, RemoteFile]:
    """Files of a listing, sorted by name; where that has no sizes, as on the web, each is asked for its own."""
    names = sorted(name for name, entry in entries.items() if entry.get("type") != "directory")
    if all(entries[name].get("size") is not None for name in names):
        return {name: _file(folder / name, entries[name]) for name in names}
    from concurrent.futures import ThreadPoolExecutor

    def look_at(name: str) -> RemoteFile | None:
        try:
            return stat(folder / name)
        except FileNotFoundError:  # a link of a page may lead nowhere
            return None

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        files = list(pool.map(look_at, names))
    return {name: file for name, file in zip(names, files, strict=True) if file is not None}


def _file(address: Address, entry: Mapping[str, Any]) -> RemoteFile:
    size = entry.get("size")
    if size is None:
        raise RemoteError(f"{address}: its server does not tell its size; copy it to a disk")
    told = next((str(entry[name]) for name in _VERSIONS if entry.get(name)), "")
    version = int.from_bytes(hashlib.sha256(told.encode()).digest()[:7]) if told else 0
    return RemoteFile(address, int(size), version)


def _quoted(names: str) -> str:
    """Names as a part of a web address, with those bytes that are no UTF-8."""
    return quote(names, errors="surrogateescape")


def _unquoted(path: str) -> str:
    return unquote(path, errors="surrogateescape")

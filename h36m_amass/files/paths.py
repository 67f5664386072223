"""A local path or a URL, such as ``s3://bucket/key``, and the ways to read its bytes.

URLs are `upath.UPath` objects of universal-pathlib; fsspec behind it reads them. Both are imported when a URL is used
and not before. Whatever a backend raises becomes one line without passwords and tokens.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from h36m_amass.errors import H36mAmassError

if TYPE_CHECKING:
    from typing_extensions import Buffer, TypeIs  # in collections.abc from Python 3.12 on, in typing from 3.13
    from upath import UPath

Location: TypeAlias = "Path | UPath"  # of a file or a folder

BLOCK = 2**16  # bytes that are fetched for a few, unless `open_file` is asked for more at once
MAX_GAP = 2**16  # bytes between two ranges that are worth fetching along: a request costs more than these
MAX_REASON = 300
WEB = ("http", "https")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_GONE = (404, 410)  # what a web server answers where nothing is
_USERINFO, _QUERY = re.compile(r"(?<=://)[^/\s'\"]*@"), re.compile(r"(?<=://)([^\s'\"?]*)\?[^\s'\"]*")
_SECRET_OPTIONS = ("key", "secret", "token", "username", "password", "account_key", "sas_token", "connection_string")
# What backends call the token, or else the time, that changes with an object; the first that is there counts.
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created")


class UrlError(H36mAmassError):
    """A URL cannot be reached or read: this ends a build, and skips no recording."""


@dataclass(frozen=True)
class FileVersion:
    size: int
    modified: int  # nanoseconds of its last change; at a URL a number made of ETag or time, or 0


def parse(text: Path | str | UPath) -> Location:
    """What a user names: a URL if it begins like one, else a path of this machine; `UrlError` if no backend knows."""
    if not isinstance(text, str):
        return text
    if not _URL.match(text):
        return Path(text)
    from upath import UPath

    try:
        return UPath(text)
    except ValueError as error:
        reason = str(error).replace(text, shown(text))
        raise UrlError(f"cannot be used ({reason})", shown(text)) from None  # whose text may have a password


def is_url(path: object) -> TypeIs[UPath]:
    """Whether a location is a URL. It asks for a type that only one has, so that `upath` need not be imported."""
    return hasattr(path, "storage_options") and not isinstance(path, Path)


def shown(path: object) -> str:
    """A location as it stands in messages: a URL without passwords, and without what follows a question mark."""
    text = str(path)
    if not (is_url(path) or (isinstance(path, str) and _URL.match(path))):
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def version_of(path: Location) -> FileVersion:
    """Size and last change of a file; `FileNotFoundError` if there is none, `UrlError` if it cannot be reached."""
    if not is_url(path):
        status = os.stat(path)  # noqa: PTH116  # pathlib takes longer
        return FileVersion(status.st_size, status.st_mtime_ns)
    filesystem = _filesystem(path)
    with _explained(path):
        filesystem.invalidate_cache(getattr(filesystem, "_parent", lambda name: name)(path.path))
        entry = filesystem.info(path.path)
    if entry.get("type") == "directory":
        raise FileNotFoundError(errno.ENOENT, "is a folder, not a file", shown(path))
    return _version(path, entry)


def open_file(path: Location | str, buffering: int = -1) -> IO[bytes]:
    """A file, open for reading bytes at random; at a URL, `buffering` bytes are fetched at once, or `BLOCK`.

    Raises `OSError` if there is none, or a pipe or device, whose reader would wait for ever, and `UrlError`, later too.
    """
    if is_url(path):
        return cast(IO[bytes], UrlFile(path, version_of(path), max(buffering, BLOCK)))
    file = open(path, "rb", buffering, opener=open_at_once)  # noqa: SIM115  # closed by the caller
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return file


def open_at_once(path: str, flags: int) -> int:
    """A descriptor of a file, or of a pipe without waiting for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_ranges(path: UPath, starts: Sequence[int], stops: Sequence[int]) -> list[bytes]:
    """The bytes ``start .. stop`` of each range, fetched at the same time where the backend can; or `UrlError`."""
    filesystem = _filesystem(path)
    with _explained(path):
        if len(starts) == 1:
            pieces = [filesystem.cat_file(path.path, start=starts[0], end=stops[0])]
        else:
            pieces = filesystem.cat_ranges([path.path] * len(starts), list(starts), list(stops))
        for piece in pieces:
            if isinstance(piece, BaseException):
                raise piece
    for piece, start, stop in zip(pieces, starts, stops, strict=True):
        if len(piece) > stop - start:
            raise UrlError("its server sends the whole file where a range is asked for; copy it to a disk", shown(path))
        if len(piece) < stop - start:
            raise UrlError("has changed since it was looked at; run the command again", shown(path))
    return pieces


def joined(starts: Sequence[int], stops: Sequence[int], gap: int = MAX_GAP) -> Iterator[tuple[int, int]]:
    """Ascending ranges with those joined that lie no more than `gap` bytes apart: half-open runs of their numbers."""
    breaks = [0, *(n + 1 for n, (stop, start) in enumerate(zip(stops, starts[1:], strict=False)) if start - stop > gap)]
    return pairwise([*breaks, len(starts)]) if len(starts) else iter(())


def listed(folder: UPath, deep: bool = False) -> dict[str, FileVersion | None]:
    """What lies in a folder at a URL by name, or if `deep` all below it: files, and None for folders; sorted.

    `UPath` would ask for each folder and for the size of each file.
    """
    filesystem, path = _filesystem(folder), folder.path.rstrip("/")
    try:
        with _explained(folder):
            filesystem.invalidate_cache(path)
            entries = (
                filesystem.find(path or "/", detail=True).values() if deep else filesystem.ls(path or "/", detail=True)
            )
    except FileNotFoundError:
        return {}
    listing: dict[str, FileVersion | None] = {}
    for entry in sorted(entries, key=lambda entry: str(entry["name"])):
        name = str(entry["name"])
        if name.startswith(f"{path}/") and (relative := name.removeprefix(f"{path}/").rstrip("/")):
            # A key that ends with a slash stands for the folder in the consoles of object stores.
            is_folder = name.endswith("/") or entry.get("type") == "directory"
            listing[relative] = None if is_folder else _version(folder / relative, entry)
    return listing


class RandomFile(io.RawIOBase):
    """A read-only file of known size, whose bytes `fill` gets."""

    def __init__(self, size: int) -> None:
        self._size, self._position = size, 0

    def readable(self) -> bool:
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError(f"a position of {position}")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Buffer) -> int:
        view = memoryview(target).cast("B")[: max(0, self._size - self._position)]
        count = self.fill(self._position, view) if len(view) else 0
        self._position += count
        return count

    def fill(self, position: int, view: memoryview) -> int:
        """Fill `view` with the bytes from `position` on, which must be there; gives how many were read."""
        raise NotImplementedError


class UrlFile(RandomFile):
    """A file at a URL as a Python file, which fetches `block` bytes beyond those that are read.

    fsspec's own ask for the size again, raise what their backend does, and do not see that a server sends other ranges.
    """

    def __init__(self, path: UPath, version: FileVersion, block: int = BLOCK) -> None:
        from fsspec.caching import ReadAheadCache

        super().__init__(version.size)
        self.path, self.version = path, version
        self._cache = ReadAheadCache(block, lambda start, stop: read_ranges(path, [start], [stop])[0], version.size)

    def fill(self, position: int, view: memoryview) -> int:
        content = self._cache._fetch(position, position + len(view))
        view[: len(content)] = content
        return len(content)


_filesystems: dict[tuple[int, str, str], Any] = {}


def _filesystem(path: UPath) -> Any:
    """fsspec's file system of a URL, one per process: connections do not outlive a fork; `UPath.fs` does not see it."""
    key = os.getpid(), path.protocol, repr(sorted(path.storage_options.items()))
    if key not in _filesystems:
        try:
            import fsspec

            with _explained(path, "used"):
                _filesystems[key] = fsspec.filesystem(path.protocol, **path.storage_options)
        except ImportError as error:
            advice = "pip install 'h36m-amass[remote]' brings what s3 and http need"
            raise UrlError(f"cannot be used ({_reason(error, path)}); {advice}", shown(path)) from error
    return _filesystems[key]


@contextmanager
def _explained(path: UPath, verb: str = "read") -> Iterator[None]:
    """Turn whatever a backend raises into one line; a file that is not there stays a `FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError as error:
        # fsspec raises the same for a web server that does not answer or refuses.
        cause = error.__cause__
        is_missing = not isinstance(cause, OSError) or isinstance(cause, FileNotFoundError)
        if path.protocol in WEB:
            is_missing = cause is None or getattr(cause, "status", None) in _GONE
        if not is_missing and isinstance(cause, Exception):
            raise UrlError(f"cannot be {verb} ({_reason(cause, path)})", shown(path)) from error
        raise FileNotFoundError(errno.ENOENT, "there is no such file", shown(path)) from error
    except (UrlError, ImportError):
        raise
    except Exception as error:  # backends raise what their own libraries do, which have no base in common
        raise UrlError(f"cannot be {verb} ({_reason(error, path)})", shown(path)) from error


def _reason(error: Exception, path: UPath) -> str:
    """What an error says, on one line and without secrets: backends write URLs in other ways than they were given."""
    parts, text = urlsplit(str(path)), str(error).replace(str(path), shown(path))
    options = [str(path.storage_options[name]) for name in _SECRET_OPTIONS if path.storage_options.get(name)]
    for secret in ("".join(parts.netloc.rpartition("@")[:2]), parts.query, *options):
        for form in {secret, unquote(secret)} - {""}:
            text = text.replace(form, "")
    text = " ".join(_QUERY.sub(r"\1", _USERINFO.sub("", text)).split()) or type(error).__name__
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


def _version(path: UPath, entry: Mapping[str, Any]) -> FileVersion:
    size = entry.get("size")
    if size is None:
        raise UrlError("its server does not report its size; copy it to a disk", shown(path))
    value = next((entry[name] for name in _VERSIONS if entry.get(name)), "")
    # For one file, some backends give seconds in a listing, and a date when asked for the file alone.
    token = str(value.timestamp() if isinstance(value, datetime) else value)
    return FileVersion(int(size), int.from_bytes(hashlib.sha256(token.encode()).digest()[:7]) if token else 0)

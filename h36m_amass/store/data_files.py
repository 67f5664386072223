"""The files that hold the positions of a split store: their names, and whether they are the ones that its index names.

The name of each ends in a digest of its seal, so that files of different builds never have one name: the old index and
its files stay whole until a new index takes its place. That each is the file of the index is seen by its seal, of
which the index has a copy.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py

from h36m_amass.files import remote
from h36m_amass.files.remote import CONNECTIONS, Address, RemoteFile
from h36m_amass.store.footer import Seal, SealError, read_seal
from h36m_amass.store.format import DATA_FILE_COLUMNS, DataFile
from h36m_amass.store.header import bounded, opened, text
from h36m_amass.store.rows import FileIdentity, StoreError

_DIGEST_DIGITS = 12


@dataclass(frozen=True)
class PlacedFile:
    """A data file that is there, and is the one that the index names.

    Attributes
    ----------
    path
        Where it lies.
    identity
        What it was when it was looked at.
    record
        What the index says of it.
    """

    path: Path | Address
    identity: FileIdentity
    record: DataFile


def name_of(store: Path | Address, number: int, seal: Seal) -> str:
    """The name of a split store's data file: ``amass-00001-0123456789ab.h5`` beside ``amass.h5``."""
    digest = hashlib.sha256(b"%d %08x %08x" % seal).hexdigest()[:_DIGEST_DIGITS]
    return f"{store.stem}-{number:05}-{digest}{store.suffix}"


def source_name(record: DataFile) -> str:
    """The name of a data file as a virtual dataset takes it, which has a meaning of its own for ``%b``."""
    return record.name.replace("%", "%%")


def is_named_after(store: Path | Address, name: str) -> bool:
    """Whether a data file of this store could have that name."""
    form = rf"{re.escape(store.stem)}-\d{{5,}}-[0-9a-f]{{{_DIGEST_DIGITS}}}{re.escape(store.suffix)}"
    return re.fullmatch(form, name) is not None


def read(file: h5py.File) -> tuple[DataFile, ...]:
    """What an open store says of its data files, in the order of their rows; nothing if it holds its positions itself.

    Raises
    ------
    DAMAGE
        It is not what a store says: `h36m_amass.store.header.opened` turns that into a `StoreError`.
    """
    if "data_files" not in file:
        return ()
    columns = {name: bounded(file["data_files"][name]) for name in DATA_FILE_COLUMNS}
    kinds = {name: "S" if kind is str else kind[1] for name, kind in DATA_FILE_COLUMNS.items()}  # type: ignore[index]
    if any(columns[name].dtype.kind != kind for name, kind in kinds.items()):
        raise TypeError("what it says of its data files has other types")
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    files = tuple(DataFile(text(name), *numbers) for name, *numbers in rows)
    for own in files:
        if own.name in ("", ".", "..") or "/" in own.name or "\0" in own.name or own.frames < 1:
            raise ValueError(f"{own.name!r:.50} of {own.frames} frames is none of its data files")
    if not files:
        raise ValueError("it names no data files")
    return files


def listed(store: Path | Address) -> tuple[DataFile, ...]:
    """What a store says of its data files; nothing if it holds its positions itself.

    Raises
    ------
    StoreError
        It is damaged, no store, or not there.
    h36m_amass.files.remote.RemoteError
        Its address cannot be reached.
    """
    with opened(store) as (file, _):
        return read(file)


def placed(store: Path | Address, files: Sequence[DataFile]) -> tuple[PlacedFile, ...]:
    """The data files of a store, where they lie: beside the index, or beside what it is a link to.

    Raises
    ------
    StoreError
        One is missing, cut short, or not the one that the store was written with.
    h36m_amass.files.remote.RemoteError
        One cannot be reached.
    """
    if isinstance(store, Address):
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return tuple(pool.map(lambda own: _placed(store, store.with_name(own.name), own), files))
    beside = Path(os.path.realpath(store)) if files else store
    return tuple(_placed(store, beside.with_name(own.name), own) for own in files)


def _placed(store: Path | Address, path: Path | Address, record: DataFile) -> PlacedFile:
    try:
        found = _found(path)
        if found is None:
            raise StoreError(
                f"{path}: is missing, and holds frames of {store.name}; put it back beside it, or build {store.name} "
                "again"
            )
        file, identity = found
        if read_seal(file) != (record.bytes, record.checksum, record.head):
            raise SealError("has the seal of another")
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened ({error.strerror}), and holds frames of {store.name}") from error
    except SealError as error:
        raise StoreError(
            f"{path}: is not the file that {store.name} was written with ({error}); put that back, or build "
            f"{store.name} again"
        ) from error
    return PlacedFile(path, identity, record)


def _found(path: Path | Address) -> tuple[Path | RemoteFile, FileIdentity] | None:
    """A file, in the form in which it is opened, and what it is now; None if there is none."""
    if isinstance(path, Path):
        return (path, FileIdentity.of(path.stat())) if path.is_file() else None
    try:
        file = remote.stat(path)
    except FileNotFoundError:
        return None
    return file, FileIdentity(file.size, file.version)

"""Put a new store in the place of an old one, where either may be split, and clear away the old one's data files.

A store of one file is replaced by one renaming. The data files of a split store get names that no others have before
its index is renamed, so that the old index and its files are whole until then. Which files there may be to be cleared
away is written down before the first is renamed, in `JOURNAL` in the folder of parts, which stores at several addresses
may share: those of them that the store does not name go, after the renaming or, if it is not reached, with the next
build that finds a store. While there is none, nothing says whether it never came to be, or was renamed by its owner
and needs them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from h36m_amass.files import remote
from h36m_amass.files.remote import Address, RemoteError
from h36m_amass.store import data_files
from h36m_amass.store.rows import StoreError
from h36m_amass.system import atomic_file as whole_file
from h36m_amass.system.atomic_file import sync

_log = logging.getLogger(__name__)

JOURNAL = "data-files.json"


@dataclass(frozen=True)
class _Noted:
    """Data files that lie beside a store until its next one is in place.

    Attributes
    ----------
    old
        Those that the store named when this was noted; None if there was none, or a damaged one.
    new
        Those of builds that were to put one there.
    """

    old: frozenset[str] | None = None
    new: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        return self.new | (self.old or frozenset())


def data_path(store: Path, number: int) -> Path:
    """What the data file of a number is called until its index is whole."""
    return whole_file.unfinished(store.with_name(f"{store.name}.{number:05}"))


def put_in_place(temporary: Path, store: Path, parts_dir: Path) -> None:
    """Rename a finished store, and its data files if it has any, and clear away those of the store before.

    Parameters
    ----------
    temporary
        The new store's file; its data files are those of `data_path`.
    store
        What it is going to be called.
    parts_dir
        The folder of the parts.
    """
    new = [own.name for own in data_files.listed(temporary)]
    _note(new, store, parts_dir)
    for number, name in enumerate(new, 1):
        data_path(store, number).replace(store.with_name(name))
    if new:
        sync(store.parent)
    temporary.replace(store)
    sync(store.parent)
    clear_away(store, store, parts_dir)


def upload(temporary: Path, local: Path, store: Address, parts_dir: Path, progress: Callable[[int, int], None]) -> None:
    """Copy a finished store to an address, its data files before its index, and clear away those of the one before.

    Parameters
    ----------
    temporary
        The store's file on the disk.
    local
        What `data_path` calls its data files after.
    store
        Where it goes.
    parts_dir
        The folder of the parts.
    progress
        Called, from another thread, with the bytes that are there and all of them.

    Raises
    ------
    h36m_amass.files.remote.RemoteError
        It cannot be written. Unless the index was, the store that was there is whole, as far as
        `h36m_amass.files.remote.put` promises that.
    """
    new = [own.name for own in data_files.listed(temporary)]
    _note(new, store, parts_dir)
    copies = [(data_path(local, number), store.with_name(name)) for number, name in enumerate(new, 1)]
    copies.append((temporary, store))
    total, before = sum(path.stat().st_size for path, _ in copies), 0

    def tell(before: int, done: int, _: int) -> None:
        progress(before + done, total)

    for path, address in copies:
        remote.put(path, address, partial(tell, before))
        before += path.stat().st_size
    clear_away(local, store, parts_dir)


def clear_away(local: Path, store: Path | Address, parts_dir: Path) -> None:
    """Remove data files in the making, and those written down that the store does not name.

    If it is damaged or not there, and so does not say which it names, or its address cannot be reached, all stay, to be
    looked at by the next build. Those in the making are called after `local`.
    """
    unfinished = re.compile(rf"{re.escape(local.name)}\.\d{{5,}}{re.escape(whole_file.SUFFIX)}")
    for path in local.parent.iterdir():
        if unfinished.fullmatch(path.name):
            path.unlink(missing_ok=True)
    whole_file.unfinished(parts_dir / JOURNAL).unlink(missing_ok=True)
    try:
        _clear_noted(store, parts_dir)
    except RemoteError as error:  # whatever went wrong before this is what has to be told
        _log.info("%s; what is to be removed there stays until the next build", error)


def _clear_noted(store: Path | Address, parts_dir: Path) -> None:
    noted = _noted(store, parts_dir).names
    # Whatever else an index may name, only files that are called after the store are its own.
    names = {name for name in noted if data_files.is_named_after(store, name)}
    for name in sorted(names):
        own = store.with_name(name)
        temporary = remote.unfinished(own) if isinstance(own, Address) else None
        if temporary is not None:
            remote.remove(temporary)
    listed = _listed_if_whole(store) if noted else None
    if listed is None:
        return
    for name in sorted(names - listed):
        _remove(store.with_name(name))
    _write(_Noted(), store, parts_dir)


def _note(new: Sequence[str], store: Path | Address, parts_dir: Path) -> None:
    """Write down all data files that may be there until the new store is: its own, and those of the one before."""
    before, listed = _noted(store, parts_dir), _listed_if_whole(store)
    # Where none is now and one was, its owner may have renamed that, old or new, and needs what it names.
    nobodys = before.new if before.old is None else frozenset[str]()
    left = nobodys if listed is None else before.names - listed
    _write(_Noted(None if listed is None else frozenset(listed), left | set(new)), store, parts_dir)


def _remove(path: Path | Address) -> None:
    if isinstance(path, Address):
        remote.remove(path)
    elif not path.is_dir():  # a folder of that name is somebody's own
        path.unlink(missing_ok=True)


def _listed_if_whole(store: Path | Address) -> set[str] | None:
    """The data files that a store names, or None if it is damaged or not there."""
    try:
        return {own.name for own in data_files.listed(store)}
    except StoreError:
        return None


def _noted(store: Path | Address, parts_dir: Path) -> _Noted:
    noted = _journal(parts_dir).get(_key(store))
    if not isinstance(noted, dict):
        return _Noted()
    old, new = (
        frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else None
        for names in (noted.get("old"), noted.get("new"))
    )
    return _Noted(old, new or frozenset())


def _write(noted: _Noted, store: Path | Address, parts_dir: Path) -> None:
    """Write down what there is of a store, and leave what is noted of others."""
    before = _journal(parts_dir)
    journal = {key: names for key, names in before.items() if key != _key(store)}
    if noted.names:
        old = None if noted.old is None else sorted(noted.old)
        journal[_key(store)] = {"old": old, "new": sorted(noted.new)}
    if journal and journal != before:
        with whole_file.written(parts_dir / JOURNAL) as file:
            file.write(json.dumps(journal).encode())
    elif not journal:
        (parts_dir / JOURNAL).unlink(missing_ok=True)


def _journal(parts_dir: Path) -> dict[str, object]:
    """What is noted, by store."""
    try:
        journal = json.loads((parts_dir / JOURNAL).read_bytes())
    except (OSError, ValueError):
        return {}
    return journal if isinstance(journal, dict) else {}


def _key(store: Path | Address) -> str:
    """What a store is called in the journal; the folder of one on a disk may be moved, along with that of its parts."""
    return str(store) if isinstance(store, Address) else store.name

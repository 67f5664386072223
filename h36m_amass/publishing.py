"""Put a new store in the place of an old one, where either may be split, and clear away the old one's data files.

A store of one file is replaced by one renaming. The data files of a split store get names that no others have before
its index is renamed, so that the old index and its files are whole until then. Which files there are to be cleared
away is written down before the first is renamed, in `JOURNAL` in the folder of parts: those of them that the store
does not name go, after the renaming or, if it is not reached, with the next build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from h36m_amass import data_files, remote, whole_file
from h36m_amass.parts import sync
from h36m_amass.remote import Address
from h36m_amass.store_frames import StoreError

JOURNAL = "data-files.json"


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
    h36m_amass.remote.RemoteError
        It cannot be written. Unless the index was, the store that was there is whole.
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

    If it is damaged, and so does not say which it names, all stay. Those in the making are called after `local`.
    """
    unfinished = re.compile(rf"{re.escape(local.name)}\.\d{{5,}}{re.escape(whole_file.SUFFIX)}")
    for path in local.parent.iterdir():
        if unfinished.fullmatch(path.name):
            path.unlink(missing_ok=True)
    whole_file.unfinished(parts_dir / JOURNAL).unlink(missing_ok=True)
    noted = _noted(parts_dir)
    listed = _listed_if_whole(store) if noted else None
    if listed is None:
        return
    for name in noted - listed:
        # Whatever else an index may name, only files that are called after the store are its own.
        if data_files.is_named_after(store, name):
            _remove(store.with_name(name))
    (parts_dir / JOURNAL).unlink()


def _note(new: Sequence[str], store: Path | Address, parts_dir: Path) -> None:
    """Write down all data files that may be there until the new store is: its own, and those of the one before."""
    names = sorted({*new, *(_listed_if_whole(store) or set()), *_noted(parts_dir)})
    if names:
        with whole_file.written(parts_dir / JOURNAL) as file:
            file.write(json.dumps(names).encode())


def _remove(path: Path | Address) -> None:
    if isinstance(path, Address):
        remote.remove(path)
    else:
        path.unlink(missing_ok=True)


def _listed_if_whole(store: Path | Address) -> set[str] | None:
    """The data files that a store names, or None if it is damaged."""
    try:
        return {own.name for own in data_files.listed(store)}
    except StoreError:
        return None


def _noted(parts_dir: Path) -> set[str]:
    try:
        names = json.loads((parts_dir / JOURNAL).read_bytes())
    except (OSError, ValueError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()

"""Put a new store in the place of an old one, where either may be split, and clear away the old one's data files.

A store of one file is replaced by one renaming. The data files of a split store get names that no others have before
its index is renamed, so that the old index and its files are whole until then. Which files there are to be cleared
away is written down before the first is renamed, in `JOURNAL` in the folder of parts: those of them that the store
does not name go, after the renaming or, if it is not reached, with the next build.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from h36m_amass import data_files, whole_file
from h36m_amass.parts import sync
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
    old = _listed_if_whole(store) or set()
    names = sorted({*new, *old, *_noted(parts_dir)})
    if names:
        with whole_file.written(parts_dir / JOURNAL) as file:
            file.write(json.dumps(names).encode())
    for number, name in enumerate(new, 1):
        data_path(store, number).replace(store.with_name(name))
    if new:
        sync(store.parent)
    temporary.replace(store)
    sync(store.parent)
    clear_away(store, parts_dir)


def clear_away(store: Path, parts_dir: Path) -> None:
    """Remove data files in the making, and those written down that the store does not name.

    If it is damaged, and so does not say which it names, all stay.
    """
    unfinished = re.compile(rf"{re.escape(store.name)}\.\d{{5,}}{re.escape(whole_file.SUFFIX)}")
    for path in store.parent.iterdir():
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
            store.with_name(name).unlink(missing_ok=True)
    (parts_dir / JOURNAL).unlink()


def _listed_if_whole(store: Path) -> set[str] | None:
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

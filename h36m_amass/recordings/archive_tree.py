"""Names in an archive, or keys of an object store, as the tree of folders that they would unpack to.

So one walk serves these and folders on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from h36m_amass.files.archives import Member

NO_FOLDERS = (".", "__MACOSX")
"""How the names of folders begin that hold nothing of a dataset."""


@dataclass(frozen=True)
class ListedEntry:
    """A file of the tree, beside which `os.DirEntry` stands for one on the disk.

    Attributes
    ----------
    name
        Without its folders.
    size, modified
        Bytes, and a number that is another one once the file, or the archive that holds it, has changed.
    member
        Where it lies in an archive that is read at random.
    problem
        Why it cannot be read, if so.
    """

    name: str
    size: int
    modified: int
    member: Member | None = None
    problem: str | None = None


Entry = os.DirEntry[str] | ListedEntry
"""A file on the disk, in an archive or at a URL."""
Folder = tuple[list[str], list[Entry]]
"""Names of the folders in a folder, and its files."""


def tree_of(entries: Mapping[str, ListedEntry], root: str) -> dict[str, Folder]:
    """For each folder under `root`, up to those of `entries`, the names of its folders, and its files, both sorted.

    Names of entries are relative to `root`; all have forward slashes.
    """
    folders: dict[str, set[str]] = {root: set()}
    files: dict[str, list[Entry]] = {root: []}
    for name, entry in sorted(entries.items()):
        folder = root
        for parent in name.split("/")[:-1]:
            folders[folder].add(parent)
            folder = f"{folder}/{parent}"
            folders.setdefault(folder, set())
            files.setdefault(folder, [])
        files[folder].append(entry)
    return {
        folder: (sorted(name for name in names if not name.startswith(NO_FOLDERS)), files[folder])
        for folder, names in folders.items()
    }

"""An archive as the tree of folders that it would unpack to, and keys of an object store as one of folders.

So one walk serves these and folders on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from h36m_amass.files.archives import Member
from h36m_amass.files.remote import RemoteFile

NO_FOLDERS = (".", "__MACOSX")
"""How the names of folders begin that hold nothing of a dataset."""


@dataclass(frozen=True)
class ListedEntry:
    """A file of the tree, beside which `os.DirEntry` stands for one on the disk.

    Attributes
    ----------
    name, path
        Its own name, and the one that it would have on a disk.
    """

    name: str
    path: str
    member: Member | RemoteFile


Entry = os.DirEntry[str] | ListedEntry
"""A file on the disk, in an archive or at an address."""


def tree_of(members: Mapping[str, Member | RemoteFile], root: str) -> dict[str, tuple[list[str], list[Entry]]]:
    """For each folder under `root` the names of its folders, and its files, both sorted."""
    folders: dict[str, set[str]] = {root: set()}
    files: dict[str, list[Entry]] = {root: []}
    for name, member in sorted(members.items()):
        *parents, base = name.split("/")
        folder = root
        for parent in parents:
            folders[folder].add(parent)
            folder = f"{folder}{os.sep}{parent}"
            folders.setdefault(folder, set())
            files.setdefault(folder, [])
        files[folder].append(ListedEntry(base, f"{folder}{os.sep}{base}", member))
    return {
        folder: (sorted(name for name in names if not name.startswith(NO_FOLDERS)), files[folder])
        for folder, names in folders.items()
    }

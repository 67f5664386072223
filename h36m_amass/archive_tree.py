"""An archive as the tree of folders that it would unpack to, so that one walk serves both."""

from __future__ import annotations

import os
from dataclasses import dataclass

from h36m_amass.archives import Contents, Member

NO_FOLDERS = (".", "__MACOSX")
"""How the names of folders begin that hold nothing of a dataset."""


@dataclass(frozen=True)
class ArchivedEntry:
    """A file of the tree, beside which `os.DirEntry` stands for one on the disk.

    Attributes
    ----------
    name, path
        Its own name, and the one that it would have unpacked.
    """

    name: str
    path: str
    member: Member


Entry = os.DirEntry[str] | ArchivedEntry
"""A file on the disk or in an archive."""


def tree_of(contents: Contents, root: str) -> dict[str, tuple[list[str], list[Entry]]]:
    """For each folder under `root` the names of its folders, and its files, both sorted."""
    folders: dict[str, set[str]] = {root: set()}
    files: dict[str, list[Entry]] = {root: []}
    for name, place in sorted(contents.places.items()):
        *parents, base = name.split("/")
        folder = root
        for parent in parents:
            folders[folder].add(parent)
            folder = f"{folder}{os.sep}{parent}"
            folders.setdefault(folder, set())
            files.setdefault(folder, [])
        files[folder].append(ArchivedEntry(base, f"{folder}{os.sep}{base}", Member(contents.archive, place)))
    return {
        folder: (sorted(name for name in names if not name.startswith(NO_FOLDERS)), files[folder])
        for folder, names in folders.items()
    }

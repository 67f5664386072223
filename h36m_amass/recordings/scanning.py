"""What lies in an AMASS folder on the disk or at a URL; names are relative to it, with forward slashes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from h36m_amass.files.paths import FileVersion, children, descendants
from h36m_amass.recordings.archive_tree import NO_FOLDERS, Entry, Folder, ListedEntry, tree_of

if TYPE_CHECKING:
    from upath import UPath


class Scanner:
    """Folders that have been listed; a base of those that list more.

    Attributes
    ----------
    failures
        Path and reason of what could not be listed.
    unsafe
        Paths of files whose names lead out of their folder.
    links_up
        Links to a folder above, where everything would be found once more.
    """

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.unsafe: list[str] = []
        self.links_up = 0
        self._folders: dict[str, Folder] = {}

    def add(self, folders: Mapping[str, Folder]) -> None:
        """Take in folders that lie in an archive."""
        self._folders.update(folders)

    def scan(self, folder: str) -> Folder:
        """Names of the folders in a folder, and its files with links that lead nowhere: those must be reported."""
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        return self._folders[folder]

    def list_below(self, folder: str) -> None:
        """List a folder and all below it, where that is better than one by one."""

    def is_link(self, folder: str) -> bool:
        """Whether a folder is a link, which could lead back up."""
        return False

    def _list(self, folder: str) -> Folder:
        return [], []


class DiskScanner(Scanner):
    """Folders on the disk."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = str(root)

    def is_link(self, folder: str) -> bool:
        return os.path.islink(f"{self._root}/{folder}")  # noqa: PTH114  # pathlib is slow

    def _list(self, folder: str) -> Folder:
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.failures.append((folder, f"cannot be read ({error.strerror})"))
            return [], []
        folders, files = list[str](), list[Entry]()
        for entry in listed:
            if not _is_folder(entry):
                files.append(entry)
            elif not entry.name.startswith(NO_FOLDERS):
                if self._leads_up(entry):
                    self.links_up += 1
                else:
                    folders.append(entry.name)
        return folders, files

    def _leads_up(self, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink():
            return False
        link, top = Path(entry.path), Path(self._root)
        inside = [folder for folder in link.parents if folder.is_relative_to(top)]
        real = [link.parent.resolve(), top.resolve()]  # links may lie on the way here, too
        above = {*inside, *real, *(parent for folder in real for parent in folder.parents)}
        return any(link.samefile(folder) for folder in above)


class UrlScanner(Scanner):
    """Folders at a URL."""

    def __init__(self, root: UPath) -> None:
        super().__init__()
        self._root = root

    def list_below(self, folder: str) -> None:
        """One by one, its folders would take a request each."""
        versions = descendants(self._root / folder)
        self.unsafe += [f"{folder}/{name}" for name in versions if not _is_inside(name)]
        entries = {name: _entry(name, version) for name, version in versions.items() if _is_inside(name)}
        self.add(tree_of(entries, folder))

    def _list(self, folder: str) -> Folder:
        if folder:  # what lies below a dataset is there already
            return [], []
        entries = children(self._root)
        folders = [name for name, version in entries.items() if version is None and not name.startswith(NO_FOLDERS)]
        return folders, [_entry(name, version) for name, version in entries.items() if version is not None]


def _entry(name: str, version: FileVersion) -> ListedEntry:
    return ListedEntry(name.rpartition("/")[2], version.size, version.modified)


def _is_inside(name: str) -> bool:
    """Whether a key's name stays below its folder, here and on another system."""
    return not {"", ".", ".."} & set(name.split("/")) and "\\" not in name and "\0" not in name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False

"""What lies in an AMASS folder, on the disk or at a URL: files by their paths from there, with forward slashes."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from h36m_amass.files.paths import WEB, FileVersion, Location, is_url, listed, shown
from h36m_amass.recordings.recording import AmassError

NO_FOLDERS = (".", "__MACOSX")  # how the names of folders begin that hold nothing of a dataset
LINK_DEPTH = 3
"""Folders, from the AMASS folder on, below which links are not followed: recordings lie no deeper."""
LINKS_UP = "links to a folder above"  # where everything would be found once more
DEAD = "is a link that leads nowhere, or no file"


@dataclass(frozen=True)
class Entry:
    """A file by its path, or why it, or a folder, cannot be read; size and time as in `RecordingFile`."""

    path: str
    size: int = 0
    modified: int = 0
    problem: str | None = None

    @property
    def name(self) -> str:
        """Without its folders."""
        return self.path.rpartition("/")[2]


def top_of(amass_dir: Location) -> tuple[list[str], list[Entry]]:
    """Names of the folders in an AMASS folder, and its files; `AmassError` if it is not a folder that can be listed."""
    if not is_url(amass_dir):
        if not amass_dir.is_dir():
            raise AmassError("is not a folder; give the folder that holds your AMASS datasets", amass_dir)
        folders, files = _listed(str(amass_dir), "")
        if files and not files[0].path:
            raise AmassError(f"{files[0].problem}; check its permissions", amass_dir)
        return folders, files
    if amass_dir.protocol in WEB:
        reason = "pages of web servers are not listed; download the datasets, or put them into an object store"
        raise AmassError(reason, shown(amass_dir))
    below = listed(amass_dir)
    folders = [name for name, version in below.items() if version is None and not name.startswith(NO_FOLDERS)]
    return folders, [_entry(name, version) for name, version in below.items() if version is not None]


def files_below(amass_dir: Location, folder: str, check: Callable[[], None]) -> Iterator[Entry]:
    """All files below a dataset's folder; `check` is called between folders."""
    if is_url(amass_dir):  # one by one, folders would take a request each
        check()
        below = listed(amass_dir / folder, deep=True)
        yield from (_entry(f"{folder}/{name}", version) for name, version in below.items() if version is not None)
        return
    waiting = [folder]
    while waiting:
        check()
        path = waiting.pop()
        folders, files = _listed(str(amass_dir), path)
        yield from files
        deep = path.count("/") + 1 >= LINK_DEPTH
        waiting += [f"{path}/{name}" for name in folders if not (deep and (amass_dir / path / name).is_symlink())]


def _listed(root: str, folder: str) -> tuple[list[str], list[Entry]]:
    """Names of the folders in a folder on the disk, and its files with all that must be reported."""
    try:
        with os.scandir(f"{root}/{folder}") as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        return [], [Entry(folder, problem=f"cannot be read ({error.strerror})")]
    folders, files = list[str](), list[Entry]()
    for entry in listed:
        path = f"{folder}/{entry.name}" if folder else entry.name
        try:
            if not entry.is_dir():
                files.append(_file(entry, path))
            elif not entry.name.startswith(NO_FOLDERS):
                if entry.is_symlink() and _leads_up(Path(entry.path), Path(root)):
                    files.append(Entry(path, problem=LINKS_UP))
                else:
                    folders.append(entry.name)
        except OSError:  # a link that leads to itself
            files.append(Entry(path, problem=DEAD))
    return folders, files


def _file(entry: os.DirEntry[str], path: str) -> Entry:
    if not entry.is_file():
        return Entry(path, problem=DEAD)
    try:
        status = os.stat(entry.path)  # noqa: PTH116  # of `entry.stat` a link's own, on some systems
    except OSError as error:
        return Entry(path, problem=f"cannot be read ({error.strerror})")
    return Entry(path, status.st_size, status.st_mtime_ns)


def _leads_up(link: Path, top: Path) -> bool:
    inside = [folder for folder in link.parents if folder.is_relative_to(top)]
    real = [link.parent.resolve(), top.resolve()]  # links may lie on the way here, too
    above = {*inside, *real, *(parent for folder in real for parent in folder.parents)}
    return any(link.samefile(folder) for folder in above)


def _entry(path: str, version: FileVersion) -> Entry:
    is_unsafe = {"", ".", ".."} & set(path.split("/")) or "\\" in path or "\0" in path
    problem = "its name leads out of its folder; copy it under another one"
    return Entry(path, version.size, version.modified, problem if is_unsafe and path.endswith(".npz") else None)

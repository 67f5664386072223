"""Where the datasets of an AMASS folder lie: each in one folder or in one archive."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from h36m_amass.datasets import canonical
from h36m_amass.files.archives import dataset_name, is_unread
from h36m_amass.recordings.archive_tree import Entry, Folder, ListedEntry
from h36m_amass.recordings.recording import AmassError

_COPY = re.compile(r" ?\(\d+\)$")
"""What browsers put behind the name of a file that they download once more."""


@dataclass(frozen=True)
class DatasetSource:
    """A folder, or the archive, of a dataset.

    Attributes
    ----------
    folder
        Name of the folder, or of the one that the archive would be unpacked into.
    archive
        The archive, if it is one.
    """

    folder: str
    archive: Entry | None

    @property
    def name(self) -> str:
        """The dataset's, as it is spelled here."""
        return self.folder if self.archive is None else _COPY.sub("", self.folder)

    @property
    def dataset(self) -> str:
        """The dataset's canonical name."""
        return canonical(self.name)

    def __str__(self) -> str:
        return f"the folder {self.folder}" if self.archive is None else self.archive.name


def dataset_sources(top: Folder) -> tuple[list[DatasetSource], list[Entry], int]:
    """What may be datasets in an AMASS folder, sorted by name; its other files, and how many are unread archives."""
    folders, files = top
    sources, others, unread = [DatasetSource(name, None) for name in folders], list[Entry](), 0
    for entry in files:
        name = dataset_name(entry.name)
        if is_unread(entry.name):
            unread += 1
        elif name is None or not is_file(entry):
            others.append(entry)
        else:
            sources.append(DatasetSource(name, entry))
    return sorted(sources, key=lambda source: (source.name, str(source))), others, unread


def check_single(sources: Iterable[DatasetSource]) -> None:
    """Refuse two sources of one dataset, under any two of its names: their recordings would have the same keys.

    Raises
    ------
    AmassError
        There are; the message does not name the folder that they lie in.
    """
    single: dict[str, DatasetSource] = {}
    for source in sources:
        other = single.setdefault(source.dataset, source)
        if other is not source:
            raise AmassError(
                f"{other} and {source} are two sources of the dataset {source.dataset}; move one of them elsewhere"
            )


def same_recording(path: str) -> tuple[str, str]:
    """A path, relative to the AMASS folder, that is the same whatever the dataset's folder or archive is called."""
    folder, _, rest = path.partition("/")
    return canonical(_COPY.sub("", folder)), rest


def is_file(entry: Entry) -> bool:
    """Whether an entry is a file, and no link that leads nowhere."""
    try:
        return isinstance(entry, ListedEntry) or entry.is_file()
    except OSError:
        return False


def size_and_time(entry: Entry) -> tuple[int, int]:
    """Bytes of a file, and when it was last changed."""
    if isinstance(entry, ListedEntry):
        return entry.size, entry.modified
    status = os.stat(entry.path)  # noqa: PTH116  # of `entry.stat` a link's own, on some systems
    return status.st_size, status.st_mtime_ns

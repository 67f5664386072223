"""What finding the recordings of an AMASS folder gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from h36m_amass.files.archives import Member, dataset_name
from h36m_amass.files.sources import FileSlice


@dataclass(frozen=True)
class RecordingFile:
    """A recording in an AMASS tree.

    Attributes
    ----------
    dataset, subject, sequence
        Its key in the store; the dataset's name is the canonical one.
    path
        Relative to the AMASS folder, with forward slashes, as if archives were unpacked into folders of their names.
    size
        In bytes.
    modified
        Nanoseconds of the last change of the file or its archive; at a URL `FileVersion.modified`.
    member
        Where it lies, if that is in a ``.tar`` or a ``.zip``, or in a file that it was copied to.
    """

    dataset: str
    subject: str
    sequence: str
    path: str
    size: int
    modified: int
    member: Member | FileSlice | None = None

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.subject}/{self.sequence}"


@dataclass(frozen=True)
class CompressedArchive:
    """A compressed tar, whose recordings are known once it was gone through.

    Attributes
    ----------
    dataset
        Canonical name.
    name
        Of the file, which lies in the AMASS folder.
    size, modified
        As of a `RecordingFile`.
    """

    dataset: str
    name: str
    size: int
    modified: int

    @property
    def folder(self) -> str:
        """Name of the folder that it would be unpacked into."""
        return dataset_name(self.name) or self.name


@dataclass(frozen=True)
class Skipped:
    """What cannot be converted: a recording or an archive, by its path relative to the AMASS folder, and why."""

    dataset: str
    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What an AMASS folder holds.

    Attributes
    ----------
    files
        In sorted order of their keys.
    archives
        Compressed tars, by name.
    skipped
        Recordings that have no key because of where they lie or what they are called, and archives that are damaged.
    ignored
        How many files of which kind are no recordings.
    """

    files: tuple[RecordingFile, ...]
    archives: tuple[CompressedArchive, ...]
    skipped: tuple[Skipped, ...]
    ignored: Mapping[str, int]

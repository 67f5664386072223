"""What workers are given and what they give back: small, so that it travels to other processes and machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from h36m_amass.conversion.part import PartRow
from h36m_amass.conversion.recipe import Recipe
from h36m_amass.files.paths import Location
from h36m_amass.recordings.listings import ArchiveListing
from h36m_amass.recordings.subset import Subset
from h36m_amass.recordings.tree import Archive, RecordingFile

FRAME_BYTES = 1336
"""Bytes of a frame of SMPL+H in float64: 156 of poses, 3 of trans, 8 of dmpls."""
TASK_BYTES = 65536 * FRAME_BYTES
"""Bytes of recordings in a task: some 64 k source frames, a quarter of a second of work."""


@dataclass(frozen=True)
class Job:
    """What all tasks of a build share.

    Attributes
    ----------
    amass_dir, support_dir
        Where recordings and body models are read.
    parts_dir
        Where parts are written.
    recipe
        How recordings become joints.
    subset
        Which recordings to convert, as far as their lengths decide that.
    devices
        What workers compute on, in turn.
    skip_missing
        Whether recordings without a body model that fits are skipped; otherwise they end the build.
    """

    amass_dir: Location
    support_dir: Path
    parts_dir: Path
    recipe: Recipe
    subset: Subset
    devices: tuple[str, ...]
    skip_missing: bool


@dataclass(frozen=True)
class ArchiveWork:
    """An archive, and what of it is to be converted.

    Attributes
    ----------
    converted
        Paths of its recordings, and content digests, that need not be converted.
    only
        Paths of the recordings that are to be converted, if not all are.
    """

    archive: Archive
    converted: frozenset[str] = frozenset()
    only: frozenset[str] | None = None

    def needs(self, path: str, content_digest: str) -> bool:
        """Whether a recording is to be converted."""
        return not {path, content_digest} & self.converted and (self.only is None or path in self.only)


@dataclass(frozen=True)
class Task:
    """Recordings to convert.

    Attributes
    ----------
    files
        The recordings; none if those of an archive are to be converted.
    archive
        What the worker goes through itself.
    scratch
        File that holds the recordings, which is removed when the task has ended; None if they lie elsewhere.
    deaths
        Processes that have died of it.
    """

    files: tuple[RecordingFile, ...] = ()
    archive: ArchiveWork | None = None
    scratch: Path | None = None
    deaths: int = 0

    @property
    def size(self) -> int:
        """Bytes of its recordings, or of its archive."""
        return self.archive.archive.size if self.archive is not None else sum(file.size for file in self.files)


@dataclass(frozen=True)
class SkippedRecording:
    """A recording that a worker did not convert.

    Attributes
    ----------
    reason
        Why, in words that its owner can act on.
    filtered_by
        The attribute of `Subset` that does not select it; empty if it was to be converted.
    """

    path: str
    reason: str
    filtered_by: str = ""


@dataclass(frozen=True)
class TaskResult:
    """What came of a task.

    Attributes
    ----------
    rows
        The recordings that were converted, in parts that are whole.
    skipped
        The others.
    listing
        What the archive of the task holds.
    """

    rows: tuple[PartRow, ...] = ()
    skipped: tuple[SkippedRecording, ...] = ()
    listing: ArchiveListing | None = None


def make_tasks(files: Iterable[RecordingFile]) -> list[Task]:
    """Cut sorted recordings into runs of about `TASK_BYTES`; tasks of a recording that is larger come first."""
    tasks = [Task(tuple(run)) for run in _runs(files)]
    return sorted(tasks, key=lambda task: -(task.size // (2 * TASK_BYTES)))


def _runs(files: Iterable[RecordingFile]) -> Iterator[list[RecordingFile]]:
    run, size = list[RecordingFile](), 0
    for file in files:
        if run and size + file.size > TASK_BYTES:
            yield run
            run, size = [], 0
        run.append(file)
        size += file.size
    if run:
        yield run

"""What workers are given and what they give back: small, so that it travels to other processes and machines."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from h36m_amass.conversion.part import PartRow
from h36m_amass.conversion.recipe import Recipe
from h36m_amass.files.paths import Location
from h36m_amass.recordings.listings import ArchiveListing
from h36m_amass.recordings.subset import Subset
from h36m_amass.recordings.tree import Archive, RecordingFile

FRAME_BYTES = 1336  # of SMPL+H in float64: 156 of poses, 3 of trans, 8 of dmpls
TASK_BYTES = 65536 * FRAME_BYTES
"""Bytes of recordings in a task: some 64 k source frames, a quarter of a second of work."""


@dataclass(frozen=True)
class Job:
    """What all tasks of a build share."""

    amass_dir: Location  # where recordings and body models are read
    support_dir: Path
    parts_dir: Path  # where parts are written
    recipe: Recipe  # how recordings become joints
    subset: Subset  # which recordings to convert, as far as their lengths decide that
    devices: tuple[str, ...]  # what workers compute on, in turn
    skip_missing: bool  # whether recordings without a body model that fits are skipped; otherwise they end the build


@dataclass(frozen=True)
class ArchiveWork:
    """An archive, and what of it is to be converted."""

    archive: Archive
    converted: frozenset[str] = frozenset()  # paths of its recordings, and content digests, that need not be converted
    only: frozenset[str] | None = None  # paths of the recordings that are to be converted, if not all are

    def needs(self, path: str, content_digest: str) -> bool:
        """Whether a recording is to be converted."""
        return not {path, content_digest} & self.converted and (self.only is None or path in self.only)


@dataclass(frozen=True)
class Task:
    """Recordings to convert."""

    files: tuple[RecordingFile, ...] = ()  # the recordings; none if those of an archive are to be converted
    archive: ArchiveWork | None = None  # which the worker reads itself
    # File that holds the recordings, which is removed when the task has ended; None if they lie elsewhere.
    scratch: Path | None = None
    deaths: int = 0  # processes that have died of it

    @property
    def size(self) -> int:
        """Bytes of its recordings, or of its archive."""
        return self.archive.archive.size if self.archive is not None else sum(file.size for file in self.files)

    @property
    def name(self) -> str:
        """Its last recording, or its archive, as it lies under the folder of AMASS."""
        return self.archive.archive.name if self.archive is not None else self.files[-1].path

    def remove_scratch(self) -> None:
        """Remove its scratch file, if it has one."""
        if self.scratch is not None:
            self.scratch.unlink(missing_ok=True)


@dataclass(frozen=True)
class TaskResult:
    """What came of a task."""

    rows: tuple[PartRow, ...] = ()  # the recordings that were converted, in parts that are whole
    skipped: tuple[tuple[str, str], ...] = ()  # paths of others, and why, in words that their owner can act on
    not_selected: tuple[tuple[str, str], ...] = ()  # paths of others, and the attribute of `Subset` that decided it
    listing: ArchiveListing | None = None  # what the archive of the task holds


def make_tasks(files: Iterable[RecordingFile]) -> list[Task]:
    """Cut sorted recordings into runs of about `TASK_BYTES`; tasks of a recording that is larger come first."""
    runs, size = list[list[RecordingFile]](), 0
    for file in files:
        if not runs or size + file.size > TASK_BYTES:
            runs.append([])
            size = 0
        runs[-1].append(file)
        size += file.size
    return sorted((Task(tuple(run)) for run in runs), key=lambda task: -(task.size // (2 * TASK_BYTES)))

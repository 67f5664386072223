"""An archive, read once: its recordings come in batches, each a scratch file on the disk."""

import secrets
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from h36m_amass.conversion.tasks import ArchiveWork, Job, Task
from h36m_amass.files.archives import ArchiveError, ArchiveStream, StreamedMember, open_archive
from h36m_amass.files.sources import FileSlice
from h36m_amass.recordings import listings
from h36m_amass.recordings.listings import ArchiveListing, ListedMember, at_rate, list_member
from h36m_amass.recordings.tree import Archive, RecordingFile, is_wanted, names_of
from h36m_amass.system import signals

BATCH_BYTES = 2**25  # bytes of recordings in a scratch file, some 25 k source frames


class Unpacked:
    """One pass through an archive, decompressed by `threads` threads; `check` is called often, and may end it."""

    def __init__(
        self, job: Job, work: ArchiveWork, threads: int = 1, check: Callable[[], None] = signals.check
    ) -> None:
        self.work = work
        self._job, self._threads, self._check = job, threads, check
        self._unsafe: tuple[str, ...] = ()
        self._damage: str | None = None
        self._members: list[ListedMember] = []
        self._missing = None if work.only is None else set(work.only)
        self.position = 0  # bytes of the archive that were read

    @property
    def listing(self) -> ArchiveListing | None:
        """What the archive holds; None if it was not read to its end."""
        if self._is_complete:
            return None
        return ArchiveListing(tuple(self._members), self._unsafe, self._damage)

    def batches(self) -> Iterator[Task]:
        """Batches of recordings, in the archive's order; a scratch file is its receiver's to remove."""
        archive = self.work.archive
        try:
            with open_archive(self._job.amass_dir / archive.name, is_wanted, self._threads) as stream:
                members = self._watched(stream)
                while not self._is_complete and (member := next(members, None)) is not None:
                    batch = self._batch(chain([member], members))
                    if batch.files:
                        yield batch
                    else:
                        batch.remove_scratch()
                self._unsafe, self._damage = stream.unsafe, stream.damage
        except ArchiveError as error:
            self._damage = error.reason
        self.position = archive.size

    def _watched(self, stream: ArchiveStream) -> Iterator[StreamedMember]:
        for member in stream:
            yield member
            self.position = stream.position

    def _batch(self, members: Iterator[StreamedMember]) -> Task:
        """Copy the next members into a scratch file until it is full."""
        path, files = self._job.parts_dir / f"scratch-{secrets.token_hex(8)}", list[RecordingFile]()
        try:
            with path.open("xb+") as scratch:
                for member in members:
                    self._take(member, scratch, path, files)
                    if self._is_complete or scratch.tell() >= BATCH_BYTES:
                        break
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Task(tuple(files), scratch=path)

    @property
    def _is_complete(self) -> bool:
        """Whether all requested recordings were read, if only some are requested."""
        return self._missing is not None and not self._missing

    def _take(self, member: StreamedMember, scratch: IO[bytes], path: Path, files: list[RecordingFile]) -> None:
        """Copy a recording, unless it need not be converted, and note what it is."""
        name, start = f"{self.work.archive.folder}/{member.name}", scratch.tell()
        if self._missing is not None:
            self._missing.discard(name)
        try:
            member.copy_to(scratch, self._check)
        except ArchiveError:
            scratch.seek(start)
            scratch.truncate()
            if member.problem is not None:  # otherwise the stream notes its damage, and ends
                self._members.append(ListedMember(member.name, member.size, problem=member.problem))
            return
        scratch.flush()
        content = FileSlice(name, path, start, member.size)
        listed = list_member(member.name, content, self._job.recipe.use_dmpls)
        self._members.append(listed)
        file = RecordingFile(
            self.work.archive.dataset, *names_of(name), name, member.size, self.work.archive.modified, content
        )
        # The listing reports wrong or unselected names at the end, for all members.
        is_right = listed.problem is None and self._job.subset.missed_by_name(file) is None
        if is_right and self.work.needs(file.path, at_rate(listed, file, self._job.recipe.rates).content_digest):
            files.append(file)
        else:
            scratch.seek(start)
            scratch.truncate()


def list_archive(job: Job, archive: Archive) -> ArchiveListing:
    """Read an archive to its end, and remember what it holds: no build or check of it need do so again."""
    unpacked = Unpacked(job, ArchiveWork(archive, only=frozenset({""})))  # the path of no recording
    for batch in unpacked.batches():
        batch.remove_scratch()
    listing = unpacked.listing or ArchiveListing((), (), None)
    listings.save(job.amass_dir, archive, job.recipe.use_dmpls, listing)
    return listing

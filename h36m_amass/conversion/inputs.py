"""What a build has to convert: the recordings of a listing, less those that are not asked for or converted already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from h36m_amass.conversion.convert import output_length
from h36m_amass.conversion.part import PartRow
from h36m_amass.conversion.tasks import ArchiveWork, Job
from h36m_amass.conversion.unpack import Unpacked
from h36m_amass.conversion.update import StoredRows
from h36m_amass.files.npz import NpzError
from h36m_amass.recordings import listings
from h36m_amass.recordings.access import source_of
from h36m_amass.recordings.listings import ArchiveListing, ListedMember
from h36m_amass.recordings.recording import AmassError, content_digest, read_header
from h36m_amass.recordings.resampling import exact_rate
from h36m_amass.recordings.tree import Archive, Listing, RecordingFile, Skipped, place_members
from h36m_amass.system import signals


@dataclass
class Inputs:
    """What is known of a build's recordings before any is converted.

    Attributes
    ----------
    files
        Recordings to convert, sorted by key.
    archives
        archives to go through.
    known
        All recordings of the datasets without an archive, whether they are to be converted or not.
    unselected
        Those that the subset does not select.
    rows
        Those that an interrupted build has converted.
    kept
        Rows of the store that is updated, of recordings that have not changed.
    skipped
        Files that cannot be converted.
    not_selected
        How many recordings the subset does not select, by the attribute that decided it.
    """

    files: list[RecordingFile] = field(default_factory=list)
    archives: list[ArchiveWork] = field(default_factory=list)
    known: list[RecordingFile] = field(default_factory=list)
    unselected: list[RecordingFile] = field(default_factory=list)
    rows: list[PartRow] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    not_selected: Counter[str] = field(default_factory=Counter)


def find_inputs(job: Job, listing: Listing, rows: Collection[PartRow], stored: StoredRows | None) -> Inputs:
    """Sort the recordings of a listing into those that are to be converted and those that are not.

    Parameters
    ----------
    rows
        What whole parts of an interrupted build hold.
    stored
        The store that is updated.
    """
    finder = _Finder(job, rows, stored)
    inputs = finder.inputs
    inputs.skipped += listing.skipped
    if job.subset.limit is not None:
        finder.add_first(listing, job.subset.limit)
        return inputs
    for file in listing.files:
        signals.check()
        finder.add(file)
    for archive in listing.archives:
        finder.add_archive(archive)
    return inputs


class _Finder:
    """Decides for one recording after the other."""

    def __init__(self, job: Job, rows: Collection[PartRow], stored: StoredRows | None) -> None:
        self._job = job
        self._rows: Mapping[tuple[str, int, int], PartRow] = {
            (part_row.row.path, part_row.row.size, part_row.row.modified): part_row for part_row in rows
        }
        self._reusable = {} if stored is None else stored.reusable
        self._digests: dict[str, str] = {}
        self.inputs = Inputs()

    def needs(self, file: RecordingFile, listed: ListedMember | None = None) -> bool:
        """Whether a recording is to be converted; `listed` is what is known of one in an archive."""
        return (
            self._job.subset.missed_by_name(file) is None
            and (listed is None or listed.problem is None)
            and self._identity(file) not in self._rows
            and not self._is_kept(file, listed)
        )

    def add(self, file: RecordingFile, listed: ListedMember | None = None) -> None:
        """Note a recording that is known before anything is converted, and what is to be done with it."""
        filtered_by = self._job.subset.missed_by_name(file)
        if filtered_by is not None:
            self.leave(file, filtered_by)
            return
        self.inputs.known.append(file)
        if self._identity(file) in self._rows:
            self.inputs.rows.append(self._rows[self._identity(file)])
        elif listed is not None and listed.problem is not None:
            self.inputs.skipped.append(Skipped(file.dataset, file.path, listed.problem))
        elif self._is_kept(file, listed):
            self.inputs.kept[file.path] = self._reusable[self._digest(file, listed)]
        elif listed is None:
            self.inputs.files.append(file)

    def leave(self, file: RecordingFile, filtered_by: str) -> None:
        """Note a recording that is not selected, and by which attribute of the subset."""
        self.inputs.not_selected[filtered_by] += 1
        self.inputs.unselected.append(file)

    def add_archive(self, archive: Archive) -> None:
        """Note an archive; it is not gone through if all that it holds is known, and converted."""
        listing = listings.load(self._job.amass_dir, archive, self._job.recipe.use_dmpls)
        if listing is not None and listing.damage is None:
            contents = placed(archive, listing)
            if not any(self.needs(file, listed) for file, listed in contents.files):
                for file, listed in contents.files:
                    self.add(file, listed)
                self.inputs.skipped += contents.skipped
                return
        rows = [
            part_row
            for (path, _, modified), part_row in self._rows.items()
            if path.startswith(f"{archive.folder}/") and modified == archive.modified
        ]
        self.inputs.rows += rows
        converted = frozenset(part_row.row.path for part_row in rows) | self._reusable.keys()
        self.inputs.archives.append(ArchiveWork(archive, converted))

    def add_first(self, listing: Listing, limit: int) -> None:
        """Take the first recordings in sorted order that fit all else of the subset; look at no more than needed."""
        chosen: dict[Archive, set[str]] = {}
        missing = limit
        for file, listed, archive in self._in_order(listing):
            signals.check()
            if missing == 0:
                self.leave(file, "limit")
            elif self._job.subset.missed_by_name(file) is not None:
                self.add(file)
            elif self._fits(file, listed):
                missing -= 1
                if archive is not None and self.needs(file, listed):
                    chosen.setdefault(archive, set()).add(file.path)
                self.add(file, listed)
        self.inputs.archives += [ArchiveWork(archive, only=frozenset(paths)) for archive, paths in chosen.items()]

    def _in_order(self, listing: Listing) -> Iterator[tuple[RecordingFile, ListedMember | None, Archive | None]]:
        """All recordings in sorted order; archives are gone through where that is not known yet what they hold."""
        archives = {archive.dataset: archive for archive in listing.archives}
        for dataset in sorted({*archives, *(file.dataset for file in listing.files)}):
            if dataset not in archives:
                yield from ((file, None, None) for file in listing.files if file.dataset == dataset)
                continue
            archive = archives[dataset]
            contents = placed(archive, self._listed(archive))
            self.inputs.skipped += contents.skipped
            yield from ((file, listed, archive) for file, listed in contents.files)

    def _listed(self, archive: Archive) -> ArchiveListing:
        known = listings.load(self._job.amass_dir, archive, self._job.recipe.use_dmpls)
        if known is None:
            unpacked = Unpacked(self._job, ArchiveWork(archive, only=frozenset({""})))
            for batch in unpacked.batches():
                batch.remove()
            known = unpacked.listing
            assert known is not None  # nothing ended the pass before the archive's end
            listings.save(self._job.amass_dir, archive, self._job.recipe.use_dmpls, known)
        return known

    def _fits(self, file: RecordingFile, listed: ListedMember | None) -> bool:
        """Whether a recording can be converted and has the length that is asked for; otherwise it is noted why not."""
        try:
            if listed is None:
                header = read_header(source_of(self._job.amass_dir, file), self._job.recipe.use_dmpls)
                num_frames, frame_rate = header.num_frames, header.frame_rate
            elif listed.problem is not None:
                raise AmassError(listed.problem)
            else:
                num_frames, frame_rate = listed.num_frames, exact_rate(listed.frame_rate)
            filtered_by = self._job.subset.missed_by_length(num_frames, frame_rate)
            if filtered_by is not None:
                self.leave(file, filtered_by)
                return False
            output_length(num_frames, frame_rate, self._job.recipe)
        except (AmassError, NpzError) as error:
            self.inputs.skipped.append(Skipped(file.dataset, file.path, str(error)))
            return False
        return True

    def _is_kept(self, file: RecordingFile, listed: ListedMember | None) -> bool:
        return bool(self._reusable) and self._digest(file, listed) in self._reusable

    def _digest(self, file: RecordingFile, listed: ListedMember | None) -> str:
        if listed is not None:
            return listed.content_digest
        if file.path not in self._digests:
            try:
                self._digests[file.path] = content_digest(source_of(self._job.amass_dir, file))
            except (AmassError, NpzError):  # what is wrong is found again when it is converted
                self._digests[file.path] = ""
        return self._digests[file.path]

    @staticmethod
    def _identity(file: RecordingFile) -> tuple[str, int, int]:
        return file.path, file.size, file.modified


@dataclass(frozen=True)
class ArchiveContents:
    """What an archive that was gone through holds.

    Attributes
    ----------
    files
        Its recordings with their keys, sorted.
    skipped
        Those that lie or are called wrongly, and the archive itself if it is damaged.
    ignored
        How many files of which kind are not recordings.
    """

    files: tuple[tuple[RecordingFile, ListedMember], ...]
    skipped: tuple[Skipped, ...]
    ignored: Mapping[str, int]


def placed(archive: Archive, listing: ArchiveListing) -> ArchiveContents:
    """Give the members of an archive the keys that they would have if it were unpacked."""
    members = {f"{archive.folder}/{member.name}": member for member in listing.members}
    names = [(member.name, member.size, None) for member in listing.members]
    found = place_members(archive, names, listing.unsafe, listing.damage)
    return ArchiveContents(tuple((file, members[file.path]) for file in found.files), found.skipped, found.ignored)

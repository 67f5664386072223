"""What a build has to convert: the recordings of a listing, except those not selected or already converted."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache, partial

from h36m_amass.body import model
from h36m_amass.body.families import BodyKind
from h36m_amass.conversion.convert import why_not
from h36m_amass.conversion.part import PartRow
from h36m_amass.conversion.report import RecordingWarning
from h36m_amass.conversion.tasks import ArchiveWork, Job
from h36m_amass.conversion.unpack import list_archive
from h36m_amass.conversion.update import StoredRows
from h36m_amass.datasets import find
from h36m_amass.files.npz import NpzError
from h36m_amass.recordings import listings, rates
from h36m_amass.recordings.access import source_of
from h36m_amass.recordings.listings import ArchiveListing, ListedMember, at_rate, list_member
from h36m_amass.recordings.rates import NO_RULES, RateRules
from h36m_amass.recordings.recording import AmassError, content_digest
from h36m_amass.recordings.tree import Archive, Listing, RecordingFile, Skipped, place_members
from h36m_amass.system import signals

UNKNOWN = "is not a name of a dataset of AMASS; if it holds one, rename it: h36m-amass datasets lists the names"


@dataclass
class Inputs:
    """What is known about a build's recordings before any is converted."""

    files: list[RecordingFile] = field(default_factory=list)  # recordings to convert, sorted by key
    archives: list[ArchiveWork] = field(default_factory=list)  # archives to go through
    # All recordings of the datasets without such an archive, whether they are to be converted or not.
    known: list[RecordingFile] = field(default_factory=list)
    unselected: list[RecordingFile] = field(default_factory=list)  # those that the subset does not select
    rows: list[PartRow] = field(default_factory=list)  # those that an interrupted build has converted
    # Rows of the store that is updated, of recordings that have not changed.
    kept: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)  # files that cannot be converted
    # How many recordings the subset does not select, by the attribute that decided it.
    not_selected: Counter[str] = field(default_factory=Counter)


def find_inputs(job: Job, listing: Listing, rows: Collection[PartRow], stored: StoredRows | None) -> Inputs:
    """Sort the recordings of a listing: to be converted or not.

    `rows` are what whole parts of an interrupted build hold, and `stored` is the store that is updated.
    """
    finder = _Finder(job, rows, stored)
    finder.inputs.skipped += listing.skipped
    if job.subset.limit is not None:
        finder.add_first(listing, job.subset.limit)
        return finder.inputs
    for file in listing.files:
        signals.check()
        finder.add(file)
    for archive in listing.archives:
        finder.add_archive(archive)
    return finder.inputs


def doubtful_names(listing: Listing) -> Iterator[RecordingWarning]:
    """A warning for each folder and archive whose name is not one of a dataset of AMASS."""
    names = {(file.dataset, file.path.split("/")[0]) for file in listing.files}
    for dataset, name in sorted(names | {(archive.dataset, archive.name) for archive in listing.archives}):
        if find(dataset) is None:
            yield RecordingWarning(dataset, name, UNKNOWN)


_Verdict = str | Skipped | PartRow | int | None
"""The subset's attribute that does not select a recording, why it is skipped, its row in a part or in the store that is
updated, or None if it is to be converted."""


class _Finder:
    """Decides for one recording after the other."""

    def __init__(self, job: Job, rows: Collection[PartRow], stored: StoredRows | None) -> None:
        self._job = job
        body_sha256 = cache(partial(model.files_sha256, job.support_dir))
        self._rows = {
            (row.path, row.size, row.modified): part_row
            for part_row in rows
            if (row := part_row.row).body_sha256 == body_sha256(BodyKind(row.model, row.gender, row.has_dmpls))
        }
        self._reusable = {} if stored is None else stored.reusable
        self.inputs = Inputs()

    def add(self, file: RecordingFile, listed: ListedMember | None = None) -> None:
        """Note a recording, and what to do with it; `listed` is its metadata, if it was read."""
        verdict = self._verdict(file, listed)
        if isinstance(verdict, str):
            self._unselect(file, verdict)
            return
        self.inputs.known.append(file)
        if isinstance(verdict, PartRow):
            self.inputs.rows.append(verdict)
        elif isinstance(verdict, Skipped):
            self.inputs.skipped.append(verdict)
        elif isinstance(verdict, int):
            self.inputs.kept[file.path] = verdict
        else:
            self.inputs.files.append(file)

    def _unselect(self, file: RecordingFile, filtered_by: str) -> None:
        self.inputs.not_selected[filtered_by] += 1
        self.inputs.unselected.append(file)

    def add_archive(self, archive: Archive) -> None:
        """Note an archive; it is not read if its contents are known and converted."""
        listing = listings.load(self._job.amass_dir, archive, self._job.recipe.use_dmpls)
        if listing is not None and listing.damage is None:
            contents, members = placed(archive, listing, self._job.recipe.rates)
            if all(self._verdict(file, members[file.path]) is not None for file in contents.files):
                for file in contents.files:
                    self.add(file, members[file.path])
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
        """Take the first recordings in sorted order that fit the rest of the subset; read no more than needed."""
        chosen: dict[Archive, set[str]] = {}
        missing = limit
        for file, listed, archive in self._in_order(listing):
            signals.check()
            filtered_by = self._job.subset.missed_by_name(file) or (None if missing else "limit")
            if filtered_by is not None:
                self._unselect(file, filtered_by)
                continue
            if listed is None:
                listed = list_member(file.path, source_of(self._job.amass_dir, file), self._job.recipe.use_dmpls)
                listed = at_rate(listed, file, self._job.recipe.rates)
            verdict = self._verdict(file, listed)
            missing -= not isinstance(verdict, str | Skipped)
            if archive is not None and verdict is None:
                chosen.setdefault(archive, set()).add(file.path)
                self.inputs.known.append(file)
            else:
                self.add(file, listed)
        self.inputs.archives += [ArchiveWork(archive, only=frozenset(paths)) for archive, paths in chosen.items()]

    def _verdict(self, file: RecordingFile, listed: ListedMember | None) -> _Verdict:
        filtered_by = self._job.subset.missed_by_name(file)
        if filtered_by is not None:
            return filtered_by
        part_row = self._rows.get((file.path, file.size, file.modified))
        if part_row is not None:
            return part_row
        if listed is not None:
            reason = listed.problem
            if reason is None:
                filtered_by = self._job.subset.missed_by_length(listed.num_frames, listed.frame_rate)
                if filtered_by is not None:
                    return filtered_by
                reason = why_not(listed.num_frames, listed.frame_rate, self._job.recipe)
                if reason is not None:
                    reason += rates.hint(file.dataset, file.subject, file.sequence, listed.frame_rate)
            if reason is not None:
                return Skipped(file.dataset, file.path, reason)
            return self._reusable.get(listed.content_digest)
        if not self._reusable:
            return None
        try:
            rate = self._job.recipe.rates.frame_rate(file.dataset, file.subject, file.sequence)
            return self._reusable.get(content_digest(source_of(self._job.amass_dir, file), rate))
        except (AmassError, NpzError):  # what is wrong is found again when it is converted
            return None

    def _in_order(self, listing: Listing) -> Iterator[tuple[RecordingFile, ListedMember | None, Archive | None]]:
        """All recordings in sorted order; archives with unknown contents are read."""
        archives = {archive.dataset: archive for archive in listing.archives}
        for dataset in sorted({*archives, *(file.dataset for file in listing.files)}):
            if dataset not in archives:
                yield from ((file, None, None) for file in listing.files if file.dataset == dataset)
                continue
            archive = archives[dataset]
            known = listings.load(self._job.amass_dir, archive, self._job.recipe.use_dmpls)
            contents, members = placed(archive, known or list_archive(self._job, archive), self._job.recipe.rates)
            self.inputs.skipped += contents.skipped
            yield from ((file, members[file.path], archive) for file in contents.files)


def placed(
    archive: Archive, listing: ArchiveListing, rates: RateRules = NO_RULES
) -> tuple[Listing, dict[str, ListedMember]]:
    """The recordings of an archive with the keys that they would have if it were unpacked; its members by path.

    Their frame rates are those of the `rates`, where these have one.
    """
    names = [(member.name, member.size, None) for member in listing.members]
    members = {f"{archive.folder}/{member.name}": member for member in listing.members}
    contents = place_members(archive, names, listing.unsafe, listing.damage)
    return contents, members | {file.path: at_rate(members[file.path], file, rates) for file in contents.files}

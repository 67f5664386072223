"""What becomes of the recordings of a build, for the assembly and the report."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from h36m_amass.conversion import inputs
from h36m_amass.conversion.assembly import Assembly
from h36m_amass.conversion.inputs import Inputs
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.part import PartRow
from h36m_amass.conversion.report import BuildReport, RecordingWarning, dataset_rows, lacks_dmpls, rate_is_corrected
from h36m_amass.conversion.tasks import Job, Task, TaskResult
from h36m_amass.conversion.update import StoredRows
from h36m_amass.datasets import canonical
from h36m_amass.recordings import listings, rates
from h36m_amass.recordings.listings import ArchiveListing
from h36m_amass.recordings.resampling import exact_rate
from h36m_amass.recordings.subset import Subset, filters
from h36m_amass.recordings.tree import Archive, Listing, Skipped, spelled

_log = logging.getLogger(__name__)


class Outcome:
    """What became of the recordings, for the assembly and the report."""

    def __init__(
        self, job: Job, strict: bool, listing: Listing, todo: Inputs, assembly: Assembly, stored: StoredRows | None
    ) -> None:
        self._job, self._strict, self._todo, self._assembly, self._stored = job, strict, todo, assembly, stored
        self._ignored, self._doubts = Counter(listing.ignored), tuple(inputs.doubtful_names(listing))
        self._not_selected = Counter(todo.not_selected)
        self._skipped: list[Skipped] = []
        self._folders = {work.archive.folder for work in todo.archives if work.only is None}
        self._expected: dict[str, str] = {}
        self._waiting: list[PartRow] = []
        self._used_excludes = {
            pattern for file in (*todo.known, *todo.unselected) for pattern in job.subset.excluding(file)
        }
        assembly.open(work.archive.dataset for work in todo.archives if work.only is None)
        assembly.list(todo.known, converts=True)
        assembly.list(todo.unselected, converts=False)
        for part_row in todo.rows:
            assembly.set_result(part_row.row.path, part_row)
        for path, row in todo.kept.items():
            assembly.set_result(path, row)
        for skipped in todo.skipped:
            self._skip(skipped)

    def add(self, task: Task, result: TaskResult) -> None:
        """What came of a task."""
        for part_row in result.rows:
            self._add_row(part_row)
        for path, reason in result.skipped:
            self._skip(Skipped(canonical(spelled(path.split("/")[0])), path, reason))
        for path, filtered_by in result.not_selected:
            self._assembly.set_result(path, None)
            self._not_selected[filtered_by] += 1
        if task.archive is not None and task.archive.only is None and result.listing is not None:
            self._close(task.archive.archive, result.listing)
        self._assembly.advance()

    def _add_row(self, part_row: PartRow) -> None:
        """Take a converted recording. If several in an archive have one name, the last counts, as in unpacking."""
        row = part_row.row
        if row.path.split("/")[0] in self._folders and row.path not in self._expected:
            self._waiting.append(part_row)
        elif self._expected.get(row.path, row.content_digest) == row.content_digest:
            self._assembly.set_result(row.path, part_row)

    def _close(self, archive: Archive, listing: ArchiveListing) -> None:
        """An archive was read: its recordings get their keys."""
        if listing.damage is None:
            listings.save(self._job.amass_dir, archive, self._job.recipe.use_dmpls, listing)
        contents, members = inputs.placed(archive, listing, self._job.recipe.rates)
        reusable = {} if self._stored is None else self._stored.reusable
        for file in contents.files:
            listed = members[file.path]
            self._expected[file.path] = listed.content_digest
            filtered_by = self._job.subset.missed_by_name(file)
            self._used_excludes |= self._job.subset.excluding(file)
            self._assembly.list([file], converts=filtered_by is None)
            if filtered_by is not None:
                self._not_selected[filtered_by] += 1
            elif listed.problem is not None:
                self._skip(Skipped(file.dataset, file.path, listed.problem))
            elif listed.content_digest in reusable and file.path not in self._assembly.results:
                self._assembly.set_result(file.path, reusable[listed.content_digest])
        waiting, self._waiting = self._waiting, []
        for part_row in waiting:
            self._add_row(part_row)
        for skipped in contents.skipped:
            self._skip(skipped)
        self._ignored.update(contents.ignored)
        self._assembly.open_datasets.discard(archive.dataset)

    def skip_mismatched(self) -> None:
        """Skip what the assembly could not take: recordings of a family whose skeleton is not the store's."""
        reason = "cannot be converted: the store holds the skeleton of another family; build it into another store"
        for file in self._assembly.mismatched:
            self._skip(Skipped(file.dataset, file.path, reason))

    def _skip(self, skipped: Skipped) -> None:
        _log.warning("skipped: %s: %s", skipped.path, skipped.reason)
        if self._strict:
            raise BuildError(f"{skipped.reason} (which --strict does not allow)", skipped.path)
        self._skipped.append(skipped)
        self._assembly.set_result(skipped.path, None)

    @property
    def why_nothing(self) -> str:
        """The reason why there is no sequence."""
        selected = f"; not selected: {filters(self._not_selected)}" if self._not_selected else ""
        if not self._skipped:
            return f"{self._job.amass_dir}: no recording is selected{selected}; choose others"
        first = min(self._skipped, key=lambda skipped: skipped.path)
        count = f"{len(self._skipped)} skipped, the first is {first.path}: {first.reason}"
        return f"{self._job.amass_dir}: no recording can be converted; {count}{selected}"

    def _warnings(self) -> Iterator[RecordingWarning]:
        """Warnings about names of datasets, and about the store's recordings."""
        yield from self._doubts
        for record in self._assembly.records:
            rate = exact_rate(record.source_frame_rate)
            names = record.dataset, record.subject, record.sequence
            is_given = self._job.recipe.frame_rates.find(*names) is not None
            known = None if is_given else rates.contradiction(*names, rate)
            messages = self._assembly.warnings.get(record.source_path, ())
            for message in (known, *messages) if known is not None else messages:
                yield RecordingWarning(record.dataset, record.source_path, message)

    def report(self, store: Path, seconds: float) -> BuildReport:
        """The report of a build that took this many seconds."""
        records, use_dmpls = self._assembly.records, self._job.recipe.use_dmpls
        skipped = sorted(self._skipped, key=lambda skipped: skipped.path)
        return BuildReport(
            store=str(store),
            datasets=dataset_rows(records, skipped),
            skipped=tuple(skipped),
            warnings=tuple(sorted(self._warnings(), key=lambda warning: warning.path)),
            corrected_rates=sum(map(rate_is_corrected, records)),
            unused_rates=self._job.recipe.frame_rates.unused(
                (record.dataset, record.subject, record.sequence) for record in records
            ),
            unused_excludes=self._job.subset.unused_excludes(self._used_excludes),
            ignored=dict(sorted(self._ignored.items())),
            not_selected={name: count for name in Subset.names() if (count := self._not_selected[name])},
            use_dmpls=use_dmpls,
            without_dmpls=tuple(record.source_path for record in records if use_dmpls and lacks_dmpls(record)),
            reused=len(self._todo.rows),
            changes=None if self._stored is None else self._assembly.changes(),
            synthetic=self._assembly.synthetic,
            device=",".join(self._job.devices),
            seconds=seconds,
        )

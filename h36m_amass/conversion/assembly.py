"""Writes the store front to back, in the order of its keys, as soon as the next sequence is converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from h36m_amass.body import model
from h36m_amass.body.families import FAMILIES, GENDERS
from h36m_amass.body.joint_sets import skeleton_family
from h36m_amass.conversion.options import BuildError, BuildOptions
from h36m_amass.conversion.part import Part, PartRow, Positions, Row
from h36m_amass.conversion.recipe import NUM_BETAS
from h36m_amass.conversion.report import Changes
from h36m_amass.conversion.tasks import Job
from h36m_amass.conversion.update import StoredRows, kind_of
from h36m_amass.datasets import canonical
from h36m_amass.recordings.tree import RecordingFile
from h36m_amass.skeleton import BODY_JOINTS, Skeleton, body_skeleton
from h36m_amass.store.format import JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.writer import StoreWriter
from h36m_amass.system import signals
from h36m_amass.version import __version__

SYNC_BYTES = 2**26  # bytes written between two waits for the disk: to wait for all of them at the end could take long
OPEN_PARTS = 4
_SHARED = {field.name for field in fields(SequenceRecord)} & {field.name for field in fields(Row)}

Key = tuple[str, str, str]  # dataset, subject and sequence


@dataclass(frozen=True)
class _Entry:
    """A sequence that the store will have, unless its recording is skipped."""

    file: RecordingFile | None  # its recording; None if that is not converted by this build
    stored: int | None  # its row in the store that is updated, if it has one


class Assembly:
    """A store in the making, written to `temporary`; a context manager that closes the file."""

    def __init__(self, temporary: Path, job: Job, stored: StoredRows | None, options: BuildOptions) -> None:
        self._temporary, self._job, self._recipe, self._stored = temporary, job, job.recipe, stored
        kept = stored.header.options.get("compression") if stored else None
        self._compression: str = options.compression or kept or "none"
        self._prune, self._datasets = options.prune, {canonical(name) for name in options.datasets}
        # Whose skeleton the store holds depends on all recordings.
        self._has_skeleton = any(source.joints is None for source in job.recipe.sources)
        self._entries: dict[str, dict[Key, _Entry]] = {}
        self._listed: set[Key] = set()
        self._walk = self._in_order()
        self._writer: StoreWriter | None = None
        self._unsynced = self._row_bytes = 0
        self._family: str | None = None
        self._parts: dict[str, Part] = {}
        self._body_models: dict[str, str] = {}
        self._synthetic = False
        self._num_added = self._num_changed = 0
        self.open_datasets: set[str] = set()  # whose recordings are not all listed yet
        self.results: dict[str, PartRow | int | None] = {}  # see `set_result`
        self.warnings: dict[str, tuple[str, ...]] = {}  # of recordings that were written, by path
        self.records: list[SequenceRecord] = []  # that were written so far, in index order
        self.mismatched: list[RecordingFile] = []  # that were skipped because their skeleton is not the store's
        for row, record in enumerate(() if stored is None else stored.records):
            key = record.dataset, record.subject, record.sequence
            self._entries.setdefault(record.dataset, {})[key] = _Entry(None, row)

    def __enter__(self) -> Assembly:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts.values():
            part.__exit__()
        if self._writer is not None:
            self._writer.close()

    def open(self, datasets: Iterable[str]) -> None:
        """Wait with datasets whose recordings are not known yet, as long as they are in `open_datasets`."""
        for dataset in datasets:
            self.open_datasets.add(dataset)
            self._entries.setdefault(dataset, {})

    def list(self, files: Iterable[RecordingFile], converts: bool) -> None:
        """Note recordings that are among the inputs, and whether each will have a result."""
        for file in files:
            key = file.dataset, file.subject, file.sequence
            self._listed.add(key)
            if converts:
                before = self._entries.setdefault(file.dataset, {}).get(key)
                self._entries[file.dataset][key] = _Entry(file, None if before is None else before.stored)

    def set_result(self, path: str, result: PartRow | int | None) -> None:
        """Take the result of a recording: its row in a part or in the updated store, or None if it was skipped."""
        if result is not None or path not in self.results:
            self.results[path] = result

    def is_unchanged(self) -> bool:
        """Whether the store that is updated, which is read to its end, would be written again as it is."""
        if self._stored is None:
            return False
        for entry in (entry for entries in self._entries.values() for entry in entries.values()):
            record = None if entry.stored is None else self._stored.records[entry.stored]
            result = None if entry.file is None else self.results.get(entry.file.path)
            if result is not None and (
                result != entry.stored
                or record is None
                or entry.file is None
                or (record.source_path, record.source_size) != (entry.file.path, entry.file.size)
            ):
                return False
            if record is not None and self._prune and self._is_gone(record):
                return False
        self._stored.check()
        self.records, self._synthetic = list(self._stored.records), self._stored.header.synthetic
        return True

    @property
    def synthetic(self) -> bool:
        """Whether anything that went in was made up."""
        return self._synthetic or self._recipe.synthetic

    def advance(self) -> None:
        """Write the sequences that are there, as far as none before them is missing."""
        if not self._has_skeleton:
            self._write_ready()

    def finish(self, why_nothing: str) -> None:
        """Write what is left and the index, and bring it to the disk; raises `BuildError` if there is no sequence."""
        if self._has_skeleton and any(isinstance(result, PartRow) for result in self.results.values()):
            self._skeleton_family()  # of all recordings, while all results are there
        self._write_ready()
        if next(self._walk, self) is not self:
            raise RuntimeError("a recording has no result")  # rather than a store without it
        if not self.records or self._writer is None:
            raise BuildError(why_nothing)
        rate = self._recipe.frame_rate
        header = StoreHeader(
            software_version=__version__,
            frame_rate=float("nan") if rate is None else float(rate),
            body_model_sha256=dict(sorted(self._body_models.items())),
            options={**self._recipe.options(), "compression": self._compression},
            synthetic=self.synthetic,
            joint_sets=self._joint_sets(),
        )
        self._writer.finish(header)

    def changes(self) -> Changes:
        """What has changed against the store that is updated."""
        gone = [record for record in self._stored.records if self._is_gone(record)] if self._stored is not None else []
        kept = len(self.records) - self._num_added - self._num_changed
        kept -= 0 if self._prune else len(gone)
        return Changes(self._num_added, self._num_changed, kept, len(gone), self._prune)

    def _is_gone(self, record: SequenceRecord) -> bool:
        """Whether this build looked for the recording of a sequence, and it is not among the inputs any more."""
        is_input = not self._datasets or record.dataset in self._datasets
        return is_input and (record.dataset, record.subject, record.sequence) not in self._listed

    def _in_order(self) -> Iterator[tuple[Key, _Entry] | None]:
        """Each sequence in the order of the index, and None whenever the next one is not converted yet."""
        for dataset in sorted(self._entries):
            while dataset in self.open_datasets:
                yield None
            for key, entry in sorted(self._entries[dataset].items()):
                while entry.file is not None and entry.file.path not in self.results:
                    yield None
                yield key, entry

    def _write_ready(self) -> None:
        for ready in self._walk:
            if ready is None:
                return
            signals.check()
            self._write(*ready)
            if self._unsynced >= SYNC_BYTES and self._writer is not None:
                self._writer.sync()
                self._unsynced = 0

    def _write(self, key: Key, entry: _Entry) -> None:
        result = None if entry.file is None else self.results.pop(entry.file.path)
        if isinstance(result, PartRow) and entry.file is not None:
            if self._has_skeleton and result.row.model != self._skeleton_family():
                self.mismatched.append(entry.file)
                return
            self._num_added += entry.stored is None
            self._num_changed += entry.stored is not None
            self._write_converted(entry.file, result)
        elif isinstance(result, int) and entry.file is not None and self._stored is not None:
            before = None if entry.stored is None else self._stored.records[entry.stored]
            source = self._stored.records[result]
            self._num_added += before is None
            self._num_changed += before is not None and before.content_digest != source.content_digest
            names: dict[str, Any] = dict(zip(("dataset", "subject", "sequence"), key, strict=True))
            record = replace(source, source_path=entry.file.path, source_size=entry.file.size, **names)
            self._write_stored(record, result)
        elif entry.stored is not None and self._stored is not None:
            record = self._stored.records[entry.stored]
            if not (self._prune and self._is_gone(record)):
                self._write_stored(record, entry.stored)

    def _write_converted(self, file: RecordingFile, part_row: PartRow) -> None:
        row = part_row.row
        values: dict[str, Any] = {name: value for name, value in vars(row).items() if name in _SHARED}
        record = SequenceRecord(
            dataset=file.dataset,
            subject=file.subject,
            sequence=file.sequence,
            source_path=file.path,
            source_size=file.size,
            checksum=row.checksums[0],
            **values,
        )
        self._body_models[kind_of(record).files_key] = row.body_sha256
        self._synthetic = self._synthetic or row.synthetic
        if row.warnings:
            self.warnings[file.path] = row.warnings
        self._append(record, self._part(part_row.file).blocks(part_row), row.checksums[1:])

    def _write_stored(self, record: SequenceRecord, row: int) -> None:
        assert self._stored is not None  # or there would be no row
        key = kind_of(record).files_key
        if key in self._stored.header.body_model_sha256:
            self._body_models.setdefault(key, self._stored.header.body_model_sha256[key])
        self._synthetic = self._synthetic or self._stored.header.synthetic
        self._append(record, self._stored.blocks(row), self._stored.other_checksums[row])

    def _append(self, record: SequenceRecord, blocks: Iterable[Positions], other_checksums: tuple[int, ...]) -> None:
        if self._writer is None:
            joint_sets = self._joint_sets()
            self._row_bytes = sum(12 * len(joint_set.skeleton) for joint_set in joint_sets)
            self._writer = StoreWriter(self._temporary, joint_sets, self._compression)
        self._writer.append(record, blocks, other_checksums)
        self.records.append(record)
        self._unsynced += record.length * self._row_bytes

    def _part(self, name: str) -> Part:
        if name not in self._parts:
            if len(self._parts) == OPEN_PARTS:
                self._parts.pop(next(iter(self._parts))).__exit__()
            self._parts[name] = Part(self._job.parts_dir / name)
        return self._parts[name]

    def _skeleton_family(self) -> str:
        if self._family is None:
            if self._stored is not None:
                names = {joint_set.skeleton.joint_names for joint_set in self._stored.header.joint_sets}
                self._family = next(name for name, joints in BODY_JOINTS.items() if joints in names)
            else:
                models = {result.row.model for result in self.results.values() if isinstance(result, PartRow)}
                self._family = skeleton_family(models)
        return self._family

    def _joint_sets(self) -> tuple[JointSet, ...]:
        if self._stored is not None:
            return self._stored.header.joint_sets
        return tuple(
            JointSet(
                name=source.name,
                regressor_sha256=source.digest,
                skeleton=self._skeleton() if source.joints is None else source.joints.skeleton,
                regressor=source.title,
            )
            for source in self._recipe.sources
        )

    def _skeleton(self) -> Skeleton:
        """The kinematic joints of the store's family, with the bones of a body model."""
        family = FAMILIES[self._skeleton_family()]
        gender = next(gender for gender in GENDERS if model.model_path(self._job.support_dir, gender, family).exists())
        body = model.load(self._job.support_dir, gender, NUM_BETAS, 0, family)
        return body_skeleton(family.name, body.parents)

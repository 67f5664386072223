"""One work unit: read a run of recordings, skin the frames that resampling needs, write one part.

A part is an HDF5 file with the unit's positions, sequence after sequence, and a record of each sequence: where
it lies, or why it was left out. Parts are written under another name and renamed, so that one that is there
is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock, Thread

import h5py
import numpy as np
from isal.isal_zlib import crc32
from jaxtyping import Float32

from h36m_amass import amass, folding, interrupts
from h36m_amass.folding import FoldedRegressor
from h36m_amass.packing import PoseBlock, relative_joints, reproducible
from h36m_amass.planning import PlannedSequence, Unit
from h36m_amass.resampling import Resampling, interpolate, needed_frames, outputs_within, resample
from h36m_amass.skinning import Skinner, add_translation
from h36m_amass.sparsity import runs
from h36m_amass.store_format import SequenceRecord

READ_FRAMES = 2048
MAX_ROWS_IN_MEMORY = 131072
READ_AHEAD_BYTES = 2**20
"""Linux takes longer advice for a request of its own size."""

_one_at_a_time = Lock()


@dataclass(frozen=True)
class Workshop:
    """What a worker needs to convert any unit of a build: small, so that it travels to other processes.

    Attributes
    ----------
    amass_dir, parts_dir
        Where recordings are read and parts are written.
    folded
        For each gender the name of its folded regressor's file in `parts_dir`, which holds a digest of its content.
    device
        From `h36m_amass.skinning.resolve_device`.
    batch_size
        Frames a batch.
    """

    amass_dir: Path
    parts_dir: Path
    folded: Mapping[str, str]
    device: str
    batch_size: int

    def part_path(self, number: int) -> Path:
        return self.parts_dir / f"{number:06d}.part"

    def folded_path(self, gender: str) -> Path:
        return self.parts_dir / self.folded[gender]


@dataclass(frozen=True)
class PartEntry:
    """A sequence of a part: its record and first row, or the reason why it was left out."""

    record: SequenceRecord
    start: int
    left_out: str | None

    @property
    def converted(self) -> bool:
        return self.left_out is None


@dataclass(frozen=True)
class _Segment:
    """Output frames that one run of source frames gives."""

    planned: PlannedSequence
    row: int
    resampling: Resampling
    needed: np.ndarray
    trans: np.ndarray

    def finish(
        self, relative: Float32[np.ndarray, "needed joints 3"], row_sums: np.ndarray
    ) -> Float32[np.ndarray, "outputs joints 3"]:
        """World positions at the output's frame rate."""
        joints = interpolate(self.resampling, self.needed, relative)
        trans = interpolate(self.resampling, self.needed, self.trans.astype(np.float64))
        return add_translation(joints, trans, row_sums)


def convert_unit(workshop: Workshop, unit: Unit) -> int:
    """Convert `unit` into its part, and return its number.

    Recordings that turn out damaged are left out, with their reason in the part. Sequences are worked through by
    gender, so that batches fill up; each has its own rows in the part whatever the order. In one process one unit
    is converted at a time, whatever the executor: the skinners' buffers and torch's settings are shared.
    """
    with _one_at_a_time:
        _write_part(workshop, unit)
    return unit.number


def _write_part(workshop: Workshop, unit: Unit) -> None:
    path = workshop.part_path(unit.number)
    temporary = path.with_suffix(".tmp")
    rows = np.cumsum([0, *(planned.length for planned in unit.sequences)]).tolist()
    reasons: dict[str, str] = {}
    checksums: dict[str, int] = {}
    by_gender: dict[str, list[tuple[PlannedSequence, int]]] = {}
    for planned, row in zip(unit.sequences, rows, strict=False):
        by_gender.setdefault(planned.header.gender, []).append((planned, row))
    in_order = [planned for _, work in sorted(by_gender.items()) for planned, _ in work]
    paths = [f"{workshop.amass_dir}/{planned.file.path}" for planned in in_order]
    Thread(target=_read_ahead, args=(paths,), daemon=True).start()
    with h5py.File(temporary, "w") as part, reproducible():
        positions: np.ndarray | h5py.Dataset | None = None
        for gender, work in sorted(by_gender.items()):
            skinner = _skinner(workshop, gender)
            if positions is None:
                shape = (rows[-1], skinner.folded.num_joints, 3)
                # A write for every short sequence would take longer than computing it.
                in_memory = rows[-1] <= MAX_ROWS_IN_MEMORY
                positions = np.zeros(shape, "<f4") if in_memory else part.create_dataset("positions_3d", shape, "<f4")
            for segment, relative in relative_joints(skinner, _segments(workshop, skinner.folded, work, reasons)):
                joints = segment.finish(relative, skinner.folded.row_sums)
                positions[segment.row : segment.row + len(joints)] = joints
                name = segment.planned.file.path
                checksums[name] = crc32(np.ascontiguousarray(joints, "<f4").data, checksums.get(name, 0))
        if isinstance(positions, np.ndarray):
            part.create_dataset("positions_3d", data=positions)
        entries = [
            PartEntry(_record(planned, checksums.get(planned.file.path, 0)), row, reasons.get(planned.file.path))
            for planned, row in zip(unit.sequences, rows, strict=False)
        ]
        written = json.dumps([{**vars(entry), "record": vars(entry.record)} for entry in entries]).encode()
        part.create_dataset("entries", data=np.frombuffer(written, np.uint8))
    temporary.replace(path)


def part_entries(path: Path) -> list[PartEntry]:
    """What became of each sequence of a part."""
    with h5py.File(path, "r") as part:
        return [
            PartEntry(SequenceRecord(**values.pop("record")), **values)
            for values in json.loads(part["entries"][:].tobytes())
        ]


def part_positions(path: Path) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
    """Positions of the sequences that were not left out, one after another, at most `READ_FRAMES` at a time."""
    entries = part_entries(path)
    kept = np.zeros(sum(entry.record.length for entry in entries), dtype=bool)
    for entry in entries:
        kept[entry.start : entry.start + entry.record.length] = entry.converted
    with h5py.File(path, "r") as part:
        for start, stop in runs(np.flatnonzero(kept)):
            for first in range(start, stop, READ_FRAMES):
                yield part["positions_3d"][first : min(first + READ_FRAMES, stop)]


def _read_ahead(paths: list[str]) -> None:
    """Have the system bring files into its cache while earlier ones are worked on, where it takes such advice.

    Reading them in this thread instead would fight with the computing one for the interpreter.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with suppress(OSError), open(path, "rb", 0) as file:  # noqa: PTH123  # Path.open would first take it apart
            for start in range(0, os.fstat(file.fileno()).st_size, READ_AHEAD_BYTES):
                os.posix_fadvise(file.fileno(), start, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


def _segments(
    workshop: Workshop, folded: FoldedRegressor, work: list[tuple[PlannedSequence, int]], reasons: dict[str, str]
) -> Iterator[tuple[_Segment, PoseBlock]]:
    """Segments of sequences of one gender; a damaged one ends where the damage is, with its reason in `reasons`."""
    for planned, row in work:
        try:
            yield from _sequence_segments(workshop, folded, planned, row)
        except amass.AmassError as error:
            reasons[planned.file.path] = str(error)


def _sequence_segments(
    workshop: Workshop, folded: FoldedRegressor, planned: PlannedSequence, row: int
) -> Iterator[tuple[_Segment, PoseBlock]]:
    """Cut a recording into runs of source frames, each with the outputs that become possible with it."""
    header = planned.header
    rates = header.frame_rate, planned.frame_rate
    betas = amass.fit_betas(header.betas, folded.num_betas)
    path = f"{workshop.amass_dir}/{planned.file.path}"
    first, start = 0, 0
    for frames in amass.read_frames(path, header, READ_FRAMES, folded.num_dmpls):
        stop = outputs_within(first + len(frames), header.num_frames, *rates)
        if stop > start:
            resampling = resample(header.num_frames, *rates, start, stop)
            needed = needed_frames(resampling)
            rows = needed - first
            dmpls = None if frames.dmpls is None else frames.dmpls.take(rows, axis=0)
            segment = _Segment(planned, row + start, resampling, needed, frames.trans.take(rows, axis=0))
            yield segment, PoseBlock(betas, frames.poses.take(rows, axis=0), dmpls)
        first, start = first + len(frames) - 1, stop


def _skinner(workshop: Workshop, gender: str) -> Skinner:
    return _cached_skinner(workshop.folded_path(gender), workshop.batch_size, workshop.device)


@lru_cache(maxsize=3)
def _cached_skinner(path: Path, batch_size: int, device: str) -> Skinner:
    """One skinner a gender is kept for all units of a worker; the path holds a digest of what is in the file."""
    return Skinner(folding.read(path), batch_size, device)


def start_worker() -> None:
    """Run first in each worker process; that it is in this module makes the worker import torch at once."""
    interrupts.leave_to_parent()


def forget_skinners() -> None:
    """Free the memory of the skinners that this process has kept."""
    _cached_skinner.cache_clear()


def _record(planned: PlannedSequence, checksum: int) -> SequenceRecord:
    return SequenceRecord(
        dataset=planned.file.dataset,
        subject=planned.file.subject,
        sequence=planned.file.sequence,
        length=planned.length,
        frame_rate=float(planned.frame_rate),
        source_frames=planned.header.num_frames,
        source_frame_rate=float(planned.header.frame_rate),
        gender=planned.header.gender,
        has_dmpls=planned.header.has_dmpls,
        source_path=planned.file.path,
        source_size=planned.file.size,
        checksum=checksum,
    )

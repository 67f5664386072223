"""One work unit: read a run of recordings, skin the frames that resampling needs, write one part."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock, Thread

import numpy as np
from jaxtyping import Float32

from h36m_amass.body import folding
from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.conversion import part as parts
from h36m_amass.conversion.part import PartWriter, PlacedSequence, Positions
from h36m_amass.conversion.planning import BodyKind, PlannedSequence, Unit
from h36m_amass.conversion.report import LeftOut
from h36m_amass.conversion.workshop import Workshop
from h36m_amass.engine.packing import PoseBlock, keep_to_one_thread, relative_joints, reproducible
from h36m_amass.engine.skinning import Skinner, Workspace, add_translation
from h36m_amass.files.regular_file import open_at_once
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.resampling import Neighbours, needed_frames, neighbours, outputs_within, resample
from h36m_amass.recordings.sources import Sources
from h36m_amass.recordings.tree import SequenceFile

READ_FRAMES = 2048
READ_AHEAD_BYTES = 2**20
"""Linux takes longer advice for a request of its own size."""

_one_at_a_time = Lock()


@dataclass(frozen=True)
class _Segment:
    """Output frames that one run of source frames gives."""

    planned: PlannedSequence
    row: int
    neighbours: Neighbours
    trans: np.ndarray

    def finish(
        self, relative: Float32[np.ndarray, "needed joints 3"], row_sums: np.ndarray, joint_counts: tuple[int, ...]
    ) -> Positions:
        """World positions at the output's frame rate, each joint set apart."""
        joints, trans = self.neighbours.interpolate(relative), self.neighbours.interpolate(self.trans)
        sets = pairwise(accumulate(joint_counts, initial=0))
        return tuple(add_translation(joints[:, start:stop], trans, row_sums[start:stop]) for start, stop in sets)


def settle() -> None:
    """Prepare a process that does nothing but convert units."""
    keep_to_one_thread()
    gc.freeze()  # torch's objects would be looked through again and again


def convert_unit(workshop: Workshop, unit: Unit, fingerprint: str) -> Path:
    """Convert `unit` into a part of this `fingerprint`, and return the file, which `parts.commit` makes the part.

    Recordings that turn out damaged are left out, with their reason in the part. Sequences are worked through by
    body model, so that batches fill up; each has its own rows in the part whatever the order. In one process one
    unit is converted at a time, whatever the executor: the skinners' buffers and torch's settings are shared.

    Raises
    ------
    h36m_amass.conversion.workshop.StoppedError
        The build has been stopped meanwhile.
    OSError
        The part cannot be written.
    """
    with _one_at_a_time:
        return _write_part(workshop, unit, fingerprint)


def _write_part(workshop: Workshop, unit: Unit, fingerprint: str) -> Path:
    workshop.check_goes_on()
    rows = np.cumsum([0, *(planned.length for planned in unit.sequences)]).tolist()
    reasons: dict[str, str] = {}
    checksums: dict[str, tuple[int, ...]] = {}
    by_body: dict[BodyKind, list[tuple[PlannedSequence, int]]] = {}
    for planned, row in zip(unit.sequences, rows, strict=False):
        by_body.setdefault(planned.body, []).append((planned, row))
    in_order = [planned for _, work in sorted(by_body.items()) for planned, _ in work]
    plain = [planned.file for planned in in_order if planned.file.member is None]
    Thread(target=_read_ahead, args=(str(workshop.amass_dir), plain), daemon=True).start()
    sources = Sources(workshop.amass_dir, [planned.file for planned in in_order], workshop.check_goes_on)
    with PartWriter(workshop.part_path(fingerprint), workshop.joint_counts, rows[-1]) as part, sources, reproducible():
        for body, work in sorted(by_body.items()):
            skinner = _skinner(workshop, body)
            for segment, relative in relative_joints(
                skinner, _segments(workshop, sources, skinner.folded, work, reasons)
            ):
                joints = segment.finish(relative, skinner.folded.row_sums, workshop.joint_counts)
                part.write(segment.row, joints)
                name = segment.planned.file.path
                checksums[name] = parts.checksums_of(joints, checksums.get(name))
        placed: list[PlacedSequence] = []
        left_out: list[LeftOut] = []
        for planned, row in zip(unit.sequences, rows, strict=False):
            path = planned.file.path
            if path in reasons:
                left_out.append(LeftOut(planned.file.dataset, path, reasons[path]))
            else:
                placed.append(PlacedSequence(planned.record(checksums[path][0]), row, checksums[path][1:]))
        return part.finish(fingerprint, placed, left_out)


def _read_ahead(amass_dir: str, files: list[SequenceFile]) -> None:
    """Have the system bring files into its cache while earlier ones are worked on, where it takes such advice.

    Reading them in this thread instead would fight with the computing one for the interpreter.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for file in files:
        with suppress(OSError):
            descriptor = open_at_once(f"{amass_dir}/{file.path}", os.O_RDONLY)
            try:
                for start in range(0, file.size, READ_AHEAD_BYTES):
                    os.posix_fadvise(descriptor, start, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)


def _segments(
    workshop: Workshop,
    sources: Sources,
    folded: FoldedRegressor,
    work: list[tuple[PlannedSequence, int]],
    reasons: dict[str, str],
) -> Iterator[tuple[_Segment, PoseBlock]]:
    """Segments of sequences of one body model; a damaged one ends where the damage is, with its reason in `reasons`."""
    unchecked = 0
    for planned, row in work:
        try:
            for segment, block in _sequence_segments(sources, folded, planned, row):
                yield segment, block
                unchecked += len(block.poses)
                if unchecked >= READ_FRAMES:
                    workshop.check_goes_on()
                    unchecked = 0
        except amass.AmassError as error:
            reasons[planned.file.path] = str(error)


def _sequence_segments(
    sources: Sources, folded: FoldedRegressor, planned: PlannedSequence, row: int
) -> Iterator[tuple[_Segment, PoseBlock]]:
    """Cut a recording into runs of source frames, each with the outputs that become possible with it."""
    header = planned.header
    rates = header.frame_rate, planned.frame_rate
    betas = amass.fit_betas(header.betas, folded.num_betas)
    first, start = 0, 0
    for frames in amass.read_frames(sources[planned.file], header, READ_FRAMES, folded.num_dmpls):
        stop = outputs_within(first + len(frames), header.num_frames, *rates)
        if stop > start:
            resampling = resample(header.num_frames, *rates, start, stop)
            needed = needed_frames(resampling)
            rows = needed - first
            trans = frames.trans.take(rows, axis=0)
            segment = _Segment(planned, row + start, neighbours(resampling, needed), trans)
            yield segment, PoseBlock(betas, frames.poses, frames.dmpls, rows)
        first, start = first + len(frames) - 1, stop


def _skinner(workshop: Workshop, body: BodyKind) -> Skinner:
    return _cached_skinner(workshop.folded_path(body), workshop.batch_size, workshop.device)


@lru_cache(maxsize=16)
def _cached_skinner(path: Path, batch_size: int, device: str) -> Skinner:
    """One skinner a kind of body is kept for all units of a worker; the path holds a digest of what is in the file."""
    return Skinner(folding.read(path), batch_size, device, workspace=_workspace(device))


@lru_cache(maxsize=16)
def _workspace(device: str) -> Workspace:
    """What all skinners of a device share: units are converted one at a time."""
    return Workspace()


def forget_skinners() -> None:
    """Free the memory of the skinners that this process has kept."""
    _cached_skinner.cache_clear()
    _workspace.cache_clear()

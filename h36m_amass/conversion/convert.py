"""One recording becomes joints: `convert` is a pure function, and all else here carries its input and output."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from h36m_amass.body.families import BodyKind
from h36m_amass.body.model import MissingModelError
from h36m_amass.body.regressor import MeshMismatchError
from h36m_amass.conversion.bodies import skinner_for
from h36m_amass.conversion.part import PartWriter, Positions, Row
from h36m_amass.conversion.recipe import Recipe
from h36m_amass.conversion.tasks import Job, Task, TaskResult
from h36m_amass.conversion.unpack import Unpacked
from h36m_amass.files.npz import NpzError
from h36m_amass.files.paths import is_url
from h36m_amass.files.sources import Source
from h36m_amass.recordings import rates, resampling
from h36m_amass.recordings.access import source_of
from h36m_amass.recordings.recording import AmassError, Recording, fit_betas
from h36m_amass.recordings.resampling import resampled_length
from h36m_amass.recordings.tree import RecordingFile
from h36m_amass.system import devices, signals

if TYPE_CHECKING:
    from h36m_amass.engine.run import Run
    from h36m_amass.engine.skinning import Skinner

MAX_UPSAMPLING = 100
BLOCK_FRAMES = 65536
"""Frames of a long recording that are held before they are written."""
REQUESTS = 4
"""Recordings at URLs that are fetched while those before them are converted."""

_one_at_a_time = Lock()
"""In one process one task is converted at a time, whatever the executor: the skinners' buffers are shared."""


def convert(
    recording: Recording, skinner: Skinner, joint_counts: tuple[int, ...], recipe: Recipe
) -> Iterator[Positions]:
    """Joints of a recording at the target frame rate, in blocks, in float32 metres of AMASS's world frame.

    The result depends on the recording, the folded body, the batch size, the frame rate and the kind of device alone.
    The skinner has the joints of each joint set, `joint_counts`, one set behind the other. Raises `AmassError` if the
    recording is damaged; blocks before the damage may have been yielded already.

    The first run is read and begun at once, so that a GPU computes it while another recording is written.
    """
    from h36m_amass.engine.runs import pose_runs

    betas = fit_betas(recording.header.betas, skinner.folded.num_betas)
    return _blocks(pose_runs(skinner, betas, _runs(recording, skinner, recipe), joint_counts))


def _blocks(runs: Iterable[Positions]) -> Iterator[Positions]:
    block: list[Positions] = []
    for positions in runs:
        block.append(positions)
        if sum(len(positions[0]) for positions in block) >= BLOCK_FRAMES:
            yield _joined(block)
            block = []
        signals.check()
    if block:
        yield _joined(block)


def _runs(recording: Recording, skinner: Skinner, recipe: Recipe) -> Iterator[Run]:
    """Runs of source frames, and which output frames come of each."""
    from h36m_amass.engine.run import Run

    header = recording.header
    rates = header.frame_rate, recipe.frame_rate or header.frame_rate
    first = start = 0
    # A run begins with the last frame of the one before, and what it gives should not grow with the target frame rate.
    num_frames = max(1, (recipe.batch_size - 1) // -(-rates[1] // rates[0]))
    for frames in recording.frames(num_frames, skinner.folded.num_dmpls):
        stop = resampling.outputs_within(first + len(frames), header.num_frames, *rates)
        if stop > start:
            outputs = resampling.resample(header.num_frames, *rates, start, stop)
            needed = resampling.needed_frames(outputs)
            between = resampling.neighbours(outputs, needed)
            yield Run(frames.poses, frames.trans, frames.dmpls, needed - first, between)
        first, start = first + len(frames) - 1, stop


def _joined(blocks: list[Positions]) -> Positions:
    return blocks[0] if len(blocks) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*blocks, strict=True))


def why_not(num_frames: int, source: Fraction, recipe: Recipe) -> str | None:
    """Why a recording of `num_frames` frames at the frame rate `source` is skipped; None if it is not."""
    target = recipe.frame_rate
    if num_frames > recipe.max_frames:
        return f"has {num_frames} frames, more than {recipe.max_frames}; if that is right, raise --max-frames"
    if target is None:
        return None
    if source < target and not recipe.upsample:
        return f"is at {_hertz(source)}, slower than {_hertz(target)}; to interpolate frames, use --upsample"
    if target > MAX_UPSAMPLING * source:
        return f"is at {_hertz(source)}, too slow for {_hertz(target)} even with --upsample"
    if resampled_length(num_frames, source, target) == 0:
        return f"is too short: {num_frames} frames at {_hertz(source)} give none at {_hertz(target)}"
    return None


def convert_task(job: Job, task: Task, device: str | None = None) -> TaskResult:
    """Convert the recordings of a task into parts, on `device` or else the first of the job's.

    Raises `BodyModelError` or `RegressorError` if a body model is missing or wrong, `UrlError` if a URL cannot be
    reached, `DeviceError` if a GPU has too little memory or fails, and `OSError` if a part cannot be written.
    """
    from h36m_amass.engine.precision import reproducible

    device = devices.resolve_device(device or job.devices[0])  # on this machine, which may be another one
    with (
        _one_at_a_time,
        reproducible(),
        devices.explained(device),
        PartWriter(job.parts_dir, job.recipe.digest) as parts,
    ):
        worker = _Worker(job, device, parts)
        unpacked = None if task.archive is None else Unpacked(job, task.archive)
        for batch in unpacked.batches() if unpacked else ():
            worker.convert(batch.files)
            batch.remove_scratch()
        worker.convert(task.files)
        parts.finish()
        listing = None if unpacked is None else unpacked.listing
        return TaskResult(tuple(parts.finished), tuple(worker.skipped), tuple(worker.not_selected), listing)


@dataclass(frozen=True)
class _Begun:
    """A recording whose conversion has begun."""

    file: RecordingFile
    recording: Recording
    row: Row
    blocks: Iterator[Positions]


class _Worker:
    """Converts recordings one by one into parts, and notes those that it skips."""

    def __init__(self, job: Job, device: str, parts: PartWriter) -> None:
        self._job, self._device, self._parts = job, device, parts
        self.skipped: list[tuple[str, str]] = []
        self.not_selected: list[tuple[str, str]] = []

    def convert(self, files: Iterable[RecordingFile]) -> None:
        """Begin each recording before the one before it is written: a GPU computes meanwhile."""
        before: _Begun | None = None
        try:
            for file, read in _sources(self._job, files):
                signals.check()
                begun = self._begin(file, read)
                if begun is not None:
                    before, last = begun, before
                    self._write(last)
            self._write(before)
        finally:
            if before is not None:
                before.recording.close()

    def _begin(self, file: RecordingFile, read: Callable[[], Source]) -> _Begun | None:
        """Open a recording and begin to convert it, unless it is skipped or not selected."""
        with self._skipping(file), ExitStack() as stack:
            rate = self._job.recipe.rates.frame_rate(file.dataset, file.subject, file.sequence)
            recording = stack.enter_context(Recording(read(), self._job.recipe.use_dmpls, rate))
            filtered_by = self._job.subset.missed_by_length(recording.header.num_frames, recording.header.frame_rate)
            if filtered_by is None:
                row, blocks = self._converted(file, recording)
                stack.pop_all()
                return _Begun(file, recording, row, blocks)
            self.not_selected.append((file.path, filtered_by))
        return None

    def _write(self, begun: _Begun | None) -> None:
        """Write what a recording gives, and close it."""
        if begun is not None:
            with self._skipping(begun.file), begun.recording as recording:
                self._parts.write(begun.row, begun.blocks, recording.warnings)

    @contextmanager
    def _skipping(self, file: RecordingFile) -> Iterator[None]:
        """Note a recording as skipped if it fails."""
        try:
            yield
        except (AmassError, NpzError) as error:
            self.skipped.append((file.path, str(error)))
        except (MissingModelError, MeshMismatchError) as error:
            if not self._job.skip_missing:
                error.add_note("--skip-missing skips such recordings")
                raise
            self.skipped.append((file.path, f"cannot be converted: {error}"))

    def _converted(self, file: RecordingFile, recording: Recording) -> tuple[Row, Iterator[Positions]]:
        header, recipe = recording.header, self._job.recipe
        if (reason := why_not(header.num_frames, header.frame_rate, recipe)) is not None:
            raise AmassError(reason + rates.hint(file.dataset, file.subject, file.sequence, header.frame_rate))
        frame_rate = recipe.frame_rate or header.frame_rate
        length = resampled_length(header.num_frames, header.frame_rate, frame_rate)
        kind = BodyKind(header.model, header.gender, header.has_dmpls)
        skinner, body = skinner_for(self._job, kind, self._device)
        row = Row(
            path=file.path,
            size=file.size,
            modified=file.modified,
            length=length,
            frame_rate=float(frame_rate),
            source_frames=header.num_frames,
            source_frame_rate=float(header.frame_rate),
            recorded_frame_rate=header.recorded_frame_rate,
            model=header.model,
            gender=header.gender,
            has_dmpls=header.has_dmpls,
            content_digest=header.content_digest,
            body_sha256=body.body_sha256,
            synthetic=header.synthetic or body.synthetic,
        )
        num_betas = skinner.folded.num_betas
        if header.betas[num_betas:].any():
            recording.warn(f"of {len(header.betas)} betas the first {num_betas} are used: the body model has no more")
        return row, convert(recording, skinner, body.joint_counts, recipe)


def _sources(job: Job, files: Iterable[RecordingFile]) -> Iterator[tuple[RecordingFile, Callable[[], Source]]]:
    """Each recording with what gives its bytes; those at URLs are fetched ahead."""
    if not is_url(job.amass_dir):
        yield from ((file, partial(source_of, job.amass_dir, file)) for file in files)
        return
    coming: deque[tuple[RecordingFile, Future[Source]]] = deque()
    pool = ThreadPoolExecutor(REQUESTS)
    try:
        for file in files:
            coming.append((file, pool.submit(source_of, job.amass_dir, file)))
            if len(coming) > REQUESTS:
                before, future = coming.popleft()
                yield before, future.result
        for before, future in coming:
            yield before, future.result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def settle() -> None:
    """Prepare a process that does nothing but convert."""
    from h36m_amass.engine.precision import keep_to_one_thread

    keep_to_one_thread()
    gc.freeze()  # torch's objects would be looked through again and again


def _hertz(rate: Fraction) -> str:
    return f"{float(rate):g} Hz"

"""Convert an AMASS tree into a store: plan, parts, store.

The plan depends on the input and the options alone. Each work unit of the plan becomes a part, on whatever
worker; the parts are put together in plan order under another name, and renamed over the store. So the bytes
of a store do not depend on how many workers made it, and an existing store is whole until the new one
replaces it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch

from h36m_amass import amass, body_model, folding, regressor
from h36m_amass.conversion import (
    PartEntry,
    PlannedSequence,
    Unit,
    Workshop,
    convert_unit,
    part_entries,
    part_positions,
)
from h36m_amass.report import BuildReport, DatasetRow, LeftOut
from h36m_amass.resampling import exact_rate, resampled_length
from h36m_amass.skinning import resolve_device
from h36m_amass.store import COMPRESSIONS, StoreHeader, StoreWriter
from h36m_amass.version import __version__

UNIT_SOURCE_FRAMES = 65536
NUM_BETAS = 16
NUM_DMPLS = 8

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done and how much there is.

``"plan"`` counts recordings, ``"convert"`` source frames, ``"assemble"`` frames of the store.
"""


class BuildError(ValueError):
    """A build cannot start or cannot go on; nothing was written."""


@dataclass(frozen=True)
class Plan:
    """What a build will do.

    Attributes
    ----------
    units
        Work units, in the order in which their parts are assembled.
    left_out
        Files that will not be converted.
    ignored
        Files that are no recordings.
    """

    units: tuple[Unit, ...]
    left_out: tuple[LeftOut, ...]
    ignored: dict[str, int]

    @property
    def sequences(self) -> list[PlannedSequence]:
        return [planned for unit in self.units for planned in unit.sequences]


def build(
    amass_dir: Path | str,
    store: Path | str,
    *,
    support_dir: Path | str = "support_data",
    joint_regressor: Path | str | None = None,
    joint_names: Path | str | None = None,
    frame_rate: float | Fraction | None = 50.0,
    device: str = "auto",
    batch_size: int = 2048,
    workers: int = 1,
    executor: Executor | None = None,
    datasets: Sequence[str] = (),
    use_dmpls: bool = True,
    upsample: bool = False,
    compression: str = "none",
    overwrite: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Convert the AMASS recordings under `amass_dir` into the HDF5 store `store`.

    Parameters
    ----------
    amass_dir
        Folder with ``DATASET/[INNER/]SUBJECT/SEQUENCE.npz``.
    store
        File to write.
    support_dir
        Folder with ``body_models/`` and, unless `joint_regressor` says otherwise, ``J_regressor_h36m.npy``.
    joint_regressor
        A (K, V) regressor, see `h36m_amass.regressor.load`.
    joint_names
        Text file with K names, see `h36m_amass.regressor.load`.
    frame_rate
        In hertz; None keeps every frame and each sequence's own rate.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    batch_size
        Frames that are computed at a time.
    workers
        Processes. More than one needs the usual ``if __name__ == "__main__":`` in a script.
    executor
        Where to run the work units instead of in `workers` processes; its workers must see the same files.
    datasets
        Names of the datasets to convert; all of them if empty.
    use_dmpls
        Whether soft tissue goes into the joints, where a recording has it.
    upsample
        Whether recordings slower than `frame_rate` are converted too, instead of left out.
    compression
        ``"none"``, ``"lzf"`` or ``"gzip"``.
    overwrite
        Whether an existing `store` is replaced.
    strict
        Whether any recording that would be left out stops the build.
    progress
        Called now and then with how far the build is.

    Raises
    ------
    BuildError
        The options or the destination are no good, or nothing can be converted.
    h36m_amass.amass.AmassError, h36m_amass.body_model.BodyModelError, h36m_amass.regressor.RegressorError
        The input is missing or wrong.
    h36m_amass.skeleton.SkeletonError, h36m_amass.resampling.FrameRateError, h36m_amass.skinning.DeviceError
        The joint names, frame rate or device are.
    """
    began = time.monotonic()
    amass_dir, store, support_dir = Path(amass_dir), Path(store), Path(support_dir)
    rate = None if frame_rate is None else exact_rate(frame_rate)
    device = resolve_device(device)
    _check_options(store, batch_size, workers, compression, overwrite)
    report_progress = progress or (lambda stage, done, total: None)
    regressor_path = Path(joint_regressor or support_dir / f"{regressor.H36M_FILE_NAME}.npy")
    joints = regressor.load(regressor_path, None if joint_names is None else Path(joint_names))

    plan = make_plan(amass_dir, tuple(datasets), rate, use_dmpls, upsample, report_progress)
    if not plan.sequences:
        raise BuildError(f"{amass_dir}: no sequence can be converted; {_first_reason(plan.left_out)}")
    _check_strict(strict, plan.left_out)

    workshop = Workshop(amass_dir.absolute(), Path(f"{store}.parts").absolute(), device, batch_size)
    temporary = Path(f"{store}.tmp")
    try:
        workshop.parts_dir.mkdir(exist_ok=True)
        body_sha256, synthetic = _fold_body_models(workshop, plan, support_dir, joints, regressor_path)
        _convert_units(workshop, plan, workers, executor, report_progress)
        header = StoreHeader(
            software_version=__version__,
            frame_rate=float("nan") if rate is None else float(rate),
            regressor_sha256=joints.sha256,
            body_model_sha256=body_sha256,
            options={
                "frame_rate": None if rate is None else str(rate),
                "use_dmpls": use_dmpls,
                "upsample": upsample,
                "num_betas": NUM_BETAS,
                "num_dmpls": NUM_DMPLS if use_dmpls else 0,
                "batch_size": batch_size,
                "compression": compression,
                "datasets": sorted(set(datasets)),
            },
            synthetic=synthetic,
            skeleton=joints.skeleton,
        )
        entries = [e for unit in plan.units for e in part_entries(workshop.part_path(unit.number))]
        left_out = _all_left_out(plan, entries)
        if all(entry.left_out is not None for entry in entries):
            raise BuildError(f"{amass_dir}: no sequence could be converted; {_first_reason(left_out)}")
        _check_strict(strict, left_out)
        _assemble(workshop, plan, temporary, header, entries, compression, report_progress)
        temporary.replace(store)
        _sync(store.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)
        _remove_parts(workshop)
    return _report(store, plan, entries, left_out, synthetic, time.monotonic() - began)


def default_workers(device: str) -> int:
    """As many processes as there are cores to use, each with one torch thread; one on CUDA."""
    if resolve_device(device) != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_plan(
    amass_dir: Path,
    datasets: tuple[str, ...] = (),
    frame_rate: Fraction | None = Fraction(50),
    use_dmpls: bool = True,
    upsample: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """List the recordings, read their headers, and cut them into work units.

    A unit is a run of sequences of about `UNIT_SOURCE_FRAMES` source frames.

    Raises
    ------
    h36m_amass.amass.AmassError
        There is no recording at all.
    """
    listing = amass.find_sequences(amass_dir, datasets)
    left_out = [LeftOut(path.split("/")[0], path, reason) for path, reason in listing.misplaced]
    planned: list[PlannedSequence] = []
    for done, file in enumerate(listing.sequences):
        if progress is not None:
            progress("plan", done, len(listing.sequences))
        try:
            header = amass.read_header(amass_dir / file.path, use_dmpls)
            planned.append(_planned(file, header, frame_rate, upsample))
        except amass.AmassError as error:
            left_out.append(LeftOut(file.dataset, file.path, str(error)))
    return Plan(tuple(_units(planned)), tuple(left_out), dict(listing.ignored))


def _planned(
    file: amass.SequenceFile, header: amass.Header, frame_rate: Fraction | None, upsample: bool
) -> PlannedSequence:
    if frame_rate is None:
        return PlannedSequence(file, header, header.frame_rate, header.num_frames)
    if header.frame_rate < frame_rate and not upsample:
        raise amass.AmassError(
            f"is at {float(header.frame_rate):g} Hz, slower than {float(frame_rate):g} Hz; "
            "to interpolate frames, use --upsample"
        )
    length = resampled_length(header.num_frames, header.frame_rate, frame_rate)
    if length == 0:
        raise amass.AmassError(
            f"is too short: {header.num_frames} frames at {float(header.frame_rate):g} Hz "
            f"give none at {float(frame_rate):g} Hz"
        )
    return PlannedSequence(file, header, frame_rate, length)


def _units(planned: list[PlannedSequence]) -> Iterator[Unit]:
    number, run, frames = 0, list[PlannedSequence](), 0
    for sequence in planned:
        run.append(sequence)
        frames += sequence.header.num_frames
        if frames >= UNIT_SOURCE_FRAMES:
            yield Unit(number, tuple(run))
            number, run, frames = number + 1, [], 0
    if run:
        yield Unit(number, tuple(run))


def _check_options(store: Path, batch_size: int, workers: int, compression: str, overwrite: bool) -> None:
    if batch_size < 1:
        raise BuildError(f"batch size {batch_size} is not positive; 2048 is a good one")
    if workers < 1:
        raise BuildError(f"{workers} workers cannot work; give at least one")
    if compression not in COMPRESSIONS:
        raise BuildError(f"compression {compression!r} is unknown; choose from {', '.join(COMPRESSIONS)}")
    if not store.absolute().parent.is_dir():
        raise BuildError(f"{store}: its folder does not exist; make it first")
    if store.is_dir():
        raise BuildError(f"{store}: is a folder; give the name of a file, like {store / 'amass.h5'}")
    if store.exists() and not overwrite:
        raise BuildError(f"{store}: is already there; replace it with --overwrite, or give another name")


def _check_strict(strict: bool, left_out: Sequence[LeftOut]) -> None:
    if strict and left_out:
        raise BuildError(
            f"{left_out[0].path}: {left_out[0].reason} ({len(left_out)} left out in all, which --strict forbids)"
        )


def _first_reason(left_out: Sequence[LeftOut]) -> str:
    return f"{len(left_out)} left out, the first is {left_out[0].path}: {left_out[0].reason}"


def _fold_body_models(
    workshop: Workshop, plan: Plan, support_dir: Path, joints: regressor.JointRegressor, regressor_path: Path
) -> tuple[dict[str, str], bool]:
    """Fold the body models of the genders that occur, for the workers; digests, and whether anything is made up."""
    digests: dict[str, str] = {}
    headers = [planned.header for planned in plan.sequences]
    synthetic = joints.synthetic or any(header.synthetic for header in headers)
    for gender in sorted({header.gender for header in headers}):
        has_dmpls = any(header.has_dmpls for header in headers if header.gender == gender)
        body = body_model.load(support_dir, gender, NUM_BETAS, NUM_DMPLS if has_dmpls else 0)
        if 3 * body.num_bones != amass.POSE_COLUMNS:
            raise body_model.BodyModelError(
                f"{body_model.smplh_path(support_dir, gender)}: has {body.num_bones} bones, and AMASS needs the 52 "
                f"of SMPL+H, downloaded from {body_model.SMPLH_PAGE}"
            )
        regressor.check_fits(joints, body.num_vertices, regressor_path)
        workshop.folded_path(gender).write_bytes(folding.to_bytes(folding.fold(body, joints)))
        digests[gender] = body.sha256
        synthetic = synthetic or body.synthetic
    return digests, synthetic


def _convert_units(workshop: Workshop, plan: Plan, workers: int, executor: Executor | None, progress: Progress) -> None:
    total, done = sum(unit.source_frames for unit in plan.units), 0
    progress("convert", done, total)
    with contextlib.ExitStack() as stack:
        if executor is None:
            executor = stack.enter_context(_local_executor(min(workers, len(plan.units))))
        waiting = iter(plan.units)
        running: dict[Future[int], Unit] = {}
        try:
            while True:
                # A few units ahead of the workers, so that a long plan is not held in queues.
                while len(running) < 2 * workers + 2 and (unit := next(waiting, None)) is not None:
                    running[executor.submit(convert_unit, workshop, unit)] = unit
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    done += running.pop(future).source_frames
                    progress("convert", done, total)
        except BrokenProcessPool as error:
            raise BuildError("a worker process died, perhaps for want of memory; use fewer --workers") from error
        finally:
            for future in running:
                future.cancel()
            wait(running)


@contextmanager
def _local_executor(workers: int) -> Iterator[Executor]:
    """Workers with one torch thread each, because a unit must give the same bytes however many there are."""
    if workers > 1:
        # Spawned, not forked: torch's threads and CUDA do not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, initializer=torch.set_num_threads, initargs=(1,)) as processes:
            yield processes
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as thread:
            yield thread
    finally:
        torch.set_num_threads(threads)


def _assemble(
    workshop: Workshop,
    plan: Plan,
    temporary: Path,
    header: StoreHeader,
    entries: list[PartEntry],
    compression: str,
    progress: Progress,
) -> None:
    """Copy the parts in plan order into `temporary`, whole and on the disk when this returns."""
    records = [entry.record for entry in entries if entry.left_out is None]
    total, done = sum(record.length for record in records), 0
    writer = StoreWriter(temporary, header, total, compression)
    try:
        for unit in plan.units:
            for positions in part_positions(workshop.part_path(unit.number)):
                writer.append(positions)
                done += len(positions)
                progress("assemble", done, total)
        writer.finish(records)
    finally:
        writer.close()
    _sync(temporary)


def _all_left_out(plan: Plan, entries: list[PartEntry]) -> tuple[LeftOut, ...]:
    late = [
        LeftOut(entry.record.dataset, entry.record.source_path, entry.left_out)
        for entry in entries
        if entry.left_out is not None
    ]
    return tuple(sorted((*plan.left_out, *late), key=lambda left: left.path))


def _report(
    store: Path,
    plan: Plan,
    entries: list[PartEntry],
    left_out: tuple[LeftOut, ...],
    synthetic: bool,
    seconds: float,
) -> BuildReport:
    records = [entry.record for entry in entries if entry.left_out is None]
    rows = []
    for dataset in sorted({record.dataset for record in records} | {left.dataset for left in left_out}):
        own = [record for record in records if record.dataset == dataset]
        rows.append(
            DatasetRow(
                dataset=dataset,
                subjects=len({record.subject for record in own}),
                sequences=len(own),
                source_frames=sum(record.source_frames for record in own),
                frames=sum(record.length for record in own),
                without_dmpls=sum(not record.has_dmpls for record in own),
                left_out=sum(left.dataset == dataset for left in left_out),
            )
        )
    without_dmpls = tuple(record.source_path for record in records if not record.has_dmpls)
    return BuildReport(str(store), tuple(rows), left_out, plan.ignored, without_dmpls, synthetic, seconds)


def _remove_parts(workshop: Workshop) -> None:
    """Remove what this build put under ``STORE.parts``, and the folder if nothing else is in it."""
    for pattern in ("*.part", "*.tmp", "folded-*.npz"):
        for path in workshop.parts_dir.glob(pattern):
            path.unlink()
    with contextlib.suppress(OSError):
        workshop.parts_dir.rmdir()


def _sync(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

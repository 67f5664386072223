"""Convert an AMASS tree into a store: plan, parts, store.

The plan depends on the input and the options alone. Each work unit of the plan becomes a part, on whatever
worker; the parts are put together in plan order under another name, and renamed over the store. So the bytes
of a store do not depend on how many workers made it, and an existing store is whole until the new one
replaces it.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from multiprocessing import forkserver
from pathlib import Path

from h36m_amass import body_model, folding, interrupts, regressor
from h36m_amass.amass import Listing, find_sequences
from h36m_amass.assembly import Assembly, sync
from h36m_amass.conversion import PartEntry, Workshop, convert_unit, forget_skinners, start_worker
from h36m_amass.planning import Plan, Progress, Unit, make_plan
from h36m_amass.report import BuildReport, DatasetRow, LeftOut
from h36m_amass.resampling import exact_rate
from h36m_amass.skinning import resolve_device
from h36m_amass.store_format import COMPRESSIONS, SequenceRecord, StoreHeader
from h36m_amass.version import __version__

NUM_BETAS = 16
NUM_DMPLS = 8
MAX_BATCH_SIZE = 65536
MAX_UNITS_AHEAD = 64
BYTES_WORTH_A_WORKER = 2**26
"""A process takes about as long to start as to convert these."""
# Workers are never forks of this process: torch's threads and CUDA do not survive that.
_START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class BuildError(ValueError):
    """A build cannot start or cannot go on; nothing was written."""


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
    workers: int | None = 1,
    executor: Executor | None = None,
    datasets: Sequence[str] = (),
    use_dmpls: bool = True,
    upsample: bool = False,
    compression: str = "none",
    overwrite: bool = False,
    strict: bool = False,
    report_file: Path | str | None = None,
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
        Processes; None for one a core, or fewer where the recordings are small enough to be done before more have
        started. More than one needs the usual ``if __name__ == "__main__":`` in a script.
    executor
        Where to run the work units instead of in `workers` processes; its workers must see the same files. Threads
        of one process take turns.
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
    report_file
        Where to write the report as JSON, too.
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
    _check_options(store, batch_size, workers, compression, overwrite, report_file)
    report_progress = progress or (lambda stage, done, total: None)
    regressor_path = Path(joint_regressor or support_dir / f"{regressor.H36M_FILE_NAME}.npy")
    joints = regressor.load(regressor_path, None if joint_names is None else Path(joint_names))

    listing = find_sequences(amass_dir, tuple(datasets))
    parts_dir, temporary = Path(f"{store}.parts").absolute(), Path(f"{store}.tmp")
    own_executor: Executor | None = None
    units_ahead = MAX_UNITS_AHEAD
    try:
        processes = 0 if executor is not None else _useful_workers(workers, listing, device)
        if processes > 1:
            _prepare_processes()  # before the plan, so that torch is imported meanwhile
        plan = make_plan(amass_dir, listing, rate, use_dmpls, upsample, report_progress)
        if not plan.sequences:
            raise BuildError(f"{amass_dir}: no sequence can be converted; {_first_reason(plan.left_out)}")
        _check_strict(strict, plan.left_out)
        parts_dir.mkdir(exist_ok=True)
        folded, body_sha256, synthetic = _fold_body_models(parts_dir, plan, support_dir, joints, regressor_path)
        workshop = Workshop(amass_dir.absolute(), parts_dir, folded, device, batch_size)
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
        if executor is None:
            processes = min(processes, len(plan.units))
            executor = own_executor = _local_executor(processes)
            # One process does one thing at a time: its threads would only fight for the interpreter.
            units_ahead = 1 if processes == 1 else MAX_UNITS_AHEAD
        units_done = _convert_units(workshop, plan, executor, units_ahead, report_progress)
        with Assembly(workshop, temporary, header, compression) as assembly, contextlib.closing(units_done):
            for number in units_done:
                assembly.add(number)
            if own_executor is not None:
                own_executor.shutdown(wait=False)  # processes take a while to end
            left_out = _all_left_out(plan, assembly.entries)
            if not any(entry.converted for entry in assembly.entries):
                raise BuildError(f"{amass_dir}: no sequence could be converted; {_first_reason(left_out)}")
            _check_strict(strict, left_out)
            report_progress("assemble", 0, assembly.num_frames)
            assembly.finish()
            report_progress("assemble", assembly.num_frames, assembly.num_frames)
        temporary.replace(store)
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder; the store is in place all the same
            sync(store.absolute().parent)
    finally:
        if own_executor is not None:
            own_executor.shutdown(cancel_futures=True)
        temporary.unlink(missing_ok=True)
        _remove_parts(parts_dir)
        forget_skinners()
    converted = [entry.record for entry in assembly.entries if entry.converted]
    report = BuildReport(
        store=str(store),
        datasets=_dataset_rows(converted, left_out),
        left_out=left_out,
        ignored=plan.ignored,
        use_dmpls=use_dmpls,
        without_dmpls=tuple(r.source_path for r in converted if use_dmpls and not r.has_dmpls),
        synthetic=synthetic,
        device=device,
        seconds=time.monotonic() - began,
    )
    if report_file is not None:
        Path(report_file).write_text(report.to_json(), encoding="utf-8")
    return report


def _check_options(
    store: Path, batch_size: int, workers: int | None, compression: str, overwrite: bool, report_file: Path | str | None
) -> None:
    if not 1 <= batch_size <= MAX_BATCH_SIZE:
        raise BuildError(f"batch size {batch_size} is not from 1 to {MAX_BATCH_SIZE}; 2048 is a good one")
    if workers is not None and workers < 1:
        raise BuildError(f"{workers} workers cannot work; give at least one")
    if compression not in COMPRESSIONS:
        raise BuildError(f"compression {compression!r} is unknown; choose from {', '.join(COMPRESSIONS)}")
    if not store.absolute().parent.is_dir():
        raise BuildError(f"{store}: its folder does not exist; make it first")
    if store.is_dir():
        raise BuildError(f"{store}: is a folder; give the name of a file, like {store / 'amass.h5'}")
    if store.exists() and not overwrite:
        raise BuildError(f"{store}: is already there; replace it with --overwrite, or give another name")
    if report_file is not None and (Path(report_file).is_dir() or not Path(report_file).absolute().parent.is_dir()):
        raise BuildError(f"{report_file}: is not a file that can be made; give a file in a folder that exists")
    if report_file is not None and Path(report_file).resolve() == store.resolve():
        raise BuildError(f"{report_file}: is the store; give the report another name")


def _check_strict(strict: bool, left_out: Sequence[LeftOut]) -> None:
    if strict and left_out:
        raise BuildError(
            f"{left_out[0].path}: {left_out[0].reason} ({len(left_out)} left out in all, which --strict forbids)"
        )


def _first_reason(left_out: Sequence[LeftOut]) -> str:
    return f"{len(left_out)} left out, the first is {left_out[0].path}: {left_out[0].reason}"


def _fold_body_models(
    parts_dir: Path, plan: Plan, support_dir: Path, joints: regressor.JointRegressor, regressor_path: Path
) -> tuple[dict[str, str], dict[str, str], bool]:
    """Fold the body models of the genders that occur into `parts_dir`, for the workers.

    Gives the files' names and the models' digests by gender, and whether anything that goes in is made up.
    """
    names: dict[str, str] = {}
    digests: dict[str, str] = {}
    headers = [planned.header for planned in plan.sequences]
    synthetic = joints.synthetic or any(header.synthetic for header in headers)
    for gender in sorted({header.gender for header in headers}):
        has_dmpls = any(header.has_dmpls for header in headers if header.gender == gender)
        body = body_model.load(support_dir, gender, NUM_BETAS, NUM_DMPLS if has_dmpls else 0)
        body_model.check_smplh(body, body_model.smplh_path(support_dir, gender))
        regressor.check_fits(joints, body.num_vertices, regressor_path)
        content = folding.to_bytes(folding.fold(body, joints))
        names[gender] = f"folded-{gender}-{hashlib.sha256(content).hexdigest()[:16]}.npz"
        (parts_dir / names[gender]).write_bytes(content)
        digests[gender] = body.sha256
        synthetic = synthetic or body.synthetic
    return names, digests, synthetic


def _convert_units(
    workshop: Workshop, plan: Plan, executor: Executor, units_ahead: int, progress: Progress
) -> Generator[int, None, None]:
    """Convert all units, and give the number of each that is done, in whatever order they are."""
    total, done = sum(unit.source_frames for unit in plan.units), 0
    progress("convert", done, total)
    waiting = iter(plan.units)
    running: dict[Future[int], Unit] = {}
    try:
        while True:
            while len(running) < units_ahead and (unit := next(waiting, None)) is not None:
                with interrupts.held():
                    running[executor.submit(convert_unit, workshop, unit)] = unit
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield future.result()
                done += running.pop(future).source_frames
                progress("convert", done, total)
    except BrokenProcessPool as error:
        raise BuildError("a worker process died, perhaps for want of memory; use fewer --workers") from error
    finally:
        wait([future for future in running if not future.cancel()])


def _useful_workers(workers: int | None, listing: Listing, device: str) -> int:
    """How many processes to start; each computes on one thread, so that they do not exceed the cores."""
    if workers is not None:
        return min(workers, len(listing.sequences))
    if device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, sum(file.size for file in listing.sequences) // BYTES_WORTH_A_WORKER))


def _prepare_processes() -> None:
    """Start the server process that imports torch once, and whose forks the workers will be, where there is one."""
    if _START_METHOD == "forkserver":
        forkserver.set_forkserver_preload([start_worker.__module__])
        with interrupts.ignored():
            forkserver.ensure_running()


def _local_executor(workers: int) -> Executor:
    if workers == 1:
        return ThreadPoolExecutor(1)
    context = multiprocessing.get_context(_START_METHOD)
    processes = ProcessPoolExecutor(workers, context, initializer=start_worker)
    try:
        # A spawned process inherits from here that Ctrl-C is ignored, a fork of the server process has it from there.
        with interrupts.ignored() if _START_METHOD == "spawn" else interrupts.held():
            for _ in range(workers):  # each submission starts a process, until all are there
                processes.submit(os.getpid)
    except BaseException:
        processes.shutdown(cancel_futures=True)
        raise
    return processes


def _all_left_out(plan: Plan, entries: list[PartEntry]) -> tuple[LeftOut, ...]:
    late = [
        LeftOut(entry.record.dataset, entry.record.source_path, entry.left_out)
        for entry in entries
        if entry.left_out is not None
    ]
    return tuple(sorted((*plan.left_out, *late), key=lambda left: left.path))


def _dataset_rows(records: list[SequenceRecord], left_out: tuple[LeftOut, ...]) -> tuple[DatasetRow, ...]:
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
    return tuple(rows)


def _remove_parts(parts_dir: Path) -> None:
    """Remove what this build put under ``STORE.parts``, and the folder if nothing else is in it."""
    for pattern in (f"{'[0-9]' * 6}.part", f"{'[0-9]' * 6}.tmp", "folded-*.npz"):
        for path in parts_dir.glob(pattern):
            path.unlink()
    with contextlib.suppress(OSError):
        parts_dir.rmdir()

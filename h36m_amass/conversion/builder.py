"""Convert an AMASS tree into a store: list the recordings, convert each by itself, assemble, publish."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

from h36m_amass.conversion import inputs, part, pool, recipe
from h36m_amass.conversion.assembly import Assembly
from h36m_amass.conversion.feeds import ArchiveFeeds
from h36m_amass.conversion.inputs import Inputs
from h36m_amass.conversion.options import MAX_FRAMES, BuildError, BuildOptions
from h36m_amass.conversion.outcome import Outcome
from h36m_amass.conversion.pool import TASKS_AHEAD, Pool
from h36m_amass.conversion.report import BuildReport, write_report
from h36m_amass.conversion.tasks import FRAME_BYTES, Job, Task, make_tasks
from h36m_amass.conversion.update import StoredRows
from h36m_amass.errors import H36mAmassError
from h36m_amass.files import paths
from h36m_amass.files.paths import Location
from h36m_amass.recordings.subset import EVERYTHING, Subset
from h36m_amass.recordings.tree import find_recordings
from h36m_amass.store.space import store_bytes
from h36m_amass.system import atomic_file, disk, signals
from h36m_amass.system.devices import device_kind, resolve_devices, usable_cores
from h36m_amass.system.lock import locked
from h36m_amass.system.progress import Progress, Stages, nothing

_log = logging.getLogger(__name__)

ARCHIVE_GROWTH = 4  # times that AMASS's archives grow when they are unpacked, other than plain tars
MEGABYTE = 10**6
USUAL_SOURCE_RATE = 120  # hertz of most of AMASS
MAX_BONES = 55  # joints of the largest skeleton


def build(  # noqa: PLR0913 (one parameter for each option)
    amass_dir: Path | str | Location,
    store: Path | str,
    *,
    support_dir: Path | str = "support_data",
    joint_regressor: Path | str | Sequence[Path | str] | None = None,
    joint_names: Path | str | Sequence[Path | str] | None = None,
    vertex_map: Path | str | None = None,
    frame_rate: float | Fraction | None = None,
    native_rate: bool = False,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = 0,
    executor: Executor | None = None,
    dask: str | None = None,
    datasets: Sequence[str] = (),
    subset: Subset = EVERYTHING,
    use_dmpls: bool | None = None,
    upsample: bool | None = None,
    known_rates: bool | None = None,
    frame_rates: Path | str | None = None,
    compression: str | None = None,
    max_frames: int = MAX_FRAMES,
    overwrite: bool = False,
    update: bool = False,
    prune: bool = False,
    skip_missing: bool = False,
    strict: bool = False,
    report_file: Path | str | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Convert the AMASS recordings under `amass_dir` into the HDF5 store `store`.

    An existing store is whole until the new one takes its place. What an interrupted build has converted is used by
    the next one with the same options.

    Parameters
    ----------
    amass_dir
        Folder with ``DATASET/[INNER/]SUBJECT/SEQUENCE.npz``, or with archives of that, like ``DATASET.tar.bz2``; or the
        URL of one in an object store, like ``"s3://bucket/amass"``.
    store
        File to write.
    executor
        Where to convert instead of in `workers` processes; its workers must see the same files.
    progress
        Called now and then with a stage, how much of it is done, how much there is and the recording or archive that
        was read last: ``"convert"`` counts megabytes of recordings and archives.

    All other parameters are those of `h36m_amass.conversion.options.BuildOptions`.

    Raises
    ------
    BuildError
        If the options or the destination are wrong, nothing can be converted, or the report cannot be written.
    h36m_amass.errors.H36mAmassError
        If anything else is wrong that a user can mend; the subclasses stand beside what raises them.
    h36m_amass.system.signals.StopRequestedError
        If Ctrl-C or SIGTERM came; a `KeyboardInterrupt`.

    Notes
    -----
    What ends a build before its time carries a note (PEP 678) that says what is kept for the next one.
    """
    arguments = locals()
    pool.end_in_bootstrap()
    options = BuildOptions(**{option.name: arguments[option.name] for option in fields(BuildOptions)})
    began, stages = time.monotonic(), Stages(_log)
    amass_dir, store = paths.parse(amass_dir), Path(store)
    options.check_destination(store)
    target = Path(os.path.realpath(store))  # a link stays one
    parts_dir = Path(f"{target}.parts")
    with signals.stop_flag(), locked(parts_dir, store), _tidied(target, parts_dir), ExitStack() as stack:
        stored = None
        if options.update and target.is_file():
            stored = stack.enter_context(StoredRows(target, Path(support_dir)))
        workers = 0 if executor is not None or options.dask is not None else options.workers
        if workers != 0:
            pool.prepare()  # first, because asking for GPUs imports torch here, too
        devices = resolve_devices(options.device, workers)
        support_dir = Path(options.support_dir).absolute()
        pool.check_choice(options, executor, devices)
        how = recipe.load(options, stored.header if stored else None, device_kind(devices[0]), store)
        amass = amass_dir if paths.is_url(amass_dir) else Path(amass_dir).absolute()
        job = Job(amass, support_dir, parts_dir, how, options.subset, devices, options.skip_missing)
        listing = find_recordings(amass_dir, tuple(options.datasets), signals.check)
        rows = part.whole_rows(parts_dir, job.recipe.digest)
        todo = inputs.find_inputs(job, listing, rows, stored)
        stages.ended("%s: %d recordings and %d archives to convert", amass_dir, len(todo.files), len(todo.archives))
        temporary = atomic_file.unfinished(target)
        assembly = Assembly(temporary, job, stored, options)
        outcome = Outcome(job, options.strict, listing, todo, assembly, stored)
        if todo.files or todo.archives or not assembly.is_unchanged():
            needed = _needed_bytes(job, todo, stored)
            disk.require(needed, target.parent, str(store))
            with disk.guarded(needed, target.parent, str(store)), assembly:
                with _pool(job, options, executor, todo) as runner:
                    _run(job, runner, todo, outcome, progress or nothing)
                stages.ended("converted on %s", ",".join(job.devices))
                _finish(assembly, outcome, parts_dir)
                outcome.skip_mismatched()
                signals.check()
                temporary.replace(target)
                atomic_file.sync(target.parent)
        part.clear_away(parts_dir, with_parts=True)
        stages.ended("%s: finished, %d sequences", store, len(assembly.records))
    report = outcome.report(store, time.monotonic() - began)
    if options.report_file is not None:
        write_report(Path(options.report_file), report)
    return report


@contextmanager
def _pool(job: Job, options: BuildOptions, executor: Executor | None, todo: Inputs) -> Iterator[Pool]:
    """The pool that the options ask for."""
    with ExitStack() as stack:
        workers: Pool
        num_workers = options.workers or pool.useful_workers(job.devices, _unpacked_bytes(todo))
        if executor is not None:
            workers = pool.OnExecutor(executor)
        elif options.dask is not None:
            from h36m_amass.conversion.dask import dask_pool

            workers = stack.enter_context(dask_pool(options.dask, num_workers))
        elif (todo.files or todo.archives) and options.workers != 0:
            workers = pool.Processes(num_workers, job.devices)
        else:
            workers = Pool()
        stack.callback(workers.stop)
        yield workers


def _run(job: Job, workers: Pool, todo: Inputs, outcome: Outcome, progress: Progress) -> None:
    """Convert the recordings, and write as much of the store as is converted."""
    archives = [] if workers.reads_archives else todo.archives  # which this process reads
    tasks = [*(Task(archive=work) for work in todo.archives if not archives), *make_tasks(todo.files)]
    total = sum(task.size for task in tasks) + sum(work.archive.size for work in archives)
    done = 0
    feeds = ArchiveFeeds(job, archives, TASKS_AHEAD * usable_cores() + TASKS_AHEAD)
    try:
        progress("convert", 0, total // MEGABYTE)
        for task, result in pool.run(workers, job, tasks, feeds):
            outcome.add(task, result)
            if task.scratch is None and (task.archive is None or workers.reads_archives):
                done += task.size
            progress("convert", min(done + feeds.position, total) // MEGABYTE, total // MEGABYTE, task.name)
        progress("convert", total // MEGABYTE, total // MEGABYTE)
    finally:
        feeds.stop()


def _finish(assembly: Assembly, outcome: Outcome, parts_dir: Path) -> None:
    """Write the rest of the store. If there is nothing to store, no build could go on from the parts."""
    try:
        assembly.finish(outcome.why_nothing)
    except BuildError:
        if not assembly.records:
            part.clear_away(parts_dir, with_parts=True)
        raise


def _needed_bytes(job: Job, todo: Inputs, stored: StoredRows | None) -> int:
    """Room that the parts and the store take at the end, estimated from file sizes."""
    rate = job.recipe.frame_rate
    share = 1.0 if rate is None else min(1.0, float(rate / USUAL_SOURCE_RATE))
    frames = int(_unpacked_bytes(todo) // FRAME_BYTES * share)
    kept = 0 if stored is None else sum(record.length for record in stored.records)
    joints = sum(MAX_BONES if source.joints is None else source.joints.num_joints for source in job.recipe.sources)
    columns = zip(*((file.dataset, file.subject, file.sequence, file.path) for file in todo.known), strict=True)
    name_bytes = sum(max(len(name.encode()) for name in names) for names in columns)
    parts = store_bytes(frames, joints, len(todo.files), name_bytes)
    return parts + store_bytes(frames + kept, joints, len(todo.known), name_bytes)


def _unpacked_bytes(todo: Inputs) -> int:
    """Bytes of the recordings to convert, those in archives by guess."""
    archives = [work.archive for work in todo.archives]
    unpacked = sum(file.size * (1 if file.name.lower().endswith(".tar") else ARCHIVE_GROWTH) for file in archives)
    return unpacked + sum(file.size for file in todo.files)


@contextmanager
def _tidied(target: Path, parts_dir: Path) -> Iterator[None]:
    """Remove what a killed build has left, and at the end what this one has, except whole parts.

    An error that ends the build carries a note of what is kept, and how to go on.
    """
    part.clear_away(parts_dir, with_parts=False)
    try:
        yield
    except (H36mAmassError, OSError, KeyboardInterrupt) as error:
        kept = part.num_parts(parts_dir)
        if kept:
            parts = "1 converted part is" if kept == 1 else f"{kept} converted parts are"
            error.add_note(f"{parts} kept in {parts_dir}: the same command goes on from there")
        elif isinstance(error, KeyboardInterrupt):
            error.add_note("run the same command again")
        raise
    finally:
        atomic_file.unfinished(target).unlink(missing_ok=True)
        part.clear_away(parts_dir, with_parts=False)

"""Convert an AMASS tree into a store: plan, parts, store.

The plan depends on the input and the options alone. Each work unit of the plan becomes a part, on whatever
worker; the parts are put together in plan order under another name, and renamed over the store. So the bytes
of a store do not depend on how many workers made it, and an existing store is whole until the new one
replaces it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from h36m_amass.body import regressor
from h36m_amass.body.joint_sets import JointSource, load_sources, num_vertices
from h36m_amass.conversion import forkserver, publishing, reuse, shards
from h36m_amass.conversion import workers as worker_processes
from h36m_amass.conversion.assembly import Assembly
from h36m_amass.conversion.crews import Crew, ExecutorCrew
from h36m_amass.conversion.dataset_rows import dataset_rows, lacks_dmpls, write_report
from h36m_amass.conversion.fingerprints import Ingredients, part_fingerprint, unit_fingerprint
from h36m_amass.conversion.options import BuildError, check_executor, check_options, local_target
from h36m_amass.conversion.part import SUFFIX, ConvertedUnit, GivenUpUnit, Part
from h36m_amass.conversion.planning import MAX_FRAMES, Plan, Progress, Unit, log_left_out, make_plan, without_bodies
from h36m_amass.conversion.preparation import NUM_BETAS, NUM_DMPLS, FoldedBodies, fold_bodies
from h36m_amass.conversion.report import BuildReport, LeftOut
from h36m_amass.conversion.shards import Shard
from h36m_amass.conversion.workshop import Workshop, forget_skinners
from h36m_amass.datasets import canonical
from h36m_amass.files.remote import Address, check_writable, place
from h36m_amass.recordings.resampling import exact_rate
from h36m_amass.recordings.subset import EVERYTHING, Subset, told
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.store import space as store_space
from h36m_amass.store.format import JointSet, StoreHeader
from h36m_amass.store.split_writer import Split
from h36m_amass.store.store import Store
from h36m_amass.store.units import stored_units
from h36m_amass.system import atomic_file as whole_file
from h36m_amass.system import disk as space
from h36m_amass.system import signals as interrupts
from h36m_amass.system.atomic_file import sync
from h36m_amass.system.devices import resolve_devices
from h36m_amass.system.locking import locked
from h36m_amass.system.stages import Stages
from h36m_amass.version import __version__

_log = logging.getLogger(__name__)


def build(  # noqa: PLR0913 (one parameter for each option of a build)
    amass_dir: Path | str | Address,
    store: Path | str | Address,
    *,
    work_dir: Path | str | None = None,
    support_dir: Path | str = "support_data",
    joint_regressor: Path | str | Sequence[Path | str] | None = None,
    joint_names: Path | str | Sequence[Path | str] | None = None,
    vertex_map: Path | str | None = None,
    frame_rate: float | Fraction | None = 50.0,
    device: str = "auto",
    batch_size: int = 4096,
    workers: int | None = 0,
    executor: Executor | None = None,
    dask: str | None = None,
    datasets: Sequence[str] = (),
    subset: Subset = EVERYTHING,
    shard: Shard | None = None,
    use_dmpls: bool = True,
    upsample: bool = False,
    compression: str = "none",
    split_size: int | None = None,
    max_frames: int = MAX_FRAMES,
    overwrite: bool = False,
    update: bool = False,
    rehash: bool = False,
    strict: bool = False,
    report_file: Path | str | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Convert the AMASS recordings under `amass_dir` into the HDF5 store `store`.

    Parameters
    ----------
    amass_dir
        Folder with ``DATASET/[INNER/]SUBJECT/SEQUENCE.npz``, or with archives of that, ``DATASET.tar.bz2`` say; or the
        fsspec address of one, ``"s3://bucket/amass"`` say, from which recordings are streamed.
    store
        File to write, or the fsspec address of one: it is then made in `work_dir` and copied there when it is whole.
    work_dir
        Folder for the parts and the unfinished store of one at an address, which are named after it; None for the
        current one. A store on a disk has them beside it.
    support_dir
        Folder with ``body_models/`` and, unless `joint_regressor` says otherwise, ``J_regressor_h36m.npy``.
    joint_regressor
        A (K, V) regressor, see `h36m_amass.body.regressor.load`, or ``"skeleton"`` for the body model's own joints; or
        several of them, each a joint set of the store, as `h36m_amass.body.joint_sets.load_sources` takes them.
    joint_names
        Text file with K names, see `h36m_amass.body.regressor.load`; ``NAME=FILE`` where there are several joint sets.
    vertex_map
        A (V, V') map for body models of V' vertices, where the regressor is for V, see
        `h36m_amass.body.regressor.load_map`. Without one, recordings of such models are left out.
    frame_rate
        In hertz; None keeps every frame and each sequence's own rate.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; or several GPUs, ``"cuda:0,cuda:1"`` or ``"cuda:all"``, one
        process each. Units go to whichever is free.
    batch_size
        Frames that are computed at a time.
    workers
        Processes beside this one, which plans and assembles then; 0 to compute in this one; None for one a core, or
        fewer where the recordings are small enough to be done before more have started. Processes need the usual
        ``if __name__ == "__main__":`` in a script.
    executor
        Where to run the work units instead of in `workers` processes; its workers must see the same files, those in
        `work_dir` too for a store at an address. Threads of one process take turns. Units that it loses are given to
        it again.
    dask
        Address of a Dask scheduler, whose workers run the units, under the same conditions; or ``"local"`` for one of
        `workers` processes of this machine, as many as None starts if that is 0. Needs the extra ``dask``.
    datasets
        Names of the datasets to convert, see `h36m_amass.datasets.choose`; all of them if empty.
    subset
        Which of their recordings to convert, and how many: by name, by length or the first few, for trying out. The
        others are counted in the report. With `update`, too, the store has these and no others.
    shard
        Convert only this share of what the build would, into parts beside `store`, which is not touched, so that
        several machines can work at the same time. The same build without `shard` then puts the store together, and
        converts what is missing. `overwrite` and `update` are to be given as there.
    use_dmpls
        Whether soft tissue goes into the joints, where a recording has it.
    upsample
        Whether recordings slower than `frame_rate` are converted too, instead of left out.
    compression
        ``"none"``, ``"lzf"`` or ``"gzip"``.
    split_size
        Bytes of positions, before compression, after which the store goes on in another file, with the next sequence.
        `store` is a small index then, and the files lie beside it. None for one file.
    max_frames
        Of a recording; a longer one is left out.
    overwrite
        Whether an existing `store` is replaced.
    update
        The same, but what is unchanged since it was built is taken over from it. What an interrupted build has
        converted is always used again.
    rehash
        Whether recordings whose joints are used again are read to their ends, and compared with the checksums that
        they carry. Otherwise their sizes, directories and, for an interrupted build, times of change have to do.
    strict
        Whether any recording that would be left out stops the build, before `store` is replaced.
    report_file
        Where to write the report as JSON, too.
    progress
        Called now and then with how far the build is.

    Raises
    ------
    BuildError
        The options or the destination are no good, nothing can be converted, or the report cannot be written.
    h36m_amass.files.remote.RemoteError
        An address cannot be reached or written to.
    h36m_amass.system.locking.LockedError
        Another process is building `store`.
    h36m_amass.system.disk.SpaceError
        The disk has too little room.
    h36m_amass.conversion.crews.WorkerError
        There are no workers to be had, no Dask, or the workers do not see the files.
    h36m_amass.store.rows.StoreError
        The store to be updated is damaged.
    h36m_amass.recordings.recording.AmassError, h36m_amass.body.model.BodyModelError
        The input is missing or wrong. A body model (not its DMPLs) that is missing, or that the regressor does not
        fit, ends a build only if nothing else can be converted; otherwise its recordings are left out.
    h36m_amass.body.joint_sets.JointSetError, h36m_amass.recordings.resampling.FrameRateError,
    h36m_amass.system.devices.DeviceError
        The joint sets, joint names, frame rate or device are.

    Notes
    -----
    What ends a build before its time, Ctrl-C too, carries a note (PEP 678) that says what is kept for the next one.
    """
    began, stages = time.monotonic(), Stages(_log)
    amass_dir, store, support_dir = place(amass_dir), place(store), Path(support_dir)
    rate = None if frame_rate is None else exact_rate(frame_rate)
    devices = resolve_devices(device)
    device = ",".join(devices)
    check_options(store, batch_size, workers, compression, split_size, max_frames, overwrite or update, report_file)
    check_executor(workers, executor, dask, devices)
    sources = load_sources(joint_regressor, joint_names, support_dir)
    loaded_map = None if vertex_map is None else regressor.load_map(Path(vertex_map), num_vertices(sources))

    target = local_target(store, work_dir)
    destination = store if isinstance(store, Address) else target
    parts_dir, temporary = Path(f"{target}.parts"), whole_file.unfinished(target)
    with (
        interrupts.answered_once() as go_on,
        locked(parts_dir, target if isinstance(store, Address) else store, shard.label if shard else ""),
        _tidied(target, destination, parts_dir, shard),
        _kept_parts_told(parts_dir),
        contextlib.ExitStack() as stack,
    ):

        def report_progress(stage: str, done: int, total: int) -> None:
            go_on()
            if progress is not None:
                progress(stage, done, total)

        if isinstance(store, Address) and shard is None:
            check_writable(store)
        stored = stored_units(stack.enter_context(Store(destination))) if update and destination.is_file() else {}
        listing = find_sequences(amass_dir, tuple(datasets), use_dmpls, report_progress)
        stages.ended("%s: found %d recordings", amass_dir, len(listing.sequences))
        likely = replace(listing, sequences=subset.foreseen(listing.sequences))
        elsewhere: Crew | None = None if executor is None else ExecutorCrew(executor)
        wanted = workers or None if dask is not None else workers
        processes = 0 if elsewhere is not None else worker_processes.useful_workers(wanted, likely, devices)
        if dask is not None:
            from h36m_amass.conversion.dask import dask_crew

            elsewhere, processes = stack.enter_context(dask_crew(dask, processes or 1)), 0
        if processes:
            forkserver.prepare()  # before the plan, so that torch is imported meanwhile
        plan = make_plan(
            amass_dir, listing, rate, use_dmpls, upsample, max_frames, report_progress, subset, processes - 1
        )
        stages.ended("planned %d recordings in %d work units", len(plan.sequences), len(plan.units))
        if not plan.sequences:
            raise BuildError(f"{amass_dir}: {_why_nothing(plan)}")
        _check_strict(strict, plan.left_out)
        bodies = fold_bodies(plan, support_dir, sources, loaded_map, report_progress)
        plan = _convertible(plan, bodies)
        _check_strict(strict, plan.left_out)
        stages.ended("folded %d kinds of body", len(bodies.contents))
        options = {
            "frame_rate": None if rate is None else str(rate),
            "use_dmpls": use_dmpls,
            "upsample": upsample,
            "num_betas": NUM_BETAS,
            "num_dmpls": NUM_DMPLS if use_dmpls else 0,
            "batch_size": batch_size,
            "compression": compression,
            "datasets": sorted({canonical(name) for name in datasets}),
            **asdict(subset),
            "vertex_map_sha256": None if loaded_map is None else loaded_map.sha256,
            **({} if split_size is None else {"split_size": split_size}),
        }
        header = _header(rate, options, sources, bodies, plan)
        joint_counts = tuple(map(len, bodies.skeletons))
        digests = tuple(source.digest for source in sources)
        ingredients = Ingredients(digests, bodies.sha256, NUM_BETAS, NUM_DMPLS, batch_size, devices[0])
        fingerprints = [unit_fingerprint(unit, ingredients) for unit in plan.units]
        part_names = [part_fingerprint(unit, own) for unit, own in zip(plan.units, fingerprints, strict=True)]
        share = shards.share(plan.units, shard) if shard else plan.units
        there = reuse.converted_units(
            amass_dir, share, parts_dir, part_names, stored, fingerprints, rehash, report_progress
        )
        stages.ended("found %d work units converted already", len(there))
        missing = {part_names[unit.number]: unit for unit in share if unit.number not in there}
        awaited = missing
        if shard is not None:  # the parts of all shards and the store need room together
            awaited = _without_part(plan, parts_dir, part_names, stored, fingerprints) | missing
        needed = bodies.num_bytes + _needed_bytes(plan, awaited, sum(joint_counts), split_size)
        space.require(needed, target.parent, str(store))
        with space.guarded(needed, target.parent, str(store)):
            sync(parts_dir.parent)  # what is in a folder is lost with its name
            # Process numbers are those of one machine; a shard's label is locked on all of them.
            names = bodies.write(parts_dir, f"-{shard.label}" if shard else "")
            flag = f"{reuse.FLAG_PREFIX}{shard.label if shard else os.getpid()}"
            workshop = Workshop(
                amass_dir.absolute(), parts_dir.absolute(), names, joint_counts, devices[0], batch_size, flag
            )

            given_up: dict[int, GivenUpUnit] = {}

            def converted(number: int) -> ConvertedUnit:
                name = part_names[number]
                return there.get(number) or given_up.get(number) or Part(workshop.part_path(name), name)

            def convert(then: Callable[[int], None]) -> None:
                ended = worker_processes.convert_units(
                    workshop, missing, elsewhere, devices, processes, report_progress
                )
                with contextlib.closing(ended):
                    for number, given in ended:
                        if given is not None:
                            given_up[number] = given
                        then(number)
                where = f"processes: {processes}"
                if elsewhere is not None:
                    where = "an executor" if dask is None else f"Dask: {dask}"
                stages.ended("converted %d work units on %s, %s", len(missing), device, where)

            if shard is not None:
                convert(lambda _: None)  # each is a part by then, and on the disk
                units = [converted(unit.number) for unit in share]
                records = [placed.record for unit in units for placed in unit.sequences]
                left_out = _by_path(left for unit in units for left in unit.left_out)
                for left in left_out:
                    log_left_out(left)
                _check_strict(strict, left_out)
            else:
                split = None if split_size is None else Split(target, split_size, partial(publishing.data_path, target))
                with Assembly(temporary, fingerprints, converted, there, header, compression, split) as assembly:
                    convert(assembly.add)
                    assembly.copy()
                    records, left_out = assembly.records, _by_path((*plan.left_out, *assembly.left_out))
                    if not records:
                        reuse.clear_away(parts_dir, with_parts=True)
                        raise BuildError(f"{amass_dir}: no sequence could be converted; {_first_reason(left_out)}")
                    _check_strict(strict, left_out)
                    report_progress("assemble", 0, assembly.num_frames)
                    assembly.finish()
                    report_progress("assemble", assembly.num_frames, assembly.num_frames)
                if isinstance(destination, Address):
                    # Told from another thread, in which nothing may be raised.
                    told = partial(_tell_upload, progress or (lambda stage, done, total: None))
                    publishing.upload(temporary, target, destination, parts_dir, told)
                else:
                    publishing.put_in_place(temporary, target, parts_dir)
        if shard is None:
            reuse.clear_away(parts_dir, with_parts=True)
        stages.ended("%s: finished, %d sequences", store, len(records))
    report = BuildReport(
        store=str(store),
        datasets=dataset_rows(records, left_out),
        left_out=left_out,
        # Those of all shards are of different recordings: what none of them reads is told at the end.
        ignored={} if shard else plan.ignored,
        not_selected={} if shard else plan.not_selected,
        use_dmpls=use_dmpls,
        without_dmpls=tuple(record.source_path for record in records if use_dmpls and lacks_dmpls(record)),
        reused=sum(len(unit.sequences) for unit in there.values()),
        synthetic=header.synthetic,
        device=device,
        seconds=time.monotonic() - began,
        shard=str(shard) if shard else None,
    )
    if report_file is not None:
        write_report(Path(report_file), report)
    return report


def _convertible(plan: Plan, bodies: FoldedBodies) -> Plan:
    """The plan without the recordings that there is no body for."""
    if not bodies.contents:
        raise next(iter(bodies.missing.values()))
    reasons = {kind: f"cannot be converted: {error}" for kind, error in bodies.missing.items()}
    return without_bodies(plan, reasons) if reasons else plan


def _tell_upload(progress: Progress, done: int, size: int) -> None:
    progress("upload", done // 10**6, size // 10**6)


def _by_path(left_out: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    return tuple(sorted(left_out, key=lambda left: left.path))


def _header(
    rate: Fraction | None,
    options: Mapping[str, object],
    sources: Sequence[JointSource],
    bodies: FoldedBodies,
    plan: Plan,
) -> StoreHeader:
    recordings = (planned.header for planned in plan.sequences)
    return StoreHeader(
        software_version=__version__,
        frame_rate=float("nan") if rate is None else float(rate),
        body_model_sha256=bodies.by_model,
        options=options,
        synthetic=bodies.synthetic or any(recording.synthetic for recording in recordings),
        joint_sets=tuple(
            JointSet(source.name, source.digest, skeleton)
            for source, skeleton in zip(sources, bodies.skeletons, strict=True)
        ),
    )


@contextlib.contextmanager
def _tidied(target: Path, destination: Path | Address, parts_dir: Path, shard: Shard | None) -> Iterator[None]:
    """Clear away what a killed build has left, and at the end what this one has, but for finished parts.

    A shard clears away its own: others may be at work beside it.
    """

    def clear() -> None:
        if shard is not None:
            reuse.clear_shard(parts_dir, shard.label)
            return
        whole_file.unfinished(target).unlink(missing_ok=True)
        reuse.clear_away(parts_dir, with_parts=False)
        publishing.clear_away(target, destination, parts_dir)

    clear()
    try:
        yield
    finally:
        forget_skinners()
        clear()


@contextlib.contextmanager
def _kept_parts_told(parts_dir: Path) -> Iterator[None]:
    """Let whatever ends the build carry a note of what is kept, and how to go on."""
    try:
        yield
    except (ValueError, OSError, KeyboardInterrupt) as error:
        kept = reuse.kept_parts(parts_dir)
        if kept:
            count = f"{kept} converted part{'s are' if kept > 1 else ' is'}"
            error.add_note(f"{count} kept in {parts_dir}: the same command goes on from there")
        raise


def _without_part(
    plan: Plan,
    parts_dir: Path,
    part_names: Sequence[str],
    stored: Mapping[str, ConvertedUnit],
    fingerprints: Sequence[str],
) -> dict[str, Unit]:
    """The units of which there is no part yet, whosever they are: their parts and the store need room together."""
    there = {path.stem for path in parts_dir.glob(f"*{SUFFIX}")}
    return {
        part_names[unit.number]: unit
        for unit in plan.units
        if part_names[unit.number] not in there and fingerprints[unit.number] not in stored
    }


def _needed_bytes(plan: Plan, missing: Mapping[str, Unit], num_joints: int, split_size: int | None) -> int:
    """Room that a build takes at its end, when the parts are still there and the old store too."""
    sequences = plan.sequences
    columns = zip(*(vars(planned.record(0)).values() for planned in sequences), strict=True)
    name_bytes = sum(max(len(str(value).encode()) for value in column) for column in columns)
    parts = sum(
        store_space.store_bytes(unit.frames, num_joints, len(unit.sequences), name_bytes) for unit in missing.values()
    )
    frames = sum(s.length for s in sequences)
    files = (
        0 if split_size is None else store_space.num_data_files(frames * num_joints * 12, split_size, len(sequences))
    )
    return parts + store_space.split_store_bytes(files, frames, num_joints, len(sequences), name_bytes)


def _check_strict(strict: bool, left_out: Sequence[LeftOut]) -> None:
    if strict and left_out:
        raise BuildError(
            f"{left_out[0].path}: {left_out[0].reason} ({len(left_out)} left out in all, which --strict forbids)"
        )


def _why_nothing(plan: Plan) -> str:
    selected = f"; not selected are {told(plan.not_selected)}" if plan.not_selected else ""
    if not plan.left_out:
        return f"no recording is selected{selected}; choose others"
    return f"no sequence can be converted; {_first_reason(plan.left_out)}{selected}"


def _first_reason(left_out: Sequence[LeftOut]) -> str:
    return f"{len(left_out)} left out, the first is {left_out[0].path}: {left_out[0].reason}"

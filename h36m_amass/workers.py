"""Where work units run: in this process, in local processes, or wherever an executor takes them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from h36m_amass import interrupts
from h36m_amass.amass_tree import Listing
from h36m_amass.devices import usable_cores
from h36m_amass.forkserver import START_METHOD
from h36m_amass.parts import commit
from h36m_amass.planning import Progress, Unit
from h36m_amass.workshop import Workshop, convert_unit, start_worker

MAX_UNITS_AHEAD = 64
UNITS_AHEAD_HERE = 2
"""One is computed while another is brought to the disk; no more, because threads would fight for the interpreter."""
BYTES_WORTH_A_WORKER = 2**26
"""A process takes about as long to start as to convert these."""
SECONDS_FOR_A_SIGNAL = 0.3


class WorkerError(ValueError):
    """A worker process ended before its work was done."""


def useful_workers(workers: int | None, listing: Listing, device: str) -> int:
    """How many processes to start, 0 for none but this one.

    Each computes on one thread, so that they do not exceed the cores. One is better than none even for little data:
    it imports torch while this one plans and folds.
    """
    if workers is not None:
        return min(workers, len(listing.sequences))
    if device != "cpu":
        return 0
    size = sum(file.size for file in listing.sequences)
    return max(1, min(usable_cores(), size // BYTES_WORTH_A_WORKER))


def _local_executor(workers: int) -> Executor:
    """Processes, or one thread of this one."""
    if workers == 0:
        return ThreadPoolExecutor(1)
    context = multiprocessing.get_context(START_METHOD)
    processes = ProcessPoolExecutor(workers, context, initializer=start_worker)
    try:
        # A spawned process inherits from here that Ctrl-C is ignored, a fork of the server process has it from there.
        with interrupts.ignored() if START_METHOD == "spawn" else interrupts.held():
            for _ in range(workers):  # each submission starts a process, until all are there
                processes.submit(os.getpid)
    except BaseException:
        processes.shutdown(cancel_futures=True)
        raise
    return processes


def convert_units(
    workshop: Workshop, units: Mapping[str, Unit], executor: Executor | None, processes: int, progress: Progress
) -> Generator[int, None, None]:
    """Convert `units`, and give the number of each that is done, in whatever order they are.

    Parameters
    ----------
    units
        By fingerprint of their parts.
    executor
        Where they run; None for up to `processes` of this machine.
    processes
        0 for this one.

    Raises
    ------
    WorkerError
        A worker process died.
    """
    if not units:
        return
    pool = _local_executor(min(processes, len(units))) if executor is None else executor
    units_ahead = MAX_UNITS_AHEAD if executor is not None or processes else UNITS_AHEAD_HERE
    total, done = sum(unit.source_frames for unit in units.values()), 0
    waiting = iter(units.items())
    running: dict[Future[Path], tuple[str, Unit]] = {}
    workshop.start()
    try:
        progress("convert", done, total)
        while True:
            while len(running) < units_ahead and (following := next(waiting, None)) is not None:
                fingerprint, unit = following
                with interrupts.held():
                    running[pool.submit(convert_unit, workshop, unit, fingerprint)] = following
            if not running:
                break
            # What has failed comes last, so that what is done besides is kept.
            for future in sorted(wait(running, return_when=FIRST_COMPLETED).done, key=_has_failed):
                fingerprint, unit = running.pop(future)
                commit(future.result(), workshop.part_path(fingerprint))
                yield unit.number
                done += unit.source_frames
                progress("convert", done, total)
    except BrokenProcessPool as error:
        time.sleep(SECONDS_FOR_A_SIGNAL)  # what ended the worker may be about to end this process
        raise WorkerError("a worker process died, perhaps for want of memory; use fewer --workers") from error
    finally:
        workshop.stop()
        # Units give themselves up; a pool of this machine is not asked to cancel them, because one whose processes are
        # killed at that moment, by a second signal say, stumbles over what is cancelled (concurrent.futures, 3.11).
        stopped = [future for future in running if executor is None or not future.cancel()]
        for future in wait(stopped).done:
            if not _has_failed(future):
                commit(future.result(), workshop.part_path(running[future][0]))
        if executor is None:
            # Processes take a while to end, which nobody needs to wait for unless they were stopped.
            pool.shutdown(wait=bool(running), cancel_futures=True)


def _has_failed(future: Future[Path]) -> bool:
    return future.exception() is not None

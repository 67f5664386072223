"""Where work units run: in this process, in local processes, or wherever an executor takes them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import replace
from pathlib import Path

from h36m_amass.conversion.crews import Crew, NotBegunError, ProcessCrew, WorkerError, deaths_told, process_crews
from h36m_amass.conversion.part import GivenUpUnit, commit
from h36m_amass.conversion.planning import Progress, Unit
from h36m_amass.conversion.report import LeftOut
from h36m_amass.conversion.scheduling import MOST_DEATHS, Schedule
from h36m_amass.conversion.workshop import StoppedError, Workshop, convert_unit
from h36m_amass.recordings.tree import Listing
from h36m_amass.system import signals as interrupts
from h36m_amass.system.devices import usable_cores

_log = logging.getLogger(__name__)

BYTES_WORTH_A_WORKER = 2**26
"""A process takes about as long to start as to convert these."""


def useful_workers(workers: int | None, listing: Listing, devices: Sequence[str]) -> int:
    """How many processes to start, 0 for none but this one. Each of several devices has one.

    Each computes on one thread, so that they do not exceed the cores. One is better than none even for little data:
    it imports torch while this one plans and folds.
    """
    if len(devices) > 1:
        return len(devices)
    if workers is not None:
        return min(workers, len(listing.sequences))
    if devices[0] != "cpu":
        return 0
    size = sum(file.size for file in listing.sequences)
    return max(1, min(usable_cores(), size // BYTES_WORTH_A_WORKER))


def convert_units(
    workshop: Workshop,
    units: Mapping[str, Unit],
    elsewhere: Crew | None,
    devices: Sequence[str],
    processes: int,
    progress: Progress,
) -> Generator[tuple[int, GivenUpUnit | None], None, None]:
    """Convert `units`, in whatever order: give the number of each that is done, and what stands for it if it was
    given up.

    A unit whose worker is lost runs again; `h36m_amass.conversion.scheduling` says how often, and where.

    Parameters
    ----------
    units
        By fingerprint of their parts.
    elsewhere
        Where they run; None for up to `processes` of this machine.
    devices
        What processes compute on, in turn.
    processes
        0 for this one.

    Raises
    ------
    WorkerError
        There are no workers to be had, or they do not see the files.
    """
    if not units:
        return
    crews = process_crews(min(processes, len(units))) if elsewhere is None else [elsewhere]
    by_number = {unit.number: (unit, fingerprint) for fingerprint, unit in units.items()}
    workshops = [replace(workshop, device=devices[place % len(devices)]) for place in range(len(crews))]
    schedule = Schedule(by_number, [crew.place for crew in crews])
    attempts: Counter[int] = Counter()
    running: dict[Future[Path], tuple[int, int]] = {}
    total, done = sum(unit.source_frames for unit in units.values()), 0

    def hand_out() -> None:
        for place, number in schedule.hand_out():
            unit, fingerprint = by_number[number]
            attempts[number] += 1
            crews[place].make_ready()
            with interrupts.held():
                running[crews[place].submit(convert_unit, workshops[place], unit, fingerprint, attempts[number])] = (
                    place,
                    number,
                )

    def settled(future: Future[Path]) -> Iterator[tuple[int, GivenUpUnit | None]]:
        """What comes of a unit that has ended in some way."""
        if future not in running:  # it was lost together with one before it
            return
        place, number = running.pop(future)
        error = _failure(future)
        if error is None:
            schedule.finished(place, number)
            hand_out()  # before this process waits for the disk
            commit(future.result(), workshop.part_path(by_number[number][1]))
            yield number, None
            return
        deaths = deaths_told(error)
        if isinstance(error, StoppedError):
            raise WorkerError(
                f"{workshop.parts_dir}: a worker does not see this folder; choose a store, or --work-dir, on a disk "
                "that all workers see"
            ) from error
        if deaths is None:
            raise error
        _log.warning("lost a worker (%s); its work units run again", error)
        crew = crews[place]
        lost: int | None
        if isinstance(crew, ProcessCrew):
            for other in [other for other, (where, _) in running.items() if where == place]:
                del running[other]
            lost = schedule.died(place, crew.renew() and not isinstance(error, NotBegunError))
        else:
            lost = number if schedule.lost(place, number, deaths) else None
        if lost is not None:
            yield lost, _given_up(by_number[lost][0], schedule.deaths(lost), schedule.returns(lost), _remedy(crew))

    try:
        workshop.start()
        progress("convert", done, total)
        while not schedule.over:
            hand_out()
            # What has failed comes last, so that what is done besides is kept.
            for future in sorted(wait(running, return_when=FIRST_COMPLETED).done, key=_has_failed):
                for number, given_up in settled(future):
                    yield number, given_up
                    done += by_number[number][0].source_frames
                    progress("convert", done, total)
    finally:
        try:
            workshop.stop()
            # Units give themselves up; a pool of this machine is not asked to cancel them, because one whose processes
            # are killed at that moment, by a second signal say, stumbles over what is cancelled (concurrent.futures,
            # 3.11).
            stopped = [future for future in running if elsewhere is None or not future.cancel()]
            for future in wait(stopped).done:
                if not _has_failed(future):
                    commit(future.result(), workshop.part_path(by_number[running[future][1]][1]))
        finally:
            _dismiss(crews, wait=bool(running))


def _dismiss(crews: Sequence[Crew], wait: bool) -> None:
    """Let all workers go at the same time: they take a while to end, which nobody waits for but who was stopped."""
    leaving = [threading.Thread(target=crew.dismiss, args=(wait,)) for crew in crews]
    for thread in leaving:
        thread.start()
    for thread in leaving:
        thread.join()


def _remedy(crew: Crew) -> str:
    """What may help where workers die, for want of memory perhaps."""
    if isinstance(crew, ProcessCrew):
        return "use fewer --workers or GPUs"
    return "have fewer workers on each machine"


def _given_up(unit: Unit, deaths: int, returns: int, remedy: str) -> GivenUpUnit:
    others = len(unit.sequences) - 1
    at_hand = f", with {others} other recordings at hand" if others else ""
    fate = (
        f"its worker died {deaths} times"
        if deaths >= MOST_DEATHS
        else f"its workers lost it {returns} times without saying why"
    )
    reason = f"{fate}{at_hand}, perhaps for want of memory; {remedy}, or convert it apart to see why"
    return GivenUpUnit(tuple(LeftOut(own.file.dataset, own.file.path, reason) for own in unit.sequences))


def _failure(future: Future[Path]) -> BaseException | None:
    return CancelledError("it was cancelled") if future.cancelled() else future.exception()


def _has_failed(future: Future[Path]) -> bool:
    return _failure(future) is not None

"""What runs the units of a place: a thread of this process, a process, or somebody's executor."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from h36m_amass.conversion.forkserver import START_METHOD
from h36m_amass.conversion.scheduling import MOST_DEATHS, Place
from h36m_amass.conversion.workshop import start_worker
from h36m_amass.errors import H36mAmassError
from h36m_amass.system import signals as interrupts

_T = TypeVar("_T")

UNITS_AHEAD_HERE = 2
"""One is computed while another is on its way: brought to the disk, or handed over."""
UNITS_AHEAD_ELSEWHERE = 2048
"""How many workers an executor has is its own affair: two for each of a thousand."""
LOCAL_CLUSTER = "local"
"""In place of a Dask scheduler's address: one is to be started, with processes of this machine."""
SECONDS_FOR_A_SIGNAL = 0.3


class WorkerError(H36mAmassError):
    """There are no workers to do the work, or none that can."""


class NotBegunError(BrokenExecutor):
    """A worker was dead before it was given a unit."""


class Crew(Protocol):
    """What runs the units of one place.

    Attributes
    ----------
    place
        How many units it takes.
    """

    place: Place

    def make_ready(self) -> None:
        """Wait until units can be submitted; Ctrl-C and SIGTERM may stop that.

        Raises
        ------
        WorkerError
            Nobody comes.
        """
        ...

    def submit(self, call: Callable[..., _T], /, *arguments: object) -> Future[_T]:
        """Have `call` run, without waiting; if the workers are lost already, the future says so.

        Raises
        ------
        WorkerError
            They are lost for good.
        """
        ...

    def dismiss(self, wait: bool) -> None:
        """Let the workers go, and, if asked, wait until they have."""
        ...


class ThreadCrew:
    """One thread of this process, which does not die alone."""

    place = Place(UNITS_AHEAD_HERE, serial=True)

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def make_ready(self) -> None:
        """It is."""

    def submit(self, call: Callable[..., _T], /, *arguments: object) -> Future[_T]:
        return self._thread.submit(call, *arguments)

    def dismiss(self, wait: bool) -> None:
        self._thread.shutdown(wait, cancel_futures=True)


class ProcessCrew:
    """A process of its own, so that it is known which unit one that dies was at, and the others are left alone."""

    place = Place(UNITS_AHEAD_HERE, serial=True)

    def __init__(self) -> None:
        self._false_starts = 0
        self._start()

    def make_ready(self) -> None:
        """It is: what is submitted while it starts waits for it."""

    def submit(self, call: Callable[..., _T], /, *arguments: object) -> Future[_T]:
        try:
            return self._pool.submit(call, *arguments)
        except BrokenExecutor as error:
            refused: Future[_T] = Future()
            refused.set_exception(NotBegunError(str(error)))
            return refused

    def renew(self) -> bool:
        """Start a worker in place of the one that died; whether that one ever worked.

        Raises
        ------
        WorkerError
            Workers die as soon as they are started.
        """
        time.sleep(SECONDS_FOR_A_SIGNAL)  # what ended the worker may be about to end this process
        worked = self._begun.exception() is None
        self._false_starts = 0 if worked else self._false_starts + 1
        if self._false_starts == MOST_DEATHS:
            raise WorkerError("worker processes die as soon as they start, perhaps for want of memory; use --workers 0")
        self._pool.shutdown(wait=False)
        self._start()
        return worked

    def dismiss(self, wait: bool) -> None:
        self._pool.shutdown(wait, cancel_futures=True)

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context(START_METHOD), initializer=start_worker)
        try:
            # A spawned process inherits from here that Ctrl-C is ignored, a fork of the server process has it from
            # there.
            with interrupts.ignored() if START_METHOD == "spawn" else interrupts.held():
                self._begun = self._pool.submit(os.getpid)  # the first submission starts it
        except BaseException:
            self._pool.shutdown(cancel_futures=True)
            raise


class ExecutorCrew:
    """Somebody's executor, of any number of workers."""

    place = Place(UNITS_AHEAD_ELSEWHERE, serial=False)

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def make_ready(self) -> None:
        """Its workers are its own affair."""

    def submit(self, call: Callable[..., _T], /, *arguments: object) -> Future[_T]:
        try:
            return self._executor.submit(call, *arguments)
        except RuntimeError as error:  # a broken executor's error is one, too
            raise WorkerError(
                f"the executor takes no more work ({error}), perhaps because a worker process died for want of "
                "memory; use fewer workers"
            ) from error

    def dismiss(self, wait: bool) -> None:
        """Leave it to its owner."""


def process_crews(number: int) -> Sequence[Crew]:
    """So many processes of this machine, or one thread of this one for 0."""
    crews: list[Crew] = []
    try:
        for _ in range(number):
            crews.append(ProcessCrew())
    except BaseException:
        for crew in crews:
            crew.dismiss(wait=False)
        raise
    return crews or [ThreadCrew()]


def deaths_told(error: BaseException) -> int | None:
    """How many workers, one after another, are dead by what `error` says; None if it is about something else."""
    if isinstance(error, BrokenExecutor):
        return 1
    if isinstance(error, CancelledError):  # not by us, so by an executor that has lost its way to the workers
        return 0
    killed: Any = getattr(sys.modules.get("distributed"), "KilledWorker", None)  # Dask's, if anybody uses it
    if killed is not None and isinstance(error, killed):
        return int(error.allowed_failures) + 1
    return None

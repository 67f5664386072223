"""Where tasks run: in this process, in worker processes (pebble), or on somebody's executor.

Each pool takes a task and gives a `concurrent.futures.Future`. None waits: `run` does, with a short timeout, and looks
at the stop flag.
"""

import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import replace
from multiprocessing import forkserver, resource_tracker
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from h36m_amass.conversion.bodies import forget_skinners
from h36m_amass.conversion.feeds import ArchiveFeeds
from h36m_amass.conversion.options import BuildError, BuildOptions
from h36m_amass.conversion.tasks import Job, Task, TaskResult
from h36m_amass.conversion.worker import DEVICE_LOST, EXECUTOR_TASKS, WorkerError, run_task, start_worker
from h36m_amass.recordings.listings import ArchiveListing
from h36m_amass.system import signals
from h36m_amass.system.devices import usable_cores

if TYPE_CHECKING:
    from pebble import ProcessPool

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1
TASKS_AHEAD = 2  # per worker that the pool is given: one runs, another waits for it
BYTES_WORTH_A_WORKER = 2**26
"""Starting a process takes about as long as converting this many bytes of recordings."""
MAX_DEATHS = 2  # of workers after which a recording is skipped
MAX_STARTS = 5  # of a pool whose workers have all died
WORKERS_PER_GPU = 4
"""Worker processes that share a GPU: reading recordings keeps it waiting."""
MAX_LOSSES = 3 * WORKERS_PER_GPU
"""Workers that lose their GPU, with no result between them, after which a build ends: one that fails takes them all."""
# Workers are never forks of the parent: torch's threads and CUDA do not survive that.
START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
PRELOADED = (
    "h36m_amass.system.orphans",
    "h36m_amass.conversion.convert",
    "h36m_amass.engine.runs",
    "h36m_amass.engine.precision",
)
"""What the server process whose forks the workers are imports once: torch takes seconds."""


class NoMainGuardError(WorkerError, SystemExit):
    """A script starts workers each time that it is imported; Python ends it with this one line, and status 1."""

    def __init__(self) -> None:
        super().__init__(
            "worker processes end as soon as they start; a script that starts workers needs "
            'if __name__ == "__main__": around the call of build, because each worker imports the script'
        )
        self.code = str(self)


class Pool:
    """Runs tasks; this one does in this process, when they are submitted."""

    reads_archives = False  # whether its workers read archives themselves; otherwise this process does

    @property
    def capacity(self) -> int:
        """Tasks that it is given at a time, those that wait included."""
        return 1

    def submit(self, job: Job, task: Task) -> Future[TaskResult]:
        """Run a task; raises `WorkerError` if the workers are gone for good."""
        future: Future[TaskResult] = Future()
        future.set_result(run_task(job, task))
        return future

    def is_death(self, error: BaseException) -> bool:
        """Whether an error of a task means that the process which ran it died."""
        return False

    def stop(self) -> None:
        """End the workers at once, whatever they are at."""
        forget_skinners()


class Processes(Pool):
    """Worker processes of this machine, which take the devices in turn.

    They are started by a thread: the first waits until torch is imported.
    """

    def __init__(self, num_workers: int, devices: tuple[str, ...]) -> None:
        self._num_workers, self._devices = num_workers, devices
        self._num_starts = 0
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._num_started = self._context.Value("i", 0)
        self._pool: ProcessPool | None = None
        self._failure: BaseException | None = None
        self._stopped, self._creation = False, Lock()
        self._start()

    @property
    def capacity(self) -> int:
        if self._failure is not None:
            raise WorkerError(f"no worker process can be started ({self._failure}); use --workers 0") from self._failure
        return 0 if self._pool is None else TASKS_AHEAD * self._num_workers

    def submit(self, job: Job, task: Task) -> Future[TaskResult]:
        assert self._pool is not None  # there is no capacity before
        try:
            return self._pool.schedule(run_task, args=(job, task))
        except RuntimeError as error:  # all workers have died
            died: Future[TaskResult] = Future()
            died.set_exception(BrokenExecutor(str(error)))
            self._stop_pool()
            self._start()
            return died

    def is_death(self, error: BaseException) -> bool:
        from pebble import ProcessExpired

        if isinstance(error, BrokenExecutor) and self._num_started.value == 0:
            raise NoMainGuardError
        return isinstance(error, ProcessExpired | BrokenExecutor)

    def stop(self) -> None:
        with self._creation:  # what a pool creates after Python's end has begun is never cleaned up
            self._stopped = True
        self._stop_pool()

    def _stop_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()

    def _start(self) -> None:
        if self._num_starts == MAX_STARTS:
            raise WorkerError("worker processes die repeatedly, perhaps because memory ran out; use fewer --workers")
        self._num_starts += 1
        Thread(target=self._start_pool, daemon=True).start()

    def _start_pool(self) -> None:
        try:
            from pebble import ProcessPool  # which Python's end would refuse, if the build has ended by now

            prepare()
            arguments = self._devices, self._num_started, dict(os.environ)
            first = self._context.Process(target=os.getpid, daemon=True)
            first.start()  # waits until torch is imported; a pool is started at once then
            first.join()
            with self._creation:
                if self._stopped:
                    return
                pool = ProcessPool(
                    self._num_workers, initializer=start_worker, initargs=arguments, context=self._context
                )
                _ = pool.active  # which starts it
                self._pool = pool
        except Exception as error:  # noqa: BLE001 (whatever it is, it is raised where the pool is used)
            self._failure = error


class OnExecutor(Pool):
    """Somebody's executor, whose workers see the same files."""

    reads_archives = True
    capacity = EXECUTOR_TASKS

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, job: Job, task: Task) -> Future[TaskResult]:
        try:
            return self._executor.submit(run_task, job, task)
        except RuntimeError as error:  # a broken executor's error is one, too
            why = "perhaps because a worker process ran out of memory; use fewer workers"
            raise WorkerError(f"the executor takes no more work ({error}), {why}") from error

    def is_death(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def stop(self) -> None:
        """Leave it to its owner."""


def check_choice(options: BuildOptions, executor: Executor | None, devices: tuple[str, ...]) -> None:
    """Raise `BuildError` if the options about where tasks run exclude each other."""
    if executor is not None and options.dask is not None:
        raise BuildError("tasks run either on an executor or with Dask; give one of the two")
    if len(devices) > 1 and (executor is not None or options.dask is not None):
        raise BuildError("the workers of an executor or of Dask compute on one device each; give one, like cuda")


def useful_workers(devices: tuple[str, ...], size: int) -> int:
    """How many worker processes are worth their start, for recordings of `size` bytes; at least one per GPU."""
    most, least = usable_cores(), 1
    if devices[0] != "cpu":
        most, least = len(devices) * min(WORKERS_PER_GPU, most), len(devices)
    return max(least, min(most, size // BYTES_WORTH_A_WORKER))


def prepare() -> None:
    """Start the server process that imports torch, so that it does so while this process does something else."""
    if START_METHOD == "forkserver":
        forkserver.set_forkserver_preload(list(PRELOADED))
        resource_tracker.ensure_running()  # which lets signals through again where they were to wait
        with signals.blocked():  # the server, and what it forks, inherit that signals wait
            forkserver.ensure_running()


def end_in_bootstrap() -> None:
    """End a worker that comes here while it imports the parent's script: it would start workers without end."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(1)  # the parent says why


def run(pool: Pool, job: Job, tasks: Iterable[Task], feeds: ArchiveFeeds) -> Iterator[tuple[Task, TaskResult]]:
    """Run tasks, and those that archives give, in any order.

    A task whose process died runs again as tasks of one recording each; a recording whose process died twice is
    skipped.
    """
    waiting = deque(tasks)
    running: dict[Future[TaskResult], Task] = {}
    num_losses = 0
    while waiting or running or feeds.are_open:
        signals.check()
        while len(running) < pool.capacity and (task := feeds.next_task() or (waiting.popleft() if waiting else None)):
            future = pool.submit(job, task)
            running[future] = task
            future.add_done_callback(lambda _: feeds.news.set())
        yield from feeds.ended_archives()
        feeds.news.wait(SECONDS_BETWEEN_LOOKS)
        feeds.news.clear()
        # Those that failed last: what was done besides is kept.
        done = [(_failure(future), future) for future in running if future.done()]
        for error, future in sorted(done, key=lambda each: each[0] is not None):
            task = running.pop(future)
            if error is None:
                num_losses = 0
                feeds.ended(task)
                yield task, future.result()
            elif not pool.is_death(error):
                raise error
            elif getattr(error, "exitcode", None) == DEVICE_LOST:  # which no recording is blamed for
                num_losses += 1
                if num_losses == MAX_LOSSES:
                    raise WorkerError(f"GPUs failed {num_losses} times in a row; use --device cpu") from error
                _log.warning("a GPU failed; its recordings are converted again")
                waiting.appendleft(task)
            elif task.deaths + 1 < MAX_DEATHS or len(task.files) > 1:
                _log.warning("a worker process died; its recordings are converted one by one")
                runs = [(file,) for file in task.files] if task.archive is None else [()]
                again = [replace(task, files=files, deaths=task.deaths + 1) for files in runs]
                feeds.split(task, again)
                waiting.extendleft(again)
            else:
                feeds.ended(task)
                yield task, _given_up(task)


def _given_up(task: Task) -> TaskResult:
    reason = (
        f"{task.deaths + 1} worker processes died while converting it, perhaps because memory ran out; use fewer "
        "workers, or convert it alone to see why"
    )
    paths = [file.path for file in task.files] if task.archive is None else [task.archive.archive.name]
    listing = None if task.archive is None else ArchiveListing((), (), reason)
    return TaskResult(skipped=tuple((path, reason) for path in paths), listing=listing)


def _failure(future: Future[TaskResult]) -> BaseException | None:
    if future.cancelled():
        return WorkerError("the workers have lost a task; run the same command again, it goes on from there")
    return future.exception()

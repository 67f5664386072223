"""Tasks on a Dask cluster: one that is there, or a local one for trying it out. Its retries are Dask's own."""

import asyncio
import gc
import importlib.util
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from multiprocessing import resource_tracker
from typing import Any

from h36m_amass.conversion.options import LOCAL_CLUSTER
from h36m_amass.conversion.pool import Pool
from h36m_amass.conversion.tasks import Job, Task, TaskResult
from h36m_amass.conversion.worker import CONVERT, EXECUTOR_TASKS, WorkerError, installed_version, run_task
from h36m_amass.system import signals
from h36m_amass.version import __version__

_log = logging.getLogger(__name__)
_SILENT = logging.CRITICAL + 1
"""Level for Dask's own messages: a local scheduler calls an interrupted build critical, with a traceback."""
SECONDS_TO_CONNECT = 5
SECONDS_TO_FETCH = 60  # how long a result may take from a worker to here; it is a few kilobytes


class DaskError(WorkerError):
    """There is no Dask, no scheduler, or no worker that can do the work."""


class DaskPool(Pool):
    """The workers of the Dask scheduler at a URL; this is its client."""

    reads_archives = True
    capacity = EXECUTOR_TASKS

    def __init__(self, client: Any, url: str) -> None:
        self._client, self._url = client, url
        self._fetches: set[Future[None]] = set()
        self._stopped = False

    def submit(self, job: Job, task: Task) -> Future[TaskResult]:
        from distributed.client import ClosedClientError

        try:
            # Not pure: what runs again is to be computed again.
            of_dask = self._client.submit(run_task, job, task, pure=False)
        except ClosedClientError as error:
            raise _lost(self._url, error) from error
        # Not through Dask's own executor: its futures never end if the scheduler dies while a result is on its way.
        future: Future[TaskResult] = Future()
        of_dask.add_done_callback(partial(self._settle, future))
        return future

    def _settle(self, future: Future[TaskResult], ended: Any) -> None:
        """Pass on what came of a task, in a thread of Dask's that must not wait: Python's end would wait for it."""
        if ended.status == "error":
            future.set_exception(ended.exception())
        elif not self._stopped:
            fetch = asyncio.run_coroutine_threadsafe(self._fetch(future, ended), self._client.loop.asyncio_loop)
            self._fetches.add(fetch)
            fetch.add_done_callback(self._fetches.discard)

    async def _fetch(self, future: Future[TaskResult], ended: Any) -> None:
        try:
            result = await asyncio.wait_for(self._client.gather(ended, asynchronous=True), SECONDS_TO_FETCH)
            future.set_result(result)
        except BaseException as error:  # whatever it is, it comes of the way and not of the task
            future.set_exception(_lost(self._url, error))
            raise

    def is_death(self, error: BaseException) -> bool:
        from distributed import KilledWorker

        return isinstance(error, KilledWorker)

    def stop(self) -> None:
        self._stopped = True
        for fetch in tuple(self._fetches):
            fetch.cancel()
        self._client.close()


@contextmanager
def dask_pool(url: str, num_workers: int) -> Iterator[DaskPool]:
    """The workers of the scheduler at `url`, or, if that is ``"local"``, `num_workers` processes of this machine.

    Raises `DaskError` if the extra is not installed, no scheduler answers, or the workers cannot do the work.
    """
    if importlib.util.find_spec("distributed") is None:
        raise DaskError("--dask needs Dask; install it: pip install 'h36m-amass[dask]'")
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr(_SILENT), _scheduler(url, num_workers) as scheduler:
        client = None
        with suppress(OSError, ValueError):
            client = Client(scheduler, timeout=SECONDS_TO_CONNECT, set_as_default=False)
        if client is None:
            # What could not start still has a thread. If it were collected in the thread of the next client while that
            # starts, the two would wait for each other.
            gc.collect()
            raise DaskError("no Dask scheduler answers there; start one with: dask scheduler", url)
        with client:
            if url != LOCAL_CLUSTER:
                _check_workers(client, url)
            yield DaskPool(client, url)


@contextmanager
def _scheduler(url: str, num_workers: int) -> Iterator[str]:
    """URL of the scheduler, which is started, with its workers, if it is to be local."""
    if url != LOCAL_CLUSTER:
        yield url
        return
    from distributed import LocalCluster

    resource_tracker.ensure_running()  # which would let signals through, if it came to that in a thread where they wait
    # Its loop's thread inherits that Ctrl-C and SIGTERM wait, and so do all workers that it ever starts.
    with signals.blocked():
        cluster = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            memory_limit=0,
            silence_logs=_SILENT,
            preload=[__name__],
        )
    try:
        cluster.scale(num_workers)
        yield cluster.scheduler_address
    finally:
        cluster.close()


def dask_setup(worker: object) -> None:
    """What Dask runs first in each worker of a local cluster."""
    import_module(CONVERT)  # which the first task would do: torch takes seconds
    gc.freeze()  # torch's objects would be looked through again and again


def _check_workers(client: Any, url: str) -> None:
    """Raise `DaskError` unless the workers have this h36m-amass."""
    try:
        versions: dict[str, str] = client.run(installed_version)
    except Exception as error:  # whatever an import there may raise
        reason = f"a Dask worker cannot import h36m_amass ({error}); install h36m-amass {__version__} there"
        raise DaskError(reason, url) from error
    for worker, version in versions.items():
        if version != __version__:
            raise DaskError(f"this Dask worker has h36m-amass {version}; install {__version__} there", worker)
    if not versions:
        _log.warning("%s: the Dask scheduler has no workers yet; waiting for some", url)


def _lost(url: str, error: BaseException) -> DaskError:
    why = str(error).partition("\n")[0] or type(error).__name__
    return DaskError(f"the scheduler has lost a task ({why}); run the same command again, it goes on from there", url)

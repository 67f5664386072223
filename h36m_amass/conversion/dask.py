"""Units on a Dask cluster: one that is there, or one of this machine's processes for trying it."""

from __future__ import annotations

import gc
import importlib.util
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from h36m_amass.conversion.crews import LOCAL_CLUSTER, UNITS_AHEAD_ELSEWHERE, WorkerError
from h36m_amass.conversion.scheduling import Place
from h36m_amass.conversion.workshop import import_conversion, installed_version
from h36m_amass.system import signals as interrupts
from h36m_amass.version import __version__

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger(__name__)
_SILENT = logging.CRITICAL + 1
"""For Dask's own messages: a local scheduler calls it critical, with a traceback, that its build was interrupted."""
_T = TypeVar("_T")

SECONDS_TO_CONNECT = 5
SECONDS_BETWEEN_TRIES = 0.2
SECONDS_TO_START = 60
SECONDS_FOR_A_RESULT = 60
"""A path is all that there is to fetch."""
SECONDS_TO_COME_BACK = 120
"""How long a scheduler that was there is waited for."""


class DaskError(WorkerError):
    """There is no Dask, no scheduler, or no worker that can do the work."""


class DaskCrew:
    """The workers of a scheduler, which may be restarted: units that it loses are given to it again.

    Parameters
    ----------
    address
        Of the scheduler.
    starting
        Whether its workers are just being started, and are those of this h36m-amass.

    Raises
    ------
    DaskError
        None is there, or its workers have no or another h36m-amass.
    """

    place = Place(UNITS_AHEAD_ELSEWHERE, serial=False)

    def __init__(self, address: str, starting: bool) -> None:
        self._address, self._starting = address, starting
        self._client = _connected(address, SECONDS_TO_CONNECT)
        try:
            if not starting:
                self._look_at_workers()
        except BaseException:
            self.close()
            raise

    def make_ready(self) -> None:
        """Wait for workers that are just being started, and for a scheduler that is gone."""
        if self._starting:
            self._wait_for_start()
        if self._client.status == "closed":
            _log.warning("%s: the Dask scheduler is gone; waiting for it to come back", self._address)
            self._client = _connected(self._address, SECONDS_TO_COME_BACK)

    def submit(self, call: Callable[..., _T], /, *arguments: object) -> Future[_T]:
        # Not through Dask's own executor: its futures never end if the scheduler dies while a result is on its way.
        from distributed.client import ClosedClientError

        try:
            # Not pure: what is asked for again is to be done again.
            return _as_future(self._client.submit(call, *arguments, pure=False))
        except ClosedClientError as error:
            lost: Future[_T] = Future()
            lost.set_exception(CancelledError(f"Dask has lost it: {error}"))
            return lost

    def dismiss(self, wait: bool) -> None:
        """Leave them to the scheduler."""

    def close(self) -> None:
        """Leave the scheduler."""
        self._client.close()

    def _wait_for_start(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=SECONDS_TO_START)
        except TimeoutError as error:
            raise DaskError(
                'the workers of the local cluster do not start; a script needs its usual if __name__ == "__main__":'
            ) from error
        self._starting = False

    def _look_at_workers(self) -> None:
        try:
            versions: dict[str, str] = self._client.run(installed_version)
        except Exception as error:  # whatever an import there may raise
            raise DaskError(
                f"{self._address}: a Dask worker cannot import h36m_amass ({error}); install h36m-amass {__version__} "
                "there"
            ) from error
        for worker, version in versions.items():
            if version != __version__:
                raise DaskError(f"{worker}: this Dask worker has h36m-amass {version}; install {__version__} there")
        if not versions:
            _log.warning("%s: the Dask scheduler has no workers yet; waiting for some", self._address)
        # While this process plans; a future that nobody keeps is cancelled.
        self._importing = [self._client.submit(import_conversion, workers=[worker], pure=False) for worker in versions]


@contextmanager
def dask_crew(address: str, processes: int) -> Iterator[DaskCrew]:
    """The workers of the scheduler at `address`, or, if that is ``"local"``, of one of `processes` of this machine.

    Raises
    ------
    DaskError
        The extra is not installed, no scheduler answers, or the workers cannot do the work.
    """
    if importlib.util.find_spec("distributed") is None:
        raise DaskError("--dask needs Dask; install it: pip install 'h36m-amass[dask]'")
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr(_SILENT), _scheduler(address, processes) as scheduler:
        crew = DaskCrew(scheduler, starting=address == LOCAL_CLUSTER)
        try:
            yield crew
        finally:
            with interrupts.held():
                crew.close()


@contextmanager
def _scheduler(address: str, processes: int) -> Iterator[str]:
    """Address of the scheduler, which is started, with its workers, if it is to be local."""
    if address != LOCAL_CLUSTER:
        yield address
        return
    from distributed import LocalCluster

    # Its loop's thread inherits that Ctrl-C and SIGTERM are not its own, and so do all workers that it ever starts.
    with interrupts.ignored():
        cluster = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            scheduler_kwargs={
                # Its page would be on a port that is another's, maybe.
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",
                # It tells of each death at once, instead of giving the unit to the next workers by itself.
                "allowed_failures": 0,
            },
            memory_limit=0,
            silence_logs=_SILENT,
            preload=[__name__],
        )
    try:
        cluster.scale(processes)  # they start while this process plans
        yield cluster.scheduler_address
    finally:
        with interrupts.held():
            cluster.close()


def dask_setup(worker: object) -> None:
    """What Dask runs first in each worker of a local cluster.

    Workers of others are theirs: each unit puts torch's settings aside and back, and that is all.
    """
    import_conversion()
    gc.freeze()  # torch's objects would be looked through again and again


def _as_future(of_dask: Any) -> Future[Any]:
    """What comes of a future of Dask's, as one of Python's; one that Dask has lost ends with a `CancelledError`.

    To cancel it leaves Dask's as it is: a client that closes releases them all.
    """
    own: Future[Any] = Future()

    def settle(ended: Any) -> None:
        if not own.set_running_or_notify_cancel():
            return
        try:
            error = ended.exception() if ended.status == "error" else None
            result = None if error else ended.result(timeout=SECONDS_FOR_A_RESULT)
        except Exception as lost:  # noqa: BLE001 (whatever it is, it is of the way and not of the unit)
            own.set_exception(CancelledError(f"Dask has lost it: {lost}"))
        else:
            own.set_exception(error) if error else own.set_result(result)

    of_dask.add_done_callback(settle)
    return own


def _place_of(address: str) -> tuple[str, int]:
    """Host and port of a scheduler."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(address)
        get_backend(scheme)
        host, port = parse_host_port(place)
    except ValueError as error:
        raise DaskError(
            f"{address!r} is no address of a Dask scheduler ({error}); give one like tcp://host:8786"
        ) from error
    return host, port


def _connected(address: str, seconds: float) -> Client:
    from distributed import Client

    place, deadline = _place_of(address), time.monotonic() + seconds
    while True:
        try:
            # A client that never was connected goes on trying, and cannot be closed: none is made before somebody is
            # there.
            socket.create_connection(place, SECONDS_TO_CONNECT).close()
            return Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise DaskError(
                    f"{address}: no Dask scheduler answers there; start one with: dask scheduler"
                ) from error
            time.sleep(SECONDS_BETWEEN_TRIES)

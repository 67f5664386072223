"""Units on a Dask cluster: one that is there, or one of this machine's processes for trying it."""

from __future__ import annotations

import gc
import importlib.util
import logging
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from h36m_amass import interrupts
from h36m_amass.crews import UNITS_AHEAD_ELSEWHERE, WorkerError
from h36m_amass.scheduling import Place
from h36m_amass.version import __version__
from h36m_amass.workshop import import_conversion, installed_version

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

LOCAL = "local"
SECONDS_TO_CONNECT = 5
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

    Raises
    ------
    DaskError
        None is there, or its workers have no or another h36m-amass.
    """

    place = Place(UNITS_AHEAD_ELSEWHERE, serial=False)

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = _connected(address, SECONDS_TO_CONNECT)
        self._look_at_workers()

    def submit(self, call: Callable[..., _T], /, *arguments: object) -> Future[_T]:
        # Not through Dask's own executor: its futures never end if the scheduler dies while a result is on its way.
        from distributed.client import ClosedClientError

        while True:
            try:
                if self._client.status != "closed":
                    # Not pure: what is asked for again is to be done again.
                    return _as_future(self._client.submit(call, *arguments, pure=False))
            except ClosedClientError:
                pass
            _log.warning("%s: the Dask scheduler is gone; waiting for it to come back", self._address)
            self._client = _connected(self._address, SECONDS_TO_COME_BACK)

    def renew(self) -> bool:
        raise NotImplementedError("workers of a scheduler are its own affair")

    def dismiss(self, wait: bool) -> None:
        """Leave them to the scheduler."""

    def close(self) -> None:
        """Leave the scheduler."""
        self._client.close()

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

    with silence_logging_cmgr(logging.CRITICAL), _scheduler(address, processes) as scheduler:
        crew = DaskCrew(scheduler)
        try:
            yield crew
        finally:
            with interrupts.held():
                crew.close()


@contextmanager
def _scheduler(address: str, processes: int) -> Iterator[str]:
    """Address of the scheduler, which is started, with its workers, if it is to be local."""
    if address != LOCAL:
        yield address
        return
    from distributed import LocalCluster

    with interrupts.held():
        cluster = LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            preload=[__name__],
        )
    try:
        yield cluster.scheduler_address
    finally:
        with interrupts.held():
            cluster.close()


def dask_setup(worker: object) -> None:
    """What Dask runs first in each worker of a local cluster: Ctrl-C, which the whole terminal gets, is the parent's.

    Workers of others are theirs: they keep their signals, and each unit puts torch's settings aside and back.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_conversion()
    gc.freeze()


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


def _connected(address: str, seconds: float) -> Client:
    from distributed import Client

    deadline = time.monotonic() + seconds
    while True:
        try:
            return Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
        except ValueError as error:
            raise DaskError(
                f"{address}: is no address of a Dask scheduler ({error}); give one like tcp://host:8786"
            ) from error
        except OSError as error:
            if time.monotonic() >= deadline:
                raise DaskError(
                    f"{address}: no Dask scheduler answers there; start one with: dask scheduler"
                ) from error

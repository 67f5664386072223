"""What runs in a worker process of any pool; light, so that sending a task there imports no torch here."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from h36m_amass.conversion.tasks import Job, Task, TaskResult
from h36m_amass.errors import H36mAmassError
from h36m_amass.system import signals
from h36m_amass.system.devices import DeviceLostError
from h36m_amass.version import __version__

CONVERT = "h36m_amass.conversion.convert"  # the module that converts, by name: it imports torch
EXECUTOR_TASKS = 2048  # tasks that an executor is given ahead: how many workers it has is its own affair
DEVICE_LOST = 75  # exit status of a worker process whose GPU failed: sysexits.h calls it EX_TEMPFAIL
_devices: list[str] = []  # the device of this worker; none where an executor or Dask started it


class WorkerError(H36mAmassError):
    """There are no workers, or none that can work."""


def start_worker(devices: tuple[str, ...], turn: Any, environment: Mapping[str, str]) -> None:
    """Run first in each worker process of a build: `turn` counts them, and they take the devices in turn.

    `environment` is the parent's, which may hold credentials that were not there when the forkserver was started.
    """
    signals.leave_to_parent()
    os.environ.update(environment)
    with turn.get_lock():
        _devices[:] = [devices[turn.value % len(devices)]]
        turn.value += 1
    import_module(CONVERT).settle()


def run_task(job: Job, task: Task) -> TaskResult:
    """`h36m_amass.conversion.convert.convert_task`, on this worker's device.

    A process whose GPU failed cannot use one any more, and ends if it is the build's own.
    """
    try:
        result: TaskResult = import_module(CONVERT).convert_task(job, task, *_devices)
    except DeviceLostError as error:
        if not _devices:
            raise
        print(str(error).partition(";")[0], file=sys.stderr, flush=True)
        os._exit(DEVICE_LOST)
    return result


def installed_version() -> str:
    """The version of h36m-amass in the process that runs this."""
    return __version__

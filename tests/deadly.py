"""What workers run instead of `run_task`: recordings that kill them, as lack of memory does, or that report on them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from h36m_amass.conversion import worker
from h36m_amass.conversion.tasks import Job, Task, TaskResult
from h36m_amass.system.devices import explained, resolve_device


def make_deadly(amass_dir: Path, deaths: Mapping[str, int]) -> None:
    """Let recordings, or archives, of these names kill this many workers, in builds of `amass_dir`."""
    for left in _folder(amass_dir).glob("*"):
        left.unlink()
    _folder(amass_dir).mkdir(exist_ok=True)
    for name, count in deaths.items():
        for number in range(count):
            (_folder(amass_dir) / f"{name}-{number}").touch()


def deaths_left(amass_dir: Path) -> int:
    """How many workers may still be killed."""
    return len(list(_folder(amass_dir).iterdir()))


def run_or_die(job: Job, task: Task) -> TaskResult:
    """Dies when all is converted and nothing reported, which leaves the most behind."""
    result = worker.run_task(job, task)
    if _dies(job, task):
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def run_or_lose_the_device(job: Job, task: Task) -> TaskResult:
    """The GPU fails in the middle of the work, and this process can never use one again."""

    class LostSkinner:
        def __init__(self, *_: object) -> None:
            import torch

            raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    if _dies(job, task):
        convert: Any = import_module(worker.CONVERT)
        convert.skinner_for = LostSkinner
        on_a_gpu = SimpleNamespace(explained=lambda device: explained("cuda:0"), resolve_device=resolve_device)
        convert.devices = on_a_gpu  # the CPU cannot be lost
    return worker.run_task(job, task)


def run_or_be_blamed(job: Job, task: Task) -> TaskResult:
    """Ends as a scheduler of Dask's lets a task end that has killed four workers; to kill them takes long."""
    from distributed import KilledWorker

    if _dies(job, task):
        raise KilledWorker("task", SimpleNamespace(address="tcp://127.0.0.1:1"), 3)
    return worker.run_task(job, task)


def run_slowly(job: Job, task: Task) -> TaskResult:
    """Takes long enough for something to happen while others wait."""
    time.sleep(0.2)
    return worker.run_task(job, task)


def run_and_report(job: Job, task: Task) -> TaskResult:
    """Notes which device it was, and which process."""
    folder = _folder(Path(job.amass_dir))
    folder.mkdir(exist_ok=True)
    (folder / f"{task.files[0].sequence} {','.join(worker._devices)} {os.getpid()}").touch()
    return worker.run_task(job, task)


def reported_devices(amass_dir: Path) -> list[tuple[str, str]]:
    """Device and process of each task that `run_and_report` has run."""
    names = [path.name.split() for path in _folder(amass_dir).iterdir()]
    return [(device, process) for _, device, process in names]


def _dies(job: Job, task: Task) -> bool:
    names = [Path(file.path).stem for file in task.files]
    if task.archive is not None:
        names = [task.archive.archive.name]
    for name in names:
        for death in _folder(Path(job.amass_dir)).glob(f"{name}-*"):
            death.unlink()
            return True
    return False


def _folder(amass_dir: Path) -> Path:
    return amass_dir.with_name("deadly")

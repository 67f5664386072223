"""What workers run instead of `convert_unit`: units that kill them, as want of memory does, or that tell of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

from h36m_amass.conversion import workshop as real
from h36m_amass.conversion.planning import Unit
from h36m_amass.conversion.workshop import Workshop


def make_deadly(amass_dir: Path, deaths: Mapping[int, int]) -> None:
    """Let units of these numbers kill so many workers, in builds of `amass_dir`."""
    for left in _folder(amass_dir).glob("*"):
        left.unlink()
    _folder(amass_dir).mkdir(exist_ok=True)
    for unit, count in deaths.items():
        for number in range(count):
            (_folder(amass_dir) / f"{unit}-{number}").touch()


def convert_or_die(workshop: Workshop, unit: Unit, fingerprint: str, attempt: int) -> Path:
    """Dies when all is written and nothing told, which leaves the most behind."""
    temporary = real.convert_unit(workshop, unit, fingerprint, attempt)
    for death in _folder(workshop.amass_dir).glob(f"{unit.number}-*"):
        death.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return temporary


def convert_or_be_blamed(workshop: Workshop, unit: Unit, fingerprint: str, attempt: int) -> Path:
    """Ends as a scheduler of Dask's lets a unit end that has killed four workers; to kill them takes long."""
    from distributed import KilledWorker

    for death in _folder(workshop.amass_dir).glob(f"{unit.number}-*"):
        death.unlink()
        raise KilledWorker(fingerprint, SimpleNamespace(address="tcp://127.0.0.1:1"), 3)
    return real.convert_unit(workshop, unit, fingerprint, attempt)


def convert_and_tell(workshop: Workshop, unit: Unit, fingerprint: str, attempt: int) -> Path:
    """Leaves word of which device it was, and which process."""
    folder = _folder(workshop.amass_dir)
    folder.mkdir(exist_ok=True)
    (folder / f"{unit.number} {workshop.device} {os.getpid()}").touch()
    return real.convert_unit(workshop, unit, fingerprint, attempt)


def told_devices(amass_dir: Path) -> list[tuple[str, str]]:
    """Device and process of each unit that `convert_and_tell` has converted."""
    return [(device, process) for _, device, process in (path.name.split() for path in _folder(amass_dir).iterdir())]


def _folder(amass_dir: Path) -> Path:
    return amass_dir.with_name("deadly")

"""What the workers of a build share, and the call that they get: light, so that the parent need not import torch."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from h36m_amass.conversion import part as parts
from h36m_amass.conversion.forkserver import CONVERSION
from h36m_amass.conversion.planning import BodyKind, Unit
from h36m_amass.files.remote import Address
from h36m_amass.system import signals as interrupts
from h36m_amass.version import __version__


class StoppedError(Exception):
    """The build that a unit belongs to has been stopped."""


@dataclass(frozen=True)
class Workshop:
    """What a worker needs to convert any unit of a build: small, so that it travels to other processes.

    Attributes
    ----------
    amass_dir, parts_dir
        Where recordings are read and parts are written.
    folded
        For each kind of body the name of its folded regressor's file in `parts_dir`, which holds a digest of its
        content.
    joint_counts
        Joints of each set, of which the positions hold one behind the other.
    device
        From `h36m_amass.system.devices.resolve_device`.
    batch_size
        Frames a batch.
    flag
        Name of a file in `parts_dir` that is there as long as the build goes on.
    """

    amass_dir: Path | Address
    parts_dir: Path
    folded: Mapping[BodyKind, str]
    joint_counts: tuple[int, ...]
    device: str
    batch_size: int
    flag: str

    def part_path(self, fingerprint: str) -> Path:
        return self.parts_dir / f"{fingerprint}{parts.SUFFIX}"

    def folded_path(self, body: BodyKind) -> Path:
        return self.parts_dir / self.folded[body]

    def start(self) -> None:
        """Let units be converted."""
        (self.parts_dir / self.flag).touch()

    def stop(self) -> None:
        """Have the workers give up the units that they are at."""
        (self.parts_dir / self.flag).unlink(missing_ok=True)

    def check_goes_on(self) -> None:
        """Raise `StoppedError` if the build has been stopped, which any worker sees that sees the files."""
        if not os.path.exists(f"{self.parts_dir}{os.sep}{self.flag}"):  # noqa: PTH110  # asked for every run of frames
            raise StoppedError


def convert_unit(workshop: Workshop, unit: Unit, fingerprint: str, attempt: int) -> Path:
    """`h36m_amass.conversion.convert.convert_unit`, in the process that runs this.

    The number of the attempt makes calls differ: some executors answer the same call with what they have of the last.
    """
    temporary: Path = importlib.import_module(CONVERSION).convert_unit(workshop, unit, fingerprint)
    return temporary


def start_worker() -> None:
    """Run first in each worker process."""
    importlib.import_module(CONVERSION).settle()
    interrupts.leave_to_parent()


def import_conversion() -> None:
    """Do now what would otherwise be done with the first unit: importing torch takes seconds."""
    importlib.import_module(CONVERSION)


def installed_version() -> str:
    """That of the process which runs this."""
    return __version__


def forget_skinners() -> None:
    """Free the memory that converting has taken in this process, if any was done here."""
    if CONVERSION in sys.modules:
        sys.modules[CONVERSION].forget_skinners()

"""Units that kill their worker with SIGKILL, as want of memory does: what workers run instead of `convert_unit`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from h36m_amass import workshop as real
from h36m_amass.planning import Unit
from h36m_amass.workshop import Workshop

_FILE_NAME = "deadly.json"


def make_deadly(amass_dir: Path, attempts: Mapping[int, int]) -> None:
    """Let units of these numbers kill their worker at their first so many attempts, in builds of `amass_dir`."""
    (amass_dir.parent / _FILE_NAME).write_text(json.dumps({str(unit): count for unit, count in attempts.items()}))


def convert_or_die(workshop: Workshop, unit: Unit, fingerprint: str, attempt: int) -> Path:
    """Dies when all is written and nothing told, which leaves the most behind."""
    temporary = real.convert_unit(workshop, unit, fingerprint, attempt)
    deadly = json.loads((workshop.amass_dir.parent / _FILE_NAME).read_text())
    if attempt <= deadly.get(str(unit.number), 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return temporary

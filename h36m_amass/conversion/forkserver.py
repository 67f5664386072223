"""The server process whose forks the workers are: it imports torch once, while its parent imports and plans.

Light, so that it can be started before anything else is imported.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver

from h36m_amass.system import signals as interrupts

CONVERSION = "h36m_amass.conversion.convert"
"""The module that computes, by name: it imports torch, which takes longer than many a build."""
# Workers are never forks of the parent: torch's threads and CUDA do not survive that.
START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def prepare() -> None:
    """Start the server, where processes can be started so and it does not run yet."""
    if START_METHOD == "forkserver":
        forkserver.set_forkserver_preload([CONVERSION])
        with interrupts.ignored():
            forkserver.ensure_running()

"""``h36m-amass`` as its own launcher runs it, and at its end the peaks of memory, in bytes, as JSON.

``python benchmarks/peaks.py PEAKS.json ARGUMENT ...`` runs ``h36m-amass ARGUMENT ...``. It imports nothing that the
command would not, because its time is measured.
"""

from __future__ import annotations

import atexit
import json
import resource
import runpy
import sys
from pathlib import Path

KIB = 2**10
MAXRSS_UNIT = 1 if sys.platform == "darwin" else KIB


def main(peaks: Path, arguments: list[str]) -> None:
    """Run the installed command, and write `peaks` when it ends."""
    # Not in a finally: the interpreter waits for worker processes later than that, and they count once they have ended.
    atexit.register(write, peaks)
    script = Path(sys.executable).with_name("h36m-amass")
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


def write(peaks: Path) -> None:
    """Write the peaks of this process and of the largest of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * MAXRSS_UNIT
    peaks.write_text(json.dumps({"parent": own_peak(), "children": children}), encoding="utf-8")


def own_peak() -> int:
    """The most memory that this process had."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT
    # Not ru_maxrss: Linux counts into it what the process that started this one had.
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return int(lines["VmHWM"].split()[0]) * KIB


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

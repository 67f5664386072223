"""What the benchmarks share: fair timing, targets, tables, and where results go.

``--quick`` runs any of them in a tiny setting, to see that it works; its results go to a temporary folder.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
MIB = 2**20
PACKAGES = ("torch", "numpy", "scipy", "h5py", "smplx", "body-models", "zarr")

_T = TypeVar("_T")
_BEGAN = time.monotonic()
_QUICK_VARIABLE = "H36M_AMASS_QUICK_BENCHMARKS"
if "--quick" in sys.argv:
    sys.argv.remove("--quick")
    os.environ[_QUICK_VARIABLE] = "1"  # for the processes that a benchmark starts, too
QUICK = _QUICK_VARIABLE in os.environ
OUTPUT = Path(tempfile.gettempdir()) / "h36m-amass-quick-benchmarks" if QUICK else HERE
RESULTS = OUTPUT / "results"


def pick(full: _T, quick: _T) -> _T:
    """A size of a benchmark, or the tiny one of ``--quick``."""
    return quick if QUICK else full


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs of one thing."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)


@dataclass(frozen=True)
class Target:
    """What a measured value should be: at most `bound`, or at least that."""

    what: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def in_turns(calls: Mapping[str, Callable[[], _T]], rounds: int) -> dict[str, list[_T]]:
    """What `calls` return, each called once per round.

    Machines are shared and their speed drifts: what is measured in the same rounds can be compared by ratio.
    """
    results: dict[str, list[_T]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            results[name].append(call())
    return results


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def take_turns(calls: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, Timing]:
    """Time `calls` in turns, after one round that does not count."""
    timed = {name: partial(seconds_of, call) for name, call in calls.items()}
    in_turns(timed, 1)
    return {name: Timing(tuple(seconds)) for name, seconds in in_turns(timed, rounds).items()}


def machine() -> dict[str, Any]:
    """The machine and the versions that results belong to."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES if find_spec(name.replace("-", "_"))},
    }


def commit() -> str:
    """The commit that is checked out, and whether what is measured differs from it."""
    git = partial(subprocess.run, capture_output=True, text=True, check=False, cwd=HERE.parent)
    head = git(["git", "rev-parse", "HEAD"]).stdout.strip()
    changed = git(["git", "status", "--porcelain", "--", "h36m_amass", "cli", "benchmarks/*.py"]).stdout.strip()
    return head + (" with changes" if changed else "")


def write_results(name: str, results: Mapping[str, Any], table: str, targets: Sequence[Target] = ()) -> None:
    """Print `table`, and write it with all `results` and where they come from as ``results/NAME.json``."""
    print(table)
    content = {
        "machine": machine(),
        "commit": commit(),
        "seconds": time.monotonic() - _BEGAN,
        **results,
        "targets": [{**asdict(target), "met": target.met} for target in targets],
        "table": table,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)

"""The command line in a process of its own: how long it takes, start of the interpreter included, and its memory."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common import HERE
from peaks import MAXRSS_UNIT

from h36m_amass.recordings.listings import CACHE_VARIABLE

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Peaks:
    """The most memory that a process and the largest of those it started had, in bytes."""

    parent: int
    worker: int


@dataclass(frozen=True)
class Run:
    """One run of ``h36m-amass build``."""

    seconds: float
    peaks: Peaks
    frames: int


class Input(Protocol):
    """What is built: a tree, or archives of one."""

    @property
    def folder(self) -> Path: ...

    def read(self, threads: int = 1) -> None:
        """Read all bytes, so that they are in the page cache."""


def build(
    source: Input,
    support_dir: Path,
    workers: int | None,
    store: Path | None = None,
    joint_sets: Sequence[Path | str] = (),
    update: bool = False,
    device: str = "cpu",
) -> Run:
    """Build a store of what is in the page cache; it is removed again unless `store` says where it stays.

    Parameters
    ----------
    workers
        Worker processes; None for as many as the command starts by default.
    joint_sets
        Those of ``--joint-regressor``; none for the regressor in the support folder.
    update
        Whether `store` is there and is updated; otherwise it is new, and nothing is known of archives.

    Raises
    ------
    RuntimeError
        The build failed or skipped a recording; with what it wrote.
    """
    adopt_orphans()
    with tempfile.TemporaryDirectory() as folder:
        peaks, report, output = (Path(folder) / name for name in ("peaks.json", "report.json", "output.txt"))
        arguments = ["build", source.folder, store or Path(folder) / "store.h5", "--support-dir", support_dir]
        options = ["--device", device, "--strict", "--report", report]
        options += [] if workers is None else ["--workers", workers]
        options += [word for joint_set in joint_sets for word in ("--joint-regressor", joint_set)]
        options += ["--update"] if update else []
        cache = (store or Path(folder) / "store.h5").with_suffix(".cache")
        # -P keeps this folder from the command's imports.
        command = [sys.executable, "-P", HERE / "peaks.py", peaks, *arguments, *options]
        if not update:
            shutil.rmtree(cache, ignore_errors=True)
            if store is not None:
                store.unlink(missing_ok=True)
        source.read()
        # Into a file, because a pipe ends with the last of the workers, and not with the command.
        with output.open("wb") as file:
            began = time.perf_counter()
            done = subprocess.run(
                [str(word) for word in command],
                stdout=file,
                stderr=file,
                check=False,
                env={**os.environ, CACHE_VARIABLE: str(cache)},
            )
            seconds = time.perf_counter() - began
        orphans = peak_of_orphans()
        if done.returncode != 0:
            text = output.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"h36m-amass {' '.join(map(str, arguments))} failed:\n{text}")
        frames = sum(row["frames"] for row in json.loads(report.read_text(encoding="utf-8"))["datasets"])
        measured = json.loads(peaks.read_text(encoding="utf-8"))
        return Run(seconds, Peaks(measured["parent"], max(measured["children"], orphans)), frames)


def adopt_orphans() -> None:
    """Have processes that outlive the command become children of this one, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def peak_of_orphans() -> int:
    """The most memory in bytes that any of the processes had that outlived the command; waits for them."""
    largest = 0
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return largest
        largest = max(largest, usage.ru_maxrss * MAXRSS_UNIT)

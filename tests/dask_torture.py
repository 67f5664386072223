"""Kill and restart a Dask scheduler and its workers while they convert: ``python -m tests.dask_torture``.

They are processes of their own, started as a user would. The build must end, with the bytes of an undisturbed one.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from h36m_amass import build
from h36m_amass.conversion import planning
from tests.scenes import command, end_group, write_dataset, write_support

UNIT_FRAMES = 300


class Cluster:
    """``dask scheduler`` and ``dask worker`` on this machine's loopback."""

    def __init__(self, folder: Path, workers: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._folder, self._number = folder, workers
        self._scheduler = self._start_scheduler()
        self._workers = [self._start_worker() for _ in range(self._number)]

    def restart_worker(self) -> None:
        end_group(self._workers.pop(0))
        self._workers.append(self._start_worker())

    def restart(self) -> None:
        """All of it: workers end when they lose their scheduler."""
        self.end()
        self._scheduler = self._start_scheduler()
        self._workers = [self._start_worker() for _ in range(self._number)]

    def end(self) -> None:
        for process in (self._scheduler, *self._workers):
            end_group(process)

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        host, port = self.address.removeprefix("tcp://").split(":")
        return self._start("scheduler", "--host", host, "--port", port, "--no-dashboard")

    def _start_worker(self) -> subprocess.Popen[bytes]:
        return self._start("worker", self.address, "--nthreads", "1", "--no-dashboard")

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "dask", *arguments]
        with (self._folder / "dask.log").open("ab") as log:
            # In a folder of its own: what Dask leaves there is not the build's.
            return subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True, cwd=self._folder)


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster of which nothing is left at the end."""
    folder.mkdir()
    own = Cluster(folder, workers)
    try:
        yield own
    finally:
        own.end()


def torture(folder: Path, units: int, blows: int, seed: int, frames: int = 2000, workers: int = 2) -> None:
    """Build so many `units` while a worker or all of a cluster is killed and restarted `blows` times."""
    chance = random.Random(seed)
    support, tree, store = write_support(folder / "support"), folder / "amass", folder / "store.h5"
    write_dataset(tree, "D", units, frames)
    with patch.object(planning, "UNIT_SOURCE_FRAMES", UNIT_FRAMES):
        build(tree, folder / "whole.h5", support_dir=support)
    moments = sorted(chance.sample(range(1, units - workers), blows))
    errors, arguments = folder / "errors", ("build", tree, store, "--support-dir", support)
    with (
        cluster(folder / "cluster", workers) as own,
        command(*arguments, "--dask", own.address, unit_frames=UNIT_FRAMES, errors=errors) as process,
    ):
        for number, moment in enumerate(moments):
            while len(list((folder / "store.h5.parts").glob("*.part"))) < moment:
                assert process.poll() is None, f"it ended before blow {number}: {errors.read_text()}"
                time.sleep(0.005)
            (own.restart_worker if number % 2 else own.restart)()
        assert process.wait() == 0, errors.read_text()
    assert store.read_bytes() == (folder / "whole.h5").read_bytes(), "the bytes are not those of an undisturbed build"
    assert not (folder / "store.h5.parts").exists()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=240)
    parser.add_argument("--blows", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"striking a Dask cluster {options.blows} times, seed {options.seed}, process {os.getpid()}")
    with tempfile.TemporaryDirectory() as folder:
        torture(Path(folder), options.units, options.blows, options.seed)
    print(f"ok: {options.units} work units were converted, with the same bytes")


if __name__ == "__main__":
    main()

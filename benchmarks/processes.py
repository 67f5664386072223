"""The engine on the recordings of a mix, in one process or in several at once, as `build` uses several cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np

from h36m_amass.body import folding
from h36m_amass.engine.precision import reproducible
from h36m_amass.engine.run import Run
from h36m_amass.engine.runs import pose_runs
from h36m_amass.engine.skinning import Skinner


@dataclass(frozen=True)
class Work:
    """A motion, what poses it, and where its joints go: files that all processes see.

    Attributes
    ----------
    recordings
        First frame in the motion and number of frames of each recording.
    """

    folded: Path
    motion: Path
    joints: Path
    recordings: tuple[tuple[int, int], ...]

    @property
    def num_frames(self) -> int:
        return sum(length for _, length in self.recordings)

    @property
    def starts(self) -> list[int]:
        """Where the joints of each recording go."""
        return list(accumulate((length for _, length in self.recordings), initial=0))

    def shares(self, processes: int) -> list[list[int]]:
        """Numbers of recordings, a list per process, with about as many frames in each."""
        shares: list[list[int]] = [[] for _ in range(processes)]
        frames = [0] * processes
        for number in sorted(range(len(self.recordings)), key=lambda number: -self.recordings[number][1]):
            least = frames.index(min(frames))
            shares[least].append(number)
            frames[least] += self.recordings[number][1]
        return shares

    def engine(self, batch_size: int) -> Engine:
        with np.load(self.motion) as motion:
            arrays = {name: motion[name] for name in ("betas", "poses", "trans")}
        folded, _ = folding.read(self.folded)
        return Engine(self, Skinner(folded, batch_size), arrays)


@dataclass(frozen=True)
class Engine:
    """A skinner and the motion that it poses."""

    work: Work
    skinner: Skinner
    motion: dict[str, np.ndarray]

    @cached_property
    def joints(self) -> np.memmap:
        """Where the joints of all recordings go."""
        shape = self.work.num_frames, self.skinner.folded.num_joints, 3
        return np.memmap(self.work.joints, np.float32, "r+" if self.work.joints.exists() else "w+", shape=shape)

    def pose_recordings(self, numbers: Iterable[int]) -> None:
        """Pose recordings one by one, as `build` does."""
        starts = self.work.starts
        for number in numbers:
            first, length = self.work.recordings[number]
            self.joints[starts[number] : starts[number + 1]] = self.pose(first, length)

    def pose(self, first: int, length: int) -> np.ndarray:
        """Joints of a recording, from float64 on."""
        with reproducible():
            counts = (self.skinner.folded.num_joints,)
            parts = list(pose_runs(self.skinner, self.motion["betas"], self._runs(first, length), counts))
        return np.concatenate([positions for (positions,) in parts])

    def _runs(self, first: int, length: int) -> Iterator[Run]:
        for start in range(first, first + length, self.skinner.batch_size):
            frames = slice(start, min(start + self.skinner.batch_size, first + length))
            yield Run.whole(self.motion["poses"][frames].astype(np.float32), self.motion["trans"][frames])


_engines: dict[Work, Engine] = {}


def pool(work: Work, batch_size: int, processes: int) -> tuple[ProcessPoolExecutor, Callable[[], None]]:
    """Processes that are ready to pose, and a call that has them pose all recordings."""
    shares = work.shares(processes)
    # Never forks of this process: torch's threads do not survive that.
    spawn = multiprocessing.get_context("spawn")
    workers = ProcessPoolExecutor(processes, spawn, initializer=_start, initargs=(work, batch_size))

    def run() -> None:
        for future in [workers.submit(_pose, work, share) for share in shares]:
            future.result()

    return workers, run


def _start(work: Work, batch_size: int) -> None:
    _engines[work] = work.engine(batch_size)


def _pose(work: Work, numbers: list[int]) -> None:
    _engines[work].pose_recordings(numbers)

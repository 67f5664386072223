"""The engine in several processes at once, as `build` uses several cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from h36m_amass.body import folding
from h36m_amass.engine.packing import PoseBlock, relative_joints, reproducible
from h36m_amass.engine.skinning import Skinner, add_translation


@dataclass(frozen=True)
class Work:
    """A motion, what poses it, and where its joints go: files that all processes see."""

    folded: Path
    motion: Path
    joints: Path

    def engine(self, batch_size: int) -> Engine:
        with np.load(self.motion) as motion:
            arrays = {name: motion[name] for name in ("betas", "poses", "trans")}
        return Engine(Skinner(folding.read(self.folded), batch_size), arrays)

    def open_joints(self, num_frames: int, num_joints: int) -> np.memmap:
        return np.memmap(self.joints, np.float32, "r+", shape=(num_frames, num_joints, 3))


@dataclass(frozen=True)
class Engine:
    """A skinner and the motion that it poses."""

    skinner: Skinner
    motion: dict[str, np.ndarray]

    def pose(self, first: int, last: int) -> np.ndarray:
        """Joints of some frames, from float64 recordings on, as `build` computes them."""
        poses = self.motion["poses"][first:last].astype(np.float32)
        block = PoseBlock.whole(self.motion["betas"], poses, None)
        with reproducible():
            ((_, relative),) = relative_joints(self.skinner, [(None, block)])
        return add_translation(relative, self.motion["trans"][first:last], self.skinner.folded.row_sums)


_engines: dict[Work, Engine] = {}


def pool(work: Work, batch_size: int, processes: int) -> tuple[ProcessPoolExecutor, Callable[[], np.ndarray]]:
    """Processes that are ready to pose, and a call that has them pose all frames and returns the joints."""
    engine = work.engine(batch_size)
    num_frames, num_joints = len(engine.motion["poses"]), engine.skinner.folded.num_joints
    with work.joints.open("wb") as file:
        file.truncate(4 * num_frames * num_joints * 3)
    joints = work.open_joints(num_frames, num_joints)
    shares = list(pairwise(np.linspace(0, num_frames, processes + 1).astype(int).tolist()))
    # Never forks of this process: torch's threads do not survive that.
    spawn = multiprocessing.get_context("spawn")
    workers = ProcessPoolExecutor(processes, spawn, initializer=_start, initargs=(work, batch_size))

    def run() -> np.ndarray:
        for future in [workers.submit(_pose, work, *share) for share in shares]:
            future.result()
        return np.array(joints)

    return workers, run


def _start(work: Work, batch_size: int) -> None:
    _engines[work] = work.engine(batch_size)


def _pose(work: Work, first: int, last: int) -> None:
    engine = _engines[work]
    joints = engine.pose(first, last)
    work.open_joints(len(engine.motion["poses"]), joints.shape[1])[first:last] = joints

"""The frames of a sequence that the viewer reads: some around the one that is shown, and a joint's trajectory."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from jaxtyping import Float32

from h36m_amass.store.selection import StoredSequence

CHUNK = 256
"""Frames that are read at a time, as many as a store's chunks have."""
LONGEST_PATH = 2000
"""Points of a joint's trajectory."""
_BLOCK = 64 * CHUNK
"""Frames that are read at a time to draw a trajectory: 3 MB of 17 joints."""


class Frames:
    """Poses of a sequence, read in runs of `CHUNK` frames when one of them is asked for; the last few are kept."""

    def __init__(self, sequence: StoredSequence, kept: int = 8) -> None:
        self.sequence = sequence
        self._kept = kept
        self._runs: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, frame: int) -> Float32[np.ndarray, "joints 3"]:
        run, offset = divmod(frame, CHUNK)
        if run not in self._runs:
            self._runs[run] = self.sequence.positions_3d[run * CHUNK : (run + 1) * CHUNK]
            while len(self._runs) > self._kept:
                self._runs.popitem(last=False)
        self._runs.move_to_end(run)
        return self._runs[run][offset]

    def at(self, seconds: float) -> Float32[np.ndarray, "joints 3"]:
        """The pose that is shown at a time; after the end, the last one."""
        # A frame's time divided by the rate and multiplied by it again may fall a hair short of the frame.
        return self[min(int(seconds * self.sequence.frame_rate + 1e-6), len(self) - 1)]


def trajectory(sequence: StoredSequence, joint: int) -> Float32[np.ndarray, "points 3"]:
    """A joint's way through the whole sequence, of at most `LONGEST_PATH` frames evenly spread over it.

    Where nearly every chunk of the store has one of these frames, all is read, in a few large pieces, because a
    compressed chunk is decoded as a whole. Otherwise only these frames are read, in one call.
    """
    frames = np.linspace(0, len(sequence) - 1, min(len(sequence), LONGEST_PATH)).round().astype(np.int64)
    if len(sequence) > CHUNK * len(frames):
        poses = np.empty((len(frames), *sequence.positions_3d.shape[1:]), np.float32)
        rows = np.arange(len(frames))
        sequence.store.read_runs(sequence.start + frames, poses, rows, rows + 1)
        return poses[:, joint]
    points = np.empty((len(frames), 3), np.float32)
    for start in range(0, len(sequence), _BLOCK):
        inside = (frames >= start) & (frames < start + _BLOCK)
        points[inside] = sequence.positions_3d[start : start + _BLOCK, joint][frames[inside] - start]
    return points

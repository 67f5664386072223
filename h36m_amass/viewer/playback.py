"""Where in time the viewer is, and the frames that it reads there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float32

from h36m_amass.store.selection import StoredSequence

SPEEDS = {"0.1 x": 0.1, "0.25 x": 0.25, "0.5 x": 0.5, "1 x": 1.0, "2 x": 2.0, "4 x": 4.0}
CHUNK = 256  # frames that are read at a time, as many as a store's chunks have
LONGEST_PATH = 2000  # points of a joint's trajectory
_BLOCK = 64 * CHUNK  # read at a time to draw a trajectory: 3 MB of 17 joints


@dataclass(frozen=True)
class Playback:
    """Where in a sequence a viewer is, and how it moves on."""

    num_frames: int
    frame_rate: float  # hertz
    position: float = 0.0  # frames, with a fraction while it plays
    playing: bool = False
    speed: float = 1.0  # seconds of the sequence per second
    loop: bool = True  # whether it begins again at the end; otherwise it stops there

    @property
    def frame(self) -> int:
        """The frame that is shown."""
        return min(int(self.position), self.num_frames - 1)

    @property
    def seconds(self) -> float:
        """Since the sequence's first frame, of the frame that is shown."""
        return self.frame / self.frame_rate

    def advanced(self, seconds: float) -> Playback:
        """After `seconds` of real time."""
        if not self.playing:
            return self
        position = self.position + seconds * self.speed * self.frame_rate
        if position < self.num_frames:
            return replace(self, position=position)
        if self.loop:
            return replace(self, position=position % self.num_frames)
        return replace(self, position=float(self.num_frames - 1), playing=False)

    def sought(self, frame: int) -> Playback:
        """At `frame`, or the nearest that there is."""
        return replace(self, position=float(min(max(frame, 0), self.num_frames - 1)))

    def toggled(self) -> Playback:
        """Paused if it plays; otherwise playing, from the start if it is at the end."""
        if not self.playing and self.frame == self.num_frames - 1:
            return replace(self, position=0.0, playing=True)
        return replace(self, playing=not self.playing)


class Frames:
    """Poses of a sequence, read in runs of `CHUNK` frames when one of them is asked for; the last few are kept."""

    def __init__(self, sequence: StoredSequence, kept: int = 8) -> None:
        self.sequence = sequence
        self._run = lru_cache(kept)(lambda run: sequence.positions_3d[run * CHUNK : (run + 1) * CHUNK])

    def __getitem__(self, frame: int) -> Float32[np.ndarray, "joints 3"]:
        return self._run(frame // CHUNK)[frame % CHUNK]

    def at(self, seconds: float) -> Float32[np.ndarray, "joints 3"]:
        """The pose that is shown at a time; after the end, the last one."""
        # A frame's time divided by the rate and multiplied by it again may fall a hair short of the frame.
        return self[min(int(seconds * self.sequence.frame_rate + 1e-6), len(self.sequence) - 1)]


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

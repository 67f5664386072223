"""Frames of many sequences, gathered into blocks of one length: few large writes cost less than many small ones."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

Positions = tuple[Float32[np.ndarray, "frames joints axes"], ...]
"""The same frames, an array for each joint set, and one for each camera's detections."""


class FrameBuffer:
    """Gathers frames into blocks of `block_frames`."""

    def __init__(self, block_frames: int) -> None:
        self._block_frames, self._gathered = block_frames, list[np.ndarray]()
        self.num_frames = self._num_yielded = 0  # frames that were added, and those that were yielded

    def add(self, frames: Positions) -> Iterator[Positions]:
        """Take over frames; yields a block whenever one is full, in memory that is used again for the next one."""
        self._gathered = self._gathered or [np.empty((self._block_frames, *a.shape[1:]), "<f4") for a in frames]
        done, length = 0, len(frames[0])
        while done < length:
            first = self.num_frames - self._num_yielded
            count = min(length - done, self._block_frames - first)
            for gathered, array in zip(self._gathered, frames, strict=True):
                gathered[first : first + count] = array[done : done + count]
            done, self.num_frames = done + count, self.num_frames + count
            if first + count == self._block_frames:
                yield from self.rest()

    def rest(self) -> Iterator[Positions]:
        """A block of the frames that are left, if there are any."""
        count, self._num_yielded = self.num_frames - self._num_yielded, self.num_frames
        if count:
            yield tuple(array[:count] for array in self._gathered)

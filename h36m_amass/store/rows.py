"""Rows of a store's positions: what every way of reading them offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int


class FrameReader(Protocol):
    """Reads rows of positions. Survives being pickled and forked, and may be used by many threads at once."""

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        """Fill the contiguous array `frames` with the rows from `start` on.

        Raises
        ------
        StoreError
            The file is damaged, or is another one than it was.
        """

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        """Fill ``frames[begin:end]`` of each run with the rows from its start on; raises as `read_into` does."""

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        """The rows of each run, one run after the other; raises as `read_into` does."""

    def close(self) -> None:
        """Close the file; it opens again when rows are read."""


def read_in_turn(
    reader: FrameReader,
    frame_shape: tuple[int, ...],
    starts: Int[np.ndarray, "runs"],
    stops: Int[np.ndarray, "runs"],
) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
    """Rows ``start .. stop`` of each run, each read when it is asked for."""
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        frames = np.empty((stop - start, *frame_shape), np.float32)
        reader.read_into(start, frames)
        yield frames


def memory_of(frames: Float32[np.ndarray, "frames joints 3"]) -> memoryview:
    """The bytes of a contiguous array; of any other it would be a copy, and this raises `TypeError`."""
    return frames.data.cast("B") if frames.size else memoryview(b"")

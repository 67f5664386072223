"""A run of frames of one recording, and what every device does with it alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from h36m_amass.engine.skinning import Skinner
from h36m_amass.recordings.resampling import Neighbours

Positions: TypeAlias = tuple[Float[np.ndarray, "frames joints 3"], ...]
"""An array per joint set, in metres of AMASS's world frame."""
PendingPositions: TypeAlias = Callable[[], Positions]
"""Gives the positions of a run, once they are there. It is called once; before, another run may be begun."""


@dataclass(frozen=True)
class Run:
    """Consecutive frames of one recording, and which output frames come of them."""

    poses: Float[np.ndarray, "frames 3*bones"]  # rotation vectors in radians
    trans: Float[np.ndarray, "frames 3"]  # in metres
    dmpls: Float[np.ndarray, "frames dmpls"] | None  # as many as the body model has, or None for zeros
    rows: Int[np.ndarray, "needed"]
    """Which of these frames are needed, ascending; at least one, and at most as many as the skinner's batch size."""
    between: Neighbours  # where each output frame lies among the needed ones

    @staticmethod
    def whole(
        poses: Float[np.ndarray, "frames 3*bones"],
        trans: Float[np.ndarray, "frames 3"],
        dmpls: Float[np.ndarray, "frames dmpls"] | None = None,
    ) -> Run:
        """Frames that all become output frames."""
        rows = np.arange(len(poses))
        return Run(poses, trans, dmpls, rows, Neighbours(rows, rows, np.zeros(len(rows)), is_copy=True))


@dataclass(frozen=True)
class Body:
    """A body's shape, and the joint sets to be had of it, one behind the other."""

    skinner: Skinner
    shape_terms: Float[np.ndarray, "terms"]
    joint_counts: tuple[int, ...]

    def sets(self) -> Iterator[tuple[int, int]]:
        """First joint of each joint set, and the one behind its last."""
        return pairwise(accumulate(self.joint_counts, initial=0))

    def constants(self, run: Run, moving: frozenset[int]) -> Float[np.ndarray, "terms+9*held"]:
        """What `Skinner.constants` is for a run in which these classes of bones move."""
        still = self.skinner.still_bones.terms(run.poses[run.rows[0]], moving)
        return np.concatenate([self.shape_terms + still.terms, still.held])


def gather(values: Float[np.ndarray, "frames columns"], rows: Int[np.ndarray, "rows"], out: np.ndarray) -> None:
    """``out[:] = values[rows]`` of ascending rows, without a copy between where the types are the same."""
    if rows[-1] - rows[0] == len(rows) - 1:
        out[:] = values[rows[0] : rows[-1] + 1]
    elif values.dtype == out.dtype:
        np.take(values, rows, axis=0, out=out, mode="clip")  # any other mode goes through a copy
    else:
        out[:] = values[rows]


def add_translation(
    relative: Float[np.ndarray, "frames joints 3"], shares: Float[np.ndarray, "frames 3*joints"]
) -> Float[np.ndarray, "frames joints 3"]:
    """World positions, of the type of the relative ones, from each joint's share of the translation.

    The sum is taken in float64 and rounded once.
    """
    world = np.empty(relative.shape, relative.dtype)
    np.add(relative.reshape(len(relative), -1), shares, out=world.reshape(len(world), -1), casting="same_kind")
    return world

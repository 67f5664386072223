"""A recording, run by run, through the skinner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from h36m_amass.engine.skinning import Skinner, padded_length
from h36m_amass.engine.workspace import Staging


@dataclass(frozen=True)
class Run:
    """Consecutive frames of one recording."""

    poses: Float[np.ndarray, "frames 3*bones"]  # rotation vectors in radians
    dmpls: Float[np.ndarray, "frames dmpls"] | None  # as many as the body model has, or None for zeros
    rows: Int[np.ndarray, "needed"]
    """Which of these frames are needed, ascending; at least one, and at most as many as the skinner's batch size."""


@dataclass(frozen=True)
class _InFlight:
    """Joints that will be in host memory, once the event, if there is one, has come to pass."""

    joints: Float[Tensor, "frames joints 3"]
    num_frames: int
    event: torch.cuda.Event | None

    def wait(self) -> Float[np.ndarray, "needed joints 3"]:
        joints: np.ndarray = self.joints.numpy()[: self.num_frames]
        if self.event is None:
            return joints
        self.event.synchronize()
        return joints.copy()  # what is staged is overwritten by the run after the next


def relative_joints(
    skinner: Skinner, betas: Float[np.ndarray, "betas"], runs: Iterable[Run]
) -> Iterator[Float[np.ndarray, "needed joints 3"]]:
    """Joints of each run of one recording, in their order, in metres and without the root translation.

    They depend on the recording and the skinner's batch size alone. One run is computed while the one before it is
    copied back. Betas are as many as the body model has.
    """
    shape_terms = skinner.shape_terms(betas)
    with skinner.workspace.lend_staging() as slots:
        in_flight: _InFlight | None = None
        try:
            for number, run in enumerate(runs):
                launched = _launch(skinner, slots[number % 2], shape_terms, run)
                before, in_flight = in_flight, launched
                if before is not None:
                    yield before.wait()
            if in_flight is not None:
                yield in_flight.wait()
        finally:
            if in_flight is not None and in_flight.event is not None:
                in_flight.event.synchronize()  # others will write where it is read from


def _launch(skinner: Skinner, staging: Staging, shape_terms: Float[np.ndarray, "terms"], run: Run) -> _InFlight:
    """Fill `staging` and start the batch. On CUDA this returns before it is done."""
    rows, num_terms, on_cpu = run.rows, len(shape_terms), skinner.device.type == "cpu"
    size = padded_length(len(rows), skinner.tile_size)
    moving = skinner.moving_classes(run.poses)
    still = skinner.still_bones.terms(run.poses[rows[0]], moving)
    poses = _turn_round(skinner, staging, moving, run, size)
    constants, column = staging.constants.take((num_terms + len(still.held), 1), skinner.dtype, not on_cpu)
    column[:num_terms, 0] = shape_terms + still.terms
    column[num_terms:, 0] = still.held
    dmpls = None
    if run.dmpls is not None:
        dmpls, by_row = staging.dmpls.take((run.dmpls.shape[1], size), skinner.dtype, not on_cpu)
        by_row[:, : len(rows)] = run.dmpls.take(rows, axis=0).T
        by_row[:, len(rows) :] = 0.0
    if not on_cpu:
        poses, constants = (host.to(skinner.device, non_blocking=True) for host in (poses, constants))
        dmpls = None if dmpls is None else dmpls.to(skinner.device, non_blocking=True)
    joints = skinner.skin(poses, constants, dmpls, moving)
    if skinner.device.type != "cuda":
        return _InFlight(joints, len(rows), None)
    arriving, _ = staging.joints.take(tuple(joints.shape), skinner.dtype, not on_cpu)
    arriving.copy_(joints, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch does not type it
    event.record(torch.cuda.current_stream(skinner.device))
    return _InFlight(arriving, len(rows), event)


def _turn_round(
    skinner: Skinner, staging: Staging, moving: frozenset[int], run: Run, size: int
) -> Float[Tensor, "3*rotated frames"]:
    """The needed poses in the rows that the skinner looks at: frames become the last axis."""
    number, layout, pinned = len(run.rows), skinner.layout, skinner.device.type != "cpu"
    _, room = staging.by_frame.take((size, run.poses.shape[1]), skinner.dtype, pinned=False)
    by_frame = room[:number]
    if run.poses.dtype == by_frame.dtype:
        np.take(run.poses, run.rows, axis=0, out=by_frame, mode="clip")  # any other mode goes through a copy
    else:
        by_frame[:] = run.poses[run.rows]
    poses, by_row = staging.poses.take((3 * len(layout.rotated), size), skinner.dtype, pinned)
    for span in layout.plan(moving).spans:
        first, height = 3 * span.bones[0], 3 * span.bones[1]
        rows = by_row[first : first + height]
        rows[:, :number] = by_frame[:, span.column : span.column + height].T
        rows[:, number:] = 0.0
    return poses

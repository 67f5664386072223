"""A recording, run by run, through the skinner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from h36m_amass.engine.skinning import Skinner, padded_size
from h36m_amass.engine.sparsity import equal_runs
from h36m_amass.engine.workspace import Memory, Staging


@dataclass(frozen=True)
class Run:
    """Consecutive frames of one recording.

    Attributes
    ----------
    poses
        Rotation vectors of all bones, in radians.
    dmpls
        Soft-tissue coefficients, as many as the body model has, or None for zeros.
    rows
        Which of these frames are needed, ascending; at least one, and at most as many as the skinner's batch size.
    """

    poses: Float[np.ndarray, "frames 3*bones"]
    dmpls: Float[np.ndarray, "frames dmpls"] | None
    rows: Int[np.ndarray, "needed"]


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
    copied back.

    Parameters
    ----------
    betas
        Shape coefficients, as many as the body model has.
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
    num_frames, rows = len(run.rows), run.rows
    size = padded_size(num_frames, skinner.batch_size)
    moving = skinner.moving_classes(run.poses)
    still = skinner.still_bones.terms(run.poses[rows[0]], moving)
    constants = _room(skinner, staging.constants, len(shape_terms) + len(still.held), 1)
    column = constants.numpy()[:, 0]
    np.add(shape_terms, still.terms, out=column[: len(shape_terms)], casting="same_kind")
    column[len(shape_terms) :] = still.held
    dmpls = None
    if run.dmpls is not None:
        dmpls = _room(skinner, staging.dmpls, run.dmpls.shape[1], size)
        dmpls.numpy()[:, :num_frames] = run.dmpls.take(rows, axis=0).T
        dmpls.numpy()[:, num_frames:] = 0.0
    by_frame = _room(skinner, staging.by_frame, num_frames, run.poses.shape[1]).numpy()
    if run.poses.dtype == by_frame.dtype:
        np.take(run.poses, rows, axis=0, out=by_frame, mode="clip")  # any other mode goes through a copy
    else:
        by_frame[:] = run.poses[rows]
    poses = _room(skinner, staging.poses, 3 * len(skinner.layout.rotated), size)
    _turn_round(skinner, moving, by_frame, poses.numpy())

    def upload(host: Tensor) -> Tensor:
        return host.to(skinner.device, non_blocking=True)

    joints = skinner.skin(upload(poses), upload(constants), None if dmpls is None else upload(dmpls), moving)
    if skinner.device.type != "cuda":
        return _InFlight(joints, num_frames, None)
    arriving = _room(skinner, staging.joints, *joints.shape)
    arriving.copy_(joints, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch does not type it
    event.record(torch.cuda.current_stream(skinner.device))
    return _InFlight(arriving, num_frames, event)


def _turn_round(
    skinner: Skinner,
    moving: frozenset[int],
    by_frame: Float[np.ndarray, "needed 3*bones"],
    poses: Float[np.ndarray, "3*rotated frames"],
) -> None:
    """Fill the rows of `poses` that the skinner looks at: frames become the last axis."""
    needed = len(by_frame)
    for span in skinner.layout.plan(moving).spans:
        first, height = 3 * span.bones[0], 3 * span.bones[1]
        poses[first : first + height, :needed] = by_frame[:, span.column : span.column + height].T
        poses[first : first + height, needed:] = 0.0


def _room(skinner: Skinner, memory: Memory, rows: int, columns: int, *rest: int) -> Tensor:
    """Host memory in the skinner's type, page-locked where its device is not the CPU."""
    shape = rows, columns, *rest
    length = rows * columns * (rest[0] if rest else 1)
    return memory.take(length, skinner.dtype, torch.device("cpu"), skinner.device.type != "cpu").view(shape)

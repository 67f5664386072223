"""Joints of one recording, for use outside a build."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.engine.precision import reproducible
from h36m_amass.engine.runs import Run, relative_joints
from h36m_amass.engine.skinning import Skinner


def pose_joints(
    folded: FoldedRegressor,
    betas: Float[np.ndarray, "betas"],
    poses: Float[np.ndarray, "frames 3*bones"],
    trans: Float[np.ndarray, "frames 3"],
    dmpls: Float[np.ndarray, "frames dmpls"] | None = None,
    *,
    batch_size: int = 4096,
    device: torch.device | str = "cpu",
) -> Float[np.ndarray, "frames joints 3"]:
    """Joints of one sequence in float32 metres, for use outside a build.

    `folded` is from `h36m_amass.body.folding.fold`; betas and dmpls are as many as it has, all else is as in an AMASS
    recording. `batch_size` and `device` are as in `Skinner`. Raises `ValueError` if the shapes do not fit.
    """
    num_columns = 3 * folded.num_body_bones
    shapes = {
        "betas": (np.shape(betas), (folded.num_betas,)),
        "poses": (np.shape(poses), (len(poses), num_columns)),
        "trans": (np.shape(trans), (len(poses), 3)),
    }
    if dmpls is not None:
        shapes["dmpls"] = np.shape(dmpls), (len(poses), folded.num_dmpls)
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise ValueError(f"{name} have shape {shape}, and the folded model needs {expected}")
    if len(poses) == 0:
        return np.zeros((0, folded.num_joints, 3), np.float32)
    runs = (
        Run(poses[rows], None if dmpls is None else dmpls[rows], np.arange(len(poses[rows])))
        for rows in (slice(start, start + batch_size) for start in range(0, len(poses), batch_size))
    )
    with reproducible():
        parts = relative_joints(Skinner(folded, batch_size, device), np.asarray(betas, float), runs)
        relative = np.concatenate(list(parts))
    return add_translation(relative, trans, folded.row_sums)


def add_translation(
    relative: Float[np.ndarray, "frames joints 3"],
    trans: Float[np.ndarray, "frames 3"],
    row_sums: Float[np.ndarray, "joints"],
) -> Float[np.ndarray, "frames joints 3"]:
    """World positions in float32: the sum is taken in float64 and rounded once.

    Each joint's share is a product of matrices, with one nonzero number per column, because NumPy is slow over
    rows of three numbers.
    """
    share_of_joint = np.zeros((3, len(row_sums), 3))
    share_of_joint[range(3), :, range(3)] = row_sums
    shares = trans.astype(np.float64) @ share_of_joint.reshape(3, -1)
    world = np.empty(relative.shape, np.float32)
    np.add(relative.reshape(len(relative), -1), shares, out=world.reshape(len(world), -1), casting="same_kind")
    return world

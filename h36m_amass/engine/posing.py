"""Joints of one recording, for use outside a build."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.engine.precision import reproducible
from h36m_amass.engine.run import Run
from h36m_amass.engine.runs import pose_runs
from h36m_amass.engine.skinning import Skinner
from h36m_amass.system.devices import explained, resolve_device


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
    recording. `batch_size` is as in `Skinner`, and `device` as in `h36m_amass.build`. Raises `ValueError` if the
    shapes do not fit, and `DeviceError` if the device is not there, or cannot compute.
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
        Run.whole(poses[rows], trans[rows], None if dmpls is None else dmpls[rows])
        for rows in (slice(start, start + batch_size) for start in range(0, len(poses), batch_size))
    )
    device = resolve_device(str(device))
    with reproducible(), explained(device):
        skinner = Skinner(folded, batch_size, device)
        parts = list(pose_runs(skinner, np.asarray(betas, float), runs, (folded.num_joints,)))
    return np.concatenate([positions for (positions,) in parts])

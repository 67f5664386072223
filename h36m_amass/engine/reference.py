"""The same joints through the full mesh, in float64: the reference for everything else.

Every vertex of every frame is posed with smplx's own ``lbs`` (Pavlakos et al., CVPR 2019), then regressed: what
the AMASS-to-3DHPE script does, slowly. Rotation matrices come from SciPy, because smplx's Rodrigues formula
adds 1e-8 to the rotation vectors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import smplx.lbs
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from h36m_amass.body.model import BodyModel, depths
from h36m_amass.body.regressor import JointRegressor


def mesh_joints(
    body: BodyModel,
    regressor: JointRegressor,
    betas: Float[np.ndarray, "betas"],
    poses: Float[np.ndarray, "frames 3*bones"],
    trans: Float[np.ndarray, "frames 3"],
    dmpls: Float[np.ndarray, "frames dmpls"] | None = None,
    batch_size: int = 64,
) -> Float[np.ndarray, "frames joints 3"]:
    """Joints of one sequence in float64 metres.

    Poses are rotation vectors in radians, betas and dmpls as many as the body model has, None for zero soft tissue.
    `batch_size` meshes are held at a time.
    """
    joints = np.empty((len(poses), regressor.num_joints, 3))
    for frames, mesh, _ in _posed(body, betas, poses, trans, dmpls, batch_size):
        for axis in range(3):
            joints[frames, :, axis] = (regressor.matrix @ mesh[:, :, axis].T).T
    return joints


def skeleton_joints(
    body: BodyModel,
    betas: Float[np.ndarray, "betas"],
    poses: Float[np.ndarray, "frames 3*bones"],
    trans: Float[np.ndarray, "frames 3"],
    dmpls: Float[np.ndarray, "frames dmpls"] | None = None,
    batch_size: int = 64,
) -> Float[np.ndarray, "frames bones 3"]:
    """The posed kinematic joints of one sequence in float64 metres, as ``lbs`` gives them; see `mesh_joints`."""
    joints = np.empty((len(poses), body.num_bones, 3))
    for frames, _, posed in _posed(body, betas, poses, trans, dmpls, batch_size):
        joints[frames] = posed
    return joints


def _posed(
    body: BodyModel,
    betas: Float[np.ndarray, "betas"],
    poses: Float[np.ndarray, "frames 3*bones"],
    trans: Float[np.ndarray, "frames 3"],
    dmpls: Float[np.ndarray, "frames dmpls"] | None,
    batch_size: int,
) -> Iterator[tuple[slice, Float[np.ndarray, "frames vertices 3"], Float[np.ndarray, "frames bones 3"]]]:
    """Some frames at a time, with their meshes and kinematic joints."""
    # Parents first, which smplx takes for granted; bodies that have them so, as the published ones do, are not copied.
    order, posedirs = np.arange(body.num_bones), body.posedirs
    if (body.parents >= order).any():
        order = np.argsort(depths(body.parents), kind="stable")
        posedirs = posedirs.reshape(body.num_vertices, 3, body.num_bones - 1, 9)[:, :, order[1:] - 1]
    rank = np.argsort(order)
    shapedirs = np.concatenate([body.shapedirs, body.dmpldirs], axis=2)
    model = {
        "v_template": torch.from_numpy(body.v_template)[None],
        "shapedirs": torch.from_numpy(shapedirs),
        "posedirs": torch.from_numpy(posedirs.reshape(3 * body.num_vertices, -1).T),
        "J_regressor": torch.from_numpy(body.J_regressor[order]),
        "lbs_weights": torch.from_numpy(body.weights[:, order]),
        "parents": torch.from_numpy(np.where(body.parents[order] >= 0, rank[body.parents[order]], -1)),
    }
    soft_tissue = np.zeros((len(poses), body.num_dmpls)) if dmpls is None else dmpls
    for start in range(0, len(poses), batch_size):
        frames = slice(start, min(start + batch_size, len(poses)))
        rotvecs = poses[frames].astype(np.float64).reshape(-1, body.num_bones, 3)[:, order]
        rotations = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_matrix().reshape(*rotvecs.shape, 3)
        shape = np.concatenate([np.broadcast_to(betas, (len(rotvecs), len(betas))), soft_tissue[frames]], axis=1)
        betas_and_dmpls, pose = torch.from_numpy(shape), torch.from_numpy(rotations)
        vertices, joints = smplx.lbs.lbs(betas=betas_and_dmpls, pose=pose, pose2rot=False, **model)
        moved = trans[frames, None].astype(np.float64)
        yield frames, vertices.numpy() + moved, joints.numpy()[:, rank] + moved

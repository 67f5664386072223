"""Fold a joint regressor into a body model, so that the mesh need never be posed.

Linear blend skinning and a joint regressor are both linear in everything but the bone transforms, so the sum
over vertices can be taken before a single frame is seen (``docs/folding.md`` derives it). With ``R`` the
regressor, ``W`` the skinning weights and ``[T S D P]`` template, shape, soft tissue and pose directions,

    c_kj = sum_v R_kv W_vj                                     A_kj = sum_v R_kv W_vj [T_v S_v D_v P_v]
    x_k  = sum_j [ G_j (A_kj f - c_kj J_j) + c_kj t_j ] + r_k trans,    f = (1, beta, delta, vec(Rot - I))

``J_j`` is itself linear in (1, beta, delta), so that ``A_kj f - c_kj J_j`` is kept here as one linear form.
Only pairs (k, j) with some non-zero ``R_kv W_vj`` exist, and only bones of pairs, with their ancestors.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from h36m_amass.body.model import BodyModel, depths
from h36m_amass.body.regressor import JointRegressor


@dataclass(frozen=True)
class FoldedRegressor:
    """A body model seen through a joint regressor: float64, metres.

    Shape columns are ``(1, betas, dmpls)``. Bones are numbered anew, ancestors first, depth by depth; bone 0 is
    the root.
    """

    num_betas: int
    num_dmpls: int
    num_body_bones: int
    row_sums: Float[np.ndarray, "joints"]  # ``r_k``, the share of the root translation in each joint
    bones: Int[np.ndarray, "bones"]  # index of each kept bone in the body model, and so its columns in ``poses``
    parents: Int[np.ndarray, "bones"]  # an index into `bones`, -1 for the root
    depth: Int[np.ndarray, "bones"]  # number of ancestors
    # Rest position relative to the parent (of the root: its rest position), as a linear form of the shape columns.
    rest_offsets: Float[np.ndarray, "bones 3 1+betas+dmpls"]
    pair_joint: Int[np.ndarray, "pairs"]  # the joint ``k`` of each pair
    pair_bone: Int[np.ndarray, "pairs"]  # its bone ``j``, an index into `bones`
    pair_weight: Float[np.ndarray, "pairs"]  # ``c_kj``
    pair_shape: Float[np.ndarray, "pairs 3 1+betas+dmpls"]  # ``A_kj - c_kj J_j``, the shape columns
    pose_bones: Int[np.ndarray, "pose_bones"]  # bones of the body model whose correctives reach any pair
    pair_pose: Float[np.ndarray, "pairs 3 pose_bones 9"]  # ``A_kj``, the pose columns, row-major in the rotation

    @property
    def num_joints(self) -> int:
        return len(self.row_sums)

    @property
    def num_pairs(self) -> int:
        return len(self.pair_joint)


def fold(body: BodyModel, regressor: JointRegressor) -> FoldedRegressor:
    """Fold `regressor` into `body`. Exact: no term is dropped that could be non-zero.

    The sums run over the vertices that the regressor uses, about a hundred of 6890 for the Human3.6M one.
    """
    vertices = np.unique(regressor.matrix.indices)
    matrix = regressor.matrix[:, vertices].tocsr()
    weights = scipy.sparse.csr_array(body.weights[vertices])

    # One where a matrix is non-zero: products of these cannot cancel.
    joint_reaches, bone_reaches = (scipy.sparse.csr_array(each != 0, dtype=np.int64) for each in (matrix, weights))
    reaches = (joint_reaches @ bone_reaches).tocoo()
    order = np.lexsort((reaches.coords[0], reaches.coords[1]))
    pair_joint, pair_bone = reaches.coords[0][order], reaches.coords[1][order]
    # R_kv W_vj, one row per pair (k, j).
    pair_vertex_weights = scipy.sparse.csr_array(matrix[pair_joint].multiply(weights.T.tocsr()[pair_bone]))
    pair_weight = np.asarray(pair_vertex_weights.sum(axis=1)).reshape(-1)

    shape_columns, rest = _shape_and_rest(body)
    num_columns = shape_columns.shape[2]
    pair_shape = pair_vertex_weights @ shape_columns[vertices].reshape(len(vertices), -1)
    pair_shape = pair_shape.reshape(-1, 3, num_columns) - pair_weight[:, None, None] * rest[pair_bone]

    pair_pose = pair_vertex_weights @ body.posedirs[vertices].reshape(len(vertices), -1)
    pair_pose = pair_pose.reshape(len(pair_joint), 3, body.num_bones - 1, 9)
    moved = np.flatnonzero((pair_pose != 0).any(axis=(0, 1, 3)))

    tree, new_index = _bone_tree(body, rest, np.unique(pair_bone))
    return FoldedRegressor(
        **tree,
        row_sums=np.asarray(regressor.matrix.sum(axis=1)).reshape(-1),
        pair_joint=pair_joint.astype(np.int64),
        pair_bone=new_index[pair_bone],
        pair_weight=pair_weight,
        pair_shape=pair_shape,
        pose_bones=moved + 1,
        pair_pose=np.ascontiguousarray(pair_pose[:, :, moved]),
    )


def fold_skeleton(body: BodyModel) -> FoldedRegressor:
    """The posed kinematic joints of `body` themselves, ``x_k = t_k + trans``: a weight of 1 on each bone's position."""
    _, rest = _shape_and_rest(body)
    tree, new_index = _bone_tree(body, rest, np.arange(body.num_bones))
    return FoldedRegressor(
        **tree,
        row_sums=np.ones(body.num_bones),
        pair_joint=np.arange(body.num_bones),
        pair_bone=new_index,
        pair_weight=np.ones(body.num_bones),
        pair_shape=np.zeros(rest.shape),
        pose_bones=np.zeros(0, dtype=np.int64),
        pair_pose=np.zeros((body.num_bones, 3, 0, 9)),
    )


def join(parts: Sequence[FoldedRegressor]) -> FoldedRegressor:
    """Several regressors folded into one body, as one: the joints of each behind those of the one before.

    The bones and rotations that they share are evaluated once.
    """
    if len(parts) == 1:
        return parts[0]
    places = {bone: (part, index) for part in parts for index, bone in enumerate(part.bones.tolist())}
    bones = sorted(places, key=lambda bone: (places[bone][0].depth[places[bone][1]], bone))
    sources = [places[bone] for bone in bones]
    new_index = {bone: index for index, bone in enumerate(bones)}
    parents = [new_index[int(part.bones[part.parents[index]])] for part, index in sources[1:]]
    pose_bones = np.unique(np.concatenate([part.pose_bones for part in parts]))
    first_joints = np.cumsum([0, *(part.num_joints for part in parts)])
    poses = []
    for part in parts:
        pair_pose = np.zeros((part.num_pairs, 3, len(pose_bones), 9))
        pair_pose[:, :, np.searchsorted(pose_bones, part.pose_bones)] = part.pair_pose
        poses.append(pair_pose)
    return replace(
        parts[0],
        row_sums=np.concatenate([part.row_sums for part in parts]),
        bones=np.array(bones),
        parents=np.array([-1, *parents]),
        depth=np.array([part.depth[index] for part, index in sources]),
        rest_offsets=np.stack([part.rest_offsets[index] for part, index in sources]),
        pair_joint=np.concatenate([part.pair_joint + first for part, first in zip(parts, first_joints, strict=False)]),
        pair_bone=np.array([new_index[bone] for part in parts for bone in part.bones[part.pair_bone].tolist()]),
        pair_weight=np.concatenate([part.pair_weight for part in parts]),
        pair_shape=np.concatenate([part.pair_shape for part in parts]),
        pose_bones=pose_bones,
        pair_pose=np.concatenate(poses),
    )


def to_bytes(folded: FoldedRegressor, note: str = "") -> bytes:
    """`folded`, and a note, as an npz archive in memory, for handing to another process."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {field.name: np.asarray(getattr(folded, field.name)) for field in fields(folded)}
    np.savez(buffer, note=np.array(note), **arrays)
    return buffer.getvalue()


def read(path: Path) -> tuple[FoldedRegressor, str]:
    """The folded regressor and the note whose `to_bytes` were written to `path`."""
    with np.load(path, allow_pickle=False) as npz:
        arrays = {name: npz[name] for name in npz.files}
    note = str(arrays.pop("note"))
    sizes: dict[str, Any] = {name: int(arrays.pop(name)) for name in ("num_betas", "num_dmpls", "num_body_bones")}
    return FoldedRegressor(**sizes, **arrays), note


def _shape_and_rest(
    body: BodyModel,
) -> tuple[Float[np.ndarray, "vertices 3 columns"], Float[np.ndarray, "bones 3 columns"]]:
    """Shape columns, and rest positions of the bones as a linear form of them; few vertices count for each."""
    shape_columns = np.concatenate([body.v_template[:, :, None], body.shapedirs, body.dmpldirs], axis=2)
    j_regressor = scipy.sparse.csr_array(body.J_regressor)
    rest = (j_regressor @ shape_columns.reshape(len(shape_columns), -1)).reshape(-1, *shape_columns.shape[1:])
    return shape_columns, rest


def _bone_tree(
    body: BodyModel, rest: Float[np.ndarray, "bones 3 columns"], needed: Int[np.ndarray, "needed"]
) -> tuple[dict[str, Any], Int[np.ndarray, "bones"]]:
    """The `needed` bones of a folded regressor and their ancestors, and the new index of each bone, or -1."""
    bones = _with_ancestors(needed, body.parents)
    new_index = np.full(body.num_bones, -1)
    new_index[bones] = np.arange(len(bones))
    parents, rest_offsets = body.parents[bones], rest[bones]
    rest_offsets[1:] -= rest[parents[1:]]
    tree = {
        "num_betas": body.num_betas,
        "num_dmpls": body.num_dmpls,
        "num_body_bones": body.num_bones,
        "bones": bones,
        "parents": np.where(parents >= 0, new_index[parents], -1),
        "depth": depths(body.parents)[bones],
        "rest_offsets": rest_offsets,
    }
    return tree, new_index


def _with_ancestors(needed: Int[np.ndarray, "needed"], parents: Int[np.ndarray, "bones"]) -> Int[np.ndarray, "kept"]:
    """`needed` and all their ancestors, always with the root, depth by depth, then by index."""
    kept = {0}
    for start in needed.tolist():
        bone = start
        while bone not in kept:
            kept.add(bone)
            bone = int(parents[bone])
    ordered = np.array(sorted(kept))
    return ordered[np.argsort(depths(parents)[ordered], kind="stable")]

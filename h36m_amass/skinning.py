"""Posed joints of a folded regressor: batches of frames, on any torch device, with one code path.

Frames are the last, contiguous axis of every array, so that each elementwise step runs over long rows. A batch is
five steps, each a handful of torch calls (``docs/folding.md`` counts their cost):

1. ``Rot - I`` of every bone that matters, by Rodrigues' formula in its quaternion form;
2. the shape terms and the pose correctives of all pairs, as dense matrix products;
3. forward kinematics, all bones of a depth at once;
4. each pair's vector turned by its bone;
5. the sum over pairs and bones, as one matrix product.

Positions are relative to the root translation, which is added afterwards in float64 (`add_translation`), so
that float32 keeps its precision far from the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from h36m_amass.folding import FoldedRegressor
from h36m_amass.sparsity import Partition, partition, runs


class DeviceError(ValueError):
    """The device that was asked for is not there."""


@dataclass(frozen=True)
class Level:
    """Bones ``start .. stop`` of one depth, and the parent of each."""

    start: int
    stop: int
    parents: Tensor


@dataclass(frozen=True)
class DenseBlock:
    """Correctives of bones ``bones`` (rows of the rotations) in pair rows ``rows``, as a dense matrix."""

    rows: tuple[int, int]
    bones: tuple[int, int]
    matrix: Float[Tensor, "3*pairs 9*bones"]


@dataclass(frozen=True)
class BoneClass:
    """Bones whose correctives reach the same pairs.

    When all of them are still over a run of frames, their share is a constant of that run: it goes into the
    run's shape terms, and the blocks are skipped.

    Attributes
    ----------
    bones
        Rows of the rotations.
    rows
        Rows of the pairs' vectors, three a pair.
    correctives
        Float64, for the share of still bones.
    blocks
        The same on the device.
    """

    bones: Int[np.ndarray, bones]
    rows: Int[np.ndarray, rows]
    correctives: Float[np.ndarray, "rows 9*bones"]
    blocks: tuple[DenseBlock, ...]


class Skinner:
    """A folded regressor laid out for one device, with the buffers for batches of one size.

    Parameters
    ----------
    folded
        From `h36m_amass.folding.fold`.
    batch_size
        Frames a batch.
    device
        Where to compute.
    dtype
        `torch.float32`, as `h36m_amass.build` uses it, or `torch.float64`.

    Attributes
    ----------
    rotated
        The bones whose rotations matter, as columns in ``poses``: those of the kinematic chain first.
    classes
        Classes of bones by the pairs that their correctives reach.
    num_shape_rows
        Rows of the shape terms: three a pair, then three a bone of the chain.
    """

    def __init__(
        self,
        folded: FoldedRegressor,
        batch_size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.folded = folded
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.dtype = dtype
        pairs, bones = folded.num_pairs, len(folded.bones)
        support = (folded.pair_pose != 0).any(axis=(1, 3))
        parts = partition(support, row_key=folded.pair_bone)
        self._pair_order = parts.row_order
        self.rotated = self._rotated_bones(parts)
        self.classes = tuple(self._bone_class(parts, i) for i in range(len(parts.classes)))
        self.num_shape_rows = 3 * (pairs + bones)
        self._levels = tuple(self._level(start, stop) for start, stop in _equal_runs(folded.depth[1:], 1))
        ordered_bones = folded.pair_bone[self._pair_order]
        self._bone_runs = tuple(
            (int(ordered_bones[start]), start, stop) for start, stop in _equal_runs(ordered_bones, 0)
        )
        sums = np.zeros((folded.num_joints, pairs + bones))
        sums[folded.pair_joint[self._pair_order], np.arange(pairs)] = 1.0
        sums[folded.pair_joint, pairs + folded.pair_bone] += folded.pair_weight
        self._sums = self._upload(sums)
        shape = np.concatenate([folded.pair_shape[self._pair_order], folded.rest_offsets])
        self._shape = shape.reshape(self.num_shape_rows, -1)
        self._dmpl_terms = self._upload(self._shape[:, 1 + folded.num_betas :])

        size = batch_size
        self._squared = self._empty(2, len(self.rotated), size)
        self._quaternion = self._empty(4, len(self.rotated), size)
        self._rot = self._empty(len(self.rotated), 9, size)
        self._terms = self._empty(self.num_shape_rows, size)
        self._world = self._empty(bones, 3, 3, size)
        self._widest = max((level.stop - level.start for level in self._levels), default=1)
        self._parent_world = self._empty(self._widest, 3, 3, size)
        self._summands = self._empty(pairs + bones, 3, size)
        self._joints = self._empty(folded.num_joints, 3 * size)

    def shape_terms(
        self,
        betas: Float[np.ndarray, betas],
        still: Sequence[tuple[BoneClass, Float[np.ndarray, "bones 3"]]] = (),
    ) -> Float[np.ndarray, shape_rows]:
        """Everything about a run of frames that does not change within it, float64.

        Parameters
        ----------
        betas
            Shape coefficients, as many as the folded model has.
        still
            Classes whose bones do not move in this run, each with its bones' rotation vectors in radians.
        """
        terms: np.ndarray = self._shape[:, 0] + self._shape[:, 1 : 1 + len(betas)] @ betas
        for bone_class, rotvecs in still:
            rotations = torch.from_numpy(np.ascontiguousarray(rotvecs, dtype=np.float64))[:, :, None]
            out = torch.empty(len(rotvecs), 9, 1, dtype=torch.float64)
            rotation_minus_identity(rotations, out, *_rotation_buffers(len(rotvecs)))
            terms[bone_class.rows] += bone_class.correctives @ out.numpy().reshape(-1)
        return terms

    def skin(
        self,
        rotvecs: Float[Tensor, "rotated 3 frames"],
        shape_terms: Float[Tensor, "shape_rows runs"],
        run_of_frame: Float[Tensor, "runs frames"],
        dmpls: Float[Tensor, "dmpls frames"] | None,
        moving: Sequence[BoneClass],
    ) -> Float[Tensor, "frames joints 3"]:
        """Joints of one batch, in metres, without the root translation.

        Parameters
        ----------
        rotvecs
            Rotation vectors of `rotated`, in radians. Bones outside the kinematic chain whose class is not
            in `moving` are not looked at.
        shape_terms
            A column a run of frames, from `shape_terms`.
        run_of_frame
            One where a frame belongs to a run, zero elsewhere.
        dmpls
            Soft-tissue coefficients, or None where no frame has any.
        moving
            The classes of bones that move in some run of the batch.
        """
        chain = len(self.folded.bones)
        for start, stop in runs(np.unique([*range(chain), *(bone for c in moving for bone in c.bones)])):
            rotation_minus_identity(
                rotvecs[start:stop],
                self._rot[start:stop],
                self._squared[:, start:stop],
                self._quaternion[:, start:stop],
            )
        torch.mm(shape_terms, run_of_frame, out=self._terms)
        if dmpls is not None and len(dmpls):
            self._terms.addmm_(self._dmpl_terms, dmpls)
        for bone_class in moving:
            for block in bone_class.blocks:
                features = self._rot[slice(*block.bones)].view(-1, self.batch_size)
                self._terms[slice(*block.rows)].addmm_(block.matrix, features)
        pairs = self.folded.num_pairs
        vectors = self._terms.view(-1, 3, self.batch_size)
        self._forward_kinematics(rest_offsets=vectors[pairs:], positions=self._summands[pairs:])
        for bone, start, stop in self._bone_runs:
            _rotate(self._world[bone], vectors[start:stop], out=self._summands[start:stop])
        torch.mm(self._sums, self._summands.view(len(self._summands), -1), out=self._joints)
        return self._joints.view(-1, 3, self.batch_size).permute(2, 0, 1).contiguous()

    def _forward_kinematics(
        self, rest_offsets: Float[Tensor, "bones 3 frames"], positions: Float[Tensor, "bones 3 frames"]
    ) -> None:
        """World rotations of the chain into ``_world``, world positions into `positions`.

        ``G_c = G_p Rot_c = G_p + G_p (Rot_c - I)`` and ``t_c = t_p + G_p offset_c`` for a child c of p.
        """
        local = self._rot.view(-1, 3, 3, self.batch_size)
        self._world[0].copy_(local[0])
        self._world[0].view(9, self.batch_size)[::4] += 1.0
        positions[0].copy_(rest_offsets[0])
        for level in self._levels:
            bones = slice(level.start, level.stop)
            parent = self._parent_world[: level.stop - level.start]
            world, position = self._world[bones], positions[bones]
            torch.index_select(self._world[: level.start], 0, level.parents, out=parent)
            world.copy_(parent)
            torch.index_select(positions[: level.start], 0, level.parents, out=position)
            for axis in range(3):
                world.addcmul_(parent[:, :, axis, None], local[bones, None, axis])
                position.addcmul_(parent[:, :, axis], rest_offsets[bones, None, axis])

    def _rotated_bones(self, parts: Partition) -> Int[np.ndarray, rotated]:
        chain = self.folded.bones
        by_class = [self.folded.pose_bones[columns] for columns in parts.classes]
        return np.concatenate([chain, *(bones[~np.isin(bones, chain)] for bones in by_class)])

    def _bone_class(self, parts: Partition, index: int) -> BoneClass:
        columns, reached = parts.classes[index], np.flatnonzero(parts.class_rows[index])
        row_of = {bone: row for row, bone in enumerate(self.rotated.tolist())}
        bones = np.array([row_of[bone] for bone in self.folded.pose_bones[columns].tolist()])
        columns, bones = columns[np.argsort(bones)], np.sort(bones)
        # (pairs, bones, 3, 9) -> three rows a pair, nine columns a bone
        correctives = self.folded.pair_pose[self._pair_order[reached]][:, :, columns]
        correctives = correctives.reshape(3 * len(reached), 9 * len(columns))
        blocks = []
        for row, end_row in runs(reached):
            first = int(np.searchsorted(reached, row))
            rows = slice(3 * first, 3 * (first + end_row - row))
            for bone, end_bone in runs(bones):
                column = int(np.searchsorted(bones, bone))
                block = correctives[rows, 9 * column : 9 * (column + end_bone - bone)]
                blocks.append(DenseBlock((3 * row, 3 * end_row), (bone, end_bone), self._upload(block)))
        rows_of_class = (3 * reached[:, None] + np.arange(3)).reshape(-1)
        return BoneClass(bones, rows_of_class, correctives, tuple(blocks))

    def _level(self, start: int, stop: int) -> Level:
        parents = torch.as_tensor(self.folded.parents[start:stop], dtype=torch.int64)
        return Level(start, stop, parents.to(self.device))

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=self.dtype).to(self.device)

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.device)


def rotation_minus_identity(
    rotvecs: Float[Tensor, "bones 3 frames"],
    out: Float[Tensor, "bones 9 frames"],
    squared: Float[Tensor, "2 bones frames"],
    quaternion: Float[Tensor, "4 bones frames"],
) -> None:
    """``Rot - I`` of rotation vectors, row-major, into `out`; holds for every angle, zero included.

    With theta the angle and ``(x, y, z, w) = sqrt(2) (sin(theta/2)/theta v, cos(theta/2))`` the scaled unit
    quaternion, ``Rot - I = [[-yy-zz, xy-zw, xz+yw], [xy+zw, -xx-zz, yz-xw], [xz-yw, yz+xw, -xx-yy]]``: no
    entry is a difference of nearly equal numbers, where ``1 - cos(theta)`` would be for small angles.

    Parameters
    ----------
    rotvecs
        In radians.
    squared, quaternion
        Scratch.
    """
    angle, scale = squared[0], squared[1]
    x, y, z, w = quaternion.unbind(0)
    torch.mul(rotvecs[:, 0], rotvecs[:, 0], out=angle)
    angle.addcmul_(rotvecs[:, 1], rotvecs[:, 1]).addcmul_(rotvecs[:, 2], rotvecs[:, 2])
    angle.clamp_(min=torch.finfo(angle.dtype).tiny).sqrt_()
    torch.mul(angle, 0.5, out=w)
    torch.sin(w, out=scale).mul_(2**0.5).div_(angle)
    w.cos_().mul_(2**0.5)
    torch.mul(rotvecs[:, 0], scale, out=x)
    torch.mul(rotvecs[:, 1], scale, out=y)
    torch.mul(rotvecs[:, 2], scale, out=z)
    for entry, first, second in ((1, x, y), (2, x, z), (5, y, z)):
        torch.mul(first, second, out=out[:, entry])
    out[:, 3::4].copy_(out[:, 1::4])
    out[:, 6].copy_(out[:, 2])
    out[:, 1].addcmul_(z, w, value=-1)
    out[:, 3].addcmul_(z, w)
    out[:, 2].addcmul_(y, w)
    out[:, 6].addcmul_(y, w, value=-1)
    out[:, 5].addcmul_(x, w, value=-1)
    out[:, 7].addcmul_(x, w)
    for square in (x, y, z):
        square.mul_(square)
    torch.add(y, z, out=out[:, 0]).neg_()
    torch.add(x, z, out=out[:, 4]).neg_()
    torch.add(x, y, out=out[:, 8]).neg_()


def add_translation(
    relative: Float[np.ndarray, "frames joints 3"],
    trans: Float[np.ndarray, "frames 3"],
    row_sums: Float[np.ndarray, joints],
) -> Float[np.ndarray, "frames joints 3"]:
    """World positions in float32: the sum is taken in float64 and rounded once."""
    world: np.ndarray = relative + row_sums[:, None] * trans[:, None, :].astype(np.float64)
    return world.astype(np.float32)


def resolve_device(device: str) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` as a device that is there.

    Raises
    ------
    DeviceError
        No such device. Asking for CUDA where there is none is never answered with the CPU.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"device {device!r} is unknown; choose auto, cpu, cuda or cuda:N") from error
    if wanted.type == "cpu":
        return "cpu"
    if wanted.type != "cuda":
        raise DeviceError(f"device {device!r} is not supported; choose auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (wanted.index or 0) >= count:
        raise DeviceError(
            f"device {device!r} is not there: torch sees {count} CUDA devices; use --device cpu, or install a "
            "CUDA build of torch and its driver"
        )
    return device


def _rotate(
    rotation: Float[Tensor, "3 3 frames"],
    vectors: Float[Tensor, "pairs 3 frames"],
    out: Float[Tensor, "pairs 3 frames"],
) -> None:
    torch.mul(rotation[None, :, 0], vectors[:, None, 0], out=out)
    out.addcmul_(rotation[None, :, 1], vectors[:, None, 1])
    out.addcmul_(rotation[None, :, 2], vectors[:, None, 2])


def _equal_runs(values: Int[np.ndarray, n], offset: int) -> list[tuple[int, int]]:
    """Ranges of equal consecutive values, each moved by `offset`."""
    if len(values) == 0:
        return []
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(start + offset, stop + offset) for start, stop in pairwise(cuts)]


def _rotation_buffers(num_bones: int) -> tuple[Tensor, Tensor]:
    return (
        torch.empty(2, num_bones, 1, dtype=torch.float64),
        torch.empty(4, num_bones, 1, dtype=torch.float64),
    )

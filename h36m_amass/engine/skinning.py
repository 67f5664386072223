"""Posed joints of a folded regressor: batches of frames, on any torch device, with one code path.

Frames are the last, contiguous axis of every array, so that each elementwise step runs over long rows. A batch is
five steps, each a handful of torch calls (``docs/folding.md`` counts their cost):

1. ``Rot - I`` of every bone that matters, by Rodrigues' formula in its quaternion form;
2. the shape terms and the pose correctives of all pairs, as one dense matrix product, and a few small ones;
3. forward kinematics, many bones of a depth at once;
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

from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.engine.sparsity import Partition, partition, runs

MAX_RUNS = 64
"""Runs of frames of one sequence that a batch may hold: those of 64 frames still fill one of 4096."""
SIZES = 8
"""Batches that are not full are computed in one of so many sizes, or units of few frames would be mostly padding."""
_GRAIN = 2**18
"""Numbers that the size of shared memory is rounded up to."""


@dataclass(frozen=True)
class Turn:
    """Vectors to turn by their bones' world rotations, as views of the skinner's buffers.

    Views are made once: making them for every batch costs as much as the arithmetic. They are made with `narrow`,
    `select` and `unbind`, because indexing with brackets wants a real device, even of fake tensors.
    """

    world_columns: tuple[Float[Tensor, "#vectors 3 frames"], ...]
    vector_rows: tuple[Float[Tensor, "vectors 1 frames"], ...]
    turned: Float[Tensor, "vectors 3 frames"]

    def run(self) -> None:
        torch.mul(self.world_columns[0], self.vector_rows[0], out=self.turned)
        self.turned.addcmul_(self.world_columns[1], self.vector_rows[1])
        self.turned.addcmul_(self.world_columns[2], self.vector_rows[2])


@dataclass(frozen=True)
class Branch:
    """Consecutive bones of one depth, whose parents are consecutive too or one and the same, as views.

    So nothing needs to be gathered: the parents of a body's bones nearly always lie so.
    """

    parent: Float[Tensor, "bones 3 3 frames"]
    parent_columns: tuple[Float[Tensor, "bones 3 1 frames"], ...]
    rotation_rows: tuple[Float[Tensor, "bones 1 3 frames"], ...]
    world: Float[Tensor, "bones 3 3 frames"]
    steps: Turn


@dataclass(frozen=True)
class DenseBlock:
    """Correctives of some rows of the rotations in some rows of the terms, each as (first, number)."""

    rows: tuple[int, int]
    bones: tuple[int, int]
    matrix: Float[Tensor, "3*pairs 9*bones"]


@dataclass(frozen=True)
class LeadBlock:
    """The block of the bones whose rotations lie right behind the slow features, so that one product takes both.

    A product of its own for the slow features would write all terms, only for the correctives to read and write
    them again: what bounds the engine is how often memory is passed over.

    Attributes
    ----------
    rows
        Rows of the terms, as (first, number).
    num_features
        Of the rotations.
    matrix
        Correctives, with room for the slow terms of a batch in front of them.
    """

    rows: tuple[int, int]
    num_features: int
    matrix: Float[Tensor, "3*pairs slow+9*bones"]


@dataclass(frozen=True)
class SumBlock:
    """The sum over pairs and bones for some joints, of the summands that any of them has, each as (first, number)."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    matrix: Float[Tensor, "joints summands"]


@dataclass(frozen=True)
class BoneClass:
    """Bones whose correctives reach the same pairs.

    When all of them are still over a run of frames, their rotations and their share are constants of that run: the
    share goes into the run's slow terms, and the blocks are skipped.

    Attributes
    ----------
    bones
        Rows of the rotations.
    span
        Their columns in ``poses``, three a bone, as a slice where they are consecutive.
    rows
        Rows of the pairs' vectors, three a pair.
    correctives
        Float64, for the share of still bones.
    blocks
        The same on the device.
    """

    bones: Int[np.ndarray, "bones"]
    span: slice | Int[np.ndarray, "3*bones"]
    rows: Int[np.ndarray, "rows"]
    correctives: Float[np.ndarray, "rows 9*bones"]
    blocks: tuple[DenseBlock, ...]


@dataclass(frozen=True)
class RotationRows:
    """How a batch gets the rotations that it needs, as half-open ranges of the skinner's `rotated` bones.

    Attributes
    ----------
    turning
        Computed for every frame.
    held
        Bones of the kinematic chain in still classes: one rotation a run of frames.
    """

    turning: tuple[tuple[int, int], ...]
    held: tuple[tuple[int, int], ...]


class Workspace:
    """Memory that skinners of one device and type share, of which one at a time computes a batch."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def take(self, length: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "at_least_length"]:
        """Room for so many numbers. What has been taken before is kept by those who use it still."""
        if self._memory is None or len(self._memory) < length:
            # Skinners of one body with and without soft tissue differ by a few rows.
            self._memory = torch.empty(-(-length // _GRAIN) * _GRAIN, dtype=dtype, device=device)
        return self._memory


@dataclass(frozen=True)
class Batch:
    """Buffers for batches of one number of frames, and the views of them that the steps of a batch need."""

    size: int
    scratch: Float[Tensor, "6 rotated frames"]
    features: Float[Tensor, "features frames"]
    rotations: Float[Tensor, "rotated 9 frames"]
    terms: Float[Tensor, "shape_rows frames"]
    world: Float[Tensor, "bones 3 3 frames"]
    summands: Float[Tensor, "pairs+bones 3*frames"]
    joints: Float[Tensor, "joints 3*frames"]
    rest_offsets: Float[Tensor, "bones 3 frames"]
    steps: Float[Tensor, "bones 3 frames"]
    branches: tuple[Branch, ...]
    pair_turns: tuple[Turn, ...]


class Skinner:
    """A folded regressor laid out for one device, with the buffers for its batches.

    Parameters
    ----------
    folded
        From `h36m_amass.body.folding.fold`.
    batch_size
        Frames a batch, at most.
    device
        Where to compute.
    dtype
        `torch.float32`, as `h36m_amass.build` uses it, or `torch.float64`.
    workspace
        Where the buffers lie; memory of its own if None.

    Attributes
    ----------
    rotated
        The bones whose rotations matter: those of the kinematic chain first, but its root, which has no
        correctives, behind the others.
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
        workspace: Workspace | None = None,
    ) -> None:
        self.folded = folded
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.dtype = dtype
        bones = len(folded.bones)
        support = (folded.pair_pose != 0).any(axis=(1, 3))
        # Of a joint that is a bone's position, the vector to be turned is zero.
        turned = np.flatnonzero(support.any(axis=1) | (folded.pair_shape != 0).any(axis=(1, 2)))
        pairs = len(turned)
        parts = partition(support[turned], row_key=folded.pair_bone[turned])
        self._pair_order = turned[parts.row_order]
        self.rotated = self._rotated_bones(parts)
        self.classes = tuple(self._bone_class(parts, i) for i in range(len(parts.classes)))
        self.num_shape_rows = 3 * (pairs + bones)
        sums = np.zeros((folded.num_joints, pairs + bones))
        sums[folded.pair_joint[self._pair_order], np.arange(pairs)] = 1.0
        bone_weights = np.zeros((folded.num_joints, bones))
        bone_weights[folded.pair_joint, folded.pair_bone] = folded.pair_weight
        sums[:, pairs:] = bone_weights @ _paths(folded.parents)
        self._sums = self._sum_blocks(sums, pairs)
        shape = np.concatenate([folded.pair_shape[self._pair_order], folded.rest_offsets])
        self._shape = shape.reshape(self.num_shape_rows, -1)

        self._max_slow = MAX_RUNS + folded.num_dmpls
        self._lead = self._lead_block()
        self._identity = torch.eye(3, dtype=dtype, device=self.device).view(3, 3, 1)
        self._workspace = workspace or Workspace()
        self._batches: dict[int, Batch] = {}
        self._rotation_rows: dict[frozenset[int], RotationRows] = {}

    def size_of_batch(self, num_frames: int) -> int:
        """Frames of the batch, padding included, in which `num_frames` are to be computed."""
        step = -(-self.batch_size // SIZES)
        return min(self.batch_size, -(-num_frames // step) * step)

    def slow_terms(
        self,
        betas: Float[np.ndarray, "runs betas"],
        first_poses: Float[np.ndarray, "runs 3*body_bones"],
        moving: frozenset[int],
        has_dmpls: bool = False,
    ) -> Float[np.ndarray, "shape_rows+9*held slow"]:
        """What the slow features of `skin` bring about, float64: a column a run of frames, then one a DMPL.

        Everything about a run that does not change within it goes into its one column: shape, the correctives of
        still bones, and behind these ``Rot - I`` of those bones that `rotation_rows` says are held.

        Parameters
        ----------
        betas
            Shape coefficients of each run, as many as the folded model has.
        first_poses
            Rotation vectors of the first frame of each run, in radians.
        moving
            Indices into `classes` of those whose bones move in some run.
        has_dmpls
            Whether there are columns for soft tissue.
        """
        num_shape, num_dmpls = 1 + self.folded.num_betas, self.folded.num_dmpls if has_dmpls else 0
        held = self.rotation_rows(moving).held
        num_held = sum(stop - start for start, stop in held)
        terms = np.zeros((self.num_shape_rows + 9 * num_held, len(betas) + num_dmpls))
        terms[: self.num_shape_rows, len(betas) :] = self._shape[:, num_shape : num_shape + num_dmpls]
        run_terms = terms[:, : len(betas)]
        run_terms[: self.num_shape_rows] = self._shape[:, :1] + self._shape[:, 1:num_shape] @ betas.T
        still = [bone_class for number, bone_class in enumerate(self.classes) if number not in moving]
        rotations = self._rotations([bone_class.bones for bone_class in still], first_poses)
        for bone_class in still:
            of_class = rotations[bone_class.bones].reshape(9 * len(bone_class.bones), -1)
            run_terms[bone_class.rows] += bone_class.correctives @ of_class
        first = self.num_shape_rows
        for start, stop in held:
            length = 9 * (stop - start)
            run_terms[first : first + length] = rotations[start:stop].reshape(length, -1)
            first += length
        return terms

    def skin(
        self,
        poses: Float[Tensor, "3*rotated frames"],
        slow_terms: Float[Tensor, "shape_rows+9*held slow"],
        slow_features: Float[Tensor, "slow frames"],
        moving: frozenset[int],
    ) -> Float[Tensor, "frames joints 3"]:
        """Joints of one batch, in metres, without the root translation.

        Parameters
        ----------
        poses
            As many frames as `size_of_batch` says. Rotation vectors of the `rotated` bones, in radians, three rows
            a bone; only those that are turning, as `rotation_rows` says, are looked at.
        slow_terms
            From the method of this name.
        slow_features
            A row a run of frames, at most `MAX_RUNS`, one where a frame belongs to it and zero elsewhere; then a row
            a DMPL, the soft-tissue coefficients, if `slow_terms` has columns for them.
        moving
            Indices into `classes` of those whose bones move in some run of the batch.
        """
        batch, rows = self._batch(poses.shape[1]), self.rotation_rows(moving)
        rotvecs = poses.view(-1, 3, batch.size)
        for start, stop in rows.turning:
            bones = (start, stop - start)
            rotation_minus_identity(
                rotvecs.narrow(0, *bones), batch.rotations.narrow(0, *bones), batch.scratch.narrow(1, *bones)
            )
        first = self.num_shape_rows
        for start, stop in rows.held:
            length = 9 * (stop - start)
            rotations = batch.rotations.narrow(0, start, stop - start).view(length, batch.size)
            torch.mm(slow_terms.narrow(0, first, length), slow_features, out=rotations)
            first += length
        led = self._lead if 0 in moving else None
        self._add_slow_terms(batch, slow_terms, slow_features, led)
        for number in sorted(moving):
            blocks = self.classes[number].blocks
            for block in blocks[1:] if number == 0 and led is not None else blocks:
                features = batch.rotations.narrow(0, *block.bones).view(-1, batch.size)
                batch.terms.narrow(0, *block.rows).addmm_(block.matrix, features)
        self._forward_kinematics(batch)
        for turn in batch.pair_turns:
            turn.run()
        for sums in self._sums:
            summands = batch.summands.narrow(0, *sums.columns)
            torch.mm(sums.matrix, summands, out=batch.joints.narrow(0, *sums.rows))
        # Torch transposes two axes several times as fast as it permutes three.
        return torch.t_copy(batch.joints.view(-1, batch.size)).view(batch.size, -1, 3)

    def rotation_rows(self, moving: frozenset[int]) -> RotationRows:
        """How a batch gets its rotations in which these of the `classes` move; kept, because every batch asks."""
        if moving not in self._rotation_rows:
            needed = np.zeros(len(self.rotated), dtype=bool)
            needed[: len(self.folded.bones)] = True
            turning = needed.copy()
            for number, bone_class in enumerate(self.classes):
                turning[bone_class.bones] = number in moving
            held = tuple(runs(np.flatnonzero(needed & ~turning)))
            self._rotation_rows[moving] = RotationRows(tuple(runs(np.flatnonzero(turning))), held)
        return self._rotation_rows[moving]

    def _rotations(
        self, bones: Sequence[Int[np.ndarray, "bones"]], poses: Float[np.ndarray, "runs 3*body_bones"]
    ) -> Float[np.ndarray, "rotated 9 runs"]:
        """``Rot - I`` of some of the `rotated` bones, float64; zero for the others."""
        rotations = np.zeros((len(self.rotated), 9, len(poses)))
        if bones:
            rows = np.concatenate(bones)
            columns = (3 * self.rotated[rows][:, None] + np.arange(3)).reshape(-1)
            rotvecs = np.ascontiguousarray(poses[:, columns].T, dtype=np.float64).reshape(len(rows), 3, len(poses))
            own, scratch = np.empty((len(rows), 9, len(poses))), np.empty((6, len(rows), len(poses)))
            rotation_minus_identity(*map(torch.from_numpy, (rotvecs, own, scratch)))
            rotations[rows] = own
        return rotations

    def _batch(self, size: int) -> Batch:
        """Buffers for batches of `size` frames; all sizes use the same memory."""
        if size not in self._batches:
            self._batches[size] = self._make_batch(size)
        return self._batches[size]

    def _make_batch(self, size: int) -> Batch:
        rotated, bones, joints = len(self.rotated), len(self.folded.bones), self.folded.num_joints
        pairs = len(self._pair_order)
        rows = (
            6 * rotated,
            self._max_slow + 9 * rotated,
            self.num_shape_rows,
            9 * bones,
            3 * (pairs + bones),
            3 * joints,
        )
        memory = self._workspace.take(sum(rows) * self.batch_size, self.dtype, self.device)
        ends = np.cumsum(rows).tolist()
        scratch, features, terms, world, summands, sums = (
            memory.narrow(0, (end - own) * size, own * size).view(own, size)
            for end, own in zip(ends, rows, strict=True)
        )
        rotations = features.narrow(0, self._max_slow, 9 * rotated).view(rotated, 9, size)
        world = world.view(bones, 3, 3, size)
        vectors, turned = terms.view(-1, 3, size), summands.view(-1, 3, size)
        rest_offsets, steps = vectors.narrow(0, pairs, bones), turned.narrow(0, pairs, bones)
        return Batch(
            size=size,
            scratch=scratch.view(6, rotated, size),
            features=features,
            rotations=rotations,
            terms=terms,
            world=world,
            summands=summands.view(pairs + bones, 3 * size),
            joints=sums.view(joints, 3 * size),
            rest_offsets=rest_offsets,
            steps=steps,
            branches=self._make_branches(rotations, world, rest_offsets, steps),
            pair_turns=self._make_pair_turns(vectors, world, turned),
        )

    def _add_slow_terms(
        self,
        batch: Batch,
        slow_terms: Float[Tensor, "shape_rows+9*held slow"],
        slow_features: Float[Tensor, "slow frames"],
        led: LeadBlock | None,
    ) -> None:
        """Begin the terms: what the slow features give, with the correctives of the lead block, if it moves."""
        begin, end = 0, 0
        if led is not None:
            num_slow = len(slow_features)
            begin, end = led.rows[0], sum(led.rows)
            unused = self._max_slow - num_slow
            columns = (unused, num_slow + led.num_features)
            _copy(slow_features, batch.features.narrow(0, unused, num_slow))
            _copy(slow_terms.narrow(0, *led.rows), led.matrix.narrow(1, unused, num_slow))
            torch.mm(
                led.matrix.narrow(1, *columns),
                batch.features.narrow(0, *columns),
                out=batch.terms.narrow(0, *led.rows),
            )
        for start, stop in ((0, begin), (end, self.num_shape_rows)):
            if stop > start:
                rows = (start, stop - start)
                torch.mm(slow_terms.narrow(0, *rows), slow_features, out=batch.terms.narrow(0, *rows))

    def _forward_kinematics(self, batch: Batch) -> None:
        """World rotations of the chain, and the way from each bone's parent to it.

        ``G_c = G_p Rot_c = G_p + G_p (Rot_c - I)`` for a child c of p. A position is the sum of the ways
        ``G_p offset_c`` from the root on, and is only ever needed in the sum over bones: that product sums the ways.
        """
        root = batch.rotations.select(0, len(self.folded.bones) - 1).view(3, 3, batch.size)
        torch.add(root, self._identity, out=batch.world.select(0, 0))
        _copy(batch.rest_offsets.select(0, 0), batch.steps.select(0, 0))
        for branch in batch.branches:
            torch.addcmul(branch.parent, branch.parent_columns[0], branch.rotation_rows[0], out=branch.world)
            branch.world.addcmul_(branch.parent_columns[1], branch.rotation_rows[1])
            branch.world.addcmul_(branch.parent_columns[2], branch.rotation_rows[2])
            branch.steps.run()

    def _make_branches(
        self,
        rotations: Float[Tensor, "rotated 9 frames"],
        world: Float[Tensor, "bones 3 3 frames"],
        rest_offsets: Float[Tensor, "bones 3 frames"],
        steps: Float[Tensor, "bones 3 frames"],
    ) -> tuple[Branch, ...]:
        size = rotations.shape[2]
        matrices = rotations.view(-1, 3, 3, size)
        branches = []
        for start, stop in _branches(self.folded.parents, self.folded.depth):
            bones, first = (start, stop - start), int(self.folded.parents[start])
            shared = first == self.folded.parents[stop - 1]
            parent = world.narrow(0, first, 1 if shared else stop - start).expand(stop - start, 3, 3, size)
            turn = Turn(
                world_columns=parent.unbind(2),
                vector_rows=_rows(rest_offsets.narrow(0, *bones)),
                turned=steps.narrow(0, *bones),
            )
            branches.append(
                Branch(
                    parent=parent,
                    parent_columns=tuple(column.unsqueeze(2) for column in turn.world_columns),
                    rotation_rows=_rows(matrices.narrow(0, start - 1, stop - start)),
                    world=world.narrow(0, *bones),
                    steps=turn,
                )
            )
        return tuple(branches)

    def _make_pair_turns(
        self,
        vectors: Float[Tensor, "pairs+bones 3 frames"],
        world: Float[Tensor, "bones 3 3 frames"],
        turned: Float[Tensor, "pairs+bones 3 frames"],
    ) -> tuple[Turn, ...]:
        bone_of_pair = self.folded.pair_bone[self._pair_order]
        return tuple(
            Turn(
                world_columns=world.narrow(0, int(bone_of_pair[start]), 1).unbind(2),
                vector_rows=_rows(vectors.narrow(0, start, stop - start)),
                turned=turned.narrow(0, start, stop - start),
            )
            for start, stop in equal_runs(bone_of_pair)
        )

    def _rotated_bones(self, parts: Partition) -> Int[np.ndarray, "rotated"]:
        chain = self.folded.bones
        by_class = [self.folded.pose_bones[columns] for columns in parts.classes]
        return np.concatenate([chain[1:], chain[:1], *(bones[~np.isin(bones, chain)] for bones in by_class)])

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
                extents = (3 * row, 3 * (end_row - row)), (bone, end_bone - bone)
                blocks.append(DenseBlock(*extents, self._upload(block)))
        rows_of_class = (3 * reached[:, None] + np.arange(3)).reshape(-1)
        pose_columns = (3 * self.rotated[bones][:, None] + np.arange(3)).reshape(-1)
        spans = runs(np.sort(pose_columns))
        span = slice(*spans[0]) if len(spans) == 1 else pose_columns
        return BoneClass(bones, span, rows_of_class, correctives, tuple(blocks))

    def _sum_blocks(self, sums: Float[np.ndarray, "joints pairs+bones"], pairs: int) -> tuple[SumBlock, ...]:
        """The sums in blocks: joints that are bones' positions have no pairs."""
        blocks = []
        for start, stop in equal_runs((sums[:, :pairs] != 0).any(axis=1)):
            first = 0 if (sums[start:stop, :pairs] != 0).any() else pairs
            extents = (start, stop - start), (first, sums.shape[1] - first)
            blocks.append(SumBlock(*extents, self._upload(sums[start:stop, first:])))
        return tuple(blocks)

    def _lead_block(self) -> LeadBlock | None:
        """The first block of the first class, where it begins with the first of the rotations."""
        blocks = self.classes[0].blocks if self.classes else ()
        if not blocks or blocks[0].bones[0] != 0:
            return None
        correctives = blocks[0].matrix
        shape = len(correctives), self._max_slow + correctives.shape[1]
        matrix = torch.empty(shape, dtype=self.dtype, device=self.device)
        _copy(correctives, matrix.narrow(1, self._max_slow, correctives.shape[1]))
        return LeadBlock(blocks[0].rows, correctives.shape[1], matrix)

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=self.dtype).to(self.device)


def rotation_minus_identity(
    rotvecs: Float[Tensor, "bones 3 frames"],
    out: Float[Tensor, "bones 9 frames"],
    scratch: Float[Tensor, "6 bones frames"],
) -> None:
    """``Rot - I`` of rotation vectors, row-major, into `out`; holds for every angle, zero included.

    With theta the angle, ``(x, y, z) = sin(theta/2)/(theta/2) v`` and ``w = cos(theta/2)``, which is the unit
    quaternion ``(x/2, y/2, z/2, w)``, ``Rot - I = [[-(yy+zz)/2, xy/2-zw, xz/2+yw], [xy/2+zw, -(xx+zz)/2, yz/2-xw],
    [xz/2-yw, yz/2+xw, -(xx+yy)/2]]``: no entry is a difference of nearly equal numbers, where ``1 - cos(theta)``
    would be for small angles. The halves cost nothing: `torch.addcmul` multiplies by them in passing.

    Parameters
    ----------
    rotvecs
        In radians.
    scratch
        Overwritten.
    """
    x, y, z, w, half, scale = scratch.unbind(0)
    components, entries = rotvecs.unbind(1), out.unbind(1)
    # (theta/2)^2, and with that of the smallest number sin(theta/2)/(theta/2) is 1 where theta is 0.
    tiny = torch.full((), torch.finfo(half.dtype).tiny, dtype=half.dtype, device=half.device)
    torch.addcmul(tiny, components[0], components[0], value=0.25, out=half)
    half.addcmul_(components[1], components[1], value=0.25).addcmul_(components[2], components[2], value=0.25).sqrt_()
    torch.sin(half, out=scale).div_(half)
    torch.cos(half, out=w)
    for component, part in zip(components, (x, y, z), strict=True):
        torch.mul(component, scale, out=part)
    zero = torch.zeros_like(tiny)
    for first, second, third, minus, plus in ((x, y, z, 1, 3), (z, x, y, 6, 2), (y, z, x, 5, 7)):
        torch.addcmul(zero, first, second, value=0.5, out=half)
        torch.addcmul(half, third, w, value=-1.0, out=entries[minus])
        torch.addcmul(half, third, w, out=entries[plus])
    for part, other in ((x, half), (y, scale), (z, w)):
        torch.addcmul(zero, part, part, value=-0.5, out=other)
    for entry, first, second in ((0, scale, w), (4, half, w), (8, half, scale)):
        torch.add(first, second, out=entries[entry])


def add_translation(
    relative: Float[np.ndarray, "frames joints 3"],
    trans: Float[np.ndarray, "frames 3"],
    row_sums: Float[np.ndarray, "joints"],
) -> Float[np.ndarray, "frames joints 3"]:
    """World positions in float32: the sum is taken in float64 and rounded once.

    Each joint's share is a product of matrices, with one number other than zero a column, because NumPy is slow over
    rows of three numbers.
    """
    share_of_joint = np.zeros((3, len(row_sums), 3))
    share_of_joint[range(3), :, range(3)] = row_sums
    shares = trans.astype(np.float64) @ share_of_joint.reshape(3, -1)
    world = np.empty(relative.shape, np.float32)
    np.add(relative.reshape(len(relative), -1), shares, out=world.reshape(len(world), -1), casting="same_kind")
    return world


def _copy(source: Tensor, out: Tensor) -> None:
    """``out[:] = source``, which `Tensor.copy_` would do from one device to another without a word."""
    torch.mul(source, 1.0, out=out)


def _paths(parents: Int[np.ndarray, "bones"]) -> Float[np.ndarray, "bones bones"]:
    """One where the second bone lies on the way from the root to the first, that itself included."""
    paths = np.eye(len(parents))
    for bone, parent in enumerate(parents.tolist()):
        if parent >= 0:
            paths[bone] += paths[parent]
    return paths


def _branches(parents: Int[np.ndarray, "bones"], depth: Int[np.ndarray, "bones"]) -> list[tuple[int, int]]:
    """Ranges of bones of one depth, whose parents are all the same, or each the next one."""
    ranges, start, steps = [], 1, np.diff(parents)
    for stop in range(2, len(parents) + 1):
        goes_on = stop < len(parents) and depth[stop] == depth[start] and steps[stop - 1] == steps[start] in (0, 1)
        if not goes_on:
            ranges.append((start, stop))
            start = stop
    return ranges


def _rows(vectors: Float[Tensor, "n 3 *rest"]) -> tuple[Float[Tensor, "n 1 *rest"], ...]:
    """The three rows of each, to be multiplied by columns."""
    return tuple(row.unsqueeze(1) for row in vectors.unbind(1))


def equal_runs(values: Int[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Ranges of equal consecutive values."""
    if len(values) == 0:
        return []
    return list(pairwise([0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]))

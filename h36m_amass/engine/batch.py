"""Buffers for one number of frames, and the views of them that the steps of a batch need.

Views are made once: making them for every batch costs as much as the arithmetic. They are made with `narrow`,
`as_strided` and `unbind`, because indexing with brackets wants a real device, even of fake tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor

from h36m_amass.engine.layout import Layout
from h36m_amass.engine.rotations import SCRATCH_ROWS, Rotations
from h36m_amass.engine.sparsity import progressions
from h36m_amass.engine.workspace import Memory

GATHER_FRAMES = 512
"""Up to so many frames the call of a step costs more than its arithmetic: vectors are turned in one go."""


@dataclass(frozen=True)
class Turn:
    """Vectors to turn by their bones' world rotations."""

    world_columns: tuple[Float[Tensor, "vectors 3 frames"], ...]
    vector_rows: tuple[Float[Tensor, "vectors 1 frames"], ...]
    turned: Float[Tensor, "vectors 3 frames"]

    def run(self) -> None:
        torch.mul(self.world_columns[0], self.vector_rows[0], out=self.turned)
        self.turned.addcmul_(self.world_columns[1], self.vector_rows[1])
        self.turned.addcmul_(self.world_columns[2], self.vector_rows[2])


@dataclass(frozen=True)
class Gather:
    """The world rotation of each vector's bone, beside one another."""

    world: Float[Tensor, "bones 9*frames"]
    bones: Int[Tensor, "vectors"]
    out: Float[Tensor, "vectors 9*frames"]

    def run(self) -> None:
        torch.index_select(self.world, 0, self.bones, out=self.out)


@dataclass(frozen=True)
class Branch:
    """Bones of one depth, whose parents and rotations lie at even steps: so nothing needs to be gathered."""

    parent: Float[Tensor, "bones 3 3 frames"]
    parent_columns: tuple[Float[Tensor, "bones 3 1 frames"], ...]
    rotation_rows: tuple[Float[Tensor, "bones 1 3 frames"], ...]
    world: Float[Tensor, "bones 3 3 frames"]

    def run(self) -> None:
        """``G_c = G_p Rot_c = G_p + G_p (Rot_c - I)`` for a child c of p."""
        torch.addcmul(self.parent, self.parent_columns[0], self.rotation_rows[0], out=self.world)
        self.world.addcmul_(self.parent_columns[1], self.rotation_rows[1])
        self.world.addcmul_(self.parent_columns[2], self.rotation_rows[2])


@dataclass(frozen=True)
class Batch:
    """What the steps of a batch of `size` frames work on.

    Attributes
    ----------
    features
        Rotations, with a one and the DMPLs behind those of the lead class, as `Layout` says.
    terms
        The vectors, three rows each.
    summands
        The vectors, turned.
    """

    size: int
    scratch: Float[Tensor, "scratch frames"]
    features: Float[Tensor, "features frames"]
    ones: Float[Tensor, "1 frames"]
    terms: Float[Tensor, "terms frames"]
    root: Float[Tensor, "3 3 frames"]
    world_root: Float[Tensor, "3 3 frames"]
    branches: tuple[Branch, ...]
    gather: Gather | None
    turns: tuple[Turn, ...]
    root_position: Float[Tensor, "3 frames"]
    root_summand: Float[Tensor, "3 frames"]
    summands: Float[Tensor, "vectors 3*frames"]
    joints: Float[Tensor, "joints 3*frames"]
    _rotations: dict[tuple[int, int], Rotations] = field(default_factory=dict)

    def rotations(self, rows: tuple[int, int]) -> Rotations:
        """Those of which these rows of the features are to be filled."""
        if rows not in self._rotations:
            scratch = self.scratch.narrow(0, 0, SCRATCH_ROWS * (rows[1] // 9))
            self._rotations[rows] = Rotations.into(self.features.narrow(0, *rows), scratch)
        return self._rotations[rows]


def buffer_length(layout: Layout, batch_size: int) -> int:
    """Numbers in the buffers of batches of all sizes; they use the same memory."""
    gathering = min(batch_size, GATHER_FRAMES)
    return max(sum(_rows(layout, size)) * size for size in (gathering, batch_size))


def make_batch(
    layout: Layout, size: int, memory: Float[Tensor, "at_least_length"], vector_bone: Int[Tensor, "vectors"]
) -> Batch:
    """Views of `memory`, for batches of `size` frames."""
    bones, vectors = len(layout.folded.bones), layout.num_vectors
    rows = _rows(layout, size)
    starts = accumulate(rows, initial=0)
    scratch, features, terms, world, summands, joints, gathered = (
        memory.narrow(0, start * size, number * size).view(number, size)
        for start, number in zip(starts, rows, strict=False)
    )
    matrices, by_vector, turned = world.view(bones, 3, 3, size), terms.view(-1, 3, size), summands.view(-1, 3, size)
    gather, turns = None, ()
    if vectors > 1 and size <= GATHER_FRAMES:
        gather = Gather(world.view(bones, 9 * size), vector_bone, gathered.view(-1, 9 * size))
        turns = (_turn(gathered.view(-1, 3, 3, size), by_vector, turned, (0, vectors - 1)),)
    elif vectors > 1:
        turns = _turns_by_bone(layout, matrices, by_vector, turned)
    root = layout.feature_rows((int(layout.chain[0]), 1))
    return Batch(
        size=size,
        scratch=scratch,
        features=features,
        ones=features.narrow(0, layout.first_slow, 1),
        terms=terms,
        root=features.narrow(0, *root).view(3, 3, size),
        world_root=matrices.select(0, 0),
        branches=_branches(layout, features, matrices),
        gather=gather,
        turns=turns,
        root_position=by_vector.select(0, vectors - 1),
        root_summand=turned.select(0, vectors - 1),
        summands=summands.view(vectors, 3 * size),
        joints=joints.view(-1, 3 * size),
    )


def _rows(layout: Layout, size: int) -> tuple[int, ...]:
    """Rows of scratch, features, terms, world rotations, summands, joints and gathered world rotations."""
    return (
        SCRATCH_ROWS * len(layout.rotated),
        layout.num_features,
        3 * layout.num_vectors,
        9 * len(layout.folded.bones),
        3 * layout.num_vectors,
        3 * layout.folded.num_joints,
        9 * (layout.num_vectors - 1) if size <= GATHER_FRAMES else 0,
    )


def _branches(
    layout: Layout, features: Float[Tensor, "features frames"], world: Float[Tensor, "bones 3 3 frames"]
) -> tuple[Branch, ...]:
    branches, parents = [], layout.folded.parents.tolist()
    rows = [layout.feature_rows((row, 1))[0] for row in layout.chain.tolist()]
    for start, stop in layout.branches:
        parent = _every(world, parents[start:stop], 9)
        branches.append(
            Branch(
                parent=parent,
                parent_columns=tuple(column.unsqueeze(2) for column in parent.unbind(2)),
                rotation_rows=_rows_of(_every(features, rows[start:stop], 1)),
                world=world.narrow(0, start, stop - start),
            )
        )
    return tuple(branches)


def _turns_by_bone(
    layout: Layout,
    world: Float[Tensor, "bones 3 3 frames"],
    vectors: Float[Tensor, "vectors 3 frames"],
    turned: Float[Tensor, "vectors 3 frames"],
) -> tuple[Turn, ...]:
    bones = layout.vector_bone.tolist()
    return tuple(
        _turn(_every(world, bones[start:stop], 9), vectors, turned, (start, stop - start))
        for start, stop in progressions(layout.vector_bone)
    )


def _turn(
    world: Float[Tensor, "some 3 3 frames"],
    vectors: Float[Tensor, "vectors 3 frames"],
    turned: Float[Tensor, "vectors 3 frames"],
    extent: tuple[int, int],
) -> Turn:
    return Turn(world.unbind(2), _rows_of(vectors.narrow(0, *extent)), turned.narrow(0, *extent))


def _every(rows: Float[Tensor, "..."], numbers: list[int], height: int) -> Float[Tensor, "n 3 3 frames"]:
    """The 3x3 matrices that begin at these rows, of so many times `height` rows, which lie at even steps."""
    size = rows.shape[-1]
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 0
    first = rows.storage_offset() + numbers[0] * height * size
    return rows.as_strided((len(numbers), 3, 3, size), (step * height * size, 3 * size, size, 1), first)


def _rows_of(matrices: Float[Tensor, "n 3 *rest"]) -> tuple[Float[Tensor, "n 1 *rest"], ...]:
    """The three rows of each, to be multiplied by columns."""
    return tuple(row.unsqueeze(1) for row in matrices.unbind(1))

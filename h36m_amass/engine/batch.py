"""The steps of a batch: torch calls on views of one piece of memory, made once for each number of frames.

Views are made with `narrow`, `as_strided` and `unbind`, because indexing with brackets wants a real device, even of
fake tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor

from h36m_amass.engine.layout import Layout, Plan
from h36m_amass.engine.rotations import SCRATCH_ROWS, Step
from h36m_amass.engine.sparsity import progressions

GATHER_FRAMES = 512
"""Up to so many frames a torch call costs more than its arithmetic, and vectors are turned all in one go."""


@dataclass(frozen=True)
class Buffers:
    """Memory of batches of `size` frames.

    Attributes
    ----------
    features
        Rotations, with a one and the DMPLs behind those of the lead class, as `Layout` says.
    terms
        The vectors, three rows each.
    world
        World rotations of the bones.
    summands
        The vectors, turned.
    gathered
        The world rotation of each vector's bone; nothing in large batches.
    """

    size: int
    scratch: Float[Tensor, "9*rotated frames"]
    features: Float[Tensor, "features frames"]
    terms: Float[Tensor, "3*vectors frames"]
    world: Float[Tensor, "9*bones frames"]
    summands: Float[Tensor, "3*vectors frames"]
    joints: Float[Tensor, "3*joints frames"]
    gathered: Float[Tensor, "9*turned frames"]

    @staticmethod
    def length(layout: Layout, batch_size: int) -> int:
        """Numbers in the buffers of batches of any size; all sizes use the same memory."""
        return max(sum(_rows(layout, size)) * size for size in (min(batch_size, GATHER_FRAMES), batch_size))

    @staticmethod
    def within(memory: Float[Tensor, "at_least_length"], layout: Layout, size: int) -> Buffers:
        rows = _rows(layout, size)
        views = (
            memory.narrow(0, start * size, number * size).view(number, size)
            for start, number in zip(accumulate(rows, initial=0), rows, strict=False)
        )
        return Buffers(size, *views)


def _rows(layout: Layout, size: int) -> tuple[int, ...]:
    vectors = layout.num_vectors
    return (
        SCRATCH_ROWS * len(layout.rotated),
        layout.num_features,
        3 * vectors,
        9 * len(layout.folded.bones),
        3 * vectors,
        3 * layout.folded.num_joints,
        9 * (vectors - 1) if size <= GATHER_FRAMES else 0,
    )


def kinematics(
    layout: Layout,
    plan: Plan,
    buffers: Buffers,
    held: Float[Tensor, "9*held 1"],
    identity: Float[Tensor, "3 3 1"],
) -> Iterator[Step]:
    """World rotations: ``G_c = G_p Rot_c = G_p + G_p (Rot_c - I)`` for a child c of p.

    Parents and rotations of a branch lie at even steps, so that nothing needs to be gathered.
    """
    world, size = buffers.world.view(-1, 3, 3, buffers.size), buffers.size
    root = buffers.features.narrow(0, int(plan.rotation_row[0]), 9).view(3, 3, size)
    yield partial(torch.add, root, identity, out=world.select(0, 0))
    for start, stop in plan.branches:
        rotation = _matrices(held if plan.is_held[start] else buffers.features, plan.rotation_row[start:stop].tolist())
        parent = _matrices(buffers.world, (9 * layout.folded.parents[start:stop]).tolist())
        out, columns = world.narrow(0, start, stop - start), [column.unsqueeze(2) for column in parent.unbind(2)]
        rows = _rows_of(rotation)
        yield partial(torch.addcmul, parent, columns[0], rows[0], out=out)
        yield partial(out.addcmul_, columns[1], rows[1])
        yield partial(out.addcmul_, columns[2], rows[2])


def turns(layout: Layout, buffers: Buffers, vector_bone: Int[Tensor, "turned"]) -> Iterator[Step]:
    """Each vector turned by its bone; the last one, the root's position, as it is."""
    size, number = buffers.size, layout.num_vectors - 1
    vectors, turned = buffers.terms.view(-1, 3, size), buffers.summands.view(-1, 3, size)
    yield partial(torch.mul, vectors.select(0, number), 1.0, out=turned.select(0, number))
    if size <= GATHER_FRAMES:
        world = buffers.world.view(-1, 9 * size)
        yield partial(torch.index_select, world, 0, vector_bone, out=buffers.gathered.view(number, 9 * size))
        stretches = [(0, number, buffers.gathered.view(number, 3, 3, size))]
    else:
        rows = (9 * layout.vector_bone).tolist()
        stretches = [
            (start, stop, _matrices(buffers.world, rows[start:stop]))
            for start, stop in progressions(layout.vector_bone)
        ]
    for start, stop, matrices in stretches:
        out, columns = turned.narrow(0, start, stop - start), matrices.unbind(2)
        components = _rows_of(vectors.narrow(0, start, stop - start))
        yield partial(torch.mul, columns[0], components[0], out=out)
        yield partial(out.addcmul_, columns[1], components[1])
        yield partial(out.addcmul_, columns[2], components[2])


def _matrices(rows: Float[Tensor, "rows frames"], first: list[int]) -> Float[Tensor, "n 3 3 frames"]:
    """The matrices of nine rows that begin at these, which lie at even steps."""
    size = rows.shape[1]
    step = (first[1] - first[0]) * size if len(first) > 1 else 0
    offset = rows.storage_offset() + first[0] * size
    return rows.as_strided((len(first), 3, 3, size), (step, 3 * size, size, 1), offset)


def _rows_of(matrices: Float[Tensor, "n 3 *rest"]) -> list[Float[Tensor, "n 1 *rest"]]:
    """The three rows of each, to be multiplied by columns."""
    return [row.unsqueeze(1) for row in matrices.unbind(1)]

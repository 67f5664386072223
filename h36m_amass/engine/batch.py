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

GATHER_FRAMES = 512  # frames of a batch on a CPU up to which rotations are gathered


@dataclass(frozen=True)
class Buffers:
    """Memory of batches of `size` frames."""

    size: int
    poses: Float[Tensor, "3*rotated frames"]  # rotation vectors in radians
    scratch: Float[Tensor, "9*rotated frames"]
    features: Float[Tensor, "features frames"]  # with a one and the DMPLs behind the lead class, as `Layout` says
    terms: Float[Tensor, "3*vectors frames"]
    world: Float[Tensor, "9*bones frames"]  # rotations
    gathered: Float[Tensor, "9*turned frames"]  # the world rotation of each vector's bone, or nothing: see `gathers`
    summands: Float[Tensor, "3*vectors frames"]  # the vectors, turned
    joints: Float[Tensor, "3*joints frames"]

    @staticmethod
    def length(layout: Layout, largest: int, device: torch.device) -> int:
        """Numbers in those of any size up to the largest; all sizes use the same memory."""
        sizes = min(largest, GATHER_FRAMES), largest
        return max(sum(_heights(layout, gathers(size, device))) * size for size in sizes)

    @staticmethod
    def within(memory: Float[Tensor, "at_least_length"], layout: Layout, size: int) -> Buffers:
        heights = _heights(layout, gathers(size, memory.device))
        views = (
            memory.narrow(0, start * size, height * size).view(height, size)
            for start, height in zip(accumulate(heights, initial=0), heights, strict=False)
        )
        return Buffers(size, *views)


def gathers(size: int, device: torch.device) -> bool:
    """Whether vectors are turned all in one go, by rotations that are gathered first.

    In small batches, and on a GPU, a torch call costs more than its arithmetic, and to gather less than a call per
    bone. In a large batch on a CPU, the number of passes over memory bounds the engine.
    """
    return device.type != "cpu" or size <= GATHER_FRAMES


def _heights(layout: Layout, is_gathered: bool) -> tuple[int, ...]:
    vectors = layout.num_vectors
    return (
        3 * len(layout.rotated),
        SCRATCH_ROWS * len(layout.rotated),
        layout.num_features,
        3 * vectors,
        9 * len(layout.folded.bones),
        9 * (vectors - 1) if is_gathered else 0,
        3 * vectors,
        3 * layout.folded.num_joints,
    )


def kinematics(
    layout: Layout, plan: Plan, buffers: Buffers, held: Float[Tensor, "9*held 1"], identity: Float[Tensor, "3 3 1"]
) -> Iterator[Step]:
    """World rotations: ``G_c = G_p Rot_c = G_p + G_p (Rot_c - I)`` for a child c of p.

    Parents and rotations of a branch lie at even steps, so that nothing needs to be gathered.
    """
    world, size = buffers.world.view(-1, 3, 3, buffers.size), buffers.size
    root = buffers.features.narrow(0, int(plan.rotation_row[0]), 9).view(3, 3, size)
    yield partial(torch.add, root, identity, out=world.select(0, 0))
    for start, stop in plan.branches:
        rotations = held if plan.is_held[start] else buffers.features
        rows = _matrices(rotations, plan.rotation_row[start:stop].tolist()).chunk(3, 1)
        parents = _matrices(buffers.world, (9 * layout.folded.parents[start:stop]).tolist())
        out, columns = world.narrow(0, start, stop - start), parents.chunk(3, 2)
        yield partial(torch.addcmul, parents, columns[0], rows[0], out=out)
        yield partial(out.addcmul_, columns[1], rows[1])
        yield partial(out.addcmul_, columns[2], rows[2])


def turns(layout: Layout, buffers: Buffers, vector_bone: Int[Tensor, "turned"]) -> Iterator[Step]:
    """Each vector turned by its bone; the last one, the root's position, as it is.

    All in one go where the rotations are gathered, else as many at a time as have their bones at even steps.
    """
    size, number = buffers.size, layout.num_vectors - 1
    vectors, summands = buffers.terms.view(-1, 3, size), buffers.summands.view(-1, 3, size)
    yield partial(torch.mul, vectors.select(0, number), 1.0, out=summands.select(0, number))
    if len(buffers.gathered):
        world, gathered = buffers.world.view(-1, 9 * size), buffers.gathered.view(number, 9 * size)
        yield partial(torch.index_select, world, 0, vector_bone, out=gathered)
        matrices = [(0, number, gathered.view(number, 3, 3, size))]
    else:
        rows, ranges = (9 * layout.vector_bone).tolist(), progressions(layout.vector_bone)
        matrices = [(start, stop, _matrices(buffers.world, rows[start:stop])) for start, stop in ranges]
    for start, stop, turning in matrices:
        columns, out = turning.unbind(2), summands.narrow(0, start, stop - start)
        components = vectors.narrow(0, start, stop - start).chunk(3, 1)
        yield partial(torch.mul, columns[0], components[0], out=out)
        yield partial(out.addcmul_, columns[1], components[1])
        yield partial(out.addcmul_, columns[2], components[2])


def _matrices(rows: Float[Tensor, "rows frames"], first: list[int]) -> Float[Tensor, "n 3 3 frames"]:
    """The matrices of nine rows that begin at these, which lie at even steps."""
    size = rows.shape[1]
    step = (first[1] - first[0]) * size if len(first) > 1 else 0
    offset = rows.storage_offset() + first[0] * size
    return rows.as_strided((len(first), 3, 3, size), (step, 3 * size, size, 1), offset)

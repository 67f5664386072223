"""Posed joints of a folded regressor: batches of frames, by the same steps on any torch device.

Frames are the last, contiguous axis of every array, so that each elementwise step runs over long rows. A batch is
five steps, each a handful of torch calls (``docs/folding.md`` counts their cost):

1. ``Rot - I`` of every bone that matters, by Rodrigues' formula in its quaternion form;
2. the shape terms and the pose correctives of all pairs, as one dense matrix product, and a few small ones;
3. forward kinematics, many bones of a depth at once;
4. each pair's vector turned by its bone, and the way from each bone's parent to it by that parent;
5. the sum over pairs and bones, as one matrix product.

Positions are relative to the root translation, which is added afterwards in float64 (`run.add_translation`), so that
float32 keeps its precision far from the origin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.engine.batch import Buffers, kinematics, turns
from h36m_amass.engine.layout import BoneClass, Layout, Span
from h36m_amass.engine.rotations import SCRATCH_ROWS, Numbers, Step, rotation_minus_identity, rotations
from h36m_amass.engine.sparsity import runs
from h36m_amass.engine.workspace import Workspace

TILE_FRAMES = 1024
"""Frames that a CPU computes at a time: what is computed of more would not stay in its cache until it is used."""
GRAIN = 32  # frames that the size of a small tile is a multiple of
GPU_GRAIN = 64  # frames of the smallest tile on a GPU


def padded_size(num_frames: int, largest: int, on_gpu: bool = False) -> int:
    """Frames of the tile, padding included, in which `num_frames` are computed, at most `largest`.

    Few sizes, because each has its views: multiples of `GRAIN`, and from 256 on eight from a power of two to the next.
    On a GPU, where each has a graph and padding costs next to nothing, powers of four.
    """
    bits = (num_frames - 1).bit_length()
    step = max(GPU_GRAIN, 2 ** (bits + bits % 2)) if on_gpu else max(GRAIN, 2 ** max(0, bits - 4))
    return min(largest, -(-num_frames // step) * step)


def translation_matrix(row_sums: Float[np.ndarray, "joints"]) -> Float[np.ndarray, "3 3*joints"]:
    """Translations times this are each joint's share of them, ``r_k trans``."""
    # A product of matrices, because NumPy is slow over rows of three numbers.
    return np.kron(row_sums, np.eye(3))


class StillTerms(NamedTuple):
    """The share of still bones in the terms, and ``Rot - I`` of the bones that `Plan.held` names."""

    terms: Float[np.ndarray, "terms"]
    held: Float[np.ndarray, "9*held"]


class StillBones:
    """What bones that hold one pose over a run bring about: constants of the run, computed once and in float64.

    The last ones are kept: most recordings of a dataset hold their fingers alike.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: dict[frozenset[int], tuple[bytes, StillTerms]] = {}

    def terms(self, pose: Float[np.ndarray, "3*body_bones"], moving: frozenset[int]) -> StillTerms:
        """Where those of the classes that are not `moving` are as in `pose`."""
        layout = self._layout
        still = [bone_class for number, bone_class in enumerate(layout.classes) if number not in moving]
        key = b"".join([pose[bone_class.columns].tobytes() for bone_class in still])
        last = self._last.get(moving)
        if last is None or last[0] != key:
            rotations = np.zeros((len(layout.rotated), 9))
            terms = np.zeros(3 * layout.num_vectors)
            for bone_class in still:
                first, number = bone_class.bones
                rotvecs = torch.from_numpy(pose[bone_class.columns].astype(np.float64))
                of_class = rotation_minus_identity(rotvecs.view(number, 3, 1)).numpy()[:, :, 0]
                rotations[first : first + number] = of_class
                terms[bone_class.rows] += bone_class.correctives @ of_class.reshape(-1)
            held = rotations[layout.plan(moving).held].reshape(-1)
            last = self._last[moving] = key, StillTerms(terms, held)
        return last[1]


@dataclass(frozen=True)
class Batch:
    """Memory for the frames of one tile, and what computes their joints from what is written there."""

    spans: tuple[Span, ...]  # of the layout's `rotated` bones: those whose poses are read
    poses: Float[Tensor, "3*rotated frames"]  # rotation vectors in radians
    dmpls: Float[Tensor, "dmpls frames"]
    joints: Float[Tensor, "3*joints frames"]  # in metres, without the root translation
    steps: tuple[Step, ...]

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Poses, DMPLs and joints as NumPy sees them, on a CPU."""
        return self.poses.numpy(), self.dmpls.numpy(), self.joints.numpy()

    @torch.inference_mode()
    def run(self) -> None:
        for step in self.steps:
            step()


class Skinner:
    """A folded regressor laid out for one device, with the buffers for its batches.

    `folded` is from `h36m_amass.body.folding.fold`, a batch has `batch_size` frames at most, and `dtype` is
    `torch.float32`, as `h36m_amass.build` uses it, or `torch.float64`. The buffers lie in `workspace`, or in memory of
    its own.

    `constants` is where the constants of a run are written before its batches: the sum of the shape terms and the
    still bones' terms, and behind them ``Rot - I`` of the held bones.
    """

    def __init__(
        self,
        folded: FoldedRegressor,
        batch_size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        workspace: Workspace | None = None,
    ) -> None:
        self.folded, self.batch_size = folded, batch_size
        self.device, self.dtype = torch.device(device), dtype
        self.tile_size = min(batch_size, TILE_FRAMES) if self.device.type == "cpu" else batch_size
        self.workspace = workspace or Workspace()
        self.layout = layout = Layout(folded)
        self.still_bones = StillBones(layout)
        self._numbers = Numbers.on(self.device, dtype)
        self._vector_bone = torch.from_numpy(layout.vector_bone).to(self.device)
        lead_rows, dmpls = layout.num_lead_rows, layout.shape[:, 1 + folded.num_betas :]
        correctives = layout.classes[0].correctives if layout.classes else np.zeros((0, 0))
        # The column between is for the constants of a run.
        lead = [correctives, np.zeros((lead_rows, 1)), dmpls[:lead_rows]]
        self._lead = self._upload(np.concatenate(lead, axis=1))
        self._rest = self._upload(dmpls[lead_rows:])
        self.constants = self._upload(np.zeros((3 * layout.num_vectors + 9 * len(folded.bones), 1)))
        self._correctives = [[], *map(self._row_blocks, layout.classes[1:])]
        self.row_sums = torch.from_numpy(folded.row_sums).to(self.device)
        self.translation_matrix = translation_matrix(folded.row_sums)
        self._sums = tuple((block.joints, block.vectors, self._upload(block.matrix)) for block in layout.sums())
        self.programs: dict[tuple[Any, ...], Any] = {}  # of a GPU, see `on_gpu.Program`
        self._batches: dict[tuple[int, frozenset[int], bool], Batch] = {}

    def shape_terms(self, betas: Float[np.ndarray, "betas"]) -> Float[np.ndarray, "terms"]:
        """What the shape of a body brings about in the terms, float64; betas as many as the folded model has."""
        shape = self.layout.shape
        terms: np.ndarray = shape[:, 0] + shape[:, 1 : 1 + self.folded.num_betas] @ betas
        return terms

    def moving_classes(self, poses: Float[np.ndarray, "frames 3*body_bones"]) -> frozenset[int]:
        """Indices of the classes of bones that do not hold one pose throughout."""
        poses_of_classes = [poses[:, bone_class.columns] for bone_class in self.layout.classes]
        # Most bones that move at all are elsewhere at the end, which spares a look at every frame.
        moving = [(bones[-1] != bones[0]).any() or (bones != bones[0]).any() for bones in poses_of_classes]
        return frozenset(number for number, moves in enumerate(moving) if moves)

    def batch(self, num_frames: int, moving: frozenset[int], has_dmpls: bool) -> Batch:
        """The batch for so many frames, `tile_size` at most, of a run in which the classes `moving` move.

        It has more frames, as `padded_size` says. All batches lie in the same memory: one is written, run and read
        before the next.
        """
        key = padded_size(num_frames, self.tile_size, self.device.type != "cpu"), moving, has_dmpls
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = self._make_batch(*key)
        return batch

    def _make_batch(self, size: int, moving: frozenset[int], has_dmpls: bool) -> Batch:
        layout = self.layout
        length = Buffers.length(layout, self.tile_size, self.device)
        memory = self.workspace.take(length, self.dtype, self.device)
        buffers, plan = Buffers.within(memory, layout, size), layout.plan(moving)
        first_held = 3 * layout.num_vectors
        held = self.constants.narrow(0, first_held, 9 * len(plan.held))
        steps: list[Step] = []
        for span in plan.spans:
            first, number = span.bones
            rotvecs = buffers.poses.narrow(0, 3 * first, 3 * number)
            scratch = buffers.scratch.narrow(0, 0, SCRATCH_ROWS * number)
            out = buffers.features.narrow(0, *layout.feature_rows(span.bones))
            steps += rotations(rotvecs, out, scratch, self._numbers)
        steps += [
            *self._term_steps(buffers, moving, has_dmpls),
            *kinematics(layout, plan, buffers, held, self._numbers.identity),
            *turns(layout, buffers, self._vector_bone),
        ]
        summands, joints = (rows.view(-1, 3 * size) for rows in (buffers.summands, buffers.joints))
        for rows, vectors, matrix in self._sums:
            steps.append(partial(torch.mm, matrix, summands.narrow(0, *vectors), out=joints.narrow(0, *rows)))
        dmpls = buffers.features.narrow(0, layout.first_slow + 1, layout.num_slow - 1)
        return Batch(plan.spans, buffers.poses, dmpls, buffers.joints, tuple(steps))

    def _term_steps(self, buffers: Buffers, moving: frozenset[int], has_dmpls: bool) -> Iterator[Step]:
        """All vectors before they are turned.

        Rotations of the lead class lie right before the slow features, so that one product takes both. A product of
        its own for the slow features would write all terms, only for the correctives to read and write them again:
        the number of passes over memory bounds the engine.
        """
        layout, features, terms = self.layout, buffers.features, buffers.terms
        lead_rows, first_slow = layout.num_lead_rows, layout.first_slow
        num_slow = layout.num_slow if has_dmpls else 1
        rest = lead_rows, 3 * layout.num_vectors - lead_rows
        ones = features.narrow(0, first_slow, 1)
        yield partial(ones.fill_, 1.0)
        if lead_rows:
            lead = 9 * layout.lead[1]
            yield partial(_copy, self.constants.narrow(0, 0, lead_rows), self._lead.narrow(1, lead, 1))
            skipped = 0 if 0 in moving else lead
            columns = skipped, lead + num_slow - skipped
            factors = features.narrow(0, first_slow - lead + skipped, columns[1])
            yield partial(torch.mm, self._lead.narrow(1, *columns), factors, out=terms.narrow(0, 0, lead_rows))
        yield partial(torch.mul, self.constants.narrow(0, *rest), ones, out=terms.narrow(0, *rest))
        if has_dmpls:
            yield partial(terms.narrow(0, *rest).addmm_, self._rest, features.narrow(0, first_slow + 1, num_slow - 1))
        for number in sorted(moving - {0}):
            factors = features.narrow(0, *layout.feature_rows(layout.classes[number].bones))
            for rows, correctives in self._correctives[number]:
                yield partial(terms.narrow(0, *rows).addmm_, correctives, factors)

    def _row_blocks(self, bone_class: BoneClass) -> list[tuple[tuple[int, int], Tensor]]:
        """Correctives of a class for consecutive rows of the terms, as (first, number)."""
        blocks, first = [], 0
        for start, stop in runs(bone_class.rows):
            rows = bone_class.correctives[first : first + stop - start]
            blocks.append(((start, stop - start), self._upload(rows)))
            first += stop - start
        return blocks

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self.dtype)


def _copy(source: Tensor, out: Tensor) -> None:
    """``out[:] = source`` on one device; `Tensor.copy_` would silently copy between devices."""
    torch.mul(source, 1.0, out=out)

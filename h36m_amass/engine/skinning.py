"""Posed joints of a folded regressor: batches of frames, on any torch device, with one code path.

Frames are the last, contiguous axis of every array, so that each elementwise step runs over long rows. A batch is
five steps, each a handful of torch calls (``docs/folding.md`` counts their cost):

1. ``Rot - I`` of every bone that matters, by Rodrigues' formula in its quaternion form;
2. the shape terms and the pose correctives of all pairs, as one dense matrix product, and a few small ones;
3. forward kinematics, many bones of a depth at once;
4. each pair's vector turned by its bone, and the way from each bone's parent to it by that parent;
5. the sum over pairs and bones, as one matrix product.

Positions are relative to the root translation, which is added afterwards in float64 (`translation.add_translation`),
so that float32 keeps its precision far from the origin.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.engine.batch import Batch, buffer_length, make_batch
from h36m_amass.engine.layout import Layout
from h36m_amass.engine.rotations import Constants
from h36m_amass.engine.sparsity import runs
from h36m_amass.engine.still_bones import StillBones
from h36m_amass.engine.workspace import Workspace

GRAIN = 32
"""Frames that the size of a small batch is a multiple of."""


def padded_size(num_frames: int, batch_size: int) -> int:
    """Frames of the batch, padding included, in which `num_frames` are computed.

    Few sizes, because each has its views: multiples of `GRAIN`, and farther up eight sizes from one power of two to
    the next.
    """
    step = max(GRAIN, 2 ** max(0, (num_frames - 1).bit_length() - 4))
    return min(batch_size, -(-num_frames // step) * step)


class Skinner:
    """A folded regressor laid out for one device, with the buffers for its batches.

    Parameters
    ----------
    folded
        From `h36m_amass.body.folding.fold`.
    batch_size
        Frames per batch, at most.
    device
        Where to compute.
    dtype
        `torch.float32`, as `h36m_amass.build` uses it, or `torch.float64`.
    workspace
        Where the buffers lie; memory of its own if None.

    Attributes
    ----------
    layout
        Rows and ranges of everything.
    still_bones
        What bones that hold one pose bring about.
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
        self.workspace = workspace or Workspace()
        self.layout = layout = Layout(folded)
        self.still_bones = StillBones(layout)
        self._numbers = Constants.on(self.device, dtype)
        self._vector_bone = torch.as_tensor(layout.vector_bone).to(self.device)
        # Correctives of the lead class, then what the slow features bring about, a one first: it has no values yet.
        slow = np.concatenate([np.zeros((len(layout.shape), 1)), layout.shape[:, 1 + folded.num_betas :]], axis=1)
        lead_rows = layout.num_lead_rows
        correctives = layout.classes[0].correctives if layout.classes else np.zeros((0, 0))
        self._lead = self._upload(np.concatenate([correctives, slow[:lead_rows]], axis=1))
        self._rest = self._upload(slow[lead_rows:])
        self._correctives = [self._row_blocks(number) for number in range(len(layout.classes))]
        self._sums = tuple((block.joints, block.vectors, self._upload(block.matrix)) for block in layout.sums)
        self._batches: dict[int, Batch] = {}

    def shape_terms(self, betas: Float[np.ndarray, "betas"]) -> Float[np.ndarray, "terms"]:
        """What the shape of a body brings about in the terms, float64; betas as many as the folded model has."""
        shape = self.layout.shape
        terms: np.ndarray = shape[:, 0] + shape[:, 1 : 1 + self.folded.num_betas] @ betas
        return terms

    def moving_classes(self, poses: Float[np.ndarray, "frames 3*body_bones"]) -> frozenset[int]:
        """Indices of those classes of bones that do not hold one pose throughout."""
        first = poses[0]
        # Most bones that move at all are elsewhere at the end, which spares a look at every frame.
        at_the_end = first != poses[-1]
        columns = (bone_class.columns for bone_class in self.layout.classes)
        return frozenset(
            number
            for number, own in enumerate(columns)
            if at_the_end[own].any() or (poses[:, own] != first[own]).any()
        )

    @torch.inference_mode()
    def skin(
        self,
        poses: Float[Tensor, "3*rotated frames"],
        constants: Float[Tensor, "terms+9*held 1"],
        dmpls: Float[Tensor, "dmpls frames"] | None,
        moving: frozenset[int],
    ) -> Float[Tensor, "frames joints 3"]:
        """Joints of one batch, in metres, without the root translation.

        Parameters
        ----------
        poses
            As many frames as `padded_size` says. Rotation vectors of the `rotated` bones of the layout, in radians,
            three rows per bone; only those in spans of its plan are looked at.
        constants
            The sum of the shape terms and the still bones' terms, and behind them ``Rot - I`` of the held bones.
        dmpls
            Soft-tissue coefficients, or None for zeros.
        moving
            Indices of the classes of bones that move.
        """
        batch, layout = self._batch(poses.shape[1]), self.layout
        plan, num_terms = layout.plan(moving), 3 * layout.num_vectors
        for span in plan.spans:
            rotations = batch.rotations(layout.feature_rows(span.bones))
            rotations.compute(poses.narrow(0, 3 * span.bones[0], 3 * span.bones[1]), self._numbers)
        batch.ones.fill_(1.0)
        if dmpls is not None:
            _copy(dmpls, batch.features.narrow(0, layout.first_slow + 1, len(dmpls)))
        first = num_terms
        for bones in plan.held:
            start, length = layout.feature_rows(bones)
            torch.mul(constants.narrow(0, first, length), batch.ones, out=batch.features.narrow(0, start, length))
            first += length
        self._compute_terms(batch, constants, dmpls is not None, moving)
        torch.add(batch.root, self._numbers.identity, out=batch.world_root)
        for branch in batch.branches:
            branch.run()
        if batch.gather is not None:
            batch.gather.run()
        for turn in batch.turns:
            turn.run()
        _copy(batch.root_position, batch.root_summand)
        for joints, vectors, matrix in self._sums:
            torch.mm(matrix, batch.summands.narrow(0, *vectors), out=batch.joints.narrow(0, *joints))
        # Torch transposes two axes several times as fast as it permutes three.
        return torch.t_copy(batch.joints.view(-1, batch.size)).view(batch.size, -1, 3)

    def _compute_terms(
        self, batch: Batch, constants: Float[Tensor, "terms+9*held 1"], has_dmpls: bool, moving: frozenset[int]
    ) -> None:
        """All vectors before they are turned.

        Rotations of the lead class lie right before the slow features, so that one product takes both. A product of
        its own for the slow features would write all terms, only for the correctives to read and write them again:
        what bounds the engine is how often memory is passed over.
        """
        layout = self.layout
        lead_rows, first_slow = layout.num_lead_rows, layout.first_slow
        num_rest = 3 * layout.num_vectors - lead_rows
        num_slow = layout.num_slow if has_dmpls else 1
        if lead_rows:
            lead = 9 * layout.lead[1]
            _copy(constants.narrow(0, 0, lead_rows), self._lead.narrow(1, lead, 1))
            skipped = 0 if 0 in moving else lead
            number = lead + num_slow - skipped
            features = batch.features.narrow(0, first_slow - lead + skipped, number)
            torch.mm(self._lead.narrow(1, skipped, number), features, out=batch.terms.narrow(0, 0, lead_rows))
        _copy(constants.narrow(0, lead_rows, num_rest), self._rest.narrow(1, 0, 1))
        slow_features = batch.features.narrow(0, first_slow, num_slow)
        torch.mm(self._rest.narrow(1, 0, num_slow), slow_features, out=batch.terms.narrow(0, lead_rows, num_rest))
        for number in sorted(moving - {0}):
            features = batch.features.narrow(0, *layout.feature_rows(layout.classes[number].bones))
            for rows, correctives in self._correctives[number]:
                batch.terms.narrow(0, *rows).addmm_(correctives, features)

    def _batch(self, size: int) -> Batch:
        """Buffers for batches of `size` frames; all sizes use the same memory."""
        if size not in self._batches:
            memory = self.workspace.buffers.take(buffer_length(self.layout, self.batch_size), self.dtype, self.device)
            self._batches[size] = make_batch(self.layout, size, memory, self._vector_bone)
        return self._batches[size]

    def _row_blocks(self, number: int) -> list[tuple[tuple[int, int], Tensor]]:
        """Correctives of a class but the lead one for consecutive rows of the terms, as (first, number)."""
        if number == 0:
            return []
        bone_class, blocks, first = self.layout.classes[number], [], 0
        for start, stop in runs(bone_class.rows):
            rows = bone_class.correctives[first : first + stop - start]
            blocks.append(((start, stop - start), self._upload(rows)))
            first += stop - start
        return blocks

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=self.dtype).to(self.device)


def _copy(source: Tensor, out: Tensor) -> None:
    """``out[:] = source``, which `Tensor.copy_` would do from one device to another without a word."""
    torch.mul(source, 1.0, out=out)

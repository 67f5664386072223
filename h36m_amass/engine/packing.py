"""Frames of many sequences packed into full batches, whatever their lengths: short ones cost what long ones do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from threadpoolctl import ThreadpoolController
from torch import Tensor

from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.engine.skinning import MAX_RUNS, Skinner, add_translation, equal_runs

_T = TypeVar("_T")

_settings = RLock()


@dataclass(frozen=True)
class PoseBlock:
    """A run of frames of one sequence.

    Attributes
    ----------
    betas
        Shape coefficients, as many as the body model has.
    poses
        Rotation vectors of all bones, in radians.
    dmpls
        Soft-tissue coefficients, as many as the body model has, or None for zeros.
    frames
        Which of these frames are wanted, ascending.
    """

    betas: Float[np.ndarray, "betas"]
    poses: Float[np.ndarray, "all_frames 3*bones"]
    dmpls: Float[np.ndarray, "all_frames dmpls"] | None
    frames: Int[np.ndarray, "frames"]

    @staticmethod
    def whole(
        betas: Float[np.ndarray, "betas"],
        poses: Float[np.ndarray, "frames 3*bones"],
        dmpls: Float[np.ndarray, "frames dmpls"] | None,
    ) -> PoseBlock:
        """A block of which every frame is wanted."""
        return PoseBlock(betas, poses, dmpls, np.arange(len(poses)))

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class _Piece:
    """Consecutive ones of a block's wanted frames, which lie in one batch."""

    block: PoseBlock
    frames: Int[np.ndarray, "frames"]
    moving: frozenset[int]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class _Staging:
    """Host memory of one batch in flight: page-locked where the device is not the CPU, so that copies run aside.

    Attributes
    ----------
    by_frame
        Poses as recordings have them.
    joints
        What the skinner gives, on its way from another device.
    """

    by_frame: Float[np.ndarray, "frames 3*bones"]
    joints: Float[Tensor, "frames joints 3"]
    _poses: Float[Tensor, "3*rotated*frames"]

    @staticmethod
    def allocate(skinner: Skinner) -> _Staging:
        size, folded = skinner.batch_size, skinner.folded
        by_frame = np.zeros((size, 3 * folded.num_body_bones), torch.empty(0, dtype=skinner.dtype).numpy().dtype)
        joints = (size if skinner.device.type != "cpu" else 0, folded.num_joints, 3)
        return _Staging(by_frame, _host_zeros(skinner, *joints), _host_zeros(skinner, 3 * len(skinner.rotated) * size))

    def poses(self, num_frames: int) -> Float[Tensor, "3*rotated frames"]:
        """Room for the poses of so many frames as the skinner takes them."""
        rows = len(self._poses) // len(self.by_frame)
        return self._poses.narrow(0, 0, rows * num_frames).view(rows, num_frames)


def relative_joints(
    skinner: Skinner, blocks: Iterable[tuple[_T, PoseBlock]]
) -> Iterator[tuple[_T, Float[np.ndarray, "frames joints 3"]]]:
    """Joints of each block, in their order, in metres and without the root translation.

    Blocks are cut and joined into batches of `skinner.batch_size` frames; one that is not full, as the last, is padded
    to the next of a few sizes. One batch is computed while the one before it is copied back.

    Parameters
    ----------
    blocks
        Each with whatever the caller wants to have back with its joints.
    """
    slots = [_Staging.allocate(skinner) for _ in range(2)]
    waiting = _Waiting[_T]()
    in_flight: tuple[Tensor, int, torch.cuda.Event | None] | None = None
    for number, pieces in enumerate(_batches(skinner, waiting.watch(blocks))):
        staging = slots[number % 2]
        joints, event = _launch(skinner, staging, pieces)
        launched = (joints, sum(map(len, pieces)), event)
        if in_flight is not None:
            yield from waiting.complete(_collect(*in_flight))
        in_flight = launched
    if in_flight is not None:
        yield from waiting.complete(_collect(*in_flight))


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

    Parameters
    ----------
    folded
        From `h36m_amass.body.folding.fold`.
    betas, poses, trans, dmpls
        As in an AMASS recording; betas and dmpls as many as the folded model has.
    batch_size, device
        See `Skinner`.

    Raises
    ------
    ValueError
        The shapes do not fit the folded model.
    """
    num_columns = 3 * folded.num_body_bones
    shapes = {
        "betas": (np.shape(betas), (folded.num_betas,)),
        "poses": (np.shape(poses), (len(poses), num_columns)),
        "trans": (np.shape(trans), (len(poses), 3)),
    }
    if dmpls is not None:
        shapes["dmpls"] = np.shape(dmpls), (len(poses), folded.num_dmpls)
    for name, (shape, wanted) in shapes.items():
        if shape != wanted:
            raise ValueError(f"{name} have shape {shape}, and the folded model needs {wanted}")
    if len(poses) == 0:
        return np.zeros((0, folded.num_joints, 3), np.float32)
    skinner = Skinner(folded, batch_size, device)
    block = PoseBlock.whole(np.asarray(betas, float), poses, dmpls)
    with reproducible():
        ((_, relative),) = relative_joints(skinner, [(None, block)])
    return add_translation(relative, trans, folded.row_sums)


@contextmanager
def reproducible() -> Iterator[None]:
    """Matrix products in true float32 and on one CPU thread, whatever the caller's process has set.

    TF32 and bfloat16 are too coarse, and the number of threads changes the order of sums: the same input would
    not give the same bytes with another number of workers. NumPy's threads, too, would wait for work on the cores
    of other workers. The settings are the process's, so threads take turns.
    """
    products: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with _settings, _numpy_blas().limit(limits=1):
        before, threads = [product.fp32_precision for product in products], torch.get_num_threads()
        for product in products:
            product.fp32_precision = "ieee"
        torch.set_num_threads(1)
        try:
            yield
        finally:
            for product, precision in zip(products, before, strict=True):
                product.fp32_precision = precision
            torch.set_num_threads(threads)


def keep_to_one_thread() -> None:
    """Have NumPy compute on one thread for good: others would start, and wait for work, between any two units."""
    _numpy_blas().limit(limits=1)


@lru_cache(maxsize=1)
def _numpy_blas() -> ThreadpoolController:
    """The threads of NumPy's matrix products; looking for them takes some milliseconds."""
    return ThreadpoolController().select(user_api="blas")


class _Waiting(Generic[_T]):
    """Blocks whose joints are not all there yet, in order."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[_T, int]] = deque()
        self._parts: list[np.ndarray] = []
        self._missing = 0

    def watch(self, blocks: Iterable[tuple[_T, PoseBlock]]) -> Iterator[PoseBlock]:
        """Hand on the blocks, remembering whose they are."""
        for owner, block in blocks:
            if not self._blocks:
                self._missing = len(block)
            self._blocks.append((owner, len(block)))
            yield block

    def complete(self, joints: np.ndarray) -> Iterator[tuple[_T, np.ndarray]]:
        """Take the next joints, and give out the blocks that are whole with them."""
        while self._blocks and len(joints) >= self._missing:
            self._parts.append(joints[: self._missing])
            joints = joints[self._missing :]
            owner, _ = self._blocks.popleft()
            whole = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
            self._parts = []
            self._missing = self._blocks[0][1] if self._blocks else 0
            yield owner, whole
        if len(joints):
            self._parts.append(joints)
            self._missing -= len(joints)


def _batches(skinner: Skinner, blocks: Iterable[PoseBlock]) -> Iterator[list[_Piece]]:
    """Blocks cut into pieces that fill batches."""
    pieces: list[_Piece] = []
    free = skinner.batch_size
    for block in blocks:
        moving = _moving_classes(skinner, block)
        start = 0
        while start < len(block):
            stop = min(len(block), start + free)
            pieces.append(_Piece(block, block.frames[start:stop], moving))
            free -= stop - start
            start = stop
            if free == 0 or len(pieces) == MAX_RUNS:
                yield pieces
                pieces, free = [], skinner.batch_size
    if pieces:
        yield pieces


def _moving_classes(skinner: Skinner, block: PoseBlock) -> frozenset[int]:
    """Those of the skinner's classes of bones that do not hold one pose throughout the block."""
    first = block.poses[0]
    # Most bones that move at all are elsewhere at the end, which spares a look at every frame.
    at_the_end = first != block.poses[-1]
    spans = (own.span for own in skinner.classes)
    return frozenset(
        number
        for number, span in enumerate(spans)
        if at_the_end[span].any() or (block.poses[:, span] != first[span]).any()
    )


def _launch(skinner: Skinner, staging: _Staging, pieces: list[_Piece]) -> tuple[Tensor, torch.cuda.Event | None]:
    """Fill `staging` and start the batch; gives where its joints will be in host memory.

    On CUDA that is in `staging`, and this returns before it is done, with an event to wait for.
    """
    moving = frozenset[int]().union(*(piece.moving for piece in pieces))
    has_dmpls = any(piece.block.dmpls is not None for piece in pieces)
    slow_terms = skinner.slow_terms(
        np.stack([piece.block.betas for piece in pieces]),
        np.stack([piece.block.poses[piece.frames[0]] for piece in pieces]),
        moving,
        has_dmpls,
    )
    terms = _host_zeros(skinner, *slow_terms.shape)
    terms.numpy()[:] = slow_terms
    size = skinner.size_of_batch(sum(map(len, pieces)))
    slow_features = _host_zeros(skinner, slow_terms.shape[1], size)
    features, end = slow_features.numpy(), 0
    for run, piece in enumerate(pieces):
        start, end = end, end + len(piece)
        _take(piece.block.poses, piece.frames, staging.by_frame[start:end])
        features[run, start:end] = 1.0
        if piece.block.dmpls is not None:
            features[len(pieces) :, start:end] = piece.block.dmpls.take(piece.frames, axis=0).T
    staging.by_frame[end:size] = 0.0
    poses = staging.poses(size)
    _turn_round(skinner, moving, staging.by_frame[:size], poses.numpy())

    def upload(host: Tensor) -> Tensor:
        return host.to(skinner.device, non_blocking=True)

    joints = skinner.skin(upload(poses), upload(terms), upload(slow_features), moving)
    if skinner.device.type != "cuda":
        return joints, None
    arriving = staging.joints.narrow(0, 0, size)
    arriving.copy_(joints, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch does not type it
    event.record(torch.cuda.current_stream(skinner.device))
    return arriving, event


def _take(
    values: Float[np.ndarray, "all_frames columns"],
    frames: Int[np.ndarray, "frames"],
    out: Float[np.ndarray, "frames columns"],
) -> None:
    """``out[:] = values[frames]``."""
    if values.dtype == out.dtype:
        np.take(values, frames, axis=0, out=out, mode="clip")  # any other mode goes through a copy
    else:
        out[:] = values[frames]


def _turn_round(
    skinner: Skinner,
    moving: frozenset[int],
    by_frame: Float[np.ndarray, "frames 3*bones"],
    poses: Float[np.ndarray, "3*rotated frames"],
) -> None:
    """Fill the rows of `poses` that the skinner looks at: frames become the last axis."""
    for start, stop in skinner.rotation_rows(moving).turning:
        bones = skinner.rotated[start:stop]
        # As many neighbouring columns at a time as there are: a body's bones nearly all lie in order.
        for first, last in equal_runs(bones - np.arange(len(bones))):
            columns = slice(3 * int(bones[first]), 3 * (int(bones[last - 1]) + 1))
            poses[3 * (start + first) : 3 * (start + last)] = by_frame[:, columns].T


def _host_zeros(skinner: Skinner, *shape: int) -> Tensor:
    """Host memory in the skinner's type, page-locked where its device is not the CPU."""
    return torch.zeros(shape, dtype=skinner.dtype, pin_memory=skinner.device.type != "cpu")


def _collect(joints: Tensor, num_frames: int, event: torch.cuda.Event | None) -> np.ndarray:
    wanted: np.ndarray = joints[:num_frames].numpy()
    if event is None:
        return wanted
    event.synchronize()
    return wanted.copy()  # what is staged is overwritten by the batch after the next

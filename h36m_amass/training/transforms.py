"""Augmentation of windows: for the ``transform`` of a `h36m_amass.training.windows.WindowDataset`, or for its batches.

Each is called with a dictionary whose ``positions_3d`` are (windows, frames, joints, 3), on any device, and gives
another one with other positions; all frames of a window get the same. Those of `h36m_amass.training.projection` add
what a camera sees. Random numbers are torch's: ``torch.manual_seed`` seeds them, and a dataloader seeds its workers;
`Seeded` makes them independent of the number of workers.
"""

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from h36m_amass.skeleton import Skeleton, SkeletonError
from h36m_amass.training.windows import Batch


class Compose:
    """Transforms one after another."""

    def __init__(self, transforms: Sequence[Callable[[Batch], Batch]]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, batch: Batch) -> Batch:
        for transform in self.transforms:
            batch = transform(batch)
        return batch


class Seeded:
    """A transform whose random numbers depend only on `seed`, `epoch` and the windows of the batch.

    So the same seed gives the same batches whatever the number of a dataloader's workers. Set `epoch` before each
    epoch's iterator is made, as for torch's `DistributedSampler`, or all epochs have the same random numbers.
    """

    def __init__(self, transform: Callable[[Batch], Batch], seed: int = 0) -> None:
        self.transform, self.seed, self.epoch = transform, seed, 0

    def __call__(self, batch: Batch) -> Batch:
        windows = repr([self.seed, self.epoch, batch["sequence"].tolist(), batch["start"].tolist()])
        devices = [batch["positions_3d"].device] if batch["positions_3d"].is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int.from_bytes(hashlib.sha256(windows.encode()).digest()[:8], "little") >> 1)
            return self.transform(batch)


class Mirror:
    """Mirror images, left and right changed: the body stays as it is, its movement is that of its mirror image.

    `skeleton` is that of the windows: `WindowDataset.skeleton`, or `Store.skeleton_in` of the same joint order. One
    that does not say which joints are left and right is a `SkeletonError`. Each window is mirrored by this
    `probability`, between 0 and 1. `axis`, 0, 1 or 2, is the normal of the mirror, which goes through the origin; it is
    2 only where that is not the vertical, as it is in AMASS's world frame.
    """

    def __init__(self, skeleton: Skeleton, probability: float = 0.5, axis: int = 0) -> None:
        if not skeleton.left:
            raise SkeletonError("a skeleton without left and right joints has no mirror image")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {probability}")
        _check_axis(axis)
        self.probability, self.axis = probability, axis
        self.partners = partners(skeleton)

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_3d"]
        chosen = torch.rand(len(positions), device=positions.device) < self.probability
        return {**undetected(batch, chosen), "positions_3d": self.mirrored(positions, chosen)}

    def mirrored(
        self, positions_3d: Float[Tensor, "windows frames joints 3"], chosen: Bool[Tensor, "windows"]
    ) -> Float[Tensor, "windows frames joints 3"]:
        """The same windows, `chosen` ones mirrored."""
        images = positions_3d[:, :, self.partners]
        images[..., self.axis].neg_()
        return torch.where(chosen[:, None, None, None], images, positions_3d)


class RotateVertical:
    """Turn each window about the world's vertical axis by an angle of its own.

    Angles are uniform from minus `largest_angle` to it, in radians. `axis`, 0, 1 or 2, is the vertical: in AMASS's
    world frame it is 2.
    """

    def __init__(self, largest_angle: float = math.pi, axis: int = 2) -> None:
        _check_axis(axis)
        self.largest_angle, self.axis = largest_angle, axis

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_3d"]
        # Half precision is too coarse for angles, and for their products with positions.
        precise = positions.to(torch.promote_types(positions.dtype, torch.float32))
        uniform = torch.rand(len(positions), dtype=precise.dtype, device=positions.device)
        rotated = self.rotated(precise, (2 * uniform - 1) * self.largest_angle)
        moved = torch.ones_like(uniform, dtype=torch.bool)
        return {**undetected(batch, moved), "positions_3d": rotated.to(positions.dtype)}

    def rotated(
        self, positions_3d: Float[Tensor, "windows frames joints 3"], angles: Float[Tensor, "windows"]
    ) -> Float[Tensor, "windows frames joints 3"]:
        """The same windows, each turned by its angle in radians, counter-clockwise when seen from above."""
        cos, sin = (f(angles)[:, None, None] for f in (torch.cos, torch.sin))
        first, second = (self.axis + 1) % 3, (self.axis + 2) % 3
        rotated, x, y = positions_3d.clone(), positions_3d[..., first], positions_3d[..., second]
        rotated[..., first], rotated[..., second] = cos * x - sin * y, sin * x + cos * y
        return rotated


def partners(skeleton: Skeleton) -> list[int]:
    """The joint that takes each joint's place in a mirror image."""
    mirrored = list(range(len(skeleton)))
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        mirrored[left], mirrored[right] = right, left
    return mirrored


def undetected(batch: Batch, chosen: Bool[Tensor, "windows"]) -> Batch:
    """A batch whose `chosen` windows have no detections: what no camera has seen, because it was moved in the world."""
    if "detections_2d" not in batch:
        return batch
    detections = batch["detections_2d"]
    return {**batch, "detections_2d": torch.where(chosen.view(-1, 1, 1, 1, 1), math.nan, detections)}


def _check_axis(axis: int) -> None:
    if axis not in (0, 1, 2):
        raise ValueError(f"axis must be 0, 1 or 2, not {axis}")

"""From windows in the world to what a lifting network sees: projections, roots, targets and masks.

Each takes a batch as those of `h36m_amass.training.transforms` do. Positions in a camera's frame are x right, y down, z
forward, in metres; those in the image are in units of half its width. Each has a method that takes its draws, and does
nothing by chance.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from h36m_amass.skeleton import Skeleton, SkeletonError
from h36m_amass.training.cameras import IDS, CameraError, Cameras, human36m
from h36m_amass.training.transforms import partners, undetected
from h36m_amass.training.windows import Batch

INTRINSIC_SIGNS = (1, 1, -1, 1, 1, 1, 1, -1, 1)
"""Which of a camera's nine numbers change their signs in a mirror image: c_x and p_x."""
_MIX = 0x9E3779B97F4A7C15 - 2**64, 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64  # of SplitMix64


class Project:
    """See each window through a camera: a random one of `cameras`, or with `fixed` always the same.

    With ``cameras="own"`` a window of Human3.6M is seen by one of the four cameras that recorded its subject, and any
    other window by one of all 28; `cameras` are those of `h36m_amass.training.cameras.human36m` then. With
    `every_camera` each window comes four times in a row, as each of its own cameras sees it: for the field's test. Take
    whole batches then, because ``windows[i]`` is the first of the four alone.

    ``positions_3d`` become those in the camera's frame. The batch gains ``positions_2d`` (windows, frames, joints, 2),
    ``visible`` (windows, frames, joints), ``camera`` (windows,), the row of each window's camera, and ``intrinsic``
    (windows, 9), see `Cameras.parameters`. A fixed camera goes by the sequence's row in the store's index and the
    window's start, so that validation sees the same each epoch. Where not all joints of a window are visible, another
    camera is drawn, up to `redraws` times. `distortion` and `limit` are as in `Cameras.project`.

    Where windows have ``detections_2d``, see `h36m_amass.training.windows.WindowDataset`, these become their
    ``positions_2d`` in place of the projections. Raises `CameraError` if there are detections or `every_camera`, and
    the cameras are not a window's own; or if `every_camera` comes with `fixed` or `redraws`, which choose one.
    """

    def __init__(
        self,
        cameras: Cameras | Literal["own"],
        *,
        fixed: bool = False,
        redraws: int = 0,
        every_camera: bool = False,
        distortion: bool = True,
        limit: float = 1.0,
    ) -> None:
        self.own_cameras = isinstance(cameras, str)
        if self.own_cameras and cameras != "own":
            raise CameraError(f"cameras {cameras!r} are unknown; give Cameras, or 'own' for those of each recording")
        if every_camera and (not self.own_cameras or fixed or redraws):
            raise CameraError("every_camera takes cameras='own', and neither fixed nor redraws, which choose one")
        self.cameras = human36m() if isinstance(cameras, str) else cameras
        self.fixed, self.redraws, self.every_camera = fixed, redraws, every_camera
        self.distortion, self.limit = distortion, limit

    def __call__(self, batch: Batch) -> Batch:
        if self.every_camera:
            first, number = self._choice(batch)
            if (number != len(IDS)).any():
                raise CameraError("only windows of Human3.6M have cameras of their own to be seen by each; select them")
            offsets = torch.arange(len(IDS), device=first.device)
            each = {name: values.repeat_interleave(len(IDS), 0) for name, values in batch.items()}
            return self.projected(each, (first[:, None] + offsets).flatten())
        if self.fixed:
            first, number = self._choice(batch)
            return self.projected(batch, first + fixed_rows(batch["sequence"], batch["start"], number))
        rows = self._drawn(batch)
        seen = self.projected(batch, rows)
        for _ in range(self.redraws):
            hidden = ~seen["visible"].flatten(1).all(1)
            rows = torch.where(hidden, self._drawn(batch), rows)
            seen = self.projected(batch, rows)
        return seen

    def _choice(self, batch: Batch) -> tuple[Int[Tensor, "windows"], Int[Tensor, "windows"]]:
        """The first camera that may see each window, and how many may."""
        sequence, of_each = batch["sequence"], len(IDS)
        subject = batch["subject"] if self.own_cameras and "subject" in batch else torch.full_like(sequence, -1)
        number = torch.where(subject < 0, len(self.cameras), of_each)
        return subject.clamp_min(0) * of_each, number

    def _drawn(self, batch: Batch) -> Int[Tensor, "windows"]:
        """A random camera for each window."""
        positions = batch["positions_3d"]
        if not self.own_cameras:
            return torch.randint(len(self.cameras), (len(positions),), device=positions.device)
        first, number = self._choice(batch)
        return first + (torch.rand(len(positions), device=positions.device) * number).long()

    def projected(self, batch: Batch, rows: Int[Tensor, "windows"]) -> Batch:
        """The batch as the cameras of these rows see it."""
        positions = batch["positions_3d"]
        cameras = self.cameras.to(positions.device, positions.dtype).gather(rows)
        seen = {**seen_by(cameras, batch, self.distortion, self.limit), "camera": rows}
        if "detections_2d" in seen:
            detections = seen.pop("detections_2d")
            if not self.own_cameras or detections.shape[2] != len(IDS):
                raise CameraError("detections are of the four cameras of each recording; see it by cameras='own'")
            pixels = detections[torch.arange(len(rows), device=rows.device), :, rows % len(IDS)]
            dtype = torch.promote_types(pixels.dtype, positions.dtype)
            precise = self.cameras.to(pixels.device, dtype).gather(rows)
            detected = precise.normalized(pixels.to(dtype)).to(positions.dtype)
            seen["positions_2d"] = torch.where(detected.isnan(), seen["positions_2d"], detected)
        return seen


class ViewDraws(NamedTuple):
    """The random numbers of `RandomViews`."""

    yaw: Float[Tensor, "windows"]  # uniform in [0, 1)
    pitch: Float[Tensor, "windows"]  # standard normal
    roll: Float[Tensor, "windows"]  # standard normal
    depth: Float[Tensor, "windows"]  # uniform in [0, 1)
    aside: Float[Tensor, "windows 2"]  # standard normal


class RandomViews:
    """See each window through a static camera of its own, as people are seen in the wild.

    As WHAM (Shin et al., CVPR 2024) places its cameras: 1000 by 1000 pixels, a focal length of their diagonal, no
    distortion; yaw uniform, pitch Gaussian (5, 22.5) and roll Gaussian (0, 7.5) degrees; the root of the first frame
    uniformly 2 to 12 m away, and aside and up by Gaussian (0, 0.25) of half the field. A person who would be nearer
    than 0.5 m, or whose root would be farther out than 0.849 of half the field, is moved back. The batch gains the same
    values as with `Project`, except ``camera``.
    """

    size, focal_length = 1000, 1000 * math.sqrt(2)
    nearest, widest = 0.5, 0.849

    def __init__(self, root: int = 0) -> None:
        self.root = root

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_3d"]
        like: dict[str, Any] = {"dtype": positions.dtype, "device": positions.device}
        number = len(positions)
        draws = ViewDraws(
            yaw=torch.rand(number, **like),
            pitch=torch.randn(number, **like),
            roll=torch.randn(number, **like),
            depth=torch.rand(number, **like),
            aside=torch.randn(number, 2, **like),
        )
        return seen_by(self.cameras(positions, draws), batch, distortion=False, limit=math.inf)

    def cameras(self, positions_3d: Float[Tensor, "windows frames joints 3"], draws: ViewDraws) -> Cameras:
        """The cameras that these draws place, one for each window."""
        yaw, pitch, roll = (
            2 * math.pi * draws.yaw,
            torch.deg2rad(5 + 22.5 * draws.pitch),
            torch.deg2rad(7.5 * draws.roll),
        )
        zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
        # Level, and looking along the world's y: x right, y down, z forward.
        level = torch.stack([one, zero, zero, zero, zero, -one, zero, one, zero], 1).view(-1, 3, 3)
        rotation = _about(2, roll) @ _about(0, pitch) @ level @ _about(2, yaw)
        turned = (positions_3d @ rotation[:, None].mT).flatten(1, 2)
        root = (positions_3d[:, 0, self.root, None] @ rotation.mT)[:, 0]
        half_field = self.size / (2 * self.focal_length)
        depth = 2 + 10 * draws.depth
        aside = 0.25 * draws.aside * half_field * depth[:, None]
        shift = torch.cat([aside, depth[:, None]], 1) - root
        moved = turned + shift[:, None]
        back = (self.nearest - moved[..., 2].amin(1)).clamp_min(0)
        roots = (positions_3d[:, :, self.root] @ rotation.mT) + shift[:, None]
        out = roots[..., :2].abs().amax(-1) / (self.widest * half_field) - roots[..., 2]
        shift = shift + torch.stack([zero, zero, torch.maximum(back, out.amax(1).clamp_min(0))], 1)
        pair, triple = torch.zeros_like(shift[:, :2]), torch.zeros_like(shift)
        return Cameras(
            rotation=rotation,
            center=-(shift[:, None] @ rotation)[:, 0],
            focal_length=torch.full_like(pair, 2 * self.focal_length / self.size),
            principal_point=pair,
            radial=triple,
            tangential=pair,
            size=torch.full_like(pair, self.size),
        )


class Orthographic:
    """MotionBERT's view of AMASS: no camera, ``(x, -z, y)`` times `scale`; the input is the target's x and y.

    The batch gains ``positions_2d`` and ``confidence`` (windows, frames, joints), which is 1.
    """

    def __init__(self, scale: float = 0.298) -> None:
        self.scale = scale

    def __call__(self, batch: Batch) -> Batch:
        x, y, z = batch["positions_3d"].unbind(-1)
        positions = torch.stack([x, -z, y], -1) * self.scale
        return {
            **batch,
            "positions_3d": positions,
            "positions_2d": positions[..., :2],
            "confidence": torch.ones_like(x),
        }


class MirrorImage:
    """Mirror images after the projection: 2D, 3D and camera together, joints of left and right changed.

    `skeleton` and `probability` are as in `h36m_amass.training.transforms.Mirror`.
    """

    def __init__(self, skeleton: Skeleton, probability: float = 0.5) -> None:
        if not skeleton.left:
            raise SkeletonError("a skeleton without left and right joints has no mirror image")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {probability}")
        self.partners, self.probability = partners(skeleton), probability

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_3d"]
        return self.mirrored(batch, torch.rand(len(positions), device=positions.device) < self.probability)

    def mirrored(self, batch: Batch, chosen: Bool[Tensor, "windows"]) -> Batch:
        """The batch with `chosen` windows mirrored."""
        changed = dict(batch)
        for name in ("positions_3d", "positions_2d", "visible", "confidence"):
            if name in batch:
                values = batch[name]
                image = values.index_select(2, torch.tensor(self.partners, device=values.device))
                if name.startswith("positions"):
                    image[..., 0].neg_()
                changed[name] = torch.where(chosen.view(-1, *(1,) * (values.dim() - 1)), image, values)
        if "intrinsic" in batch:
            signs = torch.tensor(INTRINSIC_SIGNS, dtype=batch["intrinsic"].dtype, device=batch["intrinsic"].device)
            changed["intrinsic"] = torch.where(chosen[:, None], batch["intrinsic"] * signs, batch["intrinsic"])
        return changed


class FollowedByMirror:
    """Each window, and its mirror image behind it, in the plane x = 0 of the world: twice as many windows.

    As uplift-upsample does before it projects (Einfalt et al., WACV 2023); the camera is not mirrored.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.partners = partners(skeleton)

    def __call__(self, batch: Batch) -> Batch:
        twice = {name: values.repeat_interleave(2, 0) for name, values in batch.items()}
        positions = twice["positions_3d"]
        images = positions[1::2].index_select(2, torch.tensor(self.partners, device=positions.device))
        images[..., 0].neg_()
        positions[1::2] = images
        return undetected(twice, torch.arange(len(positions), device=positions.device) % 2 == 1)


class RootRelative:
    """Positions relative to the `root` joint of the same frame; the batch gains ``root`` (windows, frames, 3).

    With `keep` the root's own place keeps its absolute position, as in VideoPose3D.
    """

    def __init__(self, root: int, keep: bool = False) -> None:
        self.root, self.keep = root, keep

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_3d"]
        root = positions[:, :, self.root].clone()
        relative = positions - root[:, :, None]
        if self.keep:
            relative[:, :, self.root] = root
        return {**batch, "positions_3d": relative, "root": root}


class ImageTarget:
    """Targets in the image, "2.5D", as MotionBERT and LCN (Ci et al., ICCV 2019) have Human3.6M's labels.

    x and y are those of the undistorted image in units of half the width; z is the depth behind the `root` joint of the
    same frame, ``2 s (Z - Z0) / w`` with ``s = f_x / Z0 + 1/2000`` pixels per millimetre. The batch comes from
    `Project` with these `cameras`.
    """

    def __init__(self, cameras: Cameras, root: int) -> None:
        self.cameras, self.root = cameras, root

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_3d"]
        cameras = self.cameras.to(positions.device, positions.dtype).gather(batch["camera"])
        xy = cameras.project(positions, distortion=False, limit=math.inf)
        depth, root = positions[..., 2], positions[:, :, self.root, None, 2]
        width = cameras.size[:, :1, None]
        scale = cameras.focal_length[:, :1, None] * width / 2 / (1000 * root) + 1 / 2000
        z = 2 * scale * 1000 * (depth - root) / width
        return {**batch, "positions_3d": torch.cat([xy, z[..., None]], -1)}


class PixelNoise:
    """Gaussian noise of `pixels` pixels on ``positions_2d``, as PoseFormerV2 adds it (Zhao et al., CVPR 2023).

    `width` is that of the image in pixels.
    """

    def __init__(self, pixels: float, width: float = 1000.0) -> None:
        self.deviation = 2 * pixels / width

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_2d"]
        return {**batch, "positions_2d": positions + self.deviation * torch.randn_like(positions)}


class StrideMask:
    """Hide frames as uplift-upsample does: every m-th frame, counted from the middle one, is seen.

    The batch gains ``stride_mask`` (windows, frames), and ``positions_2d`` are zero where it is false. m is a random
    one of `strides`; in `training` the frames that are seen are shifted at random, too.
    """

    def __init__(self, strides: tuple[int, ...] = (1, 2, 4), training: bool = True) -> None:
        self.strides, self.training = strides, training

    def __call__(self, batch: Batch) -> Batch:
        positions = batch["positions_2d"]
        like: dict[str, Any] = {"device": positions.device}
        strides = torch.tensor(self.strides, **like)[torch.randint(len(self.strides), (len(positions),), **like)]
        # Shifts of -m/2 .. m/2 - 1.
        uniform = torch.rand(len(positions), **like)
        shifts = torch.floor(uniform * strides).long() - strides // 2 if self.training else torch.zeros_like(strides)
        return self.masked(batch, strides, shifts)

    def masked(self, batch: Batch, strides: Int[Tensor, "windows"], shifts: Int[Tensor, "windows"]) -> Batch:
        """The batch with frame k seen where ``(k - middle + shift) mod stride`` is 0."""
        positions = batch["positions_2d"]
        frames = torch.arange(positions.shape[1], device=positions.device) - (positions.shape[1] - 1) // 2
        seen = (frames + shifts[:, None]) % strides[:, None] == 0
        return {**batch, "positions_2d": positions * seen[:, :, None, None], "stride_mask": seen}


def seen_by(cameras: Cameras, batch: Batch, distortion: bool, limit: float) -> Batch:
    """A batch as cameras see it, one for each window."""
    points, positions_2d, visible = cameras.see(batch["positions_3d"], distortion, limit)
    seen = {"positions_3d": points, "positions_2d": positions_2d, "visible": visible}
    return {**batch, **seen, "intrinsic": cameras.parameters("videopose3d")}


def fixed_rows(
    sequence: Int[Tensor, "windows"], start: Int[Tensor, "windows"], number: int | Int[Tensor, "windows"]
) -> Int[Tensor, "windows"]:
    """A row of `number` for each window, evenly spread, by its sequence and start alone (SplitMix64's mixing)."""
    mixed = sequence.long() * _MIX[0] + start.long()
    for factor in _MIX[1:]:
        mixed = (mixed ^ (mixed >> 31)) * factor
    return (mixed ^ (mixed >> 31)) % number


def _about(axis: int, angle: Float[Tensor, "windows"]) -> Float[Tensor, "windows 3 3"]:
    """Right-handed turns about an axis."""
    cos, sin, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    entries = {
        0: (one, zero, zero, zero, cos, -sin, zero, sin, cos),
        2: (cos, -sin, zero, sin, cos, zero, zero, zero, one),
    }[axis]
    return torch.stack(entries, 1).view(-1, 3, 3)

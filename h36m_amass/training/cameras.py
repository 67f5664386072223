"""Cameras: from the world to their frame and on to the image, as Human3.6M's and those of its users project.

A point P of the world, z up, in metres, is ``X = R (P - C)`` in the camera's frame: x right, y down, z forward. With
``u, v = clamp(X/Z), clamp(Y/Z)`` and ``r2 = u u + v v``, its image is::

    s = 1 + k1 r2 + k2 r2^2 + k3 r2^3 + t (p_x u + p_y v)
    image = f ((u, v) s + (p_x, p_y) r2) + c

in units of half the image's width: x from -1 to 1, y from -h/w to h/w. Human3.6M's own 2D labels and the code of its
users (VideoPose3D: Pavllo et al., CVPR 2019) have t = 1; OpenCV's model has t = 2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from h36m_amass.datasets import HUMAN36M_CAMERAS, HUMAN36M_SUBJECTS
from h36m_amass.errors import H36mAmassError

SUBJECTS, IDS = HUMAN36M_SUBJECTS, HUMAN36M_CAMERAS
"""Subjects of Human3.6M whose cameras people use, in the order in which they use them, and the cameras of each."""
Layout = Literal["videopose3d", "uplift-upsample"]
POINTS_AT_ONCE = 2**18
"""How many points `Cameras.see` works on at once, so that what it works in stays in the processor's cache."""


class CameraError(H36mAmassError):
    """A requested camera is unknown or impossible."""


class Seen(NamedTuple):
    """Points as cameras see them."""

    points: Float[Tensor, "cameras *points 3"]  # in the frame of each camera, metres
    positions_2d: Float[Tensor, "cameras *points 2"]  # their images, in units of half the width
    visible: Bool[Tensor, "cameras *points"]


@dataclass(frozen=True)
class Cameras:
    """N cameras. All numbers are tensors of one device and type; `names` are empty where they are not known."""

    rotation: Float[Tensor, "cameras 3 3"]  # from the world's axes to the camera's
    center: Float[Tensor, "cameras 3"]  # metres, in the world
    focal_length: Float[Tensor, "cameras 2"]  # of x and y, in units of half the width
    principal_point: Float[Tensor, "cameras 2"]  # in units of half the width, from the image's centre
    radial: Float[Tensor, "cameras 3"]
    tangential: Float[Tensor, "cameras 2"]  # (p_x, p_y), which OpenCV calls (p2, p1)
    size: Float[Tensor, "cameras 2"]  # width and height in pixels
    names: tuple[str, ...] = ()
    tangential_factor: float = 1.0  # how often the tangential term counts within the scale: t above

    def __len__(self) -> int:
        return len(self.center)

    def __getitem__(self, chosen: int | slice | Sequence[int]) -> Cameras:
        """Some of the cameras; one number gives a single one, still with an axis."""
        if isinstance(chosen, int):
            chosen = [chosen]
        rows = list(range(len(self)))[chosen] if isinstance(chosen, slice) else [range(len(self))[i] for i in chosen]
        taken = self.gather(torch.tensor(rows, dtype=torch.int64, device=self.center.device))
        return replace(taken, names=tuple(self.names[row] for row in rows) if self.names else ())

    def gather(self, rows: Int[Tensor, "taken"]) -> Cameras:
        """The cameras of these rows, without their names: one for each window of a batch, say."""
        return replace(self._mapped(lambda values: values.index_select(0, rows)), names=())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Cameras:
        """The same cameras on another device, or of another floating type."""
        return self._mapped(lambda values: values.to(device=device or values.device, dtype=dtype or values.dtype))

    def _mapped(self, change: Any) -> Cameras:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in named.items() if isinstance(value, Tensor)})

    def to_camera(self, world: Float[Tensor, "cameras *points 3"]) -> Float[Tensor, "cameras *points 3"]:
        """Points of the world, in metres, in the frame of each camera."""
        return _joined(_turned(self.rotation, _planes(world) - _rows(self.center)), world)

    def to_world(self, points: Float[Tensor, "cameras *points 3"]) -> Float[Tensor, "cameras *points 3"]:
        """Points in the frame of each camera, in the world; the inverse of `to_camera`."""
        return _joined(_turned(self.rotation.mT, _planes(points)) + _rows(self.center), points)

    def project(
        self, points: Float[Tensor, "cameras *points 3"], distortion: bool = True, limit: float = 1.0
    ) -> Float[Tensor, "cameras *points 2"]:
        """Images of points in the frame of each camera, in units of half the width.

        ``X/Z`` and ``Y/Z`` are clamped to plus or minus `limit` first, as Human3.6M's users do; behind the camera, too,
        where no image is. `math.inf` clamps nothing.
        """
        return _joined(self._imaged(_planes(points), distortion, limit), points)

    def visible(
        self, points: Float[Tensor, "cameras *points 3"], positions_2d: Float[Tensor, "cameras *points 2"]
    ) -> Bool[Tensor, "cameras *points"]:
        """Whether points in the frame of each camera are in front of it, and their images within the image."""
        depth = points[..., 2].reshape(len(points), -1)
        return self._within(_planes(positions_2d).clone(), depth.clone()).view(points.shape[:-1])

    def see(self, world: Float[Tensor, "cameras *points 3"], distortion: bool = True, limit: float = 1.0) -> Seen:
        """What `to_camera`, `project` and `visible` say of points of the world, at once, without gradients.

        It works through one small piece of memory, which makes it faster than they are one by one.
        """
        number = world[0].numel() // 3 if len(world) else 0
        step = max(1, POINTS_AT_ONCE // max(1, number))
        scratch = world.new_empty(7, min(step, len(world)), number)
        seen = Seen(
            world.new_empty(world.shape),
            world.new_empty(*world.shape[:-1], 2),
            world.new_empty(world.shape[:-1], dtype=torch.bool),
        )
        with torch.no_grad():
            for first in range(0, len(world), step):
                chosen = slice(first, first + step)
                some = self._mapped(lambda values, chosen=chosen: values[chosen])
                planes, turned, spare = (scratch[rows, : len(some)] for rows in (slice(3), slice(3, 6), 6))
                torch.sub(_planes(world[chosen]), _rows(some.center), out=planes)
                _turned(some.rotation, planes, turned)
                images = some._imaged(turned, distortion, limit, (planes[:2], planes[2], spare))
                _join(turned, seen.points[chosen])
                _join(images, seen.positions_2d[chosen])
                # What is visible comes last, since it overwrites both.
                seen.visible[chosen] = some._within(images, turned[2]).view(seen.visible[chosen].shape)
        return seen

    def _imaged(
        self,
        points: Float[Tensor, "3 cameras points"],
        distortion: bool,
        limit: float,
        out: tuple[Tensor | None, ...] = (None, None, None),
    ) -> Float[Tensor, "2 cameras points"]:
        xy = torch.div(points[:2], points[2], out=out[0])
        xy = xy if math.isinf(limit) else xy.clamp_(-limit, limit)
        if distortion:
            (x, y), (k1, k2, k3), tangential = xy, _rows(self.radial), _rows(self.tangential)
            r2 = torch.mul(x, x, out=out[1]).addcmul_(y, y)
            scale = torch.mul(r2, k3, out=out[2]).add_(k2).mul_(r2).add_(k1).mul_(r2).add_(1)
            bend = self.tangential_factor * tangential
            scale.addcmul_(x, bend[0]).addcmul_(y, bend[1])
            xy = torch.mul(xy, scale, out=out[0]).addcmul_(r2, tangential)
        return xy.mul_(_rows(self.focal_length)).add_(_rows(self.principal_point))

    def _within(
        self, images: Float[Tensor, "2 cameras points"], depth: Float[Tensor, "cameras points"]
    ) -> Bool[Tensor, "cameras points"]:
        """Whether points are visible; both are overwritten, since comparing in place is several times as fast."""
        height = self.size[:, 1:] / self.size[:, :1]
        x, y = images.abs_()
        return x.le_(1).mul_(y.le_(height)).mul_(depth.gt_(0)).bool()

    def pixels(self, positions_2d: Float[Tensor, "cameras *points 2"]) -> Float[Tensor, "cameras *points 2"]:
        """Units of half the width as pixels from the upper left corner: ``(x + 1) w/2`` and ``(y + h/w) w/2``."""
        return positions_2d * _like(self.size[:, :1] / 2, positions_2d) + _like(self.size / 2, positions_2d)

    def normalized(self, pixels: Float[Tensor, "cameras *points 2"]) -> Float[Tensor, "cameras *points 2"]:
        """Pixels in units of half the width: the inverse of `pixels`."""
        return (pixels - _like(self.size / 2, pixels)) / _like(self.size[:, :1] / 2, pixels)

    def mirrored(self) -> Cameras:
        """The cameras' mirror images in the plane x = 0 of the world.

        The image of a mirrored point is the mirrored image; the same holds for a point that is mirrored in the camera's
        frame. The first coordinates of principal point and tangential distortion change their signs.
        """
        flip = torch.tensor([-1.0, 1.0, 1.0], dtype=self.center.dtype, device=self.center.device)
        return replace(
            self,
            rotation=self.rotation * flip[:, None] * flip,
            center=self.center * flip,
            principal_point=self.principal_point * flip[:2],
            tangential=self.tangential * flip[:2],
        )

    def parameters(self, layout: Layout) -> Float[Tensor, "cameras numbers"]:
        """The cameras as vectors, float32.

        ``"videopose3d"`` has nine numbers: fx, fy, cx, cy, k1, k2, k3, p_x, p_y in units of half the width.
        ``"uplift-upsample"`` has eighteen: the quaternion (w first, not negative) of the rotation from the camera to
        the world, the centre in metres, width and height, and those nine.
        """
        intrinsic = torch.cat([self.focal_length, self.principal_point, self.radial, self.tangential], 1)
        if layout == "uplift-upsample":
            intrinsic = torch.cat([quaternion(self.rotation.mT), self.center, self.size, intrinsic], 1)
        elif layout != "videopose3d":
            raise CameraError(f"layout {layout!r} is unknown; choose from videopose3d, uplift-upsample")
        return intrinsic.to(torch.float32)


def human36m(subjects: Sequence[str] = SUBJECTS, ids: Sequence[str] = IDS) -> Cameras:
    """Cameras of Human3.6M (Ionescu et al., PAMI 2014), float64: each subject's in turn, 28 by default.

    Names are ``"S1/54138969"`` and so on. Raises `CameraError` if there is no such subject or camera.
    """
    data = _human36m()
    cameras = []
    for subject in subjects:
        for name in ids:
            if subject not in data["extrinsics"] or name not in data["extrinsics"][subject]:
                known = ", ".join(data["extrinsics"])
                raise CameraError(
                    f"Human3.6M has no camera {subject}/{name}; subjects are {known}, cameras {', '.join(IDS)}"
                )
            intrinsic, extrinsic = data["intrinsics"][name], data["extrinsics"][subject][name]
            cameras.append(_camera(f"{subject}/{name}", intrinsic, extrinsic))
    return stack(cameras)


def from_opencv(
    K: Float[np.ndarray, "3 3"],
    distortion: Sequence[float],
    R: Float[np.ndarray, "3 3"],
    t: Float[np.ndarray, "3"],
    size: tuple[int, int],
    name: str = "",
) -> Cameras:
    """One camera of OpenCV's model, float64.

    Parameters
    ----------
    K, size
        Camera matrix without skew, and width and height, in pixels.
    distortion
        ``(k1, k2, p1, p2)`` or with k3 behind.
    R, t
        ``X = R P + t``, with t in metres.

    `Cameras.project` with an infinite limit is then ``cv2.projectPoints``. Raises `CameraError` if there is skew, or
    another number of coefficients.
    """
    matrix, rotation = np.asarray(K, np.float64), np.asarray(R, np.float64)
    if matrix[0, 1] != 0:
        raise CameraError(f"a camera matrix with the skew {matrix[0, 1]} is not supported; give one without")
    if len(distortion) not in (4, 5):
        raise CameraError(
            f"{len(distortion)} distortion coefficients are not supported; give k1, k2, p1, p2 or k3, too"
        )
    k1, k2, p1, p2, k3 = (*map(float, distortion), 0.0)[:5]
    camera = _of_pixels(
        rotation=rotation,
        center=-rotation.T @ np.asarray(t, np.float64),
        focal_length=(matrix[0, 0], matrix[1, 1]),
        principal_point=(matrix[0, 2], matrix[1, 2]),
        radial=(k1, k2, k3),
        tangential=(p2, p1),
        size=size,
        name=name,
    )
    return replace(camera, tangential_factor=2.0)


def looking_at(
    center: Sequence[float],
    target: Sequence[float],
    focal_length: float,
    size: tuple[int, int],
    roll: float = 0.0,
    name: str = "",
) -> Cameras:
    """One camera at `center` that looks at `target`, in metres, without distortion, float64.

    `focal_length` and `size` are in pixels; `roll` turns the camera about the way it looks, in radians, clockwise as it
    sees. Raises `CameraError` if it looks straight up or down, or nowhere.
    """
    forward = np.subtract(target, center).astype(np.float64)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    if np.linalg.norm(right) <= 1e-9 * np.linalg.norm(forward):
        raise CameraError(f"a camera at {tuple(center)} that looks at {tuple(target)} has no upright image")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])
    turn = np.array([[math.cos(roll), math.sin(roll), 0], [-math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return _of_pixels(
        rotation=turn @ axes,
        center=np.asarray(center, np.float64),
        focal_length=(focal_length, focal_length),
        principal_point=(size[0] / 2, size[1] / 2),
        radial=(0.0, 0.0, 0.0),
        tangential=(0.0, 0.0),
        size=size,
        name=name,
    )


def seen_in_pixels(
    camera: Cameras, world: Float[np.ndarray, "*points 3"]
) -> tuple[Float[np.ndarray, "*points 2"], Float[np.ndarray, "*points"]]:
    """Pixels and depths in metres of points of the world through one camera, NumPy arrays in float64."""
    points = camera.to_camera(torch.from_numpy(np.asarray(world, np.float64))[None])
    return camera.pixels(camera.project(points))[0].numpy(), points[0, ..., 2].numpy()


def stack(cameras: Sequence[Cameras]) -> Cameras:
    """Several cameras as one; all of one tangential factor, or `CameraError`."""
    if len({camera.tangential_factor for camera in cameras}) != 1:
        raise CameraError("cameras of different models cannot be mixed; give those of one, at least one")
    named = [field.name for field in fields(Cameras) if isinstance(getattr(cameras[0], field.name), Tensor)]
    joined: dict[str, Any] = {name: torch.cat([getattr(camera, name) for camera in cameras]) for name in named}
    return replace(cameras[0], **joined, names=tuple(name for camera in cameras for name in camera.names))


def quaternion(rotation: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 4"]:
    """Unit quaternions (w first, not negative) of rotation matrices.

    The largest of the four components is taken from the diagonal, and the others by dividing by it (Shepperd, 1978).
    """
    m = rotation
    trace = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    squares = torch.stack([trace, *(2 * m[:, i, i] - trace for i in range(3))], 1) + 1  # four times each square
    rows = torch.stack(
        [
            torch.stack([squares[:, 0], m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], 1),
            torch.stack([m[:, 2, 1] - m[:, 1, 2], squares[:, 1], m[:, 1, 0] + m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0]], 1),
            torch.stack([m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] + m[:, 0, 1], squares[:, 2], m[:, 2, 1] + m[:, 1, 2]], 1),
            torch.stack([m[:, 1, 0] - m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 2, 1] + m[:, 1, 2], squares[:, 3]], 1),
        ],
        1,
    )
    largest = squares.argmax(1, keepdim=True)
    chosen = torch.take_along_dim(rows, largest[:, :, None], 1)[:, 0]
    unit = chosen / chosen.norm(dim=1, keepdim=True)
    return torch.where(unit[:, :1] < 0, -unit, unit)


@cache
def _human36m() -> dict[str, Any]:
    """Human3.6M's ``metadata.xml``, with its digits as published."""
    data: dict[str, Any] = json.loads(Path(__file__).with_name("human36m_cameras.json").read_text(encoding="utf-8"))
    return data


def _camera(name: str, intrinsic: dict[str, Any], extrinsic: dict[str, Any]) -> Cameras:
    """A camera of the data file: millimetres, and angles of ``Rx(a) Ry(b) Rz(c)``."""
    a, b, c = extrinsic["euler"]
    return _of_pixels(
        rotation=_turn(0, a) @ _turn(1, b) @ _turn(2, c),
        center=np.array(extrinsic["center"]) / 1000,
        focal_length=intrinsic["f"],
        principal_point=intrinsic["c"],
        radial=intrinsic["k"],
        tangential=intrinsic["p"],
        size=intrinsic["size"],
        name=name,
    )


def _of_pixels(
    name: str, size: Sequence[float], focal_length: Sequence[float], principal_point: Sequence[float], **others: Any
) -> Cameras:
    """One camera whose size, focal length and principal point are in pixels; `others` are as in `Cameras`."""
    width, height = size
    values: dict[str, Any] = {
        **others,
        "focal_length": 2 * np.asarray(focal_length, np.float64) / width,
        "principal_point": 2 * np.asarray(principal_point, np.float64) / width - (1, height / width),
        "size": size,
    }
    tensors: dict[str, Any] = {key: torch.as_tensor(np.array(value, np.float64)[None]) for key, value in values.items()}
    return Cameras(**tensors, names=(name,))


def _turn(axis: int, angle: float) -> np.ndarray:
    """A right-handed turn about an axis, in radians."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
    return turn


def _like(values: Float[Tensor, "cameras n"], points: Tensor) -> Tensor:
    """Values of each camera, with axes of 1 for those of the points."""
    return values.view(len(values), *(1,) * (points.dim() - 2), values.shape[-1])


def _rows(values: Float[Tensor, "cameras n"]) -> Float[Tensor, "n cameras 1"]:
    """Values of each camera beside its points."""
    return values.mT.unsqueeze(-1)


def _planes(points: Float[Tensor, "cameras *points n"]) -> Float[Tensor, "n cameras points"]:
    """The coordinates of points one after another."""
    return points.reshape(len(points), -1, points.shape[-1]).permute(2, 0, 1)


def _joined(planes: Float[Tensor, "n cameras points"], like: Tensor) -> Float[Tensor, "cameras *points n"]:
    """Planes side by side, in the shape of the points that they came from."""
    return torch.stack(list(planes), -1).view(*like.shape[:-1], len(planes))


def _join(planes: Float[Tensor, "n cameras points"], out: Float[Tensor, "cameras *points n"]) -> None:
    """As `_joined`, into memory that is there: one coordinate at a time, subtracted, since torch copies more slowly."""
    for plane, column in zip(planes, _planes(out), strict=True):
        torch.sub(plane, 0, out=column)


def _turned(
    rotation: Float[Tensor, "cameras 3 3"], planes: Float[Tensor, "3 cameras points"], out: Tensor | None = None
) -> Float[Tensor, "3 cameras points"]:
    """Points in planes, turned by the rotation of each camera."""
    columns = rotation.permute(2, 1, 0).unsqueeze(-1)
    turned = torch.mul(columns[0], planes[0], out=out)
    return turned.addcmul_(columns[1], planes[1]).addcmul_(columns[2], planes[2])

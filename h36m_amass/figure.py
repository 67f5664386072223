"""A pose as a figure in a 3D scene: round bones and joints, their colours, and where a camera sees all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from h36m_amass.skeleton import Skeleton, bone_lengths

LEFT, RIGHT, MIDDLE = (31, 119, 180), (214, 39, 40), (64, 64, 64)
"""Red, green and blue of 255, as in `h36m_amass.plot`."""
THICKEST, THINNEST = 0.024, 0.006
"""Radii of joints in metres: of limbs, and of fingers."""
FIELD_OF_VIEW = np.radians(40.0)
"""Of the camera, from top to bottom."""
_MARGIN = 1.15
"""How much more than the person fits into the view."""


@dataclass(frozen=True)
class Mesh:
    """A closed surface.

    Attributes
    ----------
    vertices
        Points of it.
    faces
        Three vertices each, anticlockwise from outside.
    """

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]


@dataclass(frozen=True)
class Placement:
    """Where copies of a mesh stand.

    Attributes
    ----------
    wxyzs
        Rotations as unit quaternions.
    positions
        Of the mesh's origin, in metres.
    scales
        Along the mesh's own axes, before it is rotated.
    """

    wxyzs: Float[np.ndarray, "copies 4"]
    positions: Float[np.ndarray, "copies 3"]
    scales: Float[np.ndarray, "copies 3"]


def ball(rings: int = 8, sides: int = 14) -> Mesh:
    """A sphere of radius 1 about the origin."""
    polar = np.linspace(0.0, np.pi, rings + 1)
    return _turned(np.sin(polar), -np.cos(polar), sides)


def rod(sides: int = 12) -> Mesh:
    """A cylinder of radius 1 about the z axis, from z = 0 to z = 1."""
    return _turned(np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0]), sides)


def _turned(radii: Float[np.ndarray, "rings"], heights: Float[np.ndarray, "rings"], sides: int) -> Mesh:
    """The surface that a line in the x-z plane, from bottom to top, leaves when it turns about the z axis."""
    angles = 2.0 * np.pi * np.arange(sides) / sides
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices = np.concatenate(
        [radii[:, None, None] * circle, np.broadcast_to(heights[:, None, None], (len(radii), sides, 1))], axis=2
    )
    ring, side = (grid.ravel() for grid in np.meshgrid(np.arange(len(radii) - 1), np.arange(sides), indexing="ij"))
    a, b = ring * sides + side, ring * sides + (side + 1) % sides
    faces = np.concatenate([np.stack([a, b, b + sides], axis=1), np.stack([a, b + sides, a + sides], axis=1)])
    return Mesh(vertices.reshape(-1, 3), faces)


def children(skeleton: Skeleton) -> list[int]:
    """The joints at whose end a bone is, one a bone."""
    return [joint for joint, parent in enumerate(skeleton.parents) if parent >= 0]


def joint_radii(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "joints"]:
    """Of each joint's ball: a fifth of the shortest bone that it is an end of, within limits."""
    radii = np.full(len(skeleton), THICKEST)
    for joint, length in zip(children(skeleton), bone_lengths(pose, skeleton), strict=True):
        for end in (joint, skeleton.parents[joint]):
            radii[end] = min(radii[end], 0.2 * length)
    return np.maximum(radii, THINNEST)


def place_bones(
    pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton, radii: Float[np.ndarray, "joints"]
) -> Placement:
    """How a `rod` becomes each bone, in the order of `children`: from the parent to the joint.

    The shortest rotation of z to a unit vector d is by their angle about z x d. Where d = z or d = -z leaves the axis
    open, it is x.
    """
    ends = children(skeleton)
    starts = [skeleton.parents[joint] for joint in ends]
    bones = (pose[ends] - pose[starts]).astype(np.float64)
    lengths = np.linalg.norm(bones, axis=1)
    directions = np.where(lengths[:, None] > 0, bones / np.maximum(lengths, 1e-12)[:, None], (0.0, 0.0, 1.0))
    x, y, z = directions.T
    across = np.hypot(x, y)
    half = np.arctan2(across, z) / 2
    tilted = across > 0
    axis_x = np.divide(-y, across, out=np.ones_like(x), where=tilted)
    axis_y = np.divide(x, across, out=np.zeros_like(x), where=tilted)
    wxyzs = np.stack([np.cos(half), np.sin(half) * axis_x, np.sin(half) * axis_y, np.zeros_like(half)], axis=1)
    thickness = 0.65 * np.minimum(radii[ends], radii[starts])
    return Placement(wxyzs, pose[starts], np.stack([thickness, thickness, np.maximum(lengths, 1e-6)], axis=1))


def colours(skeleton: Skeleton, faint: bool = False) -> UInt8[np.ndarray, "joints 3"]:
    """Of the joints, and of the bones that end in them; `faint` ones are half way to white."""
    picked = [LEFT if j in skeleton.left else RIGHT if j in skeleton.right else MIDDLE for j in range(len(skeleton))]
    full = np.array(picked, dtype=np.uint8).reshape(-1, 3)
    return (full // 2 + 127).astype(np.uint8) if faint else full


def root(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "3"]:
    """The first joint that is no bone's end, like the pelvis."""
    return pose[skeleton.parents.index(-1)]


def facing(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "3"]:
    """Unit vector along the ground to where the person faces; -y if the joints do not tell left from right."""
    if not skeleton.left:
        return np.array([0.0, -1.0, 0.0])
    to_left = pose[list(skeleton.left)].mean(axis=0) - pose[list(skeleton.right)].mean(axis=0)
    ahead = np.array([to_left[1], -to_left[0], 0.0], dtype=np.float64)
    length = np.linalg.norm(ahead)
    return ahead / length if length > 1e-6 else np.array([0.0, -1.0, 0.0])


def camera(
    points: Float[np.ndarray, "points 3"], ahead: Float[np.ndarray, "3"], turn: float = 0.0
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Position of a camera, and the point it looks at, that sees all of `points` from the front.

    It stands where they face, `ahead`, turned by `turn` radians to their left, somewhat above their middle, and as
    far away as `FIELD_OF_VIEW` asks for.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    radius = max(float(np.linalg.norm(points - middle, axis=1).max()), 0.2)
    to_left = np.array([-ahead[1], ahead[0], 0.0])
    away = np.cos(turn) * ahead + np.sin(turn) * to_left + (0.0, 0.0, 0.25)
    distance = _MARGIN * radius / np.sin(FIELD_OF_VIEW / 2)
    return middle + distance * away / np.linalg.norm(away), middle

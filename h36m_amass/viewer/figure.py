"""A pose as a figure in a 3D scene: round bones and joints, and where a camera sees all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from h36m_amass.plot.colours import colours_of
from h36m_amass.skeleton import Skeleton, bone_lengths, bones, leftwards

THICKEST, THINNEST = 0.024, 0.006
"""Radii of joints in metres: of limbs, and of fingers."""
FIELD_OF_VIEW = np.radians(40.0)
"""Of the camera, from top to bottom, in radians."""
ASPECT = 0.7
"""Width by height of the narrowest window in which nobody is cut off."""
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


def joint_radii(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "joints"]:
    """Of each joint's ball, in metres: a fifth of the shortest bone that it is an end of, within limits."""
    radii = np.full(len(skeleton), THICKEST)
    for ends, length in zip(bones(skeleton), bone_lengths(pose, skeleton), strict=True):
        radii[ends] = np.minimum(radii[ends], 0.2 * length)
    return np.maximum(radii, THINNEST)


def place_bones(
    pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton, radii: Float[np.ndarray, "joints"]
) -> Placement:
    """How a `rod` becomes each bone, in the order of `h36m_amass.skeleton.bones`: from the parent to
    the joint.

    The shortest rotation of z to a unit vector d is by their angle about z x d. Where d = z or d = -z leaves the axis
    open, it is x.
    """
    starts, ends = bones(skeleton).T
    along = (pose[ends] - pose[starts]).astype(np.float64)
    lengths = np.linalg.norm(along, axis=1)
    directions = np.where(lengths[:, None] > 0, along / np.maximum(lengths, 1e-12)[:, None], (0.0, 0.0, 1.0))
    x, y, z = directions.T
    across = np.hypot(x, y)
    half = np.arctan2(across, z) / 2
    tilted = across > 0
    axis_x = np.divide(-y, across, out=np.ones_like(x), where=tilted)
    axis_y = np.divide(x, across, out=np.zeros_like(x), where=tilted)
    wxyzs = np.stack([np.cos(half), np.sin(half) * axis_x, np.sin(half) * axis_y, np.zeros_like(half)], axis=1)
    thickness = 0.65 * np.minimum(radii[ends], radii[starts])
    return Placement(wxyzs, pose[starts], np.stack([thickness, thickness, np.maximum(lengths, 1e-6)], axis=1))


def faint_colours_of(skeleton: Skeleton) -> UInt8[np.ndarray, "joints 3"]:
    """Of a second figure's joints: half way from those of the first to white."""
    return (colours_of(skeleton) // 2 + 127).astype(np.uint8)


def facing(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "3"]:
    """Unit vector along the ground to where the person faces: left × up; -y if the joints do not tell."""
    x, y = leftwards(pose, skeleton)
    return np.array([y, -x, 0.0])


def camera(
    points: Float[np.ndarray, "points 3"], ahead: Float[np.ndarray, "3"], turn: float = 0.0
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Position of a camera, and the point it looks at, that sees all of `points` from the front.

    It stands where they face, `ahead`, turned by `turn` radians to their left, somewhat above their middle, and as
    far away as `FIELD_OF_VIEW`, which is that of the height, asks for in a window as wide for its height as `ASPECT`.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    to_left = np.array([-ahead[1], ahead[0], 0.0])
    away = np.cos(turn) * ahead + np.sin(turn) * to_left + (0.0, 0.0, 0.25)
    away /= np.linalg.norm(away)
    right = np.array([-away[1], away[0], 0.0]) / np.hypot(away[0], away[1])
    axes = np.stack([right / ASPECT, np.cross(away, right)])
    aside = np.abs((points - middle) @ axes.T).max(axis=1) / np.tan(FIELD_OF_VIEW / 2)
    distance = _MARGIN * max(float((aside + (points - middle) @ away).max()), 0.5)
    return middle + distance * away, middle

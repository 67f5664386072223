"""The invented anatomy: a skeleton, a skin of tubes around it, and the ways both vary between people.

Rest pose: a T-pose, y up, facing +z, the left side at +x, metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import PchipInterpolator

FINGERS = ("index", "middle", "pinky", "ring", "thumb")
JOINT_NAMES: tuple[str, ...] = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2"),
    *("left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar"),
    *("right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist"),
    *(f"{side}_{finger}{i}" for side in ("left", "right") for finger in FINGERS for i in (1, 2, 3)),
)
PARENTS: tuple[int, ...] = (
    *(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    *(20, 22, 23, 20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35),
    *(21, 37, 38, 21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50),
)
GENDERS = ("female", "male", "neutral")

Point = tuple[float, float, float]
Vector = Float[np.ndarray, "3"]
_MIRROR = np.array([-1.0, 1.0, 1.0])

_LANDMARKS: dict[str, Point] = {
    "pelvis": (0, -0.22, 0.02),
    "spine1": (0, -0.10, 0.0),
    "spine2": (0, 0.03, 0.0),
    "spine3": (0, 0.085, 0.01),
    "neck": (0, 0.29, -0.01),
    "head": (0, 0.37, 0.01),
    "head_top": (0, 0.53, 0.02),
    "left_hip": (0.08, -0.31, 0.02),
    "left_knee": (0.105, -0.69, 0.02),
    "left_ankle": (0.095, -1.09, -0.02),
    "left_foot": (0.115, -1.14, 0.10),
    "left_heel": (0.095, -1.165, -0.07),
    "left_toe": (0.125, -1.165, 0.18),
    "left_collar": (0.075, 0.20, 0.0),
    "left_shoulder": (0.175, 0.23, -0.015),
    "left_elbow": (0.43, 0.225, -0.035),
    "left_wrist": (0.68, 0.23, -0.035),
    "left_index1": (0.775, 0.225, -0.005),
    "left_index2": (0.808, 0.223, -0.002),
    "left_index3": (0.832, 0.220, 0.0),
    "left_index_tip": (0.856, 0.217, 0.001),
    "left_middle1": (0.780, 0.228, -0.030),
    "left_middle2": (0.813, 0.226, -0.030),
    "left_middle3": (0.840, 0.223, -0.030),
    "left_middle_tip": (0.867, 0.219, -0.030),
    "left_pinky1": (0.758, 0.220, -0.074),
    "left_pinky2": (0.779, 0.217, -0.080),
    "left_pinky3": (0.797, 0.214, -0.084),
    "left_pinky_tip": (0.816, 0.211, -0.088),
    "left_ring1": (0.770, 0.225, -0.053),
    "left_ring2": (0.802, 0.223, -0.056),
    "left_ring3": (0.828, 0.220, -0.058),
    "left_ring_tip": (0.853, 0.216, -0.060),
    "left_thumb1": (0.705, 0.218, -0.010),
    "left_thumb2": (0.730, 0.208, 0.014),
    "left_thumb3": (0.755, 0.203, 0.030),
    "left_thumb_tip": (0.780, 0.198, 0.045),
}


@dataclass(frozen=True)
class _Tube:
    """A closed tube: `keys` rows are centre (x, y, z) and half axes along `up` and across it, metres."""

    vertices_per_ring: int
    rings: int
    up: Point
    keys: tuple[tuple[float, float, float, float, float], ...]


def _finger_tube(finger: str) -> _Tube:
    joints = np.array([_LANDMARKS[f"left_{finger}{i}"] for i in ("1", "2", "3", "_tip")])
    radius = {"pinky": 0.007, "thumb": 0.010}.get(finger, 0.0085)
    start = joints[0] - 0.012 * (joints[1] - joints[0]) / np.linalg.norm(joints[1] - joints[0])
    centres = np.vstack([start, joints, joints[3] + 0.1 * (joints[3] - joints[2])])
    radii = radius * np.array([0.6, 1.0, 1.0, 0.9, 0.6, 0.0])
    return _Tube(8, 10, (0, 1, 0), tuple((*c, r, r) for c, r in zip(centres, radii, strict=True)))


# The ring counts are chosen to come to 6890 vertices.
_TRUNK = _Tube(
    *(32, 48, (0, 0, 1)),
    (
        *((0, -0.365, 0.02, 0.00, 0.00), (0, -0.345, 0.02, 0.07, 0.08), (0, -0.29, 0.015, 0.11, 0.155)),
        *((0, -0.22, 0.01, 0.115, 0.165), (0, -0.09, 0.01, 0.10, 0.138), (0, 0.03, 0.015, 0.108, 0.145)),
        *((0, 0.12, 0.015, 0.118, 0.155), (0, 0.20, 0.0, 0.10, 0.155), (0, 0.25, -0.01, 0.075, 0.125)),
        *((0, 0.285, -0.01, 0.058, 0.070), (0, 0.32, -0.005, 0.055, 0.056), (0, 0.365, 0.015, 0.075, 0.058)),
        *((0, 0.43, 0.025, 0.098, 0.073), (0, 0.49, 0.02, 0.085, 0.065), (0, 0.52, 0.015, 0.05, 0.04)),
        (0, 0.535, 0.015, 0.0, 0.0),
    ),
)
_LEFT_TUBES: dict[str, _Tube] = {
    "leg": _Tube(
        *(24, 43, (0, 0, 1)),
        (
            *((0.085, -0.235, 0.02, 0.0, 0.0), (0.087, -0.26, 0.02, 0.06, 0.055)),
            *((0.092, -0.33, 0.02, 0.085, 0.078), (0.104, -0.50, 0.022, 0.075, 0.072)),
            *((0.105, -0.69, 0.02, 0.055, 0.052), (0.103, -0.80, 0.0, 0.058, 0.052)),
            *((0.097, -1.00, -0.015, 0.040, 0.038), (0.095, -1.09, -0.02, 0.037, 0.034)),
            *((0.095, -1.12, -0.02, 0.028, 0.026), (0.095, -1.135, -0.02, 0.0, 0.0)),
        ),
    ),
    "foot": _Tube(
        *(18, 13, (0, 1, 0)),
        (
            *((0.093, -1.13, -0.085, 0.0, 0.0), (0.093, -1.13, -0.07, 0.03, 0.028)),
            *((0.095, -1.12, -0.02, 0.045, 0.034), (0.110, -1.135, 0.08, 0.032, 0.044)),
            *((0.120, -1.148, 0.15, 0.018, 0.042), (0.125, -1.15, 0.185, 0.0, 0.0)),
        ),
    ),
    "arm": _Tube(
        *(20, 34, (0, 1, 0)),
        (
            *((0.115, 0.225, -0.01, 0.0, 0.0), (0.135, 0.225, -0.012, 0.05, 0.045)),
            *((0.175, 0.228, -0.015, 0.060, 0.055), (0.26, 0.228, -0.02, 0.050, 0.048)),
            *((0.43, 0.225, -0.035, 0.041, 0.039), (0.49, 0.226, -0.035, 0.043, 0.040)),
            *((0.60, 0.229, -0.035, 0.031, 0.032), (0.68, 0.230, -0.035, 0.023, 0.028)),
            *((0.695, 0.23, -0.035, 0.016, 0.02), (0.70, 0.23, -0.035, 0.0, 0.0)),
        ),
    ),
    "palm": _Tube(
        *(24, 13, (0, 1, 0)),
        (
            *((0.665, 0.23, -0.035, 0.0, 0.0), (0.68, 0.23, -0.035, 0.019, 0.026)),
            *((0.71, 0.226, -0.034, 0.020, 0.036), (0.75, 0.225, -0.038, 0.016, 0.044)),
            *((0.775, 0.225, -0.037, 0.011, 0.040), (0.785, 0.225, -0.036, 0.0, 0.0)),
        ),
    ),
    **{finger: _finger_tube(finger) for finger in FINGERS},
}
_ATTACHED_TO = {"leg": "trunk", "foot": "leg", "arm": "trunk", "palm": "arm"} | dict.fromkeys(FINGERS, "palm")


@dataclass(frozen=True)
class Surface:
    """The neutral rest surface.

    Attributes
    ----------
    points
        The vertices, in metres.
    centres
        Each vertex's place on the axis of its tube, in metres.
    tube
        Which tube each vertex is on, as an index into `tubes`.
    ring
        Which ring or pole each vertex is on.
    faces
        Vertices of each triangle.
    tubes
        Names of the tubes.
    """

    points: Float[np.ndarray, "vertices 3"]
    centres: Float[np.ndarray, "vertices 3"]
    tube: Int[np.ndarray, " vertices"]
    ring: Int[np.ndarray, " vertices"]
    faces: Int[np.ndarray, "faces 3"]
    tubes: tuple[str, ...]

    def on(self, *tubes: str) -> Int[np.ndarray, " selected"]:
        """Indices of the vertices of the named tubes."""
        return np.flatnonzero(np.isin(self.tube, [self.tubes.index(name) for name in tubes]))

    def rings_about(self, target: Vector, tube: str, count: int) -> Int[np.ndarray, " selected"]:
        """Indices of the vertices of the `count` rings of a tube whose centres are nearest to a point.

        Parameters
        ----------
        target
            The point, in metres.
        tube
            Name of the tube.
        count
            How many rings; the tube's poles do not count as such.
        """
        vertices = self.on(tube)
        rings, first = np.unique(self.ring[vertices], return_index=True)
        distance = np.linalg.norm(self.centres[vertices[first]] - target, axis=1)[1:-1]
        return vertices[np.isin(self.ring[vertices], rings[1:-1][np.argsort(distance)[:count]])]


def landmark(name: str) -> Vector:
    """Rest position of a joint or landmark of the neutral body, in metres."""
    point = np.array(_LANDMARKS[name.replace("right_", "left_")], dtype=np.float64)
    return np.multiply(point, _MIRROR) if name.startswith("right_") else point


def hand_tubes(side: str) -> tuple[str, ...]:
    """Names of the tubes that make up one hand."""
    return (f"{side}_palm", *(f"{side}_{finger}" for finger in FINGERS))


def bone_ends(joint: str) -> list[str]:
    """Landmarks at the far ends of a joint's bone: its child joints, or its tip."""
    tips = {"head": "head_top", "left_foot": "left_toe", "right_foot": "right_toe"}
    index = JOINT_NAMES.index(joint)
    children = [name for name, parent in zip(JOINT_NAMES, PARENTS, strict=True) if parent == index]
    return children or [tips.get(joint, joint.removesuffix("3") + "_tip")]


def _sweep(
    tube: _Tube,
) -> tuple[Float[np.ndarray, "vertices 3"], Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Points, their centres on the axis, and faces of one tube: first pole, rings, last pole."""
    keys = np.array(tube.keys, dtype=np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(keys[:, :3], axis=0), axis=1))])
    rings = PchipInterpolator(along, keys)(np.linspace(0.0, along[-1], tube.rings + 2))[1:-1]
    axis = keys[-1, :3] - keys[0, :3]
    axis /= np.linalg.norm(axis)
    up = np.array(tube.up) - np.dot(tube.up, axis) * axis
    up /= np.linalg.norm(up)
    n = tube.vertices_per_ring
    angle = 2 * np.pi * (np.arange(n) + 0.5) / n
    offsets = rings[:, None, 3:4] * np.cos(angle)[:, None] * up + rings[:, None, 4:5] * np.sin(angle)[
        :, None
    ] * np.cross(axis, up)
    centres = np.vstack([keys[:1, :3], np.repeat(rings[:, :3], n, axis=0), keys[-1:, :3]])
    points = centres + np.vstack([np.zeros(3), offsets.reshape(-1, 3), np.zeros(3)])

    k = np.arange(n)
    after = (k + 1) % n
    first = 1 + n * np.arange(tube.rings - 1)[:, None]
    quad = [first + k, first + after, first + n + after, first + n + k]
    last = 1 + n * tube.rings
    faces = [
        np.stack([np.zeros(n, dtype=int), 1 + after, 1 + k], axis=1),
        np.stack([quad[0], quad[1], quad[2]], axis=-1).reshape(-1, 3),
        np.stack([quad[0], quad[2], quad[3]], axis=-1).reshape(-1, 3),
        np.stack([last - n + k, last - n + after, np.full(n, last)], axis=1),
    ]
    return points, centres, np.concatenate(faces)


def _bridge(
    faces: Int[np.ndarray, "faces 3"], i: int, j: int, points: Float[np.ndarray, "vertices 3"]
) -> Int[np.ndarray, "more 3"]:
    """Join two closed surfaces: a tunnel of six triangles replaces face i of one and face j of the other."""
    a, b, c = faces[i]
    turns = [np.roll(faces[j], -k) for k in range(3)]
    p, q, r = min(turns, key=lambda t: float(np.linalg.norm(points[t] - points[[a, c, b]], axis=1).sum()))
    tunnel = [(a, b, r), (a, r, p), (b, c, q), (b, q, r), (c, a, p), (c, p, q)]
    return np.concatenate([np.delete(faces, [i, j], axis=0), np.array(tunnel)])


@cache
def surface() -> Surface:
    """The skin, one closed genus-0 mesh: 6890 vertices and, by Euler's formula, 2 * 6890 - 4 faces."""
    swept = {"trunk": _sweep(_TRUNK)}
    for name, tube in _LEFT_TUBES.items():
        points, centres, triangles = _sweep(tube)
        swept[f"left_{name}"] = points, centres, triangles
        swept[f"right_{name}"] = points * _MIRROR, centres * _MIRROR, triangles[:, ::-1]
    starts = np.cumsum([0, *(len(points) for points, _, _ in swept.values())])
    all_points = np.concatenate([points for points, _, _ in swept.values()])
    faces = np.concatenate([f + start for (_, _, f), start in zip(swept.values(), starts[:-1], strict=True)])
    tubes = tuple(swept)
    tube_of = np.repeat(np.arange(len(tubes)), np.diff(starts))
    for name in tubes[1:]:
        side, part = name.split("_")
        parent = _ATTACHED_TO[part]
        parent = parent if parent == "trunk" else f"{side}_{parent}"
        pole = starts[tubes.index(name)]
        i = int(np.flatnonzero((faces == pole).any(axis=1))[0])
        at_parent = np.flatnonzero((tube_of[faces] == tubes.index(parent)).all(axis=1))
        offsets = all_points[faces[at_parent]].mean(axis=1) - all_points[faces[i]].mean(axis=0)
        faces = _bridge(faces, i, int(at_parent[np.linalg.norm(offsets, axis=1).argmin()]), all_points)
    centres = np.concatenate([centre for _, centre, _ in swept.values()])
    starts_ring = (np.diff(centres, axis=0, prepend=np.inf) != 0).any(axis=1)
    return Surface(all_points, centres, tube_of, np.cumsum(starts_ring), faces, tubes)


def shape_fields(
    points: Float[np.ndarray, "points 3"], centres: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, "points 3 4"]:
    """Displacements of the first four betas: stature, girth, leg length, shoulder breadth.

    Parameters
    ----------
    points
        Points of the neutral body, in metres.
    centres
        Their places on the axes of their tubes, in metres; joints are their own centres.

    Returns
    -------
    array
        Metres a unit of each of the four.
    """
    from_pelvis = points - landmark("pelvis")
    down = np.array([0.0, 1.0, 0.0])
    leg = 0.05 * np.log1p(np.exp(-(points[:, 1:2] + 0.30) / 0.05))
    breadth = np.tanh(points[:, :1] / 0.12) / (1 + np.exp(-(points[:, 1:2] - 0.05) / 0.05))
    fields = [
        0.03 * from_pelvis,
        0.07 * (points - centres),
        -0.03 * leg * down,
        0.008 * breadth * np.array([1.0, 0, 0]),
    ]
    return np.stack(fields, axis=-1)


# What makes the three bodies differ, in the units of `shape_fields`.
_GENDER_SHAPE = {"female": (-1.0, -0.6, 0.2, -1.2), "male": (1.0, 0.4, -0.1, 1.2), "neutral": (0.0,) * 4}


def shaped(
    gender: str,
    points: Float[np.ndarray, "points 3"],
    centres: Float[np.ndarray, "points 3"],
    betas: Float[np.ndarray, " betas"] | None = None,
) -> Float[np.ndarray, "points 3"]:
    """Points of the neutral body carried to a gender and to the first four of `betas`, in metres.

    Parameters
    ----------
    gender
        One of `GENDERS`.
    points, centres
        As for `shape_fields`.
    betas
        Shape coefficients, of any number; None for zeros.

    Raises
    ------
    ValueError
        The gender is not one of `GENDERS`.
    """
    if gender not in GENDERS:
        raise ValueError(f"there is no synthetic {gender!r} body: choose one of {', '.join(GENDERS)}")
    coefficients = np.array(_GENDER_SHAPE[gender])
    if betas is not None:
        known = min(4, len(betas))
        coefficients[:known] += betas[:known]
    carried: Float[np.ndarray, "points 3"] = points + shape_fields(points, centres) @ coefficients
    return carried

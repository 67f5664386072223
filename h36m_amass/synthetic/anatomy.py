"""The invented anatomy: a skeleton, a skin of tubes around it, and the ways both vary between people.

Rest pose: a T-pose, y up, facing +z, the left side at +x, metres. The numbers are in ``person.json``: the right side
mirrors the left one, and a tube's ``keys`` are rows of a centre (x, y, z) and half axes along ``up`` and across it.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import PchipInterpolator

PERSON: dict[str, Any] = json.loads(Path(__file__).with_name("person.json").read_text(encoding="utf-8"))
JOINT_NAMES: tuple[str, ...] = tuple(PERSON["joints"])
PARENTS = tuple(-1 if parent is None else JOINT_NAMES.index(parent) for parent in PERSON["joints"].values())
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
GENDERS = ("female", "male", "neutral")
# What makes the three bodies differ, in the units of `shape_fields`.
_GENDER_SHAPE = {"female": (-1.0, -0.6, 0.2, -1.2), "male": (1.0, 0.4, -0.1, 1.2), "neutral": (0.0,) * 4}

Vector = Float[np.ndarray, "3"]
Points = Float[np.ndarray, "points 3"]
Faces = Int[np.ndarray, "faces 3"]
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Surface:
    """The neutral rest surface, whose `tube` and `ring` say which tube of `tubes` and which ring each vertex is on."""

    points: Points  # metres
    centres: Points  # of the vertices' rings, on the axes of their tubes; metres
    tube: Int[np.ndarray, " points"]
    ring: Int[np.ndarray, " points"]
    faces: Faces
    tubes: dict[str, dict[str, Any]]

    def on(self, *tubes: str) -> Int[np.ndarray, " selected"]:
        """Indices of the vertices of the named tubes."""
        return np.flatnonzero(np.isin(self.tube, [list(self.tubes).index(name) for name in tubes]))

    def rings_about(self, target: Vector, tube: str, count: int) -> Int[np.ndarray, " selected"]:
        """Indices of the vertices of the `count` rings of a tube, poles apart, whose centres are nearest to a point."""
        vertices = self.on(tube)
        rings, first = np.unique(self.ring[vertices], return_index=True)
        distance = np.linalg.norm(self.centres[vertices[first]] - target, axis=1)[1:-1]
        return vertices[np.isin(self.ring[vertices], rings[1:-1][np.argsort(distance)[:count]])]


def landmark(name: str) -> Vector:
    """Rest position of a joint or landmark of the neutral body, in metres."""
    point = np.array(PERSON["landmarks"][name.replace("right_", "left_")], dtype=np.float64)
    return np.multiply(point, _MIRROR) if name.startswith("right_") else point


def bone_ends(joint: str) -> list[str]:
    """Landmarks at the far ends of a joint's bone: its child joints, or its tip."""
    tips = {"head": "head_top", "left_foot": "left_toe", "right_foot": "right_toe"}
    children = [name for name, parent in PERSON["joints"].items() if parent == joint]
    return children or [tips.get(joint, joint.removesuffix("3") + "_tip")]


def _keys(tube: dict[str, Any]) -> Float[np.ndarray, "keys 5"]:
    """The keys of a tube of the left side or the trunk; a finger's follow from its joints."""
    if "keys" in tube:
        return np.array(tube["keys"], dtype=np.float64)
    tip = tube["joints"][-1].removesuffix("3") + "_tip"
    joints = np.array([landmark(name) for name in (*tube["joints"], tip)])
    start = joints[0] - 0.012 * (joints[1] - joints[0]) / np.linalg.norm(joints[1] - joints[0])
    radii = tube["radius"] * np.array([0.6, 1.0, 1.0, 0.9, 0.6, 0.0])
    return np.column_stack([np.vstack([start, joints, joints[3] + 0.1 * (joints[3] - joints[2])]), radii, radii])


def _sweep(tube: dict[str, Any]) -> tuple[Points, Points, Faces]:
    """Points, their centres on the axis, and faces of one tube: first pole, rings, last pole."""
    keys = _keys(tube)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(keys[:, :3], axis=0), axis=1))])
    rings = PchipInterpolator(along, keys)(np.linspace(0.0, along[-1], tube["rings"] + 2))[1:-1]
    axis = keys[-1, :3] - keys[0, :3]
    axis /= np.linalg.norm(axis)
    up = np.array(tube["up"]) - np.dot(tube["up"], axis) * axis
    up /= np.linalg.norm(up)
    n = tube["vertices_per_ring"]
    angle = (2 * np.pi * (np.arange(n) + 0.5) / n)[:, None]
    offsets = rings[:, None, 3:4] * np.cos(angle) * up + rings[:, None, 4:5] * np.sin(angle) * np.cross(axis, up)
    centres = np.vstack([keys[:1, :3], np.repeat(rings[:, :3], n, axis=0), keys[-1:, :3]])
    points = centres + np.vstack([np.zeros(3), offsets.reshape(-1, 3), np.zeros(3)])

    k = np.arange(n)
    after = (k + 1) % n
    first = 1 + n * np.arange(tube["rings"] - 1)[:, None]
    quad = [first + k, first + after, first + n + after, first + n + k]
    last = 1 + n * tube["rings"]
    faces = [
        np.stack([np.zeros(n, dtype=int), 1 + after, 1 + k], axis=1),
        np.stack([quad[0], quad[1], quad[2]], axis=-1).reshape(-1, 3),
        np.stack([quad[0], quad[2], quad[3]], axis=-1).reshape(-1, 3),
        np.stack([last - n + k, last - n + after, np.full(n, last)], axis=1),
    ]
    return points, centres, np.concatenate(faces)


def _bridge(faces: Faces, i: int, j: int, points: Points) -> Faces:
    """Join two closed surfaces: a tunnel of six triangles replaces face i of one and face j of the other."""
    a, b, c = faces[i]
    turns = [np.roll(faces[j], -k) for k in range(3)]
    p, q, r = min(turns, key=lambda t: float(np.linalg.norm(points[t] - points[[a, c, b]], axis=1).sum()))
    tunnel = [(a, b, r), (a, r, p), (b, c, q), (b, q, r), (c, a, p), (c, p, q)]
    return np.concatenate([np.delete(faces, [i, j], axis=0), np.array(tunnel)])


@cache
def surface() -> Surface:
    """The skin, one closed genus-0 mesh: 6890 vertices and, by Euler's formula, 2 * 6890 - 4 faces."""
    tubes, swept = {}, []
    for name, tube in PERSON["tubes"].items():
        points, centres, triangles = _sweep(tube)
        tubes[name] = tube
        swept.append((points, centres, triangles))
        if name.startswith("left_"):
            tubes[name.replace("left_", "right_")] = json.loads(json.dumps(tube).replace("left_", "right_"))
            swept.append((points * _MIRROR, centres * _MIRROR, triangles[:, ::-1]))
    names = list(tubes)
    starts = np.cumsum([0, *(len(points) for points, _, _ in swept)])
    all_points, all_centres = (np.concatenate([part[k] for part in swept]) for k in range(2))
    faces = np.concatenate([part[2] + start for part, start in zip(swept, starts[:-1], strict=True)])
    tube_of = np.repeat(np.arange(len(tubes)), np.diff(starts))
    for name in names[1:]:
        i = int(np.flatnonzero((faces == starts[names.index(name)]).any(axis=1))[0])
        at_parent = np.flatnonzero((tube_of[faces] == names.index(tubes[name]["attached_to"])).all(axis=1))
        offsets = all_points[faces[at_parent]].mean(axis=1) - all_points[faces[i]].mean(axis=0)
        faces = _bridge(faces, i, int(at_parent[np.linalg.norm(offsets, axis=1).argmin()]), all_points)
    starts_ring = (np.diff(all_centres, axis=0, prepend=np.inf) != 0).any(axis=1)
    return Surface(all_points, all_centres, tube_of, np.cumsum(starts_ring), faces, tubes)


def shape_fields(points: Points, centres: Points) -> Float[np.ndarray, "points 3 4"]:
    """Displacements of the first four betas, metres per unit: stature, girth, leg length, shoulder breadth.

    `points` of the neutral body have `centres` on the axes of their tubes; joints are their own.
    """
    from_pelvis = points - landmark("pelvis")
    down = np.array([0.0, 1.0, 0.0])
    leg = 0.05 * np.log1p(np.exp(-(points[:, 1:2] + 0.30) / 0.05))
    breadth = np.tanh(points[:, :1] / 0.12) / (1 + np.exp(-(points[:, 1:2] - 0.05) / 0.05))
    across = 0.008 * breadth * np.array([1.0, 0, 0])
    return np.stack([0.03 * from_pelvis, 0.07 * (points - centres), -0.03 * leg * down, across], axis=-1)


def shaped(gender: str, points: Points, centres: Points, betas: Float[np.ndarray, " betas"] | None = None) -> Points:
    """Points of the neutral body carried to a gender and to the first four of `betas`; see `shape_fields`.

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
    carried: Points = points + shape_fields(points, centres) @ coefficients
    return carried

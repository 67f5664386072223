"""People and the camera in the viewer's scene: where they stand, and a person's nodes in viser (extra ``view``)."""

from typing import Any, NamedTuple

import numpy as np
import trimesh.creation
import viser
from jaxtyping import Float, UInt8

from h36m_amass.plot.picture import colours_of
from h36m_amass.skeleton import Skeleton, bone_lengths, bones, leftwards
from h36m_amass.store.selection import StoredSequence
from h36m_amass.viewer.playback import Frames

FIELD_OF_VIEW, ASPECT = np.radians(40.0), 0.7
"""Angle of the camera from top to bottom, in radians; width by height of the narrowest window that shows everybody."""
_MARGIN = 1.15  # how much more than the person fits into the view
_THICKEST, _THINNEST = 0.024, 0.006  # radii of joints in metres: of limbs, and of fingers
_PATH_COLOUR = (255, 150, 0)
Pose = Float[np.ndarray, "joints 3"]
Point = Float[np.ndarray, "3"]


class Placement(NamedTuple):
    """Where copies of a mesh stand: their rotations, where its origin is in metres, and its scales before it turns."""

    wxyzs: Float[np.ndarray, "copies 4"]
    positions: Float[np.ndarray, "copies 3"]
    scales: Float[np.ndarray, "copies 3"]


def facing(pose: Pose, skeleton: Skeleton) -> Point:
    """Unit vector along the ground to where the person faces: left × up; -y if the joints do not tell."""
    x, y = leftwards(pose, skeleton)
    return np.array([y, -x, 0.0])


def camera(points: Float[np.ndarray, "points 3"], ahead: Point, turn: float = 0.0) -> tuple[Point, Point]:
    """Position of a camera, and the point it looks at, that sees all of `points` from the front.

    It stands where they face, `ahead`, turned by `turn` radians to their left, somewhat above their middle, and as far
    away as `FIELD_OF_VIEW`, that of the height, asks for in a window of this `ASPECT`.
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


def beside(first: Point, second: Point, ahead: Point, gap: float, same: bool) -> Point:
    """How far the second figure is moved along the ground to stand `gap` metres to the left of the first.

    The roots start at `first` and `second`, and the first one faces `ahead`. Figures of the `same` recording are not
    moved together, so that their difference shows.
    """
    to_left = np.array([-ahead[1], ahead[0], 0.0])
    shift = np.zeros(3) if same else (first - second).astype(np.float64) * (1.0, 1.0, 0.0)
    return shift + gap * to_left


def joint_radii(pose: Pose, skeleton: Skeleton) -> Float[np.ndarray, "joints"]:
    """Radius of each joint's ball, in metres: a fifth of the shortest bone that ends there, within limits."""
    radii = np.full(len(skeleton), _THICKEST)
    for ends, length in zip(bones(skeleton), bone_lengths(pose, skeleton), strict=True):
        radii[ends] = np.minimum(radii[ends], 0.2 * length)
    return np.maximum(radii, _THINNEST)


def place_bones(pose: Pose, skeleton: Skeleton, radii: Float[np.ndarray, "joints"]) -> Placement:
    """How a cylinder along z from 0 to 1 becomes each bone: from the parent to the joint, in the order of `bones`.

    The shortest rotation of z to a unit vector (x, y, z) is the quaternion (1 + z, -y, x, 0), normalised; where that is
    0, any half turn about a level axis.
    """
    starts, ends = bones(skeleton).T
    along = (pose[ends] - pose[starts]).astype(np.float64)
    lengths = np.linalg.norm(along, axis=1)
    x, y, z = np.where(lengths > 0, along.T / np.maximum(lengths, 1e-12), [[0.0], [0.0], [1.0]])
    wxyzs = np.stack([1.0 + z, -y, x, np.zeros_like(x)], axis=1)
    wxyzs[np.abs(wxyzs).max(axis=1) < 1e-100] = 0.0, 1.0, 0.0, 0.0  # straight down, as far as squares can tell
    wxyzs /= np.linalg.norm(wxyzs, axis=1, keepdims=True)
    thickness = 0.65 * np.minimum(radii[ends], radii[starts])
    return Placement(wxyzs, pose[starts], np.stack([thickness, thickness, np.maximum(lengths, 1e-6)], axis=1))


def faint_colours_of(skeleton: Skeleton) -> UInt8[np.ndarray, "joints 3"]:
    """Colours of a second figure's joints: half way from those of the first to white."""
    return (colours_of(skeleton) // 2 + 127).astype(np.uint8)


class Person:
    """A sequence in the scene: its nodes, which move with its poses."""

    def __init__(self, scene: viser.SceneApi, name: str, sequence: StoredSequence, faint: bool) -> None:
        self.sequence, self.frames, self.skeleton = sequence, Frames(sequence), sequence.store.skeleton
        self.start = pose = self.frames[0]
        self._scene, self._name, skeleton = scene, name, self.skeleton
        self._radii = joint_radii(pose, skeleton)
        self._labels: list[viser.LabelHandle] = []
        self._path: viser.LineSegmentsHandle | None = None
        colours = faint_colours_of(skeleton) if faint else colours_of(skeleton)
        ball = trimesh.creation.uv_sphere(count=(8, 14))
        rod = trimesh.creation.cylinder(1.0, sections=12, segment=[[0, 0, 0], [0, 0, 1]])
        upright = np.tile((1.0, 0.0, 0.0, 0.0), (len(skeleton), 1))
        self._frame = scene.add_frame(name, show_axes=False)
        self._joints = self._copies("joints", ball, Placement(upright, pose, self._radii), colours)
        placed = place_bones(pose, skeleton, self._radii)
        self._bones = self._copies("bones", rod, placed, colours[bones(skeleton)[:, 1]]) if len(placed.scales) else None

    def _copies(self, part: str, mesh: Any, placed: Placement, colours: np.ndarray) -> viser.BatchedMeshHandle:
        """Copies of a mesh in the scene, each of a colour of its own."""
        add, name = self._scene.add_batched_meshes_simple, f"{self._name}/{part}"
        style: Any = {"batched_scales": placed.scales, "batched_colors": colours, "lod": "off"}
        return add(name, mesh.vertices, mesh.faces, placed.wxyzs, placed.positions, **style)

    def show(self, pose: Pose, shift: Point) -> None:
        """Take a pose, moved by `shift`."""
        self._frame.position = shift
        self._joints.batched_positions = pose
        if self._bones is not None:
            placed = Placement(*(part.astype(np.float32) for part in place_bones(pose, self.skeleton, self._radii)))
            self._bones.batched_wxyzs, self._bones.batched_positions = placed.wxyzs, placed.positions
            self._bones.batched_scales = placed.scales
        for label, position in zip(self._labels, pose, strict=False):
            label.position = position

    def name_joints(self, pose: Pose, visible: bool) -> None:
        """Write the joints' names beside them, or take them away."""
        for label in self._labels:
            label.remove()
        self._labels = [
            self._scene.add_label(f"{self._name}/names/{joint}", name, position=position, font_screen_scale=0.8)
            for joint, (name, position) in enumerate(zip(self.skeleton.joint_names, pose, strict=True))
            if visible
        ]

    def draw_path(self, points: Float[np.ndarray, "points 3"] | None) -> None:
        """Draw a line through `points`, or none."""
        if self._path is not None:
            self._path.remove()
            self._path = None
        if points is not None and len(points) > 1:
            name, segments = f"{self._name}/path", np.stack([points[:-1], points[1:]], axis=1)
            style: Any = {"thickness": 2.0, "thickness_units": "screen"}
            self._path = self._scene.add_line_segments(name, segments, _PATH_COLOUR, **style)

    def remove(self) -> None:
        """Take the person out of the scene."""
        self._frame.remove()

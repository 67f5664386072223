"""A person in the viewer's scene: bones, joints, their names and a trajectory, through viser (extra ``view``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh.creation
import viser
from jaxtyping import Float, UInt8

from h36m_amass.plot.colours import colours_of
from h36m_amass.skeleton import Skeleton, bone_lengths, bones

THICKEST, THINNEST = 0.024, 0.006
"""Radii of joints in metres: of limbs, and of fingers."""
_PATH_COLOUR = (255, 150, 0)


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


def joint_radii(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "joints"]:
    """Of each joint's ball, in metres: a fifth of the shortest bone that it is an end of, within limits."""
    radii = np.full(len(skeleton), THICKEST)
    for ends, length in zip(bones(skeleton), bone_lengths(pose, skeleton), strict=True):
        radii[ends] = np.minimum(radii[ends], 0.2 * length)
    return np.maximum(radii, THINNEST)


def place_bones(
    pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton, radii: Float[np.ndarray, "joints"]
) -> Placement:
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
    """Of a second figure's joints: half way from those of the first to white."""
    return (colours_of(skeleton) // 2 + 127).astype(np.uint8)


class SceneFigure:
    """The nodes of one person in the scene, made for one sequence and moved with its poses."""

    def __init__(
        self,
        scene: viser.SceneApi,
        name: str,
        pose: Float[np.ndarray, "joints 3"],
        skeleton: Skeleton,
        faint: bool,
    ) -> None:
        self._scene, self._name, self.skeleton = scene, name, skeleton
        self._radii = joint_radii(pose, skeleton)
        self._labels: list[viser.LabelHandle] = []
        self._path: viser.LineSegmentsHandle | None = None
        colours = faint_colours_of(skeleton) if faint else colours_of(skeleton)
        ball = trimesh.creation.uv_sphere(count=(8, 14))
        rod = trimesh.creation.cylinder(1.0, sections=12, segment=[[0, 0, 0], [0, 0, 1]])
        placed = place_bones(pose, skeleton, self._radii)
        self._frame = scene.add_frame(name, show_axes=False)
        self._joints = scene.add_batched_meshes_simple(
            f"{name}/joints",
            ball.vertices,
            ball.faces,
            batched_wxyzs=np.tile((1.0, 0.0, 0.0, 0.0), (len(skeleton), 1)),
            batched_positions=pose,
            batched_scales=self._radii,
            batched_colors=colours,
            lod="off",
        )
        self._bones = (
            scene.add_batched_meshes_simple(
                f"{name}/bones",
                rod.vertices,
                rod.faces,
                batched_wxyzs=placed.wxyzs,
                batched_positions=placed.positions,
                batched_scales=placed.scales,
                batched_colors=colours[bones(skeleton)[:, 1]],
                lod="off",
            )
            if len(placed.positions)
            else None
        )

    def show(self, pose: Float[np.ndarray, "joints 3"], shift: Float[np.ndarray, "3"]) -> None:
        """Take a pose, moved by `shift`."""
        self._frame.position = shift
        self._joints.batched_positions = pose
        if self._bones is not None:
            placed = place_bones(pose, self.skeleton, self._radii)
            self._bones.batched_positions = placed.positions.astype(np.float32)
            self._bones.batched_wxyzs = placed.wxyzs.astype(np.float32)
            self._bones.batched_scales = placed.scales.astype(np.float32)
        for label, position in zip(self._labels, pose, strict=False):
            label.position = position

    def name_joints(self, pose: Float[np.ndarray, "joints 3"], visible: bool) -> None:
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
            segments = np.stack([points[:-1], points[1:]], axis=1)
            self._path = self._scene.add_line_segments(
                f"{self._name}/path", segments, _PATH_COLOUR, thickness=2.0, thickness_units="screen"
            )

    def remove(self) -> None:
        """Take the person out of the scene."""
        self._frame.remove()

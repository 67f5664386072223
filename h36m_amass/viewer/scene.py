"""A person in the viewer's scene: bones, joints, their names and a trajectory, through viser (extra ``view``)."""

from __future__ import annotations

import numpy as np
import viser
from jaxtyping import Float

from h36m_amass.plot.colours import colours_of
from h36m_amass.skeleton import Skeleton, bones
from h36m_amass.viewer import figure

_PATH_COLOUR = (255, 150, 0)


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
        self._radii = figure.joint_radii(pose, skeleton)
        self._labels: list[viser.LabelHandle] = []
        self._path: viser.LineSegmentsHandle | None = None
        colours = figure.faint_colours_of(skeleton) if faint else colours_of(skeleton)
        ball, rod, placed = figure.ball(), figure.rod(), figure.place_bones(pose, skeleton, self._radii)
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
            placed = figure.place_bones(pose, self.skeleton, self._radii)
            self._bones.batched_positions = placed.positions.astype(np.float32)
            self._bones.batched_wxyzs = placed.wxyzs.astype(np.float32)
            self._bones.batched_scales = placed.scales.astype(np.float32)
        for label, position in zip(self._labels, pose, strict=False):
            label.position = position

    def name_joints(self, pose: Float[np.ndarray, "joints 3"], wanted: bool) -> None:
        """Write the joints' names beside them, or take them away."""
        for label in self._labels:
            label.remove()
        self._labels = [
            self._scene.add_label(f"{self._name}/names/{joint}", name, position=position, font_screen_scale=0.8)
            for joint, (name, position) in enumerate(zip(self.skeleton.joint_names, pose, strict=True))
            if wanted
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

"""Pictures of sequences (extra ``plot``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from h36m_amass.skeleton import Skeleton
from h36m_amass.store import Sequence

LEFT, RIGHT, MIDDLE = "tab:blue", "tab:red", "0.25"
SPACING = 1.3
"""Metres between neighbouring poses of a picture."""


class PlotError(ValueError):
    """A picture cannot be drawn."""


def require_matplotlib() -> None:
    """Raise `PlotError` unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401 # an import is the test
    except ImportError as error:
        raise PlotError(
            "pictures need matplotlib, which is not installed; install it with: pip install 'h36m-amass[plot]'"
        ) from error


def draw_poses(
    sequence: Sequence, skeleton: Skeleton, path: Path | str, num_poses: int = 7, seconds: float | None = None
) -> None:
    """Draw poses of one sequence, evenly spread over time, from the front and from the side.

    Axes are equal and in metres, z up; left is blue and right is red. Each pose is centred on its root and turned
    the way the person faces.

    Parameters
    ----------
    sequence
        A sequence of a store.
    skeleton
        The store's.
    path
        Picture to write; its ending says the kind, like ``.png``.
    num_poses
        How many poses, at most as many as there are frames.
    seconds
        Draw this much of the beginning; None draws all of it.

    Raises
    ------
    PlotError
        The skeleton has no bones to draw, or matplotlib is not installed.
    """
    require_matplotlib()
    if all(parent < 0 for parent in skeleton.parents):
        raise PlotError(f"{sequence.key}: its joints have no bones, so there is nothing to draw")
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    last = len(sequence) - 1 if seconds is None else min(len(sequence) - 1, round(seconds * sequence.frame_rate))
    frames = np.linspace(0, last, min(num_poses, last + 1)).round().astype(int)
    poses = np.stack([sequence.positions_3d[int(frame)] for frame in frames])
    colours = [_colour(joint, skeleton) for joint in range(len(skeleton))]
    figure = Figure(figsize=(1.6 * len(frames) + 1.5, 6.4), layout="constrained")
    for axes, view in zip(figure.subplots(2, 1, sharex=True), ("front", "side"), strict=True):
        flat = np.stack([_project(pose, skeleton, view) for pose in poses])
        flat[:, :, 0] += SPACING * np.arange(len(frames))[:, None]
        bones = [
            (pose[[parent, joint]], colours[joint])
            for pose in flat
            for joint, parent in enumerate(skeleton.parents)
            if parent >= 0
        ]
        axes.add_collection(
            LineCollection([line for line, _ in bones], colors=[c for _, c in bones], linewidths=2.2, capstyle="round")
        )
        axes.scatter(flat[..., 0], flat[..., 1], s=9, c=colours * len(frames), zorder=3)
        axes.axhline(0.0, color="0.8", linewidth=1, zorder=0)
        axes.set_aspect("equal")
        axes.set_xlim(-0.7 * SPACING, SPACING * (len(frames) - 0.3))
        axes.set_ylim(min(-0.1, flat[..., 1].min() - 0.1), flat[..., 1].max() + 0.15)
        axes.set_ylabel(f"{view}: z (m)")
    axes.set_xticks(
        SPACING * np.arange(len(frames)),
        [f"{frame / sequence.frame_rate:.2f} s" for frame in frames.tolist()],
    )
    axes.set_xlabel(f"poses over time, drawn {SPACING} m apart")
    figure.suptitle(f"{sequence.key}, {sequence.frame_rate:g} Hz")
    handles = [Line2D([], [], color=c, label=n) for c, n in ((LEFT, "left"), (RIGHT, "right"), (MIDDLE, "middle"))]
    figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)


def _project(pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton, view: str) -> Float[np.ndarray, "joints 2"]:
    """Horizontal and vertical coordinate of each joint: to the right is the person's left, or where they face."""
    across = pose[list(skeleton.left)].mean(axis=0) - pose[list(skeleton.right)].mean(axis=0)
    across = across[:2] / max(float(np.linalg.norm(across[:2])), 1e-9)
    axis = across if view == "front" else np.array([across[1], -across[0]])
    root = pose[skeleton.parents.index(-1), :2]
    return np.stack([(pose[:, :2] - root) @ axis, pose[:, 2]], axis=1)


def _colour(joint: int, skeleton: Skeleton) -> str:
    return LEFT if joint in skeleton.left else RIGHT if joint in skeleton.right else MIDDLE

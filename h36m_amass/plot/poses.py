"""Pictures of a sequence: its poses along time (extra ``plot``)."""

from pathlib import Path

import numpy as np

from h36m_amass.plot import PlotError, picture
from h36m_amass.store.selection import StoredSequence

SPACING = 1.3  # metres between neighbouring poses of a picture
DEFAULT_POSES, MAX_POSES = 7, 50
FAR_ABOVE_GROUND = 4.0  # metres: higher people are drawn without the ground, or would be too small to see
_VIEWS = {"front": 0.0, "side": 90.0}  # degrees, see `picture.seen`


def frames_of_poses(
    sequence: StoredSequence, path: Path, num_poses: int, start: float, seconds: float | None
) -> list[int]:
    """The frames of a picture of `num_poses` poses, evenly spread; raises `PlotError` as `draw_poses` does."""
    if not 1 <= num_poses <= MAX_POSES:
        raise PlotError(f"{num_poses} poses cannot be drawn in one picture; ask for 1 to {MAX_POSES}", path)
    picture.require_bones(sequence.store.skeleton, sequence.key)
    between = picture.frames_between(sequence, start, seconds)
    frames: list[int] = np.linspace(between[0], between[-1], min(num_poses, len(between))).round().astype(int).tolist()
    return frames


def draw_poses(
    sequence: StoredSequence,
    path: Path | str,
    *,
    num_poses: int = DEFAULT_POSES,
    start: float = 0.0,
    seconds: float | None = None,
    overwrite: bool = False,
) -> None:
    """Draw poses of one sequence, evenly spread over time, from the front and from the side.

    Axes are equal and in metres, z up; left is blue and right is red. Each pose is centred on its root and turned
    the way the person faces. There are at most `MAX_POSES` poses, and no more than frames; the picture is a ``.png``,
    ``.pdf`` or ``.svg``. All options are those of `h36m_amass.plot.drawing.draw`. Raises `PlotError` if `num_poses` is
    not from 1 to `MAX_POSES`, the skeleton has no bones, the sequence has nothing at `start`, `seconds` is not
    positive, or `path` cannot be written.
    """
    path = picture.output_path(path, picture.PICTURES, "a picture of poses", overwrite)
    frames = frames_of_poses(sequence, path, num_poses, start, seconds)
    from matplotlib.figure import Figure

    skeleton, rate = sequence.store.skeleton, sequence.frame_rate
    poses = [sequence.positions_3d[frame] for frame in frames]
    offsets = SPACING * np.arange(len(frames))
    width = max(6.0, 1.6 * len(frames) + 1.5)
    figure = Figure(figsize=(width, 6.4), layout="compressed")
    for axes, (view, degrees) in zip(figure.subplots(2, 1, sharex=True), _VIEWS.items(), strict=True):
        points = []
        for offset, pose in zip(offsets, poses, strict=True):
            flat, nearer = picture.seen(pose, skeleton, degrees)
            flat[:, 0] += offset
            picture.draw_person(axes, flat, nearer, skeleton)
            points.append(flat)
        x, z = np.concatenate(points).T
        low = float(z.min())
        if low < FAR_ABOVE_GROUND:
            axes.axhline(0.0, color=picture.GROUND, linewidth=1, zorder=0)
            low = min(low, 0.0)
        axes.set_aspect("equal")
        axes.set_xlim(min(-0.7 * SPACING, x.min() - 0.1), max(offsets[-1] + 0.7 * SPACING, x.max() + 0.1))
        axes.set_ylim(low - 0.1, float(z.max()) + 0.15)
        axes.set_ylabel(f"{view}: z (m)")
    axes.set_xticks(offsets, [f"{frame / rate:.2f} s" for frame in frames])
    axes.set_xlabel(f"poses over time, drawn {SPACING} m apart" if len(frames) > 1 else "time")
    figure.suptitle(picture.label(f"{sequence.key}, {rate:g} Hz", round(9 * width)), parse_math=False)
    figure.legend(handles=picture.legend_handles(), loc="outside lower center", ncols=3, frameon=False)
    picture.save(figure, path)

"""Poses of a sequence as a camera sees them (extra ``plot``)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from h36m_amass.plot import PlotError, picture
from h36m_amass.plot.poses import frames_of_poses
from h36m_amass.store.selection import StoredSequence

HEIGHT = 6.0  # inches of the image


@dataclass(frozen=True)
class ImageCamera:
    """A camera: its name, its image's width and height in pixels, and what it makes of positions.

    `project` takes positions in the world (poses, joints, 3), and gives pixels from the upper left corner
    (poses, joints, 2) and depths in metres (poses, joints).
    """

    name: str
    size: tuple[float, float]
    project: Callable[
        [Float[np.ndarray, "poses joints 3"]],
        tuple[Float[np.ndarray, "poses joints 2"], Float[np.ndarray, "poses joints"]],
    ]


def draw_image(
    sequence: StoredSequence,
    path: Path | str,
    camera: ImageCamera,
    *,
    num_poses: int,
    start: float = 0.0,
    seconds: float | None = None,
    overwrite: bool = False,
) -> None:
    """Draw poses of one sequence in the frame of a camera's image, evenly spread over time, later ones darker.

    Left is blue and right is red. The options are those of `h36m_amass.plot.poses.draw_poses`. Raises `PlotError` as
    that does, and if no pose is wholly in front of the camera.
    """
    path = picture.output_path(path, picture.PICTURES, "a picture of poses", overwrite)
    frames = frames_of_poses(sequence, path, num_poses, start, seconds)
    from matplotlib.figure import Figure

    skeleton, rate = sequence.store.skeleton, sequence.frame_rate
    pixels, depths = camera.project(np.stack([sequence.positions_3d[frame] for frame in frames]))
    in_front = [number for number in range(len(frames)) if (depths[number] > 0).all()]
    if not in_front:
        raise PlotError(
            f"{sequence.key}: is behind the camera {camera.name}; choose another camera or another time", path
        )
    width, height = camera.size
    figure = Figure(figsize=(HEIGHT * width / height + 0.8, HEIGHT + 1.0), layout="compressed")
    axes = figure.subplots()
    for rank, number in enumerate(in_front):
        drawn = len(axes.collections), len(axes.lines)
        picture.draw_person(axes, pixels[number], -depths[number], skeleton)
        shade = 0.25 + 0.75 * (rank + 1) / len(in_front)
        for artist in (*axes.collections[drawn[0] :], *axes.lines[drawn[1] :]):
            artist.set_alpha(shade)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    axes.set_xlabel("x (pixels)")
    axes.set_ylabel("y (pixels)")
    times = (
        f"{frames[0] / rate:.2f} to {frames[-1] / rate:.2f} s, later ones darker"
        if len(frames) > 1
        else f"{frames[0] / rate:.2f} s"
    )
    figure.suptitle(
        picture.label(f"{sequence.key} seen by {camera.name}, {times}", round(9 * HEIGHT) + 40), parse_math=False
    )
    figure.legend(handles=picture.legend_handles(), loc="outside lower center", ncols=3, frameon=False)
    picture.save(figure, path)

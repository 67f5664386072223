"""Animations of a sequence, as GIF or MP4 (extra ``plot``)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from h36m_amass.plot import PlotError, picture
from h36m_amass.plot.colours import colours_of
from h36m_amass.plot.span import frames_between
from h36m_amass.skeleton import bones, leftwards, root
from h36m_amass.store.selection import StoredSequence
from h36m_amass.system import atomic_file

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

MAX_RATES = {".gif": 25.0, ".mp4": 60.0}
"""Frames a second that are drawn at most; of faster sequences every n-th frame is."""
MAX_GIF_FRAMES = 1500
"""A minute. A GIF is put together in memory, and takes about a third of a megabyte a frame there."""
MAX_BOX = 2.5
"""Metres that the axes span along a direction at most to show all of a path; on a longer one they follow the root."""
MIN_BOX = 1.8
"""Metres of ground that are shown at least, so that someone who stands still stands on some."""
MARGIN = 0.1
SIZE, DPI = 6.0, 100
"""Inches, and pixels an inch: the product is even, as MP4 needs it."""
_ELEVATION, _TURN = 12.0, 35.0
"""Degrees that the camera is above the ground, and to the side of where the person faces in the first frame."""


@dataclass(frozen=True)
class Timing:
    """Which frames of a sequence are drawn, and how fast.

    Attributes
    ----------
    frames
        Their numbers.
    rate
        Of the animation in hertz, so that it runs in real time.
    """

    frames: range
    rate: float


def timing(sequence: StoredSequence, max_rate: float, start: float = 0.0, seconds: float | None = None) -> Timing:
    """Which frames are drawn in real time at `max_rate` hertz at most, from `start` on, for so many seconds."""
    step = max(1, math.ceil(sequence.frame_rate / max_rate - 1e-9))
    return Timing(frames_between(sequence, start, seconds)[::step], sequence.frame_rate / step)


def boxes(positions: Float32[np.ndarray, "frames joints 3"], centred: int) -> Float[np.ndarray, "frames 3 2"]:
    """Limits of the axes in metres in each frame: all joints are within, and the size never changes.

    The ground plane and the height are dealt with each on its own: the limits stay where they are if that takes
    no more than `MAX_BOX`, and follow the joint `centred` if it takes more.
    """
    wide = positions.astype(np.float64)
    limits = np.empty((len(wide), 3, 2))
    for span, least in ((slice(0, 2), MIN_BOX / 2), (slice(2, 3), 0.0)):
        low, high = wide[..., span].min(axis=(0, 1)), wide[..., span].max(axis=(0, 1))
        centre = np.broadcast_to((low + high) / 2, (len(wide), len(low)))
        if (high - low).max() > MAX_BOX:
            centre = wide[:, centred, span]
        half = max(np.abs(wide[..., span] - centre[:, None]).max() + MARGIN, least)
        limits[:, span] = np.stack([centre - half, centre + half], axis=-1)
    return limits


def animate(
    sequence: StoredSequence,
    path: Path | str,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Timing:
    """Draw one sequence moving, in real time.

    Axes are equal and in metres, z up; left is blue and right is red. The scale is fixed. The axes show the whole
    path, or follow the root where that is too long.

    Parameters
    ----------
    sequence
        A sequence of a store, whose joint set is drawn.
    path
        Animation to write, a ``.gif``, or an ``.mp4`` where ffmpeg is installed.
    start, seconds
        Draw this much from `start` on, both in seconds; None draws all the rest.
    overwrite
        Replace `path` if it is there.
    progress
        Called with the number of frames drawn so far, and of all.

    Returns
    -------
    Timing
        What was drawn.

    Raises
    ------
    PlotError
        If the skeleton has no bones, the sequence has nothing at `start`, `seconds` is not positive, ffmpeg is not
        installed or fails, a GIF would have too many frames, or `path` cannot be written (see
        `h36m_amass.plot.picture.output_path`).
    h36m_amass.store.store.StoreError
        If the store is damaged.
    """
    path = picture.output_path(path, picture.ANIMATIONS, "an animation", overwrite)
    picture.require_bones(sequence.store.skeleton, sequence.key)
    from matplotlib.animation import FFMpegWriter, FuncAnimation

    from h36m_amass.plot.writers import GifWriter, Mp4Writer

    kind = path.suffix.lower()
    drawn = timing(sequence, MAX_RATES[kind], start, seconds)
    if kind == ".gif" and len(drawn.frames) > MAX_GIF_FRAMES:
        reason = f"a GIF of {len(drawn.frames):,} frames is too long; draw {MAX_GIF_FRAMES / drawn.rate:.0f} s of it"
        raise PlotError(f"{reason} with --seconds, or name an .mp4", path)
    if kind == ".mp4" and not FFMpegWriter.isAvailable():
        raise PlotError("MP4 is made by ffmpeg, which is not installed; install it, or name a .gif", path)
    figure, draw_frame = _scene(sequence, drawn.frames)
    animation = FuncAnimation(figure, draw_frame, len(drawn.frames), init_func=list, cache_frame_data=False)
    rate: Any = drawn.rate  # matplotlib declares an int, and takes any number
    mp4 = ["-movflags", "+faststart", "-f", "mp4"]
    writer = GifWriter(rate) if kind == ".gif" else Mp4Writer(rate, extra_args=mp4)
    report = None if progress is None else lambda frame, total: progress(frame + 1, total)
    with atomic_file.written(path) as file, warnings.catch_warnings():
        picture.ignore_missing_glyphs()
        temporary = Path(file.name).absolute()  # which no name of a file makes an option or a protocol of ffmpeg
        try:
            animation.save(str(temporary), writer, dpi=DPI, progress_callback=report)
        except CalledProcessError as error:
            message = " ".join(error.stderr[:1000].decode("utf-8", "replace").split())
            reason = f"ffmpeg failed ({message or f'status {error.returncode}'}); mend it, or name a .gif"
            raise PlotError(reason, path) from error
    return drawn


def _scene(sequence: StoredSequence, numbers: range) -> tuple[Figure, Callable[[int], list[Artist]]]:
    """The figure of an animation, and what draws one of its frames there."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    skeleton = sequence.store.skeleton
    pairs, colours = bones(skeleton), colours_of(skeleton) / 255
    positions = sequence.positions_3d[numbers.start : numbers.stop : numbers.step]
    limits = boxes(positions, root(skeleton))
    left = leftwards(positions[0], skeleton)

    figure = Figure(figsize=(SIZE, SIZE))
    axes: Any = figure.add_axes((0.05, 0.05, 0.92, 0.88), projection="3d", proj_type="ortho", computed_zorder=False)
    axes.set_box_aspect(limits[0, :, 1] - limits[0, :, 0], zoom=1.03)
    axes.view_init(_ELEVATION, np.degrees(np.arctan2(-left[0], left[1])) + _TURN)
    axes.set(xlabel="x (m)", ylabel="y (m)", zlabel="z (m)")
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MultipleLocator(0.5))
        axis.set_tick_params(labelsize=8)
        axis.set_pane_color("white")
    shadow, body = (Line3DCollection([], capstyle="round", axlim_clip=False) for _ in range(2))
    shadow.set(color=picture.GROUND, linewidth=2.0, zorder=1)
    body.set(color=colours[pairs[:, 1]], linewidth=2.6, zorder=2)
    axes.add_collection3d(shadow, autolim=False)
    axes.add_collection3d(body, autolim=False)
    dots: Any = axes.scatter(
        *positions[0].T, s=picture.dot_area(skeleton), c=colours, depthshade=False, zorder=3, linewidths=0
    )
    figure.text(0.5, 0.96, picture.label(sequence.key, 60), ha="center", parse_math=False)
    clock = figure.text(0.03, 0.025, "", family="monospace")
    figure.legend(handles=picture.legend_handles(), loc="lower right", ncols=3, frameon=False)

    def draw_frame(frame: int) -> list[Artist]:
        pose, box = positions[frame], limits[frame]
        body.set_segments(pose[pairs])
        shadow.set_segments((pose * [1, 1, 0] + [0, 0, max(box[2, 0], 0.0)])[pairs])
        dots._offsets3d = tuple(pose.T)  # private, but matplotlib has no other way to move points in 3D
        axes.set(xlim=box[0], ylim=box[1], zlim=box[2])
        clock.set_text(f"{numbers[frame] / sequence.frame_rate:6.2f} s of {sequence.duration:.2f} s")
        return [body, shadow, dots, clock]

    return figure, draw_frame

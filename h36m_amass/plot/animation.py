"""Animations of a sequence, as GIF or MP4 (extra ``plot``)."""

from __future__ import annotations

import logging
import math
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from h36m_amass.plot import PlotError, picture
from h36m_amass.skeleton import bones, leftwards, root
from h36m_amass.store.selection import StoredSequence
from h36m_amass.system import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logging.getLogger("matplotlib.animation").addHandler(logging.NullHandler())  # it prints what `PlotError` says
MAX_RATES = {".gif": 25.0, ".mp4": 60.0}  # frames per second that are drawn at most
MAX_GIF_FRAMES = 750
"""Half a minute. A GIF is put together in memory, where a frame takes two megabytes."""
MAX_BOX, MIN_BOX, MARGIN = 2.5, 1.8, 0.1
"""Metres: the axes show all of a path unless they span more than this along a direction, and else follow the root; they
show at least this much ground, so that someone who stands still stands on some; and this much around the joints."""
SIZE, DPI = 6.0, 100  # inches, and pixels per inch: the product is even, as MP4 needs it
_MP4_ARGUMENTS = ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
_ELEVATION, _TURN = 12.0, 35.0
"""Degrees that the camera is above the ground, and to the side of where the person faces in the first frame."""


class Timing(NamedTuple):
    """Which frames of a sequence are drawn, and at how many hertz they are shown in real time."""

    frames: Int[np.ndarray, "drawn"]
    rate: float


def timing(sequence: StoredSequence, kind: str, start: float = 0.0, seconds: float | None = None) -> Timing:
    """Which frames are drawn in real time in a ``.gif`` or ``.mp4``, from `start` on, for `seconds`.

    Every n-th is, at `MAX_RATES` at most. A GIF counts in hundredths of a second: its rate is the next lower one that
    takes a whole number of them for each frame, and the frames are those nearest in time.
    """
    source_rate = sequence.frame_rate
    rate = source_rate / math.ceil(source_rate / MAX_RATES[kind] - 1e-9)
    if kind == ".gif":
        rate = 100 / math.ceil(100 / rate - 0.02)  # 59.94 Hz is shown as 60
    span = picture.frames_between(sequence, start, seconds)
    return Timing(span.start + np.arange(0, len(span) - 0.5, source_rate / rate).round().astype(int), rate)


def boxes(positions: Float32[np.ndarray, "frames joints 3"], centred: int) -> Float[np.ndarray, "frames 3 2"]:
    """Limits of the axes in metres in each frame: all joints are within, and the size never changes.

    On the ground and in height, each for itself, they follow the joint `centred` if all takes more than `MAX_BOX`.
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
    path, or follow the root where that is too long. The animation is a ``.gif``, or an ``.mp4`` where ffmpeg is
    installed; all options are those of `h36m_amass.plot.drawing.draw`. Returns what was drawn. Raises `PlotError` if
    the skeleton has no bones, the sequence has nothing at `start`, `seconds` is not positive, ffmpeg is not installed
    or fails, a GIF would have too many frames, or `path` cannot be written.
    """
    path = picture.output_path(path, picture.ANIMATIONS, "an animation", overwrite)
    picture.require_bones(sequence.store.skeleton, sequence.key)
    kind = path.suffix.lower()
    drawn = timing(sequence, kind, start, seconds)
    if kind == ".gif" and len(drawn.frames) > MAX_GIF_FRAMES:
        reason = f"a GIF of {len(drawn.frames):,} frames is too long; draw {MAX_GIF_FRAMES / drawn.rate:.0f} s of it"
        raise PlotError(f"{reason} with --seconds, or name an .mp4", path)
    from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter

    if kind == ".mp4" and not FFMpegWriter.isAvailable():
        raise PlotError("MP4 is made by ffmpeg, which is not installed; install it, or name a .gif", path)
    rate: Any = drawn.rate  # the writers take any number, though they are annotated with int
    writer: Any = FFMpegWriter(rate, codec="h264", extra_args=_MP4_ARGUMENTS)
    if kind == ".gif":
        writer = PillowWriter(rate * (1 - 1e-9))  # it rounds durations down
        finish, writer.finish = writer.finish, lambda: None  # which would write an interrupted animation, too
    animation = FuncAnimation(*_scene(sequence, drawn.frames), frames=len(drawn.frames))
    with atomic_file.written(path, kind) as file, warnings.catch_warnings():
        picture.ignore_missing_glyphs()
        output = str(Path(file.name).absolute())  # which no name of a file makes an option or a protocol of ffmpeg
        report = progress and (lambda number, total: progress(number + 1, total))
        try:
            animation.save(output, writer, dpi=DPI, progress_callback=report)
        except (subprocess.CalledProcessError, BrokenPipeError) as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # which ended ffmpeg, too
                raise error.__context__ from None
            message = " ".join((getattr(error, "stderr", "") or str(error)).split())[:1000]
            raise PlotError(f"ffmpeg failed ({message}); repair it, or name a .gif", path) from error
        if kind == ".gif":
            finish()
    return drawn


def _scene(sequence: StoredSequence, frames: Int[np.ndarray, "drawn"]) -> tuple[Figure, Callable[[int], None]]:
    """A figure, and what draws one of the frames into it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    skeleton = sequence.store.skeleton
    pairs, colours = bones(skeleton), picture.colours_of(skeleton) / 255
    positions = sequence.positions_3d[frames[0] : frames[-1] + 1][frames - frames[0]]
    limits = boxes(positions, root(skeleton))
    left = leftwards(positions[0], skeleton)

    figure = Figure(figsize=(SIZE, SIZE))
    axes: Any = figure.add_axes((0.05, 0.05, 0.92, 0.88), projection="3d", proj_type="ortho", computed_zorder=False)
    axes.set_box_aspect(limits[0, :, 1] - limits[0, :, 0], zoom=1.03)
    axes.view_init(_ELEVATION, np.degrees(np.arctan2(-left[0], left[1])) + _TURN)
    axes.set(xlabel="x (m)", ylabel="y (m)", zlabel="z (m)")
    axes.tick_params(labelsize=8)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MultipleLocator(0.5))
        axis.set_pane_color("white")
    shadow, body = (Line3DCollection([], capstyle="round", axlim_clip=False) for _ in range(2))
    shadow.set(color=picture.GROUND, linewidth=2.0, zorder=1)
    body.set(color=colours[pairs[:, 1]], linewidth=2.6, zorder=2)
    axes.add_collection3d(shadow, autolim=False)
    axes.add_collection3d(body, autolim=False)
    area = picture.dot_area(skeleton)
    dots: Any = axes.scatter(*positions[0].T, s=area, c=colours, depthshade=False, zorder=3, linewidths=0)
    figure.text(0.5, 0.96, picture.label(sequence.key, 60), ha="center", parse_math=False)
    clock = figure.text(0.03, 0.025, "", family="monospace")
    figure.legend(handles=picture.legend_handles(), loc="lower right", ncols=3, frameon=False)

    def draw(number: int) -> None:
        pose, box = positions[number], limits[number]
        body.set_segments(pose[pairs])
        shadow.set_segments((pose * [1, 1, 0] + [0, 0, max(box[2, 0], 0.0)])[pairs])
        dots._offsets3d = tuple(pose.T)  # private, but matplotlib has no other way to move points in 3D
        axes.set(xlim=box[0], ylim=box[1], zlim=box[2])
        clock.set_text(f"{frames[number] / sequence.frame_rate:6.2f} s of {sequence.duration:.2f} s")

    return figure, draw

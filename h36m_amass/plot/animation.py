"""Animations of a sequence, as GIF or MP4 (extra ``plot``).

Not by matplotlib's writers: interrupted, they write the rest of the animation, and fail if nothing is drawn yet.
"""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from h36m_amass.plot import PlotError, picture
from h36m_amass.skeleton import bones, leftwards, root
from h36m_amass.store.selection import StoredSequence
from h36m_amass.system import atomic_file

MAX_RATES = {".gif": 25.0, ".mp4": 60.0}
"""Frames per second that are drawn at most; of faster sequences every n-th frame is."""
MAX_GIF_FRAMES = 1500
"""A minute. A GIF is put together in memory, where a frame takes a third of a megabyte."""
MAX_BOX, MIN_BOX, MARGIN = 2.5, 1.8, 0.1
"""Metres: the axes show all of a path unless they span more than this along a direction, and else follow the root; they
show at least this much ground, so that someone who stands still stands on some; and this much around the joints."""
SIZE, DPI = 6.0, 100
"""Inches, and pixels per inch: the product is even, as MP4 needs it."""
_ELEVATION, _TURN = 12.0, 35.0
"""Degrees that the camera is above the ground, and to the side of where the person faces in the first frame."""


class Timing(NamedTuple):
    """Which frames of a sequence are drawn, and at how many hertz they are shown in real time."""

    frames: range
    rate: float


def timing(sequence: StoredSequence, max_rate: float, start: float = 0.0, seconds: float | None = None) -> Timing:
    """Which frames are drawn in real time at `max_rate` hertz at most, from `start` on, for so many seconds."""
    step = max(1, math.ceil(sequence.frame_rate / max_rate - 1e-9))
    return Timing(picture.frames_between(sequence, start, seconds)[::step], sequence.frame_rate / step)


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
    installed; all options are those of `h36m_amass.plot.drawing.draw`. Returns what was drawn.

    Raises
    ------
    PlotError
        If the skeleton has no bones, the sequence has nothing at `start`, `seconds` is not positive, ffmpeg is not
        installed or fails, a GIF would have too many frames, or `path` cannot be written.
    """
    path = picture.output_path(path, picture.ANIMATIONS, "an animation", overwrite)
    picture.require_bones(sequence.store.skeleton, sequence.key)
    kind = path.suffix.lower()
    drawn = timing(sequence, MAX_RATES[kind], start, seconds)
    if kind == ".gif" and len(drawn.frames) > MAX_GIF_FRAMES:
        reason = f"a GIF of {len(drawn.frames):,} frames is too long; draw {MAX_GIF_FRAMES / drawn.rate:.0f} s of it"
        raise PlotError(f"{reason} with --seconds, or name an .mp4", path)
    if kind == ".mp4" and shutil.which("ffmpeg") is None:
        raise PlotError("MP4 is made by ffmpeg, which is not installed; install it, or name a .gif", path)
    with atomic_file.written(path) as file, warnings.catch_warnings():
        picture.ignore_missing_glyphs()
        frames = _draw(sequence, drawn.frames, progress or (lambda done, total: None))
        if kind == ".gif":
            _write_gif(file, frames, drawn.rate)
        else:
            _write_mp4(file, frames, drawn.rate, path)
    return drawn


def centiseconds(num_frames: int, rate: float) -> list[int]:
    """How long each frame stands in a GIF, which counts so, at `rate` hertz: together off by half of one at most."""
    return np.diff(np.round(100 / rate * np.arange(num_frames + 1))).astype(int).tolist()


def _write_gif(file: IO[bytes], frames: Iterator[bytes], rate: float) -> None:
    """With one palette and no dithering: what stands still is then the same in each frame."""
    from PIL import Image

    side = round(SIZE * DPI)
    images: list[Image.Image] = []
    for pixels in frames:
        image = Image.frombytes("RGBA", (side, side), pixels).convert("RGB")
        palette = images[0] if images else None
        images.append(image.quantize(64, Image.Quantize.FASTOCTREE, palette=palette, dither=Image.Dither.NONE))
    durations = [10 * each for each in centiseconds(len(images), rate)]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


def _write_mp4(file: IO[bytes], frames: Iterator[bytes], rate: float, path: Path) -> None:
    """Through ffmpeg, which ends with the animation, whatever ends that."""
    side = round(SIZE * DPI)
    given = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", f"{side}x{side}", "-framerate", str(rate), "-i", "pipe:"]
    made = ["-vcodec", "h264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    temporary = str(Path(file.name).absolute())  # which no name of a file makes an option or a protocol of ffmpeg
    command = ["ffmpeg", "-loglevel", "error", *given, *made, "-y", temporary]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    stdin: Any = process.stdin
    try:
        with suppress(BrokenPipeError):  # ffmpeg has ended, and its status says so
            for pixels in frames:
                stdin.write(pixels)
        _, messages = process.communicate()
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode:
        message = " ".join(messages[:1000].decode("utf-8", "replace").split()) or f"status {process.returncode}"
        raise PlotError(f"ffmpeg failed ({message}); mend it, or name a .gif", path)


def _draw(sequence: StoredSequence, numbers: range, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    """Draw frames, and give the red, green, blue and opacity of each one's pixels."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    skeleton = sequence.store.skeleton
    pairs, colours = bones(skeleton), picture.colours_of(skeleton) / 255
    positions = sequence.positions_3d[numbers.start : numbers.stop : numbers.step]
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

    for done, (number, pose, box) in enumerate(zip(numbers, positions, limits, strict=True), start=1):
        body.set_segments(pose[pairs])
        shadow.set_segments((pose * [1, 1, 0] + [0, 0, max(box[2, 0], 0.0)])[pairs])
        dots._offsets3d = tuple(pose.T)  # private, but matplotlib has no other way to move points in 3D
        axes.set(xlim=box[0], ylim=box[1], zlim=box[2])
        clock.set_text(f"{number / sequence.frame_rate:6.2f} s of {sequence.duration:.2f} s")
        pixels = io.BytesIO()
        figure.savefig(pixels, format="rgba", dpi=DPI)
        progress(done, len(numbers))
        yield pixels.getvalue()

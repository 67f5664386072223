"""Matplotlib's writers of animations, with what it takes to keep time, to keep still and to stop (extra ``plot``).

Theirs write the rest of an animation that is interrupted, which takes long, and fail if nothing is drawn yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Self

import numpy as np
from matplotlib.animation import FFMpegWriter, PillowWriter
from matplotlib.figure import Figure
from PIL import Image


def centiseconds(num_frames: int, rate: float) -> list[int]:
    """How long each frame stands in a GIF, which counts so, at `rate` hertz: together off by half of one at most."""
    ends = np.round(100 / rate * np.arange(num_frames + 1))
    return np.diff(ends).astype(int).tolist()


class GifWriter(PillowWriter):
    """A GIF in real time, with one palette and no dithering: what stands still is then the same in each frame."""

    _frames: list[Image.Image]

    def grab_frame(self, **settings: Any) -> None:
        super().grab_frame(**settings)
        frame = self._frames.pop()
        if self._frames:
            self._frames.append(frame.quantize(palette=self._frames[0], dither=Image.Dither.NONE))
        else:
            self._frames.append(frame.quantize(64, Image.Quantize.FASTOCTREE))

    @contextmanager
    def saving(self, fig: Figure, outfile: str | Path, dpi: float | None, *_: Any, **__: Any) -> Iterator[Self]:
        self.setup(fig, outfile, dpi)
        yield self
        first, *rest = self._frames
        durations = [10 * each for each in centiseconds(len(self._frames), self.fps)]
        first.save(self.outfile, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)


class Mp4Writer(FFMpegWriter):
    """An MP4 through ffmpeg, which is ended with the animation, and whose complaint is not logged."""

    _proc: Any

    @contextmanager
    def saving(self, fig: Figure, outfile: str | Path, dpi: float | None, *_: Any, **__: Any) -> Iterator[Self]:
        self.setup(fig, outfile, dpi)
        try:
            with suppress(BrokenPipeError):  # ffmpeg has ended, and its status says so
                yield self
            _, messages = self._proc.communicate()
        except BaseException:
            self._proc.kill()
            self._proc.communicate()
            raise
        if self._proc.returncode:
            raise CalledProcessError(self._proc.returncode, "ffmpeg", stderr=messages)

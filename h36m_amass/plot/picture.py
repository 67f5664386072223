"""What all pictures of people share: spans of time, views, labels, and how one becomes a file (extra ``plot``)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence as Many
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from h36m_amass.plot import PlotError, require_matplotlib
from h36m_amass.skeleton import Skeleton, bones, leftwards, root, side
from h36m_amass.store.selection import StoredSequence
from h36m_amass.system import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT, MIDDLE = (31, 119, 180), (214, 39, 40), (64, 64, 64)
"""Red, green and blue of 255: the same in all pictures and in the viewer."""
GROUND = "0.8"
PICTURES, ANIMATIONS = (".png", ".pdf", ".svg"), (".gif", ".mp4")
DPI = 150  # of PNGs
# Without these, the same picture would be another file each time.
_DATES: dict[str, Any] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
_SETTINGS: Any = {"svg.hashsalt": "h36m-amass"}


def colours_of(skeleton: Skeleton) -> UInt8[np.ndarray, "joints 3"]:
    """Red, green and blue of each joint, and of the bone that leads to it."""
    of_side = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}
    return np.array([of_side[side(skeleton, joint)] for joint in range(len(skeleton))], np.uint8)


def ending(path: Path | str, endings: Many[str], what: str) -> str:
    """The ending of `path` in lower case, which has to be one of `endings` for `what` to be drawn."""
    suffix = Path(path).suffix.lower()
    if suffix not in endings:
        listed = ", ".join(endings[:-1])
        raise PlotError(f"{what} is a file that ends in {listed} or {endings[-1]}; name it so", path)
    return suffix


def frames_between(sequence: StoredSequence, start: float, seconds: float | None) -> range:
    """The frames of `seconds` from `start` on, one at least and no more than there are; None is all the rest.

    Frame n stands for the time from n to n + 1 frames after the start, so that two seconds at 50 Hz are 100 frames.
    """
    if not 0 <= start < math.inf:
        raise PlotError(f"{sequence.key}: cannot be drawn from {start:g} s on; give --start as 0 or more seconds")
    if seconds is not None and not 0 < seconds < math.inf:
        raise PlotError(f"{sequence.key}: {seconds:g} s of it cannot be drawn; give --seconds as a positive number")
    first, rate = round(start * sequence.frame_rate), sequence.frame_rate
    if first >= len(sequence):
        reason = f"is {sequence.duration:.2f} s long, and not {start:g} s; give an earlier --start"
        raise PlotError(f"{sequence.key}: {reason}")
    frames = range(first, len(sequence))
    return frames if seconds is None else frames[: max(1, round(seconds * rate))]


def output_path(path: Path | str, endings: Many[str], what: str, overwrite: bool) -> Path:
    """`path`, if `what` can be drawn and written there: asked before anything is drawn."""
    require_matplotlib()
    path = Path(path)
    ending(path, endings, what)
    if not path.parent.is_dir():
        raise PlotError(f"there is no folder {path.parent}; make it, or name another file", path)
    if path.is_dir():
        raise PlotError("is a folder; name a file", path)
    if path.exists() and not overwrite:
        raise PlotError("is there already; name another file, or replace it with --overwrite", path)
    return path


def require_bones(skeleton: Skeleton, name: str) -> None:
    """Raise `PlotError` if there are no bones to draw; `name` says of what."""
    if not len(bones(skeleton)):
        raise PlotError(f"{name}: its joints have no bones, so there is nothing to draw")


def dot_area(skeleton: Skeleton) -> float:
    """Area of a joint in square points: 52 joints have hands, whose fingers must not become one blot."""
    return 9.0 if len(skeleton) <= 30 else 3.0


def seen(
    pose: Shaped[np.ndarray, "joints 3"], skeleton: Skeleton, degrees: float
) -> tuple[Float[np.ndarray, "joints 2"], Float[np.ndarray, "joints"]]:
    """Coordinates to the right and up in metres, from the root, and the distance towards the viewer.

    At 0 `degrees` the person faces the viewer, whose right is the person's left. At 90 the person faces to the right.
    """
    left = leftwards(pose, skeleton)
    forward = np.array([left[1], -left[0]])  # left × up
    turn = np.radians(degrees)
    ground = pose[:, :2].astype(np.float64) - pose[root(skeleton), :2]
    right = ground @ (np.cos(turn) * left + np.sin(turn) * forward)
    nearer = ground @ (np.cos(turn) * forward - np.sin(turn) * left)
    return np.stack([right, pose[:, 2]], axis=1), nearer


def draw_person(axes: Axes, flat: np.ndarray, nearer: np.ndarray, skeleton: Skeleton, small: bool = False) -> None:
    """Draw the bones and joints of a pose as it is `seen`, the far bones first."""
    from matplotlib.collections import LineCollection

    pairs, colours = bones(skeleton), colours_of(skeleton) / 255
    pairs = pairs[np.argsort(nearer[pairs].sum(axis=1), kind="stable")]
    limbs = LineCollection(list(flat[pairs]), colors=colours[pairs[:, 1]].tolist(), capstyle="round")
    limbs.set_linewidth(1.4 if small else 2.2)
    axes.add_collection(limbs)
    area = dot_area(skeleton) / (3 if small else 1)
    axes.scatter(flat[:, 0], flat[:, 1], s=area, c=colours, zorder=3, linewidths=0)


def legend_handles() -> list[Any]:
    """What the colours mean."""
    from matplotlib.lines import Line2D

    sides = {"right": RIGHT, "middle": MIDDLE, "left": LEFT}
    return [Line2D([], [], color=f"#{bytes(rgb).hex()}", linewidth=2.2, label=name) for name, rgb in sides.items()]


def label(text: str, limit: int) -> str:
    """`text` for a picture: unprintable characters as question marks, the middle omitted beyond `limit` characters."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    if len(printable) <= limit:
        return printable
    kept = limit - 1
    return f"{printable[: kept // 2]}…{printable[len(printable) - (kept - kept // 2) :]}"


def save(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all; the same figure gives the same bytes."""
    import matplotlib

    kind = path.suffix.lower()
    with atomic_file.written(path) as file, warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS):
        ignore_missing_glyphs()
        figure.savefig(file, format=kind[1:], dpi=DPI, metadata=_DATES.get(kind))


def ignore_missing_glyphs() -> None:
    """Names of recordings are in any language; where the font lacks a letter, a box replaces it without a warning."""
    warnings.filterwarnings("ignore", message="Glyph .* missing from")

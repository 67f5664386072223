"""What all pictures of people share: colours, views, bones, and how a picture becomes a file (extra ``plot``)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence as Many
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from h36m_amass import whole_file
from h36m_amass.skeleton import Skeleton
from h36m_amass.store import Sequence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT, RIGHT, MIDDLE = "tab:blue", "tab:red", "0.25"
GROUND = "0.8"
PICTURES = (".png", ".pdf", ".svg")
ANIMATIONS = (".gif", ".mp4")
DPI = 150
"""Of pictures in dots; PDF and SVG have none."""
# Without these two, the same picture would be another file each time.
_METADATA: dict[str, dict[str, Any]] = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
_SETTINGS: Any = {"svg.hashsalt": "h36m-amass"}


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


def ending(path: Path | str, endings: Many[str], what: str) -> str:
    """The ending of `path` in lower case, which has to be one of `endings` for `what` to be drawn."""
    found = Path(path).suffix.lower()
    if found not in endings:
        listed = ", ".join(endings[:-1])
        raise PlotError(f"{path}: {what} is a file that ends in {listed} or {endings[-1]}; name it so")
    return found


def require_free(path: Path, overwrite: bool) -> None:
    """Raise `PlotError` if a picture cannot be put there, before it is drawn."""
    if not path.parent.is_dir():
        raise PlotError(f"{path}: there is no folder {path.parent}; make it, or name another file")
    if path.is_dir():
        raise PlotError(f"{path}: is a folder; name a file")
    if path.exists() and not overwrite:
        raise PlotError(f"{path}: is there already; name another file, or replace it with --overwrite")


def first_frame(sequence: Sequence, start: float, seconds: float | None) -> int:
    """The frame at `start` seconds.

    Raises
    ------
    PlotError
        It is not in the sequence, or `seconds` is no length of time.
    """
    if not (0 <= start < math.inf and (seconds is None or 0 < seconds < math.inf)):
        raise PlotError(f"{sequence.key}: {seconds} s from {start} s on are no part of it; give positive numbers")
    frame = round(start * sequence.frame_rate)
    if frame >= len(sequence):
        raise PlotError(
            f"{sequence.key}: is {sequence.duration:.2f} s long, and not {start:g} s; give an earlier --start"
        )
    return frame


def bones_of(skeleton: Skeleton, name: str) -> list[tuple[int, int]]:
    """Parent and joint of each bone.

    Raises
    ------
    PlotError
        There are none; `name` says of what.
    """
    bones = [(parent, joint) for joint, parent in enumerate(skeleton.parents) if parent >= 0]
    if not bones:
        raise PlotError(f"{name}: its joints have no bones, so there is nothing to draw")
    return bones


def colours_of(skeleton: Skeleton) -> list[str]:
    """The colour of each joint, and of the bone that leads to it."""
    return [
        LEFT if joint in skeleton.left else RIGHT if joint in skeleton.right else MIDDLE
        for joint in range(len(skeleton))
    ]


def dot_area(skeleton: Skeleton) -> float:
    """Of a joint in square points: 52 joints have hands, whose fingers are not to be one blot."""
    return 9.0 if len(skeleton) <= 30 else 3.0


def root_of(skeleton: Skeleton) -> int:
    """The joint that has no parent."""
    return skeleton.parents.index(-1)


def leftwards(pose: Shaped[np.ndarray, "joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "2"]:
    """Unit vector in the ground plane towards the person's left; x, if the pose does not tell."""
    if not skeleton.left:
        return np.array([1.0, 0.0])
    across = pose[list(skeleton.left), :2].mean(axis=0) - pose[list(skeleton.right), :2].mean(axis=0)
    length = float(np.linalg.norm(across))
    return np.array([1.0, 0.0]) if length < 1e-6 else (across / length).astype(np.float64)


def seen(
    pose: Shaped[np.ndarray, "joints 3"], skeleton: Skeleton, degrees: float
) -> tuple[Float[np.ndarray, "joints 2"], Float[np.ndarray, "joints"]]:
    """Coordinates to the right and up in metres, from the root, and the distance towards the viewer.

    At 0 `degrees` the person faces the viewer, whose right is the person's left. At 90 the person faces to the right.
    """
    left = leftwards(pose, skeleton)
    forward = np.array([left[1], -left[0]])  # left × up
    turn = np.radians(degrees)
    ground = pose[:, :2].astype(np.float64) - pose[root_of(skeleton), :2]
    right = ground @ (np.cos(turn) * left + np.sin(turn) * forward)
    nearer = ground @ (np.cos(turn) * forward - np.sin(turn) * left)
    return np.stack([right, pose[:, 2]], axis=1), nearer


def legend_handles() -> list[Any]:
    """What the colours mean."""
    from matplotlib.lines import Line2D

    sides = (RIGHT, "right"), (MIDDLE, "middle"), (LEFT, "left")
    return [Line2D([], [], color=colour, linewidth=2.2, label=name) for colour, name in sides]


def label(text: str, limit: int) -> str:
    """`text` for a picture: unprintable characters as question marks, the middle left out beyond `limit` characters."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    if len(printable) <= limit:
        return printable
    kept = limit - 1
    return f"{printable[: kept // 2]}…{printable[len(printable) - (kept - kept // 2) :]}"


def save(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all; the same figure gives the same bytes."""
    import matplotlib

    kind = ending(path, PICTURES, "a picture")
    with whole_file.written(path) as file, warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS):
        ignore_missing_glyphs()
        figure.savefig(file, format=kind[1:], dpi=DPI, metadata=_METADATA[kind])


def ignore_missing_glyphs() -> None:
    """Names of recordings are in any language; where the font lacks a letter, a box stands for it without a word."""
    warnings.filterwarnings("ignore", message="Glyph .* missing from")

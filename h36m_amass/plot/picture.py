"""What all pictures of people share: what they need, views, labels, and how one becomes a file (extra ``plot``)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence as Many
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from h36m_amass.plot import PlotError, require_matplotlib
from h36m_amass.plot.colours import LEFT, MIDDLE, RIGHT
from h36m_amass.skeleton import Skeleton, bones, leftwards, root
from h36m_amass.system import atomic_file as whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUND = "0.8"
PICTURES = (".png", ".pdf", ".svg")
ANIMATIONS = (".gif", ".mp4")
DPI = 150
"""Of pictures in dots; PDF and SVG have none."""
# Without these two, the same picture would be another file each time.
_METADATA: dict[str, dict[str, Any]] = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
_SETTINGS: Any = {"svg.hashsalt": "h36m-amass"}


def ending(path: Path | str, endings: Many[str], what: str) -> str:
    """The ending of `path` in lower case, which has to be one of `endings` for `what` to be drawn.

    Raises
    ------
    PlotError
        If it is another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in endings:
        listed = ", ".join(endings[:-1])
        raise PlotError(f"{what} is a file that ends in {listed} or {endings[-1]}; name it so", path)
    return suffix


def output_path(path: Path | str, endings: Many[str], what: str, overwrite: bool) -> Path:
    """`path`, to which `what` can be written: asked before anything is drawn.

    Raises
    ------
    PlotError
        If matplotlib is not installed; or if `path` has none of the endings, lies in no folder, is a folder, or exists
        and is not to be overwritten.
    """
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
    """Of a joint in square points: 52 joints have hands, whose fingers are not to be one blot."""
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


def legend_handles() -> list[Any]:
    """What the colours mean."""
    from matplotlib.lines import Line2D

    sides = (RIGHT, "right"), (MIDDLE, "middle"), (LEFT, "left")
    lines = []
    for (red, green, blue), name in sides:
        lines.append(Line2D([], [], color=(red / 255, green / 255, blue / 255), linewidth=2.2, label=name))
    return lines


def label(text: str, limit: int) -> str:
    """`text` for a picture: unprintable characters as question marks, the middle left out beyond `limit` characters."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    if len(printable) <= limit:
        return printable
    kept = limit - 1
    return f"{printable[: kept // 2]}…{printable[len(printable) - (kept - kept // 2) :]}"


def save(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all; the same figure gives the same bytes.

    The ending of `path` is one of `PICTURES`: see `ending`.
    """
    import matplotlib

    kind = path.suffix.lower()
    with whole_file.written(path) as file, warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS):
        ignore_missing_glyphs()
        figure.savefig(file, format=kind[1:], dpi=DPI, metadata=_METADATA[kind])


def ignore_missing_glyphs() -> None:
    """Names of recordings are in any language; where the font lacks a letter, a box stands for it without a word."""
    warnings.filterwarnings("ignore", message="Glyph .* missing from")

"""Contact sheets: one pose of each of many sequences (extra ``plot``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from h36m_amass.plot import PlotError, picture
from h36m_amass.plot.colours import colours_of
from h36m_amass.skeleton import Skeleton, bones
from h36m_amass.store.selection import Selection, StoredSequence

COLUMNS, ROWS = 8, 6
PAGE = COLUMNS * ROWS
"""Cells of a page at most, so that no picture grows with the number of sequences."""
_TURN = 35.0
"""Degrees from the front: arms and legs of who walks are then apart."""
_CELL_WIDTH = 1.3
"""Inches."""
_FONT_SIZE = 6.0
_LINE_CHARACTERS, _LINES = 25, 3


@dataclass(frozen=True)
class _Pose:
    """The pose in the middle of a sequence, as it is seen in its cell: metres to the right, and up; and its bones."""

    key: str
    flat: Float[np.ndarray, "joints 2"]
    far_to_near: Int[np.ndarray, "bones 2"]


def pages(number: int) -> int:
    """How many pages a contact sheet of so many sequences has."""
    return -(-number // PAGE)


def page_paths(path: Path, number: int) -> list[Path]:
    """Files of a contact sheet: `path` for one page, ``NAME-1.png``, ``NAME-2.png`` ... for several."""
    count = pages(number)
    if count == 1:
        return [path]
    digits = len(str(count))
    return [path.with_name(f"{path.stem}-{page:0{digits}}{path.suffix}") for page in range(1, count + 1)]


def draw_contact_sheet(
    sequences: Selection,
    path: Path | str,
    *,
    title: str = "",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw the pose in the middle of each sequence, `PAGE` of them a page.

    All are at one scale, turned to be seen from the front and a little from the side; left is blue and right is red.

    Parameters
    ----------
    sequences
        Of a store, whose joint set is drawn.
    path
        Picture to write, a ``.png``, ``.pdf`` or ``.svg``; see `page_paths` for several pages.
    title
        What the sequences are.
    overwrite
        Replace files that are there.
    progress
        Called with the number of sequences drawn so far, and of all.

    Returns
    -------
    list of Path
        The files, one a page.

    Raises
    ------
    PlotError
        If the skeleton has no bones, there are no sequences, or a file cannot be written (see
        `h36m_amass.plot.picture.output_path`).
    h36m_amass.store.store.StoreError
        If the store is damaged.
    """
    if not len(sequences):
        raise PlotError("there are no sequences to draw", path)
    files = page_paths(Path(path), len(sequences))
    for file in files:
        picture.output_path(file, picture.PICTURES, "a contact sheet", overwrite)
    skeleton = sequences.store.skeleton
    picture.require_bones(skeleton, title or str(sequences.store.path))
    for number, file in enumerate(files):
        rows = sequences[number * PAGE : (number + 1) * PAGE]
        page = f", page {number + 1} of {len(files)}" if len(files) > 1 else ""
        _draw_page([_middle(sequence, skeleton) for sequence in rows], skeleton, file, picture.label(title, 80) + page)
        if progress is not None:
            progress(min((number + 1) * PAGE, len(sequences)), len(sequences))
    return files


def _middle(sequence: StoredSequence, skeleton: Skeleton) -> _Pose:
    flat, nearer = picture.seen(sequence.positions_3d[len(sequence) // 2], skeleton, _TURN)
    flat[:, 0] -= (flat[:, 0].min() + flat[:, 0].max()) / 2
    pairs = bones(skeleton)
    return _Pose(sequence.key, flat, pairs[np.argsort(nearer[pairs].sum(axis=1), kind="stable")])


def _draw_page(poses: list[_Pose], skeleton: Skeleton, path: Path, title: str) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(COLUMNS, max(4, len(poses)))
    rows = -(-len(poses) // columns)
    extents = [np.ptp(pose.flat, axis=0) for pose in poses]
    width, height = np.max(extents, axis=0) + np.array([0.35, 0.15])
    width = max(width, 1.1)
    metres_an_inch = width / _CELL_WIDTH
    text_height = 1.25 * _FONT_SIZE / 72 * metres_an_inch * _LINES + 0.15
    pitch = height + text_height

    lines, colours, dots, labels = [], [], [], []
    joint_colours = colours_of(skeleton) / 255
    ground = []
    for cell, pose in enumerate(poses):
        row, column = divmod(cell, columns)
        # Each stands on the lower edge of its cell, wherever in the world it is.
        low = pose.flat[:, 1].min()
        corner = np.array([(column + 0.5) * width, -row * pitch - height])
        flat = pose.flat - [0.0, low] + corner
        lines += list(flat[pose.far_to_near])
        colours += joint_colours[pose.far_to_near[:, 1]].tolist()
        dots.append(flat)
        if -0.12 < -low < height:
            level = corner[1] - low
            ground.append([(corner[0] - 0.42 * width, level), (corner[0] + 0.42 * width, level)])
        labels.append((corner, pose.key))

    extra = 0.95
    figure = Figure(figsize=(columns * _CELL_WIDTH + 0.2, rows * pitch / metres_an_inch + extra))
    size = figure.get_size_inches()
    axes = figure.add_axes((0.1 / size[0], 0.5 / size[1], 1 - 0.2 / size[0], 1 - extra / size[1]))
    axes.set_axis_off()
    axes.set(xlim=(0, columns * width), ylim=(-rows * pitch, 0), aspect="equal")
    axes.add_collection(LineCollection(ground, colors=picture.GROUND, linewidths=1, zorder=0))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.4, capstyle="round", zorder=2))
    points, area = np.concatenate(dots), picture.dot_area(skeleton) / 3
    dot_colours = np.tile(joint_colours, (len(poses), 1))
    axes.scatter(points[:, 0], points[:, 1], s=area, c=dot_colours, zorder=3, linewidths=0)
    for (x, y), key in labels:
        written = axes.text(
            x, y - 0.16, _wrapped(key), fontsize=_FONT_SIZE, ha="center", va="top", linespacing=1.15, parse_math=False
        )
        written.set_gid(key)
    figure.text(0.5, 1 - 0.3 / size[1], title, ha="center", parse_math=False)
    figure.legend(
        handles=picture.legend_handles(),
        loc="center right",
        bbox_to_anchor=(1.0, 0.3 / size[1]),
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    bar = np.array([0.15, 0.15 + 1 / metres_an_inch]) / size[0]
    figure.add_artist(Line2D(bar, [0.3 / size[1]] * 2, color="0.25", linewidth=1.5, marker="|", markersize=5))
    figure.text(bar[1] + 0.1 / size[0], 0.3 / size[1], "1 m, z up", va="center", fontsize=9)
    picture.save(figure, path)


def _wrapped(key: str) -> str:
    """A key on the lines that a cell has for it, broken behind slashes if that is enough of them."""
    text, lines = picture.label(key, _LINES * _LINE_CHARACTERS), [""]
    for name in re.findall("[^/]*/|[^/]+", text):
        if len(lines[-1] + name) > _LINE_CHARACTERS:
            lines.append("")
        lines[-1] += name
    if len(lines) > _LINES or max(map(len, lines)) > _LINE_CHARACTERS:
        lines = [text[start : start + _LINE_CHARACTERS] for start in range(0, len(text), _LINE_CHARACTERS)]
    return "\n".join(lines).strip("\n")

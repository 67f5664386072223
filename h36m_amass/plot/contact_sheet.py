"""Contact sheets: one pose of each of many sequences (extra ``plot``)."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from h36m_amass.plot import PlotError, picture
from h36m_amass.skeleton import Skeleton
from h36m_amass.store.selection import Selection, StoredSequence

COLUMNS, ROWS = 8, 6
PAGE = COLUMNS * ROWS  # cells of a page at most, so that no picture grows with the number of sequences
_TURN = 35.0  # degrees from the front: arms and legs of who walks are then apart
_CELL_WIDTH, _FONT_SIZE, _LINE_CHARACTERS, _LINES = 1.3, 6.0, 25, 3  # inches, points


def page_paths(path: Path, number: int) -> list[Path]:
    """Files of a contact sheet: `path` for one page, ``NAME-1.png``, ``NAME-2.png`` ... for several."""
    count = -(-number // PAGE)
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
    """Draw the pose in the middle of each sequence, `PAGE` of them per page.

    All are at one scale, turned to be seen from the front and a little from the side; left is blue and right is red.
    `title` says what the sequences are; the other options are those of `h36m_amass.plot.drawing.draw`. Returns the
    files, one per page, see `page_paths`. Raises `PlotError` if the skeleton has no bones, there are no sequences, or a
    file cannot be written.
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
        _draw_page(list(rows), skeleton, file, picture.label(title, 80) + page)
        if progress is not None:
            progress(min((number + 1) * PAGE, len(sequences)), len(sequences))
    return files


def _draw_page(sequences: list[StoredSequence], skeleton: Skeleton, path: Path, title: str) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(COLUMNS, max(4, len(sequences)))
    rows = -(-len(sequences) // columns)
    views = [picture.seen(sequence.positions_3d[len(sequence) // 2], skeleton, _TURN) for sequence in sequences]
    width, height = np.max([np.ptp(flat, axis=0) for flat, _ in views], axis=0) + np.array([0.35, 0.15])
    width = max(width, 1.1)
    metres_an_inch = width / _CELL_WIDTH
    pitch = height + 1.25 * _FONT_SIZE / 72 * metres_an_inch * _LINES + 0.15  # of the rows: a cell and its text

    figure = Figure(figsize=(columns * _CELL_WIDTH + 0.2, rows * pitch / metres_an_inch + 0.95))
    size = figure.get_size_inches()
    axes = figure.add_axes((0.1 / size[0], 0.5 / size[1], 1 - 0.2 / size[0], 1 - 0.95 / size[1]))
    axes.set_axis_off()
    axes.set(xlim=(0, columns * width), ylim=(-rows * pitch, 0), aspect="equal")
    ground = []
    style: dict[str, Any] = {"ha": "center", "va": "top", "linespacing": 1.15, "parse_math": False}
    for cell, (sequence, (flat, nearer)) in enumerate(zip(sequences, views, strict=True)):
        row, column = divmod(cell, columns)
        # Each stands on the lower edge of its cell, wherever in the world it is.
        low = flat[:, 1].min()
        x, y = (column + 0.5) * width, -row * pitch - height
        placed = flat - [(flat[:, 0].min() + flat[:, 0].max()) / 2, low] + [x, y]
        picture.draw_person(axes, placed, nearer, skeleton, small=True)
        if -0.12 < -low < height:
            ground.append([(x - 0.42 * width, y - low), (x + 0.42 * width, y - low)])
        axes.text(x, y - 0.16, _wrapped(sequence.key), fontsize=_FONT_SIZE, gid=sequence.key, **style)
    axes.add_collection(LineCollection(ground, colors=picture.GROUND, linewidths=1, zorder=0))
    level = 0.3 / size[1]  # of the line below the cells, and from the top of that above them
    figure.text(0.5, 1 - level, title, ha="center", parse_math=False)
    legend: dict[str, Any] = {"loc": "center right", "ncols": 3, "frameon": False, "fontsize": 9}
    figure.legend(handles=picture.legend_handles(), bbox_to_anchor=(1.0, level), **legend)
    bar = np.array([0.15, 0.15 + 1 / metres_an_inch]) / size[0]
    figure.add_artist(Line2D(bar, [level] * 2, color="0.25", linewidth=1.5, marker="|", markersize=5))
    figure.text(bar[1] + 0.1 / size[0], level, "1 m, z up", va="center", fontsize=9)
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

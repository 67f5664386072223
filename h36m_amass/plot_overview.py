"""How much is in a store, in one figure (extra ``plot``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from h36m_amass.describe import LEVELS, Node, duration
from h36m_amass.plot_canvas import PICTURES, PlotError, ending, label, require_free, require_matplotlib, save
from h36m_amass.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_BARS = 30
"""Of a chart; what is left is one more. AMASS has some 25 datasets."""
BAR = "tab:blue"
_UNITS = (("h", 3600.0, 7200.0), ("min", 60.0, 120.0), ("s", 1.0, 0.0))


def draw_overview(store: Store, root: Node, path: Path | str, *, overwrite: bool = False) -> None:
    """Draw how long each part lasts, how long the sequences are, and at which rates they were recorded.

    Parameters
    ----------
    store
        A store.
    root
        The part of it that is drawn, see `h36m_amass.describe.tree`: the store itself, a dataset or a subject.
    path
        Picture to write, a ``.png``, ``.pdf`` or ``.svg``.
    overwrite
        Replace `path` if it is there.

    Raises
    ------
    PlotError
        `root` is a sequence or empty, matplotlib is not installed, or `path` is there or has another ending.
    """
    require_matplotlib()
    path = Path(path)
    ending(path, PICTURES, "an overview")
    require_free(path, overwrite)
    if root.kind == LEVELS[-1]:
        raise PlotError(f"{root.key}: is one sequence, of which there is no overview; h36m-amass plot draws it")
    if not root.below:
        raise PlotError(f"{root.key}: has no sequences, so there is nothing to draw")
    from matplotlib.figure import Figure

    bars = _bars([(part.name, part.seconds) for part in sorted(root.below, key=lambda part: -part.seconds)])
    figure = Figure(figsize=(11.0, max(4.8, 1.6 + 0.24 * len(bars))), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    below = LEVELS[LEVELS.index(root.kind) + 1]
    _draw_bars(figure.add_subplot(grid[:, 0]), bars, f"{below}s", upright=False)

    rows = store.sequences.rows if root.kind == LEVELS[0] else store[root.key].sequences.rows
    index = store.index.take(rows)
    seconds = index.lengths / index["frame_rate"]
    _draw_lengths(figure.add_subplot(grid[0, 1]), seconds)
    rates, places = np.unique(index["source_frame_rate"].round(2), return_inverse=True)
    totals = np.bincount(places, weights=seconds)
    kept = np.sort(np.argsort(-totals, kind="stable")[:12])
    by_rate = [(f"{rates[place]:g}", float(totals[place])) for place in kept]
    if len(kept) < len(rates):
        by_rate.append((f"{len(rates) - len(kept)} others", float(totals.sum() - totals[kept].sum())))
    axes = figure.add_subplot(grid[1, 1])
    _draw_bars(axes, by_rate, "frame rates", upright=True)
    axes.set_xlabel("frame rate of the recording (Hz)")

    rate = store.header.frame_rate
    stored = "at the recordings' own rates" if np.isnan(rate) else f"stored at {rate:g} Hz"
    what = f"{root.sequences:,} sequences, {root.frames:,} frames, {duration(root.seconds)}, {stored}"
    name = Path(root.name).name if root.kind == LEVELS[0] else root.key
    synthetic = " (SYNTHETIC)" if store.header.synthetic else ""
    figure.suptitle(f"{label(name, 60)}{synthetic}: {what}", fontsize=11, parse_math=False)
    save(figure, path)


def _bars(parts: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Names and seconds, longest first; those that are too many for a chart as one."""
    if len(parts) <= MAX_BARS:
        return parts
    rest = parts[MAX_BARS:]
    return [*parts[:MAX_BARS], (f"{len(rest):,} others", sum(seconds for _, seconds in rest))]


def _draw_bars(axes: Axes, bars: list[tuple[str, float]], what: str, upright: bool) -> None:
    longest = max(seconds for _, seconds in bars)
    unit, factor = next((unit, factor) for unit, factor, least in _UNITS if longest >= least)
    values = [seconds / factor for _, seconds in bars]
    places = range(len(bars))
    draw = axes.bar if upright else axes.barh
    axes.bar_label(draw(places, values, color=BAR), [f"{value:.3g}" for value in values], padding=2, fontsize=8)
    names = [label(name, 12 if upright else 24) for name, _ in bars]
    if upright:
        axes.set_xticks(places, names, rotation=30 if len(bars) > 6 else 0, parse_math=False)
        axes.set_ylabel(f"duration ({unit})")
        axes.set_ylim(0, 1.18 * max(values))
        axes.set_xlim(-0.8, max(len(bars), 3) - 0.2)
    else:
        axes.set_yticks(places, names, parse_math=False)
        axes.set_xlabel(f"duration ({unit})")
        axes.set_xlim(0, 1.15 * max(values))
        axes.set_ylim(max(len(bars), 3) - 0.4, -0.6)
    axes.set_title(what, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lengths(axes: Axes, seconds: Float[np.ndarray, "sequences"]) -> None:
    """A histogram on a logarithmic axis: a few sequences last a hundred times as long as most."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = float(seconds.min()) / 1.05, float(seconds.max()) * 1.05
    if high / low < 10:
        low, high = low / 3, high * 3
    axes.hist(seconds, bins=np.geomspace(low, high, 31).tolist(), color=BAR)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    middle = float(np.median(seconds))
    axes.axvline(middle, color="0.25", linewidth=1, linestyle="--", label=f"median {middle:.3g} s")
    axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel("length of a sequence (s)")
    axes.set_ylabel("sequences")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("sequence lengths", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)

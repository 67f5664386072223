"""How much is in a store, in one figure (extra ``plot``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from h36m_amass.plot import PlotError, picture
from h36m_amass.store.store import Store
from h36m_amass.store.summary import LEVELS, Node, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_BARS, MAX_RATES = 30, 12
"""Bars in the charts of durations and of frame rates; one more bar holds the rest. AMASS has some 25 datasets."""
BAR = "tab:blue"
_UNITS = (("h", 3600.0, 7200.0), ("min", 60.0, 120.0), ("s", 1.0, 0.0))


def draw_overview(store: Store, root: Node, path: Path | str, *, overwrite: bool = False) -> None:
    """Draw how long each part lasts, how long the sequences are, and at which rates they were recorded.

    `root`, see `h36m_amass.store.summary.tree`, is the store itself, a dataset or a subject of it. The picture is a
    ``.png``, ``.pdf`` or ``.svg``. Raises `PlotError` if `root` is a sequence or empty, or `path` cannot be written or
    exists and is not to be overwritten.
    """
    path = picture.output_path(path, picture.PICTURES, "an overview", overwrite)
    if root.kind == LEVELS[-1]:
        raise PlotError(f"{root.key}: is one sequence and has no overview; h36m-amass plot draws it")
    if not root.below:
        raise PlotError(f"{root.key}: has no sequences, so there is nothing to draw")
    from matplotlib.figure import Figure

    below = sorted(root.below, key=lambda part: -part.seconds)
    bars = _longest([(part.name, part.seconds) for part in below], MAX_BARS)
    figure = Figure(figsize=(11.0, max(4.8, 1.6 + 0.24 * len(bars))), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    _draw_bars(figure.add_subplot(grid[:, 0]), bars, f"{below[0].kind}s", upright=False)

    part = store if root.kind == LEVELS[0] else store[root.key]
    index = store.index.take(part.sequences.rows)
    seconds = index.lengths / index["frame_rate"]
    _draw_lengths(figure.add_subplot(grid[0, 1]), seconds)
    rates, rate_of = np.unique(index["source_frame_rate"].round(2), return_inverse=True)
    totals = np.bincount(rate_of, weights=seconds)
    by_rate = [(f"{hertz:g}", float(total)) for hertz, total in zip(rates, totals, strict=True)]
    _draw_bars(figure.add_subplot(grid[1, 1]), _longest(by_rate, MAX_RATES), "frame rates", upright=True)

    rate = store.header.frame_rate
    stored = "at the recordings' own rates" if np.isnan(rate) else f"stored at {rate:g} Hz"
    what = f"{root.sequences:,} sequences, {root.frames:,} frames, {duration(root.seconds)}, {stored}"
    name = Path(root.name).name if root.kind == LEVELS[0] else root.key
    synthetic = " (SYNTHETIC)" if store.header.synthetic else ""
    figure.suptitle(f"{picture.label(name, 60)}{synthetic}: {what}", fontsize=11, parse_math=False)
    picture.save(figure, path)


def _longest(parts: list[tuple[str, float]], limit: int) -> list[tuple[str, float]]:
    """The `limit` parts, as names and seconds, that last longest, in the order they had; the rest as one at the end."""
    kept = set(sorted(range(len(parts)), key=lambda part: -parts[part][1])[:limit])
    rest = [seconds for part, (_, seconds) in enumerate(parts) if part not in kept]
    others = [(f"{len(rest):,} others", sum(rest))] if rest else []
    return [parts[part] for part in sorted(kept)] + others


def _draw_bars(axes: Axes, bars: list[tuple[str, float]], title: str, upright: bool) -> None:
    """How long each part lasts, in the unit that suits the longest; names are long, and so beside bars."""
    longest = max(seconds for _, seconds in bars)
    unit, factor = next((unit, factor) for unit, factor, least in _UNITS if longest >= least)
    values, positions = [seconds / factor for _, seconds in bars], range(len(bars))
    if upright:
        rectangles = axes.bar(positions, values, color=BAR)
        axes.set_xticks(positions, [name for name, _ in bars], rotation=30 if len(bars) > 6 else 0)
        axes.set(xlabel="frame rate of the recording (Hz)", ylabel=f"duration ({unit})")
        axes.set(xlim=(-0.8, max(len(bars), 3) - 0.2), ylim=(0, 1.18 * max(values)))
    else:
        rectangles = axes.barh(positions, values, color=BAR)
        axes.set_yticks(positions, [picture.label(name, 24) for name, _ in bars], parse_math=False)
        axes.set(xlabel=f"duration ({unit})", xlim=(0, 1.15 * max(values)), ylim=(max(len(bars), 3) - 0.4, -0.6))
    axes.bar_label(rectangles, [f"{value:.3g}" for value in values], padding=2, fontsize=8)
    _finish(axes, title)


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
    axes.set(xlabel="length of a sequence (s)", ylabel="sequences")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, "sequence lengths")


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)

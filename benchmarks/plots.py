"""Pictures of the benchmarks' results, drawn from their JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from common import MIB
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

BLUE, ORANGE, GREY, GREEN, PURPLE = "#2f6db3", "#d9822b", "#8c8c8c", "#5b9a5b", "#8a6bb0"
DPI = 120
MOST_BARS = 15


def engine(results: dict[str, Any], folder: Path) -> list[Path]:
    """Bars of frames per second of each way, for each model and number of cores."""
    groups = [
        (f"{name}\n{cores} core{'' if cores == '1' else 's'}", rates)
        for name, result in results["results"].items()
        for cores, rates in result["frames_per_second"].items()
    ]
    figure, axes = plt.subplots(figsize=(10, 4.2))
    ways = list(groups[0][1])
    for index, (way, colour) in enumerate(zip(ways, (BLUE, ORANGE, GREY), strict=True)):
        at = np.arange(len(groups)) + 0.27 * (index - 1)
        bars = axes.bar(at, [rates[way] for _, rates in groups], width=0.25, color=colour, label=way)
        axes.bar_label(bars, [f"{rates[way] / 1000:.3g}k" for _, rates in groups], fontsize=8, padding=1)
    axes.set_xticks(range(len(groups)), [label for label, _ in groups], fontsize=8)
    axes.set_yscale("log")
    axes.set_ylim(top=4 * axes.get_ylim()[1])
    axes.set_ylabel("frames/s")
    axes.legend(ncols=len(ways), loc="upper right", frameon=False)
    return [_saved(figure, axes, folder / "engine.png")]


def build(results: dict[str, Any], folder: Path) -> list[Path]:
    """Microseconds per source frame of the full mesh, of builds and of their floors; and seconds from archives."""
    frames = results["source_frames"]
    bars = {
        f"full mesh, batches of {size}": (1e6 * one["seconds_per_source_frame"], GREY)
        for size, one in results["script"].items()
    }
    for workers, one in results["builds"].items():
        floor = one["floor_read_seconds"] + one["floor_products_seconds"]
        bars[f"build, workers: {workers}"] = (1e6 * one["seconds"] / frames, BLUE)
        bars[f"its floor, cores: {workers}"] = (1e6 * floor / frames, ORANGE)
    figure, axes = plt.subplots(figsize=(10, 2.8))
    _horizontal(axes, list(bars), [value for value, _ in bars.values()], [colour for _, colour in bars.values()])
    axes.set_xscale("log")
    axes.set_xlim(right=2 * axes.get_xlim()[1])
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("µs per source frame")
    beside = _saved(figure, axes, folder / "build.png")

    figure, axes = plt.subplots(figsize=(10, 2.8))
    archives: dict[str, tuple[float, str]] = {}
    for name, one in results["archives"]["builds"].items():
        archives[f"build from {name}"] = one["seconds"], BLUE
        if "floor_seconds" in one:
            archives[f"decompressed, and build from folders: {name}"] = one["floor_seconds"], ORANGE
    seconds, colours = zip(*archives.values(), strict=True)
    _horizontal(axes, list(archives), list(seconds), list(colours))
    axes.set_xlim(right=1.1 * axes.get_xlim()[1])
    axes.set_xlabel("seconds")
    return [beside, _saved(figure, axes, folder / "build_archives.png")]


def breakdown(results: dict[str, Any], folder: Path) -> list[Path]:
    """Microseconds per source frame of the dearest functions, for each tree."""
    profiles: dict[str, dict[str, float]] = results["microseconds"]
    dearest = sorted(next(iter(profiles.values())).items(), key=lambda item: -item[1])[:MOST_BARS]
    names = [name for name, _ in dearest]
    figure, axes = plt.subplots(figsize=(10, 5.5))
    for index, ((tree, profile), colour) in enumerate(zip(profiles.items(), (BLUE, ORANGE), strict=True)):
        at = np.arange(len(names)) + 0.42 * (index - 0.5)
        axes.barh(at, [profile.get(name, 0.0) for name in names], height=0.4, color=colour, label=tree)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("µs per source frame")
    axes.legend(loc="lower right", frameon=False)
    return [_saved(figure, axes, folder / "breakdown.png")]


def scaling(results: dict[str, Any], folder: Path) -> list[Path]:
    """Seconds and peak memory of builds in one process, against source frames."""
    single = [r for r in results["results"] if r["workers"] == 1]
    mixed = [r for r in single if r["name"] == single[0]["name"]]
    others = [r for r in single if r not in mixed]
    return [
        _scaling_time(mixed, others, results["cost"], folder / "scaling_time.png"),
        _scaling_memory(mixed, others, folder / "scaling_memory.png"),
    ]


def reading(results: dict[str, Any], folder: Path) -> list[Path]:
    """Bars of milliseconds per batch of each way, for each length of windows."""
    lengths = results["windows"]
    figure, axes = plt.subplots(figsize=(10, 4.2))
    ways = list(next(iter(lengths.values()))["batch"])
    for index, (way, colour) in enumerate(zip(ways, (BLUE, ORANGE, GREY, GREEN, PURPLE), strict=True)):
        at = np.arange(len(lengths)) + 0.17 * (index - 2)
        milliseconds = [1e3 * one["batch"][way] for one in lengths.values()]
        bars = axes.bar(at, milliseconds, width=0.15, color=colour, label=way)
        axes.bar_label(bars, [f"{value:.3g}" for value in milliseconds], fontsize=8, padding=1)
    axes.set_xticks(range(len(lengths)), [f"windows of {length} frames" for length in lengths])
    axes.set_yscale("log")
    axes.set_ylim(top=4 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_ylabel("ms per batch of 256")
    axes.legend(ncols=len(ways), loc="upper right", frameon=False)
    return [_saved(figure, axes, folder / "reading.png")]


def _scaling_time(
    mixed: list[dict[str, Any]], others: list[dict[str, Any]], cost: dict[str, float], path: Path
) -> Path:
    figure, axes = plt.subplots(figsize=(8, 4.8))
    frames = np.geomspace(1e3, 4e6, 200)
    fixed, each, reference = cost["fixed_seconds"], cost["seconds_per_frame"], cost["reference_frames"]
    through = fixed + each * reference
    label = f"{fixed:.1f} s to start, fold and finish + {1e6 * each:.1f} µs per frame"
    axes.plot(frames, fixed + each * frames, color=GREY, linewidth=1, label=label)
    axes.plot(
        frames,
        through * frames / reference,
        "--",
        color=GREY,
        linewidth=1,
        label=f"slope 1 through {reference:,} frames",
    )
    _points(axes, mixed, others, [r["seconds"] for r in mixed], [r["seconds"] for r in others])
    axes.set_yscale("log")
    axes.set_ylim(0.5 * fixed, 2 * max(r["seconds"] for r in (*mixed, *others)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("seconds of the whole command")
    axes.legend(loc="upper left", frameon=False)
    return _saved(figure, axes, path)


def _scaling_memory(mixed: list[dict[str, Any]], others: list[dict[str, Any]], path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(8, 4.0))
    axes.axhline(512, linestyle="--", color=GREY, linewidth=1, label="512 MiB")
    peaks = [[r["peak_parent_bytes"] / MIB for r in group] for group in (mixed, others)]
    _points(axes, mixed, others, *peaks)
    axes.set_ylim(0, 1.25 * max(512, *peaks[0], *peaks[1]))
    axes.set_ylabel("peak memory (MiB)")
    axes.legend(loc="upper left", ncols=3, frameon=False)
    return _saved(figure, axes, path)


def _points(
    axes: Axes, mixed: list[dict[str, Any]], others: list[dict[str, Any]], values: list[float], more: list[float]
) -> None:
    """The mixed trees as points, and the others as points with their names."""
    axes.plot([r["source_frames"] for r in mixed], values, "o", color=BLUE, label=mixed[0]["name"])
    axes.plot([r["source_frames"] for r in others], more, "s", color=ORANGE, label="sequences × frames")
    named: set[int] = set()
    for r, value in zip(others, more, strict=True):
        # The second of two that have as many frames is named on the other side.
        offset, side = ((7, -10), "left") if r["source_frames"] in named else ((-7, 5), "right")
        named.add(r["source_frames"])
        point = r["source_frames"], value
        axes.annotate(r["name"], point, offset, textcoords="offset points", ha=side, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(left=0.2 * min(r["source_frames"] for r in others))
    axes.set_xlabel("source frames")


def _horizontal(axes: Axes, names: list[str], values: list[float], colours: list[str]) -> None:
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, [f"{float(f'{value:.3g}'):,g}" for value in values], fontsize=9, padding=3)
    axes.invert_yaxis()


def _saved(figure: Figure, axes: Axes, path: Path) -> Path:
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    return path

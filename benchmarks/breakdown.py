"""Where the time of converting goes, function by function.

``python benchmarks/breakdown.py`` prints a table and writes ``results/breakdown.json``.

One process converts work units of a tree in AMASS's mix, and of one of short recordings, under cProfile. What torch,
NumPy and the system take is charged to the function of ours that called them; cProfile makes many small calls look
dearer than they are.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import trees
from common import table, write_results

from h36m_amass import synthetic
from h36m_amass.body.joint_sets import load_sources
from h36m_amass.conversion import convert as conversion
from h36m_amass.conversion import planning, preparation
from h36m_amass.conversion.workshop import Workshop
from h36m_amass.recordings.tree import find_sequences

PACKAGE = Path(conversion.__file__).parent
UNITS, SHORT_SEQUENCES, SHORT_LENGTH = 3, 2000, 100
BATCH_SIZE = 4096
SMALLEST_SHARE = 0.01


def profile(folder: Path, support_dir: Path) -> dict[str, float]:
    """Microseconds a source frame of each function, in units that have been converted once before."""
    plan = planning.make_plan(folder, find_sequences(folder))
    units = plan.units[:UNITS]
    parts_dir = folder.with_suffix(".parts")
    parts_dir.mkdir()
    bodies = preparation.fold_bodies(plan, support_dir, load_sources(None, None, support_dir))
    joint_counts = tuple(map(len, bodies.skeletons))
    workshop = Workshop(folder, parts_dir, bodies.write(parts_dir), joint_counts, "cpu", BATCH_SIZE, "profiling")
    workshop.start()
    profiler = cProfile.Profile()
    for unit in units:
        conversion.convert_unit(workshop, unit, str(unit.number))
    with profiler:
        for unit in units:
            conversion.convert_unit(workshop, unit, str(unit.number))
    frames = sum(unit.source_frames for unit in units)
    return {name: 1e6 * seconds / frames for name, seconds in by_function(pstats.Stats(profiler)).items()}


def by_function(stats: pstats.Stats) -> dict[str, float]:
    """Seconds of each of our functions, with what it called directly that is not ours."""
    seconds: Counter[str] = Counter()
    entries: dict[tuple[str, int, str], Any] = stats.stats  # type: ignore[attr-defined]  # typeshed does not know it
    for function, (_, _, own, _, callers) in entries.items():
        if is_ours(function):
            seconds[name_of(function)] += own
            continue
        for caller, (_, _, own_from, _) in callers.items():
            where = name_of(caller) if is_ours(caller) else "called from elsewhere"
            seconds[f"{where}, products" if is_product(function) else where] += own_from
    return dict(seconds.most_common())


def is_product(function: tuple[str, int, str]) -> bool:
    """Whether a function multiplies matrices: cProfile calls it ``<built-in method torch.mm>``, or of a tensor."""
    return any(f" {name}>" in function[2] or f"'{name}'" in function[2] for name in ("torch.mm", "addmm_"))


def is_ours(function: tuple[str, int, str]) -> bool:
    return Path(function[0]).is_relative_to(PACKAGE)


def name_of(function: tuple[str, int, str]) -> str:
    return f"{Path(function[0]).stem}.{function[2]}"


def report(profiles: dict[str, dict[str, float]]) -> str:
    """Microseconds a source frame of each function that matters, the dearest of the first tree first."""
    totals = {tree: sum(profile.values()) for tree, profile in profiles.items()}
    names = dict.fromkeys(name for profile in profiles.values() for name in profile)
    shares = {name: [profiles[tree].get(name, 0.0) / totals[tree] for tree in profiles] for name in names}
    kept = [name for name in names if max(shares[name]) >= SMALLEST_SHARE]
    rows = [(name, *(cell(profiles[tree].get(name, 0.0), totals[tree]) for tree in profiles)) for name in kept]
    rest = [sum(profiles[tree].get(name, 0.0) for name in names if name not in kept) for tree in profiles]
    rows.append(("the rest", *(cell(value, total) for value, total in zip(rest, totals.values(), strict=True))))
    return table(("function", *(f"{tree} (µs a source frame)" for tree in profiles)), rows)


def cell(value: float, total: float) -> str:
    return f"{value:.2f} ({value / total:.0%})"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        support_dir = Path(folder) / "support_data"
        synthetic.write_support_data(support_dir)
        mixed, short = Path(folder) / "mixed", Path(folder) / "short"
        trees.write_mixed(mixed, UNITS * planning.UNIT_SOURCE_FRAMES)
        trees.write_equal(short, SHORT_SEQUENCES, SHORT_LENGTH)
        profiles = {"AMASS's mix": profile(mixed, support_dir), "100 frames each": profile(short, support_dir)}
    write_results("breakdown", {"microseconds": profiles}, report(profiles))


if __name__ == "__main__":
    main()

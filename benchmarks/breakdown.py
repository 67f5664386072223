"""Where the time of converting goes, function by function.

``python benchmarks/breakdown.py`` prints a table and writes ``results/breakdown.json``.

One process converts tasks of a tree in AMASS's mix, and of one of short recordings, under cProfile. What torch,
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
from common import pick, table, write_results
from trees import Tree

import h36m_amass
from h36m_amass import BuildOptions, Subset, synthetic
from h36m_amass.conversion import recipe
from h36m_amass.conversion.convert import convert_task
from h36m_amass.conversion.tasks import Job, make_tasks
from h36m_amass.recordings.tree import find_recordings

PACKAGE = Path(h36m_amass.__file__).parent
MIXED_FRAMES, SHORT_SEQUENCES, SHORT_LENGTH = pick((200_000, 2000, 100), (2_000, 20, 100))
SMALLEST_SHARE = 0.01


def profile(tree: Tree, support_dir: Path) -> dict[str, float]:
    """Microseconds per source frame of each function, in tasks that have been converted once before."""
    parts_dir = tree.folder.with_suffix(".parts")
    parts_dir.mkdir()
    how = recipe.load(BuildOptions(support_dir=support_dir), None, "cpu", parts_dir)
    job = Job(tree.folder, support_dir, parts_dir, how, Subset(), ("cpu",), skip_missing=False)
    tasks = make_tasks(find_recordings(tree.folder).files)
    profiler = cProfile.Profile()
    for task in tasks:
        convert_task(job, task)
    with profiler:
        for task in tasks:
            convert_task(job, task)
    seconds = by_function(pstats.Stats(profiler))
    return {name: 1e6 * value / tree.num_frames for name, value in seconds.items()}


def by_function(stats: pstats.Stats) -> dict[str, float]:
    """Seconds of each of our functions, with what it called directly that is not ours."""
    seconds: Counter[str] = Counter()
    entries: dict[tuple[str, int, str], Any] = stats.stats  # type: ignore[attr-defined]  # typeshed does not know it
    for function, (_, _, total, _, callers) in entries.items():
        if is_ours(function):
            seconds[name_of(function)] += total
            continue
        for caller, (_, _, part, _) in callers.items():
            where = name_of(caller) if is_ours(caller) else "called from elsewhere"
            seconds[f"{where}, products" if is_product(function) else where] += part
    return dict(seconds.most_common())


def is_product(function: tuple[str, int, str]) -> bool:
    """Whether a function multiplies matrices: cProfile calls it ``<built-in method torch.mm>``, or of a tensor."""
    return any(f" {name}>" in function[2] or f"'{name}'" in function[2] for name in ("torch.mm", "addmm_"))


def is_ours(function: tuple[str, int, str]) -> bool:
    return Path(function[0]).is_relative_to(PACKAGE)


def name_of(function: tuple[str, int, str]) -> str:
    return f"{Path(function[0]).stem}.{function[2]}"


def report(profiles: dict[str, dict[str, float]]) -> str:
    """Microseconds per source frame of each function that matters, the dearest of the first tree first."""
    totals = {tree: sum(profile.values()) for tree, profile in profiles.items()}
    names = dict.fromkeys(name for profile in profiles.values() for name in profile)
    shares = {name: [profiles[tree].get(name, 0.0) / totals[tree] for tree in profiles] for name in names}
    kept = [name for name in names if max(shares[name]) >= SMALLEST_SHARE]
    rows = [(name, *(cell(profiles[tree].get(name, 0.0), totals[tree]) for tree in profiles)) for name in kept]
    rest = [sum(profiles[tree].get(name, 0.0) for name in names if name not in kept) for tree in profiles]
    rows.append(("the rest", *(cell(value, total) for value, total in zip(rest, totals.values(), strict=True))))
    return table(("function", *(f"{tree} (µs per source frame)" for tree in profiles)), rows)


def cell(value: float, total: float) -> str:
    return f"{value:.2f} ({value / total:.0%})"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        support_dir = Path(folder) / "support_data"
        synthetic.write_support_data(support_dir)
        mixed = trees.write_mixed(Path(folder) / "mixed", MIXED_FRAMES)
        short = trees.write_equal(Path(folder) / "short", SHORT_SEQUENCES, SHORT_LENGTH)
        profiles = {"AMASS's mix": profile(mixed, support_dir), "100 frames each": profile(short, support_dir)}
    write_results("breakdown", {"microseconds": profiles}, report(profiles))


if __name__ == "__main__":
    main()

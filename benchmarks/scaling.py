"""Whole builds of many sizes: does time grow as the frames do, and does memory stay where it is?

``python benchmarks/scaling.py`` prints a table and writes ``results/scaling.json``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import command
import trees
from common import MIB, Target, in_turns, pick, table, write_results
from trees import Tree

from h36m_amass import synthetic
from h36m_amass.body import regressor

MIXED_FRAMES = pick((10_000, 100_000, 1_000_000, 3_000_000), (2_000, 4_000, 6_000))
SHORT_LENGTH, SHORT_SEQUENCES = 100, pick((10, 1_000, 10_000), (10, 60))
LONG_LENGTH, LONG_SEQUENCES = pick((10_000, 100), (1_000, 6))
LONGEST_LENGTH = pick(400_000, 4_000)
COMPARED_AGAIN = pick(2, 0)
"""Further runs of the builds that are compared with each other, with two workers; all others have one run."""
MOST_MEMORY_MIB, LEAST_RATIO_OF_RATES, MOST_COST_OF_SETS = 512, 0.65, 1.3
MIXED, ONE_SET, TWO_SETS = "AMASS's mix", "AMASS's mix, h36m", "AMASS's mix, h36m and skeleton"


@dataclass(frozen=True)
class Case:
    """A tree, the number of workers that build it, and whether its time is one side of a ratio."""

    name: str
    tree: Tree
    workers: int = 1
    with_skeleton: bool = False
    compared: bool = False

    def build(self, support_dir: Path) -> command.Run:
        joint_sets = (support_dir / f"{regressor.H36M_FILE_NAME}.npy", "skeleton") if self.with_skeleton else ()
        return command.build(self.tree, support_dir, self.workers, joint_sets=joint_sets)


def mixed_cases(folder: Path) -> list[Case]:
    """Trees of AMASS's mix of lengths: the small ones are links into the largest."""
    largest = trees.write_mixed(folder / "largest", MIXED_FRAMES[-1])
    smaller = [trees.link(largest, folder / f"{frames}", frames) for frames in MIXED_FRAMES[:-1]]
    cases = [Case(MIXED, tree) for tree in (*smaller, largest)]
    sets = ((ONE_SET, False), (TWO_SETS, True))
    return [*cases, *(Case(name, smaller[-1], 2, with_skeleton, compared=True) for name, with_skeleton in sets)]


def equal_cases(folder: Path) -> list[Case]:
    """Trees of equally long recordings: the small ones are links into the largest."""
    largest = trees.write_equal(folder / "short", SHORT_SEQUENCES[-1], SHORT_LENGTH)
    smaller = [trees.link(largest, folder / f"{count}", count * SHORT_LENGTH) for count in SHORT_SEQUENCES[:-1]]
    long = trees.write_equal(folder / "long", LONG_SEQUENCES, LONG_LENGTH)
    cases = [Case(short_name(len(tree.recordings)), tree) for tree in smaller]
    compared = ((short_name(SHORT_SEQUENCES[-1]), largest), (long_name(), long))
    return [
        *cases,
        *(Case(name, tree, workers, compared=workers == 2) for name, tree in compared for workers in (1, 2)),
    ]


def longest_case(folder: Path) -> list[Case]:
    return [Case(f"1 × {LONGEST_LENGTH:,}", trees.write_equal(folder, 1, LONGEST_LENGTH))]


def short_name(sequences: int) -> str:
    return f"{sequences:,} × {SHORT_LENGTH}"


def long_name() -> str:
    return f"{LONG_SEQUENCES} × {LONG_LENGTH:,}"


def measure(cases: Sequence[Case], support_dir: Path) -> list[dict[str, Any]]:
    """Build the trees of `cases`, those that are compared in the same rounds."""
    calls = {str(number): partial(case.build, support_dir) for number, case in enumerate(cases)}
    runs = in_turns(calls, 1)
    compared = {name: call for name, call in calls.items() if cases[int(name)].compared}
    for name, further in in_turns(compared, COMPARED_AGAIN).items():
        runs[name] += further
    return [result(case, of_case) for case, of_case in zip(cases, runs.values(), strict=True)]


def result(case: Case, runs: Sequence[command.Run]) -> dict[str, Any]:
    seconds = median(run.seconds for run in runs)
    return {
        "name": case.name,
        "workers": case.workers,
        "sequences": len(case.tree.recordings),
        "source_frames": case.tree.num_frames,
        "bytes": case.tree.size,
        "runs_seconds": [run.seconds for run in runs],
        "seconds": seconds,
        "source_frames_per_second": case.tree.num_frames / seconds,
        "frames": runs[0].frames,
        "peak_parent_bytes": max(run.peaks.parent for run in runs),
        "peak_worker_bytes": max(run.peaks.worker for run in runs),
    }


def ratio_of_rates(results: Sequence[dict[str, Any]], workers: int) -> float:
    """Frames per second of the shortest sequences by those of long ones, with as many frames in all."""
    rates = {r["name"]: r["source_frames_per_second"] for r in results if r["workers"] == workers}
    return rates[short_name(SHORT_SEQUENCES[-1])] / rates[long_name()]


def cost_of_sets(results: Sequence[dict[str, Any]]) -> float:
    """How many times as long a build of two joint sets takes as one of the first alone."""
    seconds = {r["name"]: r["seconds"] for r in results}
    return seconds[TWO_SETS] / seconds[ONE_SET]


def cost(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds of a build of nearly nothing, and of each frame beyond that in the mixed tree before the largest."""
    fixed = min(r["seconds"] for r in results)
    reference = [r for r in results if r["name"] == MIXED][-2]
    per_frame = (reference["seconds"] - fixed) / reference["source_frames"]
    return {"fixed_seconds": fixed, "seconds_per_frame": per_frame, "reference_frames": reference["source_frames"]}


def results_table(results: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            r["name"],
            r["workers"],
            f"{r['sequences']:,}",
            f"{r['source_frames']:,}",
            f"{r['bytes'] / MIB:,.0f}",
            f"{r['seconds']:.2f}",
            f"{r['source_frames_per_second']:,.0f}",
            f"{r['peak_parent_bytes'] / MIB:,.0f}",
            "" if r["peak_worker_bytes"] is None else f"{r['peak_worker_bytes'] / MIB:,.0f}",
        )
        for r in results
    ]
    header = (
        *("sequences × frames", "workers", "sequences", "source frames", "input (MiB)", "seconds", "source frames/s"),
        *("peak memory of the parent (MiB)", "of the largest worker (MiB)"),
    )
    return table(header, rows)


def targets(results: Sequence[dict[str, Any]]) -> list[Target]:
    ratios = [
        Target(
            f"frames/s of {short_name(SHORT_SEQUENCES[-1])} ÷ of {long_name()}, workers: {workers}",
            ratio_of_rates(results, workers),
            LEAST_RATIO_OF_RATES,
            at_least=True,
        )
        for workers in (1, 2)
    ]
    memory = max(max(r["peak_parent_bytes"], r["peak_worker_bytes"] or 0) for r in results) / MIB
    return [
        *ratios,
        Target("peak memory of any process (MiB)", memory, MOST_MEMORY_MIB),
        Target("h36m and skeleton ÷ h36m alone, 2 workers", cost_of_sets(results), MOST_COST_OF_SETS),
    ]


def main() -> None:
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as support:
        synthetic.write_support_data(support)
        for make in (mixed_cases, equal_cases, longest_case):
            # One group of trees after the other, so that each fits into the page cache.
            with tempfile.TemporaryDirectory() as folder:
                results += measure(make(Path(folder)), Path(support))
    write_results("scaling", {"results": results, "cost": cost(results)}, results_table(results), targets(results))


if __name__ == "__main__":
    main()

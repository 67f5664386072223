"""Builds from ``.tar.bz2`` beside their floor: decompressing and nothing else, and a build from the unpacked folders.

Part of ``python benchmarks/build.py``.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import command
import trees
from common import MIB, Target, in_turns, pick, seconds_of, table
from trees import Archives, Tree

FRAMES, DATASETS = pick(400_000, 6_000), 4
"""Frames of the tree, and how many of its datasets are packed."""
LEAST_MIB = pick(150, 0)
WORKERS, ROUNDS = 2, pick(3, 1)
MOST_TIMES_FLOOR, MOST_UPDATE_SECONDS, MOST_MEMORY_MIB = 1.0, 3.0, 512
FOLDERS, FOUR, ONE = "folders", f"{DATASETS} archives", "1 archive"


def measure(folder: Path, support_dir: Path) -> dict[str, Any]:
    """Builds from folders, from an archive per dataset, and from one of them all, in the same rounds.

    Raises
    ------
    RuntimeError
        The archives are too small to say much.
    """
    tree = trees.first_datasets(trees.write_mixed(folder / "all", FRAMES), folder / "amass", DATASETS)
    packed = {FOUR: trees.pack(tree, folder / "four", in_one=False), ONE: trees.pack(tree, folder / "one", in_one=True)}
    sizes = {name: archives.size for name, archives in packed.items()}
    if min(sizes.values()) < LEAST_MIB * MIB:
        raise RuntimeError(f"the archives have {sizes} bytes and should have {LEAST_MIB} MiB; raise FRAMES")
    sources: dict[str, Tree | Archives] = {FOLDERS: tree, **packed}
    stores = {name: folder / f"{number}.h5" for number, name in enumerate(sources)}
    calls: dict[str, Callable[[], Any]] = {
        f"build, {name}": partial(command.build, source, support_dir, WORKERS, stores[name])
        for name, source in sources.items()
    }
    for name, archives in packed.items():
        calls[f"decompress, {name}"] = partial(decompress, archives)
    for name, source in sources.items():
        calls[f"update, {name}"] = partial(command.build, source, support_dir, WORKERS, stores[name], update=True)
    runs = in_turns(calls, ROUNDS)
    seconds_from_folders = median(run.seconds for run in runs[f"build, {FOLDERS}"])
    return {
        "source_frames": tree.num_frames,
        "decompressed_by": "lbzip2" if shutil.which("lbzip2") else "rapidgzip",
        "builds": {
            name: result(source.size, runs, name, None if name == FOLDERS else seconds_from_folders)
            for name, source in sources.items()
        },
    }


def decompress(archives: Archives) -> float:
    """Seconds to decompress archives, one after the other on all cores, and throw away what comes out."""
    archives.read()
    return seconds_of(lambda: [decompress_one(path) for path in archives.paths])


def decompress_one(path: Path) -> None:
    if program := shutil.which("lbzip2"):
        subprocess.run([program, f"-n{WORKERS}", "-dc", str(path)], stdout=subprocess.DEVNULL, check=True)
        return
    import rapidgzip

    with rapidgzip.open(str(path), parallelization=WORKERS) as file:
        while file.read(MIB):
            pass


def result(size: int, runs: dict[str, list[Any]], name: str, from_folders: float | None) -> dict[str, Any]:
    """The builds from one kind of input; those from archives beside their floor."""
    builds: list[command.Run] = runs[f"build, {name}"]
    seconds = median(run.seconds for run in builds)
    values = {
        "runs": [asdict(run) for run in builds],
        "bytes": size,
        "seconds": seconds,
        "update_seconds": median(run.seconds for run in runs[f"update, {name}"]),
        "peak_parent_bytes": max(run.peaks.parent for run in builds),
        "peak_worker_bytes": max(run.peaks.worker for run in builds),
    }
    if from_folders is None:
        return values
    decompressed = median(runs[f"decompress, {name}"])
    floor = decompressed + from_folders
    return {**values, "decompress_seconds": decompressed, "floor_seconds": floor, "times_floor": seconds / floor}


def archives_table(results: dict[str, Any]) -> str:
    rows = [
        (
            name,
            f"{one['bytes'] / MIB:,.0f}",
            f"{one['seconds']:.2f}",
            f"{one['decompress_seconds']:.2f}" if "times_floor" in one else "",
            f"{one['times_floor']:.2f}" if "times_floor" in one else "",
            f"{one['update_seconds']:.2f}",
            f"{one['peak_parent_bytes'] / MIB:,.0f}",
            f"{one['peak_worker_bytes'] / MIB:,.0f}",
        )
        for name, one in results["builds"].items()
    ]
    header = (
        *(f"{results['source_frames']:,} source frames from", "input (MiB)", f"build, {WORKERS} workers (s)"),
        *(f"decompressed by {results['decompressed_by']} (s)", "build ÷ (decompressed + build from folders)"),
        *("update without a change (s)", "peak memory of the parent (MiB)", "of the largest worker (MiB)"),
    )
    return table(header, rows)


def targets(results: dict[str, Any]) -> list[Target]:
    builds = results["builds"]
    floors = [
        Target(
            f"build from {name} ÷ (decompressed + build from folders)", builds[name]["times_floor"], MOST_TIMES_FLOOR
        )
        for name in (FOUR, ONE)
    ]
    updates = [
        Target(f"update from {name} without a change (s)", builds[name]["update_seconds"], MOST_UPDATE_SECONDS)
        for name in (FOUR, ONE)
    ]
    memory = max(max(one["peak_parent_bytes"], one["peak_worker_bytes"]) for one in builds.values()) / MIB
    return [*floors, *updates, Target("peak memory of any process, from archives too (MiB)", memory, MOST_MEMORY_MIB)]

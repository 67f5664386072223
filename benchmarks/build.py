"""Whole builds, from folders and from archives, beside what they cannot beat, and beside the full mesh.

``python benchmarks/build.py`` prints tables and writes ``results/build.json``.

The floor of a build from folders is the time to read the same bytes from a warm page cache, and the time that the
products of the folded matrices take at the machine's peak, on as many cores as the build has workers. Builds from
archives are in ``archives.py``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from math import gcd
from pathlib import Path
from statistics import median
from typing import Any

import archives
import command
import numpy as np
import trees
from common import MIB, Target, in_turns, pick, seconds_of, table, write_results
from flops import PRODUCT_FLOPS, multiply_adds, product
from mesh_script import DEFAULT_BATCH_SIZE, Datasets, MeshScript
from trees import Recording, Tree

import h36m_amass
from h36m_amass import synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.recordings import resampling

SOURCE_FRAMES = pick(5_000_000, 6_000)
WORKERS = (1, 2)
ROUNDS = pick(2, 1)
SUBSET = pick(3, 1)
# The script's default, and one whose meshes stay in the processor's caches.
BATCH_SIZES = (DEFAULT_BATCH_SIZE, 128)
FRAME_RATE = 50
PRODUCTS = 4
LARGEST_DIFFERENCE_M = 1e-4
MOST_TIMES_FLOOR, LEAST_TIMES_SCRIPT = 6, 120


@dataclass(frozen=True)
class Case:
    """A tree, what it is built with, and the recordings of it that the known script's method converts."""

    tree: Tree
    support_dir: Path
    store: Path
    subset: tuple[Recording, ...]
    script: MeshScript
    script_dir: Path

    @property
    def subset_frames(self) -> int:
        return sum(recording.num_frames for recording in self.subset)

    def run_script(self, batch_size: int) -> ScriptRun:
        began = time.perf_counter()
        datasets = self.script.convert(self.tree.folder, self.subset, self.script_dir, batch_size)
        return ScriptRun(time.perf_counter() - began, datasets)


@dataclass(frozen=True)
class ScriptRun:
    """What the known script's method took, and what it gave."""

    seconds: float
    datasets: Datasets


def make_case(folder: Path) -> Case:
    support_dir, script_dir = folder / "support_data", folder / "script"
    script_dir.mkdir()
    synthetic.write_support_data(support_dir)
    tree = trees.write_mixed(folder / "amass", SOURCE_FRAMES)
    matrix = regressor.load(regressor_path(support_dir)).matrix.toarray()
    script = MeshScript.load(support_dir, matrix, synthetic.GENDERS)
    return Case(tree, support_dir, folder / "store.h5", every_nth(tree), script, script_dir)


def every_nth(tree: Tree) -> tuple[Recording, ...]:
    """About `SUBSET` recordings, evenly spread, with a step that meets all people of the tree."""
    steps = range(max(len(tree.recordings) // SUBSET, 1), 0, -1)
    return tree.recordings[:: next(step for step in steps if gcd(step, trees.PEOPLE) == 1)]


def regressor_path(support_dir: Path) -> Path:
    return support_dir / f"{regressor.H36M_FILE_NAME}.npy"


def needed_flops(case: Case) -> int:
    """Operations of the folded matrices' products for the frames of the whole tree that resampling needs.

    Soft tissue's small product is not counted.
    """
    joints = regressor.load(regressor_path(case.support_dir))
    folded = {g: folding.fold(body_model.load(case.support_dir, g), joints) for g in synthetic.GENDERS}
    per_frame = {
        (gender, fingers): 2 * multiply_adds(folded[gender], fingers == "moving")
        for gender in folded
        for fingers in ("still", "moving")
    }
    return sum(
        needed_frames(recording) * per_frame[recording.person.gender, recording.person.fingers]
        for recording in case.tree.recordings
    )


def needed_frames(recording: Recording) -> int:
    """How many of a recording's frames resampling needs."""
    rates = (resampling.exact_rate(rate) for rate in (recording.person.frame_rate, FRAME_RATE))
    return len(resampling.needed_frames(resampling.resample(recording.num_frames, *rates)))


def products(threads: int) -> Callable[[], None]:
    """`PRODUCTS` large products, to be timed, after one that starts the threads."""
    one = product(threads)

    def run() -> None:
        for _ in range(PRODUCTS):
            one()

    one()
    return run


def measure(case: Case) -> dict[str, list[Any]]:
    """Builds, the two halves of their floors, and the known script's method, all in the same rounds."""
    calls: dict[str, Callable[[], Any]] = {}
    for workers in WORKERS:
        calls[f"build, {workers}"] = partial(command.build, case.tree, case.support_dir, workers, case.store)
        # From the page cache: the build has just read the tree.
        calls[f"read, {workers}"] = partial(seconds_of, partial(case.tree.read, workers))
        calls[f"products, {workers}"] = partial(seconds_of, products(workers))
    for batch_size in BATCH_SIZES:
        calls[f"script, {batch_size}"] = partial(case.run_script, batch_size)
    return in_turns(calls, ROUNDS)


def difference(case: Case, datasets: Datasets) -> float:
    """Metres at most between the script's joints and the store's.

    Raises
    ------
    RuntimeError
        They do not show the same.
    """
    largest = 0.0
    with h36m_amass.Store(case.store) as store:
        for recording in case.subset:
            key = recording.path.removesuffix(".npz")
            dataset, subject, name = key.split("/")
            apart = datasets[dataset][subject][name]["positions_3d"] - store[key].positions_3d[:]
            largest = max(largest, float(np.abs(apart).max()))
    if largest > LARGEST_DIFFERENCE_M:
        raise RuntimeError(f"the store is {largest:.1e} m from the full mesh: one of the two is wrong")
    return largest


def build_results(case: Case, runs: dict[str, list[Any]], workers: int, flops: int) -> dict[str, Any]:
    """The builds with that many workers, and their floor."""
    builds: list[command.Run] = runs[f"build, {workers}"]
    seconds, read = median(run.seconds for run in builds), median(runs[f"read, {workers}"])
    peak = PRODUCTS * PRODUCT_FLOPS / median(runs[f"products, {workers}"])
    return {
        "runs": [asdict(run) for run in builds],
        "seconds": seconds,
        "source_frames_per_second": case.tree.num_frames / seconds,
        "frames": builds[0].frames,
        "peak_parent_bytes": max(run.peaks.parent for run in builds),
        "peak_worker_bytes": max(run.peaks.worker for run in builds),
        "floor_read_seconds": read,
        "sgemm_peak_flops": peak,
        "floor_products_seconds": flops / peak,
        "times_floor": seconds / (read + flops / peak),
    }


def script_results(case: Case, runs: dict[str, list[Any]], batch_size: int) -> dict[str, Any]:
    """The known script's method with that batch size, beside the builds by their time for a source frame."""
    script: list[ScriptRun] = runs[f"script, {batch_size}"]
    per_frame = median(run.seconds for run in script) / case.subset_frames
    return {
        "seconds": [run.seconds for run in script],
        "seconds_per_source_frame": per_frame,
        "times_build": {
            workers: per_frame * case.tree.num_frames / median(run.seconds for run in runs[f"build, {workers}"])
            for workers in WORKERS
        },
        "difference_m": difference(case, script[-1].datasets),
    }


def tables(results: dict[str, Any]) -> str:
    """Builds and their floors, builds from archives and theirs, and the known script's method."""
    return "\n\n".join((build_table(results), archives.archives_table(results["archives"]), script_table(results)))


def build_table(results: dict[str, Any]) -> str:
    rows = [
        (
            workers,
            f"{build['seconds']:.2f}",
            f"{build['source_frames_per_second']:,.0f}",
            f"{build['frames']:,}",
            f"{build['floor_read_seconds']:.2f} + {build['floor_products_seconds']:.2f}",
            f"{build['times_floor']:.1f}",
            mebibytes(build["peak_parent_bytes"]),
            mebibytes(build["peak_worker_bytes"]),
        )
        for workers, build in results["builds"].items()
    ]
    header = (
        *("workers", "build (s)", "source frames/s", "output frames", "floor: read + products (s)", "build ÷ floor"),
        *("peak memory of the parent (MiB)", "of the largest worker (MiB)"),
    )
    return table(header, rows)


def script_table(results: dict[str, Any]) -> str:
    rows = [
        (
            batch_size,
            results["subset_recordings"],
            f"{results['subset_source_frames']:,}",
            f"{median(script['seconds']):.2f}",
            f"{1e6 * script['seconds_per_source_frame']:.0f}",
            *(f"{ratio:.0f}" for ratio in script["times_build"].values()),
            f"{script['difference_m']:.1e}",
        )
        for batch_size, script in results["script"].items()
    ]
    header = (
        *("batch size", "recordings", "source frames", "full mesh (s)", "µs per source frame"),
        *(f"÷ build with {workers} {plural('worker', workers)}" for workers in WORKERS),
        "difference of joints (m, at most)",
    )
    return table(header, rows)


def mebibytes(size: int | None) -> str:
    return "" if size is None else f"{size / MIB:,.0f}"


def plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def targets(results: dict[str, Any]) -> list[Target]:
    floors = [
        Target(f"build ÷ floor, {workers} {plural('worker', workers)}", build["times_floor"], MOST_TIMES_FLOOR)
        for workers, build in results["builds"].items()
    ]
    ratio = results["script"][DEFAULT_BATCH_SIZE]["times_build"][WORKERS[-1]]
    what = f"full mesh ÷ build with {WORKERS[-1]} workers, per source frame"
    script = Target(what, ratio, LEAST_TIMES_SCRIPT, at_least=True)
    return [*floors, script, *archives.targets(results["archives"])]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        case = make_case(Path(folder))
        flops = needed_flops(case)
        runs = measure(case)
        results = {
            "sequences": len(case.tree.recordings),
            "source_frames": case.tree.num_frames,
            "bytes": case.tree.size,
            "needed_frames": sum(map(needed_frames, case.tree.recordings)),
            "flops": flops,
            "builds": {workers: build_results(case, runs, workers, flops) for workers in WORKERS},
            "subset_recordings": len(case.subset),
            "subset_source_frames": case.subset_frames,
            "script": {batch_size: script_results(case, runs, batch_size) for batch_size in BATCH_SIZES},
        }
    # Apart, so that either fits into the page cache.
    with tempfile.TemporaryDirectory() as folder:
        synthetic.write_support_data(Path(folder) / "support_data")
        results["archives"] = archives.measure(Path(folder), Path(folder) / "support_data")
    write_results("build", results, tables(results), targets(results))


if __name__ == "__main__":
    main()

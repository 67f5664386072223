"""Random windows of a store of AMASS's size, beside the ways that people read today.

``python benchmarks/reading.py`` prints tables and writes ``results/reading.json``.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import readers
import torch
from common import HERE, MIB, Target, in_turns, pick, seconds_of, table, write_results
from torch.utils.data import DataLoader, Dataset, Subset

from h36m_amass import Store, WindowDataset, collate

LENGTHS = (27, 81, 243)
TARGET_LENGTH, BATCH_SIZE = 81, 256
ROUNDS, SINGLES = pick((3, 200), (1, 5))
EPOCH_STRIDE, EPOCH_ROUNDS, WORKERS, ZARR_SHARE = 972, 1, (0, 2), 10
MEMORY_WORKERS = (0, 4)
OURS, PER_SEQUENCE, ZARR, DICTIONARIES, MAPPED = "store", "h5py", "zarr", "dictionaries", "memmap"
LABELS = {
    OURS: "the store",
    PER_SEQUENCE: "h5py, a dataset per sequence",
    ZARR: "zarr, the same chunks",
    DICTIONARIES: "npz dictionaries in RAM",
    MAPPED: "numpy.memmap",
}
OPENING = """
import sys, time
from reading_memory import pss
import torch
from h36m_amass import Store, WindowDataset
before, began = pss("self"), time.perf_counter()
store = Store(sys.argv[1])
opened = time.perf_counter()
memory = pss("self") - before
WindowDataset(store, 81)[12345]
print(opened - began, time.perf_counter() - opened, memory)
"""


class Ways:
    """All ways to read, on the same frames."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.h5"
        readers.write_store(self.path)
        self.store = Store(self.path)
        self.files = {
            PER_SEQUENCE: folder / "sequences.h5",
            ZARR: folder / "frames.zarr",
            MAPPED: folder / "frames.npy",
        }
        for way, kind in ((PER_SEQUENCE, readers.PerSequence), (ZARR, readers.Zarr), (MAPPED, readers.Mapped)):
            kind.write(self.store, self.files[way])
        self.dictionaries = readers.Dictionaries.load(self.store)
        self.names = [sequence.key for sequence in self.store.sequences]

    def others(self, ours: WindowDataset) -> dict[str, readers.Windows]:
        """The ways beside ours, with the windows of our dataset."""
        windows, length, starts = readers.windows_of(ours), ours.length, self.store.index.starts
        return {
            PER_SEQUENCE: readers.PerSequence(self.files[PER_SEQUENCE], self.names, windows, length),
            ZARR: readers.Zarr(self.files[ZARR], starts, windows, length),
            DICTIONARIES: readers.Dictionaries(self.dictionaries, self.names, windows, length),
            MAPPED: readers.Mapped(self.files[MAPPED], starts, windows, length),
        }


def windows(ways: Ways, length: int) -> dict[str, dict[str, float]]:
    """Seconds of a batch and of a single window, of each way; each round has windows of its own."""
    ours = WindowDataset(ways.store, length)
    others = ways.others(ours)
    chance = random.Random(length)
    readers.same(ways.store, length, others, chance.sample(range(len(ours)), 20))

    def batch(read: Callable[[list[int]], object]) -> float:
        numbers = chance.sample(range(len(ours)), BATCH_SIZE)
        return seconds_of(partial(read, numbers))

    def single(dataset: Any) -> float:
        numbers = chance.sample(range(len(ours)), SINGLES)
        return seconds_of(lambda: [dataset[number] for number in numbers]) / SINGLES

    batches = {OURS: partial(batch, lambda numbers: collate(ours.__getitems__(numbers)))}
    batches |= {way: partial(batch, dataset.batch) for way, dataset in others.items()}
    singles = {way: partial(single, dataset) for way, dataset in {OURS: ours, **others}.items()}
    in_turns(batches, 2)
    timed = {"batch": in_turns(batches, ROUNDS), "single": in_turns(singles, ROUNDS)}
    return {kind: {way: median(seconds) for way, seconds in times.items()} for kind, times in timed.items()}


def epochs(ways: Ways) -> dict[int, dict[str, float]]:
    """Windows per second of whole epochs, by workers; each with its own collate function."""
    ours = WindowDataset(ways.store, TARGET_LENGTH, stride=EPOCH_STRIDE)
    datasets: dict[str, Dataset[Any]] = {OURS: ours, **ways.others(ours)}
    # All of its windows would take longer than everything else together.
    datasets[ZARR] = Subset(datasets[ZARR], range(0, len(ours), ZARR_SHARE))

    def epoch(way: str, workers: int) -> float:
        function = collate if way == OURS else None
        loader = DataLoader(datasets[way], BATCH_SIZE, shuffle=True, collate_fn=function, num_workers=workers)
        began, seen = time.perf_counter(), 0
        for batch in loader:
            seen += len(batch["positions_3d"] if way == OURS else batch)
        return seen / (time.perf_counter() - began)

    return {
        workers: {
            way: median(rates)
            for way, rates in in_turns({way: partial(epoch, way, workers) for way in datasets}, EPOCH_ROUNDS).items()
        }
        for workers in WORKERS
    }


def python(*arguments: str) -> list[float]:
    """Numbers that a process of its own prints."""
    command = [sys.executable, *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE).stdout
    return [float(word) for word in printed.split()]


def memory(path: Path) -> dict[str, dict[str, float]]:
    """Bytes of a dataloader and its workers together, by way and workers."""
    cases = [(way, workers, "fork") for way in ("nothing", OURS, DICTIONARIES) for workers in MEMORY_WORKERS]
    cases += [(way, 2, "spawn") for way in ("nothing", OURS)]
    measured: dict[str, dict[str, float]] = {}
    for way, workers, method in cases:
        (used,) = python("reading_memory.py", str(path), way, str(workers), method)
        measured.setdefault(way, {})[f"{workers}, {method}" if workers else "0"] = used
    return measured


def opening(path: Path) -> dict[str, float]:
    """Seconds to open the store and to read the first window, and bytes that it takes."""
    runs = [python("-c", OPENING, str(path)) for _ in range(3)]
    names = ("open_seconds", "first_window_seconds", "bytes")
    return {name: median(values) for name, values in zip(names, zip(*runs, strict=True), strict=True)}


def tables(results: dict[str, Any]) -> str:
    lengths = results["windows"]
    header = ("frames per window", *(LABELS[way] for way in lengths[TARGET_LENGTH]["batch"]))
    batches = [(n, *(f"{1e3 * s:.2f}" for s in one["batch"].values())) for n, one in lengths.items()]
    singles = [(n, *(f"{1e6 * s:.0f}" for s in one["single"].values())) for n, one in lengths.items()]
    rates = results["epochs"]
    epoch_header = ("workers", *(LABELS[way] for way in rates[0]))
    epoch_rows = [(workers, *(f"{rate:,.0f}" for rate in one.values())) for workers, one in rates.items()]
    used = results["memory"]
    memory_header = ("processes", *(LABELS.get(way, "Python and torch alone") for way in used))
    memory_rows = [
        (case, *(f"{used[way][case] / MIB:,.0f}" if case in used[way] else "" for way in used)) for case in used[OURS]
    ]
    opened = results["opening"]
    return "\n\n".join(
        (
            f"Milliseconds of a batch of {BATCH_SIZE} windows:",
            table(header, batches),
            "Microseconds of a single window:",
            table(header, singles),
            f"Windows of {TARGET_LENGTH} frames per second, in epochs of a `DataLoader`, batches of {BATCH_SIZE}:",
            table(epoch_header, epoch_rows),
            "Memory (PSS, MiB) of a `DataLoader` and its workers together in the middle of an epoch:",
            table(memory_header, memory_rows),
            f"Opening the store takes {opened['open_seconds']:.3f} s and {opened['bytes'] / MIB:.0f} MiB, its first "
            f"window {1e3 * opened['first_window_seconds']:.1f} ms more.",
        )
    )


def targets(results: dict[str, Any]) -> list[Target]:
    batch, single = (results["windows"][TARGET_LENGTH][kind] for kind in ("batch", "single"))
    rates, used, opened = results["epochs"], results["memory"], results["opening"]

    def a_worker(way: str) -> float:
        return (used[way]["4, fork"] - used[way]["0"]) / 4

    return [
        Target("batches, h5py ÷ store", batch[PER_SEQUENCE] / batch[OURS], 8, at_least=True),
        Target("batches, zarr ÷ store", batch[ZARR] / batch[OURS], 3, at_least=True),
        Target("batches, dictionaries in RAM ÷ store", batch[DICTIONARIES] / batch[OURS], 0.5, at_least=True),
        Target("single windows, h5py ÷ store", single[PER_SEQUENCE] / single[OURS], 4, at_least=True),
        Target("epochs with 2 workers, store ÷ h5py", rates[2][OURS] / rates[2][PER_SEQUENCE], 3, at_least=True),
        Target("opening a store (s)", opened["open_seconds"], 0.3),
        Target("memory of an open store (MiB)", opened["bytes"] / MIB, 60),
        Target("first window (ms)", 1e3 * opened["first_window_seconds"], 50),
        Target("memory per worker beyond Python and torch (MiB)", (a_worker(OURS) - a_worker("nothing")) / MIB, 50),
    ]


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        ways = Ways(Path(folder))
        results: dict[str, Any] = {
            "frames": ways.store.num_frames,
            "sequences": len(ways.store.sequences),
            "windows": {length: windows(ways, length) for length in LENGTHS},
            "epochs": epochs(ways),
        }
        del ways.dictionaries
        results["opening"] = opening(ways.path)
        results["memory"] = memory(ways.path)
        write_results("reading", results, tables(results), targets(results))


if __name__ == "__main__":
    main()

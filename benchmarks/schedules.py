"""How long builds of any size take on 1 to 1000 workers: schedules simulated from measured times of their pieces.

``python benchmarks/schedules.py`` measures, prints tables and writes ``results/schedules.json``.

Measured is what one process does with the units of a tree in AMASS's mix: converting each, bringing its part to the
disk, looking at it, copying it into the store; reading the headers, and finishing the store. Times are the process's
own processor seconds, so that others on the machine do not count, but for the wait for the disk. What is simulated
beyond the machine at hand supposes that workers do not slow each other down: a disk and a network that are fast enough
for what is told of bytes, and machines like this one.
"""

from __future__ import annotations

import heapq
import math
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import trees
from common import table, write_results

from h36m_amass import synthetic
from h36m_amass.body.joint_sets import load_sources
from h36m_amass.conversion import convert as conversion
from h36m_amass.conversion import part as parts
from h36m_amass.conversion import planning, preparation, shards
from h36m_amass.conversion.assembly import Assembly
from h36m_amass.conversion.shards import Shard
from h36m_amass.conversion.workshop import Workshop
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.store.format import JointSet, StoreHeader
from h36m_amass.store.split_writer import Split

UNITS, BATCH_SIZE = 12, 4096
FRAMES = (18_000_000, 1_000_000_000)
"""Of AMASS's size, and of the smaller of those that are asked about."""
BOUNDED_FRAMES = (1_000_000_000, 100_000_000_000)
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
UNITS_AHEAD_A_WORKER = 2
SPLIT_SIZE = 2 * 10**7
"""Of a split store's data files. Larger ones cost less a frame: each has an index of its own."""


@dataclass(frozen=True)
class Unit:
    """What a unit costs, in seconds."""

    source_frames: int
    frames: int
    sequences: int
    source_bytes: int
    part_bytes: int
    convert: float
    commit: float
    check: float
    copy: float


@dataclass(frozen=True)
class Pieces:
    """What was measured.

    Attributes
    ----------
    plan_a_sequence, finish_a_sequence
        Seconds of planning, and of writing index, views and seal.
    split_copy_a_frame, split_finish_a_sequence
        The same of a store that is split: copying, which finishes and seals data files, and what is left at the end.
    plan_bytes_a_sequence
        Memory of the parent.
    fold
        Seconds of folding, once a build or a shard.
    """

    units: tuple[Unit, ...]
    plan_a_sequence: float
    plan_bytes_a_sequence: float
    finish_a_sequence: float
    split_copy_a_frame: float
    split_finish_a_sequence: float
    fold: float

    def total(self, name: str) -> float:
        return float(sum(getattr(unit, name) for unit in self.units))

    def a_frame(self, name: str) -> float:
        """Of a source frame."""
        return self.total(name) / self.total("source_frames")


class Clock:
    """Processor seconds of this process, or seconds that passed, within ``with``."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self, waiting: bool = False) -> Iterator[None]:
        now = time.perf_counter if waiting else time.process_time
        began = now()
        yield
        self.seconds = now() - began


def measure(folder: Path, support_dir: Path) -> Pieces:
    """Convert the tree in `folder`, piece by piece."""
    clock, parts_dir = Clock(), folder.with_suffix(".parts")
    parts_dir.mkdir()
    planning.make_plan(folder, find_sequences(folder))
    with clock.running():
        plan = planning.make_plan(folder, find_sequences(folder))
    count, planned = len(plan.sequences), clock.seconds
    tracemalloc.start()
    again = planning.make_plan(folder, find_sequences(folder))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    sources = load_sources(None, None, support_dir)
    with clock.running():
        bodies = preparation.fold_bodies(again, support_dir, sources)
    folded = clock.seconds
    names, joint_counts = bodies.write(parts_dir), tuple(map(len, bodies.skeletons))
    workshop = Workshop(folder, parts_dir, names, joint_counts, "cpu", BATCH_SIZE, "measuring")
    workshop.start()
    header = StoreHeader(
        software_version="",
        frame_rate=50.0,
        body_model_sha256=bodies.by_model,
        options={},
        synthetic=True,
        joint_sets=tuple(JointSet(s.name, s.digest, own) for s, own in zip(sources, bodies.skeletons, strict=True)),
    )
    done = [str(unit.number) for unit in plan.units]
    conversion.convert_unit(workshop, plan.units[0], "warm").unlink()
    store, units = folder.with_suffix(".h5"), []

    def part(number: int) -> parts.Part:
        return parts.Part(workshop.part_path(done[number]), done[number])

    with Assembly(store, done, part, (), header, "none") as assembly:
        for unit, name in zip(plan.units, done, strict=True):
            with clock.running():
                temporary = conversion.convert_unit(workshop, unit, name)
            convert, path = clock.seconds, workshop.part_path(name)
            with clock.running(waiting=True):
                parts.commit(temporary, path)
            commit = clock.seconds
            with clock.running():
                for _ in parts.Part(path, name).blocks():
                    pass
            check = clock.seconds
            with clock.running():
                assembly.add(unit.number)
            units.append(
                Unit(
                    source_frames=unit.source_frames,
                    frames=unit.frames,
                    sequences=len(unit.sequences),
                    source_bytes=sum(sequence.file.size for sequence in unit.sequences),
                    part_bytes=path.stat().st_size,
                    convert=convert,
                    commit=commit,
                    check=check,
                    copy=clock.seconds,
                )
            )
        with clock.running():
            assembly.finish()
    finished = clock.seconds
    split = Split(store, SPLIT_SIZE, lambda number: folder.with_suffix(f".{number}.h5"))
    with Assembly(store, done, part, range(len(done)), header, "none", split) as assembly:
        with clock.running():
            assembly.copy()
        split_copied = clock.seconds
        with clock.running():
            assembly.finish()
    # One wait in a crowd may be long, and says nothing of the disk.
    waited = median(unit.commit for unit in units)
    units = [Unit(**{**asdict(unit), "commit": waited}) for unit in units]
    return Pieces(
        units=tuple(units),
        plan_a_sequence=planned / count,
        plan_bytes_a_sequence=held / count,
        finish_a_sequence=finished / count,
        split_copy_a_frame=split_copied / sum(unit.source_frames for unit in units),
        split_finish_a_sequence=clock.seconds / count,
        fold=folded,
    )


def units_of(pieces: Pieces, source_frames: int) -> list[Unit]:
    """As many units as have so many source frames: those that were measured, again and again."""
    count = round(source_frames / (pieces.total("source_frames") / len(pieces.units)))
    return list(islice(cycle(pieces.units), count))


def makespan(units: Sequence[Unit], serial: Sequence[float], workers: int) -> tuple[float, float]:
    """Seconds until all are converted and have been seen to by the parent, and how long the parent was busy.

    Units go in order to whichever worker is free. The parent gives out `UNITS_AHEAD_A_WORKER` units a worker ahead, and
    does what takes `serial` seconds with each that is done, one after another, before it gives out the next.
    """
    free = [0.0] * workers
    done: list[tuple[float, int]] = []
    parent, busy = 0.0, 0.0
    waiting = iter(enumerate(units))
    ahead = UNITS_AHEAD_A_WORKER * workers
    while True:
        for number, unit in islice(waiting, ahead - len(done)):
            finished = max(parent, free[0]) + unit.convert
            heapq.heapreplace(free, finished)
            heapq.heappush(done, (finished, number))
        if not done:
            return parent, busy
        finished, number = heapq.heappop(done)
        parent = max(parent, finished) + serial[number]
        busy += serial[number]


def one_build(pieces: Pieces, units: Sequence[Unit], workers: int) -> dict[str, float]:
    """A build whose parent plans, gives units to workers, and assembles while they convert."""
    sequences = sum(unit.sequences for unit in units)
    planned = sequences * pieces.plan_a_sequence + pieces.fold
    converted, busy = makespan(units, [unit.commit + unit.copy for unit in units], workers)
    seconds = planned + converted + sequences * pieces.finish_a_sequence
    return {"workers": workers, "seconds": seconds, "converting": converted, "parent_busy": busy / converted}


def sharded(pieces: Pieces, units: Sequence[Unit], count: int) -> dict[str, float]:
    """Shards of one worker each, and the run that assembles; each of them plans."""
    sequences = sum(unit.sequences for unit in units)
    planned = sequences * pieces.plan_a_sequence + pieces.fold
    numbered: list[Any] = [
        SimpleNamespace(number=number, source_frames=unit.source_frames) for number, unit in enumerate(units)
    ]
    longest = 0.0
    for number in range(1, count + 1):
        own = [units[unit.number] for unit in shards.share(numbered, Shard(number, count))]
        longest = max(longest, makespan(own, [unit.commit for unit in own], 1)[0])
    assembled = sum(unit.check + unit.copy for unit in units) + sequences * pieces.finish_a_sequence
    return {
        "shards": count,
        "seconds": 2 * planned + longest + assembled,
        "converting": planned + longest,
        "assembling": planned + assembled,
    }


def bounds(pieces: Pieces, source_frames: int) -> dict[str, float]:
    """What a build of so many source frames has to do, whoever does it."""
    sequences = source_frames * pieces.a_frame("sequences")
    return {
        "source_frames": source_frames,
        "sequences": sequences,
        "source_bytes": source_frames * pieces.a_frame("source_bytes"),
        "store_bytes": source_frames * pieces.a_frame("part_bytes"),
        "convert_seconds": source_frames * pieces.a_frame("convert"),
        "plan_seconds": sequences * pieces.plan_a_sequence,
        "parent_seconds": source_frames * (pieces.a_frame("commit") + pieces.a_frame("copy")),
        "finish_seconds": sequences * pieces.finish_a_sequence,
        "split_parent_seconds": source_frames * (pieces.a_frame("commit") + pieces.split_copy_a_frame),
        "split_finish_seconds": sequences * pieces.split_finish_a_sequence,
        "plan_bytes": sequences * pieces.plan_bytes_a_sequence,
    }


def workers_until_the_parent_is_busy(pieces: Pieces) -> int:
    """From so many on, a build waits for the parent, which commits and copies."""
    return math.ceil(pieces.a_frame("convert") / (pieces.a_frame("commit") + pieces.a_frame("copy")))


def cost_table(pieces: Pieces) -> str:
    frames, sequences = "a million source frames", "a thousand sequences"

    def seconds(name: str) -> str:
        return f"{1e6 * pieces.a_frame(name):.2f} s {frames}"

    rows = [
        ("recordings", f"{1e6 * pieces.a_frame('source_bytes') / 1e9:.2f} GB {frames}"),
        ("parts, and the store again", f"{1e6 * pieces.a_frame('part_bytes') / 1e6:.0f} MB {frames}"),
        ("converting, on any worker", seconds("convert")),
        ("bringing parts to the disk, in the parent", seconds("commit")),
        ("copying them into the store, in the parent", seconds("copy")),
        (
            "the same with `--split-size`, where each file is sealed when it is full",
            f"{1e6 * pieces.split_copy_a_frame:.2f} s {frames}",
        ),
        ("looking at parts of shards, in the last run", seconds("check")),
        ("planning, in the parent", f"{1e3 * pieces.plan_a_sequence:.2f} s {sequences}"),
        ("memory of the plan, in the parent", f"{1e3 * pieces.plan_bytes_a_sequence / 1e6:.2f} MB {sequences}"),
        ("index, views and seal, at the end", f"{1e3 * pieces.finish_a_sequence:.2f} s {sequences}"),
        ("the same with `--split-size`", f"{1e3 * pieces.split_finish_a_sequence:.2f} s {sequences}"),
        ("folding, once", f"{pieces.fold:.2f} s"),
    ]
    return table(("what", "cost"), rows)


def schedule_table(runs: Sequence[tuple[dict[str, float], dict[str, float]]]) -> str:
    rows = [
        (
            f"{one['workers']:.0f}",
            _told(one["seconds"]),
            f"{one['parent_busy']:.0%}",
            _told(shared["seconds"]),
            _told(shared["converting"]),
            _told(shared["assembling"]),
        )
        for one, shared in runs
    ]
    header = (
        *("workers", "one build", "its parent busy while it converts"),
        *("as many shards, and the last run", "the longest shard", "the last run"),
    )
    return table(header, rows)


def bounds_table(rows: Sequence[dict[str, float]]) -> str:
    return table(
        ("source frames", *(f"{row['source_frames']:.0e}".replace("e+", "e") for row in rows)),
        [
            ("sequences", *(f"{row['sequences']:,.0f}" for row in rows)),
            ("recordings", *(f"{row['source_bytes'] / 1e12:,.1f} TB" for row in rows)),
            ("store", *(f"{row['store_bytes'] / 1e12:,.2f} TB" for row in rows)),
            ("converting, shared by all workers", *(_told(row["convert_seconds"]) for row in rows)),
            ("commit and copy, in one process", *(_told(row["parent_seconds"]) for row in rows)),
            ("the same with `--split-size`", *(_told(row["split_parent_seconds"]) for row in rows)),
            ("planning, in one process", *(_told(row["plan_seconds"]) for row in rows)),
            ("memory of the plan", *(f"{row['plan_bytes'] / 1e9:,.1f} GB" for row in rows)),
            ("finishing, in one process", *(_told(row["finish_seconds"]) for row in rows)),
            ("the same with `--split-size`", *(_told(row["split_finish_seconds"]) for row in rows)),
        ],
    )


def _told(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        support_dir = Path(scratch) / "support_data"
        synthetic.write_support_data(support_dir)
        folder = Path(scratch) / "mixed"
        trees.write_mixed(folder, UNITS * planning.UNIT_SOURCE_FRAMES)
        pieces = measure(folder, support_dir)
    schedules = {}
    for frames in FRAMES:
        units = units_of(pieces, frames)
        schedules[frames] = [(one_build(pieces, units, n), sharded(pieces, units, n)) for n in WORKERS]
    limits = [bounds(pieces, frames) for frames in BOUNDED_FRAMES]
    told = [cost_table(pieces)]
    told += [f"{frames:,} source frames\n\n{schedule_table(runs)}" for frames, runs in schedules.items()]
    told += [bounds_table(limits)]
    told += [f"From {workers_until_the_parent_is_busy(pieces)} workers on, a build waits for its parent."]
    results = {
        "pieces": asdict(pieces),
        "schedules": {
            str(frames): [{"one_build": one, "sharded": shared} for one, shared in runs]
            for frames, runs in schedules.items()
        },
        "bounds": limits,
        "workers_until_the_parent_is_busy": workers_until_the_parent_is_busy(pieces),
    }
    write_results("schedules", results, "\n\n".join(told))


if __name__ == "__main__":
    main()

"""Made-up AMASS trees of a given size, written fast: a few motions are made up once and cut."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Literal

import numpy as np

from h36m_amass import synthetic

MOTION_SECONDS = 60.0
# AMASS has 40 hours in 11,265 recordings: a log-normal with this median and spread has their mean of 12.5 s.
MEDIAN_SECONDS, SPREAD = 6.0, 1.2
SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 300.0
RATES = (120.0, 120.0, 100.0, 120.0, 60.0, 120.0, 150.0, 120.0, 250.0, 120.0)
PEOPLE, PEOPLE_A_DATASET = 60, 10
READ_BYTES = 2**20
ARCHIVE_SUFFIX = ".tar.bz2"
DISTINCT_FRAMES = 1_000_000
"""Far more than a processor caches, so that a build reads them no faster when they come again."""


@dataclass(frozen=True)
class Person:
    """A subject: what all recordings of one have in common. One in four moves the fingers, one in ten lacks dmpls."""

    number: int
    frame_rate: float

    @property
    def gender(self) -> str:
        return synthetic.GENDERS[self.number % len(synthetic.GENDERS)]

    @property
    def fingers(self) -> Literal["still", "moving"]:
        return "moving" if self.number % 4 == 3 else "still"

    @property
    def has_dmpls(self) -> bool:
        return self.number % 10 != 6

    @property
    def folder(self) -> str:
        return f"Set{self.number // PEOPLE_A_DATASET}/s{self.number:02d}"


@dataclass(frozen=True)
class Recording:
    """A recording of a tree; `path` is relative to the tree's folder."""

    path: str
    person: Person
    num_frames: int


@dataclass(frozen=True)
class Tree:
    """A folder in AMASS's layout, and what is in it."""

    folder: Path
    recordings: tuple[Recording, ...]

    @property
    def num_frames(self) -> int:
        return sum(recording.num_frames for recording in self.recordings)

    @property
    def paths(self) -> list[Path]:
        return [self.folder / recording.path for recording in self.recordings]

    @property
    def size(self) -> int:
        """Bytes of all recordings."""
        return sum(path.stat().st_size for path in self.paths)

    def read(self, threads: int = 1) -> None:
        """Read all recordings whole.

        Nothing that needs their content can be faster, and afterwards they are in the page cache, if they fit.
        """

        read_files(self.paths, threads)


@dataclass(frozen=True)
class Archives:
    """A folder of compressed archives."""

    folder: Path

    @property
    def paths(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{ARCHIVE_SUFFIX}"))

    @property
    def size(self) -> int:
        """Bytes of all archives."""
        return sum(path.stat().st_size for path in self.paths)

    def read(self, threads: int = 1) -> None:
        """Read all archives whole."""
        read_files(self.paths, threads)


def read_files(paths: Sequence[Path], threads: int) -> None:
    """Read files whole, each thread into one buffer that it uses again and again."""

    def read(share: Sequence[Path]) -> None:
        buffer = memoryview(bytearray(READ_BYTES))
        for path in share:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, [paths[first::threads] for first in range(threads)]))


def write_mixed(folder: Path, num_frames: int, seed: int = 0) -> Tree:
    """At least `num_frames` frames in AMASS's mix of lengths, rates and genders, as uncompressed float64.

    Of more than `DISTINCT_FRAMES`, the further recordings are hard links to the first, in turn: disks are slow.
    """
    rng = np.random.default_rng(seed)
    recordings: list[Recording] = []
    missing = min(num_frames, DISTINCT_FRAMES)
    while missing > 0:
        number = len(recordings) % PEOPLE
        person = Person(number, RATES[number % len(RATES)])
        seconds = np.clip(MEDIAN_SECONDS * np.exp(SPREAD * rng.normal()), SHORTEST_SECONDS, LONGEST_SECONDS)
        recordings.append(_recording(person, len(recordings), round(seconds * person.frame_rate)))
        missing -= recordings[-1].num_frames
    starts = rng.integers(round(MOTION_SECONDS * min(RATES)), size=len(recordings)).tolist()

    def write(recording: Recording, start: int) -> None:
        synthetic.write_recording(folder / recording.path, _cut(recording.person, start, recording.num_frames))

    _motions({recording.person for recording in recordings})
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, recordings, starts))
    missing += num_frames - min(num_frames, DISTINCT_FRAMES)
    for again in cycle(tuple(recordings)):
        if missing <= 0:
            break
        recordings.append(_recording(again.person, len(recordings), again.num_frames))
        (folder / recordings[-1].path).hardlink_to(folder / again.path)
        missing -= again.num_frames
    return _settled(Tree(folder, tuple(recordings)))


def write_equal(folder: Path, num_sequences: int, length: int) -> Tree:
    """`num_sequences` recordings of `length` frames at 120 Hz.

    Recordings of one person are the same bytes, in files of their own: a build reads them no faster for that.
    """
    people = [Person(number, 120.0) for number in range(min(PEOPLE, num_sequences))]
    contents = [_npz(_cut(person, 0, length)) for person in people]
    recordings = tuple(_recording(people[i % PEOPLE], i, length) for i in range(num_sequences))

    def write(recording: Recording) -> None:
        path = folder / recording.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[recording.person.number])

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, recordings))
    return _settled(Tree(folder, recordings))


def link(tree: Tree, folder: Path, num_frames: int) -> Tree:
    """A smaller tree of hard links: those recordings of `tree`, in turn, that still fit into `num_frames`."""
    kept: list[Recording] = []
    free = num_frames
    for recording in tree.recordings:
        if recording.num_frames <= free:
            kept.append(recording)
            free -= recording.num_frames
    return _linked(tree, folder, kept)


def _linked(tree: Tree, folder: Path, recordings: Sequence[Recording]) -> Tree:
    for recording in recordings:
        path = folder / recording.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(tree.folder / recording.path)
    return _settled(Tree(folder, tuple(recordings)))


def first_datasets(tree: Tree, folder: Path, num_datasets: int) -> Tree:
    """A smaller tree of hard links: the first datasets of `tree`."""
    names = sorted({recording.path.split("/")[0] for recording in tree.recordings})[:num_datasets]
    kept = [recording for recording in tree.recordings if recording.path.split("/")[0] in names]
    return _linked(tree, folder, kept)


def pack(tree: Tree, folder: Path, in_one: bool) -> Archives:
    """The datasets of a tree as ``.tar.bz2``, as AMASS ships them; or all of them as one dataset."""
    folder.mkdir()
    archives: dict[str, list[Recording]] = {}
    for recording in tree.recordings:
        archives.setdefault("All" if in_one else recording.path.split("/")[0], []).append(recording)

    def write(name: str) -> None:
        with tarfile.open(folder / f"{name}{ARCHIVE_SUFFIX}", "w:bz2") as tar:
            for recording in archives[name]:
                tar.add(tree.folder / recording.path, recording.path.split("/", 1)[1])

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, archives))
    os.sync()
    return Archives(folder)


def _recording(person: Person, number: int, num_frames: int) -> Recording:
    return Recording(f"{person.folder}/{number:06d}_poses.npz", person, num_frames)


def _settled(tree: Tree) -> Tree:
    """Wait until a tree is on the disk, so that writing it back does not run beside what is measured."""
    os.sync()
    return tree


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _cut(person: Person, start: int, length: int) -> dict[str, np.ndarray]:
    """`length` frames of a person's motion from frame `start` on: there, and back again where it is too short."""
    motion = _motion(person.frame_rate, person.fingers)
    whole = len(motion["poses"])
    frames: slice | np.ndarray = slice(start, start + length)
    if start + length > whole:
        turn = np.arange(start, start + length) % (2 * whole)
        frames = np.minimum(turn, 2 * whole - 1 - turn)
    names = ("poses", "trans", "dmpls") if person.has_dmpls else ("poses", "trans")
    return {
        **{name: motion[name] for name in ("mocap_framerate", "synthetic")},
        **{name: motion[name][frames] for name in names},
        "gender": np.array(person.gender),
        "betas": np.random.default_rng(person.number).normal(scale=0.7, size=16),
    }


def _motions(people: Iterable[Person]) -> None:
    """Make up the motions of `people` before threads ask for them: each thread would make its own."""
    for person in people:
        _motion(person.frame_rate, person.fingers)


@cache
def _motion(frame_rate: float, fingers: Literal["still", "moving"]) -> dict[str, np.ndarray]:
    return synthetic.motion("walk", MOTION_SECONDS, frame_rate, gender="neutral", fingers=fingers, seed=7)

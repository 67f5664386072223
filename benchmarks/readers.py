"""The same windows from the store, and from what people use today; each way is a map-style dataset, too.

Each is given the windows as rows of the store's index and first frames, and reads them its own usual way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import zarr
from common import pick
from torch import Tensor
from torch.utils.data import Dataset

import h36m_amass
from h36m_amass import Store, WindowDataset, skeleton
from h36m_amass.store.format import JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.writer import StoreWriter

FRAMES, SEQUENCES = pick((8_000_000, 12_000), (400_000, 600))
SPREAD = 1.0
DATASETS, SUBJECTS = 20, 30
WRITTEN_AT_ONCE = 4096
Window = tuple[int, int]
NestedDictionaries = dict[str, dict[str, dict[str, dict[str, np.ndarray]]]]


def write_store(path: Path, seed: int = 0) -> None:
    """A store of AMASS's size, of noise: positions are not looked at here."""
    rng = np.random.default_rng(seed)
    shares = np.exp(SPREAD * rng.normal(size=SEQUENCES))
    lengths = np.maximum(1, FRAMES * shares / shares.sum()).astype(int).tolist()
    noise = rng.normal(size=(WRITTEN_AT_ONCE, len(skeleton.H36M), 3)).astype(np.float32)
    joint_sets = (JointSet("h36m", "r", skeleton.H36M),)
    writer = StoreWriter(path, joint_sets)
    for number, length in enumerate(lengths):
        in_dataset = SEQUENCES // DATASETS
        dataset, subject = f"Set{number // in_dataset:02d}", f"s{number % in_dataset // (in_dataset // SUBJECTS):02d}"
        names = dataset, subject, f"{number:05d}_poses"
        source = length * 2, 100.0, 100.0, "smplh", "neutral", True, "/".join(names), 0, "", 0
        blocks = ((noise[: length - start],) for start in range(0, length, WRITTEN_AT_ONCE))
        writer.append(SequenceRecord(*names, length, 50.0, *source), blocks)
    writer.finish(StoreHeader("0", 50.0, {}, {}, True, joint_sets))
    writer.close()


class Windows(Dataset[Tensor]):
    """One way to read windows of one length."""

    def __init__(self, windows: Sequence[Window], length: int) -> None:
        self.windows, self.length = windows, length

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> Tensor:
        return torch.tensor(self.frames(*self.windows[number]))

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """Many windows in one tensor."""
        return torch.from_numpy(np.stack([self.frames(*self.windows[number]) for number in numbers]))

    def frames(self, row: int, start: int) -> np.ndarray:
        """Frames of one window."""
        raise NotImplementedError


class PerSequence(Windows):
    """One h5py dataset per sequence, opened by name, in a file that each process opens when it first reads."""

    def __init__(self, path: Path, names: Sequence[str], windows: Sequence[Window], length: int) -> None:
        super().__init__(windows, length)
        self.path, self.names = path, names
        self.file: h5py.File | None = None
        self.process = 0

    @staticmethod
    def write(store: Store, path: Path) -> None:
        with h5py.File(path, "w") as file:
            for sequence in store.sequences:
                file.create_dataset(sequence.key, data=sequence.positions_3d[:])

    def frames(self, row: int, start: int) -> np.ndarray:
        if self.file is None or self.process != os.getpid():
            self.file, self.process = h5py.File(self.path, "r"), os.getpid()
        read: np.ndarray = self.file[self.names[row]][start : start + self.length]
        return read


class OneArray(Windows):
    """All frames in one array, which knows no sequences."""

    def __init__(self, array: Any, starts: np.ndarray, windows: Sequence[Window], length: int) -> None:
        super().__init__(windows, length)
        self.array, self.starts = array, starts

    def frames(self, row: int, start: int) -> np.ndarray:
        first = int(self.starts[row]) + start
        return np.asarray(self.array[first : first + self.length])


class Zarr(OneArray):
    """A zarr v3 array with the store's chunks, not compressed."""

    def __init__(self, path: Path, starts: np.ndarray, windows: Sequence[Window], length: int) -> None:
        super().__init__(zarr.open_array(path, mode="r"), starts, windows, length)

    @staticmethod
    def write(store: Store, path: Path) -> None:
        shape, chunks = (store.num_frames, len(store.skeleton), 3), (256, len(store.skeleton), 3)
        zarr.create_array(path, shape=shape, chunks=chunks, dtype="<f4", compressors=None)
        # zarr itself would take longer to write them than all that is measured here.
        for number, start in enumerate(range(0, store.num_frames, chunks[0])):
            frames = np.zeros(chunks, np.float32)
            stop = min(start + chunks[0], store.num_frames)
            frames[: stop - start] = store.read(start, stop)
            (path / "c" / str(number) / "0").mkdir(parents=True)
            frames.tofile(path / "c" / str(number) / "0" / "0")


class Dictionaries(Windows):
    """The npz dictionaries of all datasets, in memory."""

    def __init__(self, dictionaries: NestedDictionaries, names: Sequence[str], windows: Sequence[Window], length: int):
        super().__init__(windows, length)
        self.dictionaries = dictionaries
        self.names = [tuple(name.split("/")) for name in names]

    @staticmethod
    def load(store: Store) -> NestedDictionaries:
        return {
            dataset: {
                subject: {name: {"positions_3d": sequence.positions_3d[:]} for name, sequence in sequences.items()}
                for subject, sequences in subjects.items()
            }
            for dataset, subjects in store.items()
        }

    def frames(self, row: int, start: int) -> np.ndarray:
        dataset, subject, sequence = self.names[row]
        return self.dictionaries[dataset][subject][sequence]["positions_3d"][start : start + self.length]


class Mapped(OneArray):
    """A plain `numpy.memmap`."""

    def __init__(self, path: Path, starts: np.ndarray, windows: Sequence[Window], length: int) -> None:
        super().__init__(np.load(path, mmap_mode="r"), starts, windows, length)

    @staticmethod
    def write(store: Store, path: Path) -> None:
        shape = store.num_frames, len(store.skeleton), 3
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, store.num_frames, 2**18):
            stop = min(start + 2**18, store.num_frames)
            array[start:stop] = store.read(start, stop)


def windows_of(dataset: WindowDataset) -> list[Window]:
    """All windows of a dataset of ours, as rows and first frames."""
    windows = []
    for sequence in dataset.sequences:
        starts = range(0, len(sequence) - dataset.length + 1, dataset.stride)
        windows += [(sequence.row, start) for start in starts]
    if len(windows) != len(dataset):
        raise RuntimeError("the ways do not read the same windows")
    return windows


def same(store: Store, length: int, ways: dict[str, Any], numbers: Sequence[int]) -> None:
    """Raise `RuntimeError` unless all ways give what ours gives."""
    ours = h36m_amass.collate(WindowDataset(store, length).__getitems__(numbers))["positions_3d"]
    for name, way in ways.items():
        if not torch.equal(way.batch(numbers), ours):
            raise RuntimeError(f"{name} reads something else")

"""Reading a store: by dataset, subject and sequence, by row, by pattern and by split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from h36m_amass.datasets import same
from h36m_amass.files.paths import Location, is_url, parse, shown
from h36m_amass.skeleton import Skeleton, joint_order, reorder
from h36m_amass.splits import subjects_of
from h36m_amass.store import extents
from h36m_amass.store import index as store_index
from h36m_amass.store.errors import StoreError, UnknownKeyError
from h36m_amass.store.format import DETECTIONS, JointSet
from h36m_amass.store.header import OpenStore, bounded, in_this_file, joint_set_group, opened, read_header, readable
from h36m_amass.store.rows import FrameReader, Frames, Hdf5FrameReader, RawFrameReader, Runs, UrlFrameReader
from h36m_amass.store.selection import Pattern, Selection, StoredSequence
from h36m_amass.wording import counted, first_names

_V = TypeVar("_V")


class _Level(Mapping[str, _V]):
    """Named things of one level of a store; a key with slashes goes through the levels below."""

    kind: str

    def __init__(self, store: Store, name: str, items: Mapping[str, Any]) -> None:
        self._store, self.name, self._items = store, name, items

    def __getitem__(self, key: str) -> Any:
        head, _, rest = key.partition("/") if isinstance(key, str) else (key, "", "")
        name = self._stored_name(head)
        if name is None:
            raise UnknownKeyError(f"has no {self.kind} {head!r}; it has {first_names(self._items)}", self.name)
        item = self._item(name)
        if not rest:
            return item
        if not isinstance(item, _Level):
            raise UnknownKeyError(f"is a sequence, and has nothing called {rest!r}", f"{self.name}/{head}")
        return item[rest]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    # A mapping would be compared by its contents.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.name}: {counted(len(self), f'{self.kind}s')} ({first_names(self)})>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    @property
    def sequences(self) -> Selection:
        """All sequences at or below this level, in index order."""
        return Selection(self._store, np.array(sorted(self._rows()), dtype=np.int64))

    @property
    def num_frames(self) -> int:
        """Frames of all of them together."""
        return self.sequences.num_frames

    def _item(self, name: str) -> Any:
        return self._items[name]

    def _stored_name(self, name: object) -> str | None:
        """The name under which something of that name is stored here, if it is."""
        return name if isinstance(name, str) and name in self._items else None

    def _rows(self) -> Iterator[int]:
        for item in self._items.values():
            yield from item._rows()


class SubjectView(_Level[StoredSequence]):
    """The sequences of one subject, by name."""

    kind = "sequence"

    def _item(self, name: str) -> StoredSequence:
        return StoredSequence(self._store, self._items[name])

    def _rows(self) -> Iterator[int]:
        yield from self._items.values()


class DatasetView(_Level[SubjectView]):
    """The subjects of one dataset, by name."""

    kind = "subject"


class Store(_Level[DatasetView]):
    """A store, opened for reading.

    ``store["CMU"]["01"]["01_01_poses"]`` and ``store["CMU/01/01_01_poses"]`` are the same sequence, ``store[0]`` is
    the first one. A dataset is found by each of its names, see `h36m_amass.datasets`. A store can be pickled, forked
    and spawned, and read by many threads at once. When a `build` replaces a file, a store that has begun to read from
    it goes on with the old one, and any other says that it is gone. At a URL nothing stays open: what was replaced
    there is noticed within `h36m_amass.store.rows.SECONDS_UNCHECKED` seconds, and is an error then.

    `path` is a file that ``h36m-amass build`` wrote, or its URL, ``"s3://bucket/amass.h5"`` say; positions of
    `joint_set` are read, by default of the store's first. Raises `StoreError` if the file is missing, not a store,
    damaged, or of a format version that this library does not read, `UnknownKeyError` if it has no such joint set, and
    `h36m_amass.files.paths.UrlError`, when positions are read, too, if its URL cannot be reached.
    """

    kind = "dataset"

    def __init__(self, path: Path | str | Location, joint_set: str | None = None) -> None:
        self.path = parse(path)
        self.shown_path = shown(self.path)
        with opened(self.path) as store:
            self.num_bytes = store.version.size  # of the file
            self.header = read_header(store.file, self.path)
            self.joint_set = self._chosen(joint_set)  # whose positions are read
            group = joint_set_group(store.file, self.joint_set.name, self.joint_sets)
            positions = self._dataset(group, "positions_3d", 3)
            self._num_frames = len(positions)
            self._frames = _frame_reader(positions, store, self.path)
            self._detections = self._detection_readers(store)
            try:
                # One row per sequence, in columns, with the checksums of this joint set.
                self.index = store_index.read(store.file, group, self._num_frames)
            except ValueError as error:
                raise StoreError(f"its index is damaged ({error}); build it again", self.shown_path) from error
        self._arrange()

    def _arrange(self) -> None:
        """Make the tree of what the index lists."""
        self._names = self.index.names()
        tree: dict[str, dict[str, dict[str, int]]] = {}
        for row, (dataset, subject, sequence) in enumerate(self._names):
            tree.setdefault(dataset, {}).setdefault(subject, {})[sequence] = row
        views = {}
        for name, subjects in tree.items():
            of_subjects = {subject: SubjectView(self, f"{name}/{subject}", rows) for subject, rows in subjects.items()}
            views[name] = DatasetView(self, name, of_subjects)
        super().__init__(self, self.shown_path, views)

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        try:
            return self.sequences[key]
        except IndexError as error:
            raise UnknownKeyError(f"has no row {key}; it has {len(self.sequences)}", self.shown_path) from error

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(self)

    @property
    def sequences(self) -> Selection:
        """All sequences in index order."""
        return Selection(self, self.index.rows)

    @property
    def num_frames(self) -> int:
        return self._num_frames

    @property
    def joint_sets(self) -> tuple[str, ...]:
        """Their names, the first of the store first."""
        return tuple(joint_set.name for joint_set in self.header.joint_sets)

    @property
    def frame_rate(self) -> float:
        """Frame rate of all sequences in hertz; NaN if each has that of its recording."""
        return self.header.frame_rate

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras in whose images a detector has found the joints, see `read_detections`; there may be none."""
        return tuple(self._detections)

    def with_joint_set(self, name: str) -> Store:
        """The same store, with the positions of another joint set."""
        return Store(self.path, name)

    @property
    def skeleton(self) -> Skeleton:
        """What the joints are, in the order of the regressor's rows."""
        return self.joint_set.skeleton

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.skeleton.joint_names

    def skeleton_in(self, order: str) -> Skeleton:
        """What the joints are in one of `h36m_amass.skeleton.JOINT_ORDERS`; `SkeletonError` if it does not fit."""
        return reorder(self.skeleton, joint_order(order, self.skeleton))

    def select(self, triples: Iterable[tuple[Pattern, Pattern, Pattern]] | None = None, **names: Pattern) -> Selection:
        """The sequences whose `dataset`, `subject` and `sequence` match these patterns: see `Selection.select`."""
        return self.sequences.select(triples, **names)

    def split(self, name: str, part: str) -> Selection:
        """The sequences of one part of a named split that are in the store: see `h36m_amass.splits.SPLITS`.

        Raises `h36m_amass.splits.SplitError` if it is unknown, `UnknownKeyError` if the store has none of its datasets.
        """
        parts = subjects_of(name, part, self.datasets)
        named = [(row, names[1], parts[names[0]]) for row, names in enumerate(self._names) if names[0] in parts]
        rows = [row for row, subject, subjects in named if not subjects or subject in subjects]
        if not rows:
            what = "subject" if parts else "dataset"
            raise UnknownKeyError(f"has no {what} of {part!r} of {name!r}; it has {first_names(self)}", self.shown_path)
        return Selection(self, np.array(rows, dtype=np.int64))

    def names(self, row: int) -> tuple[str, str, str]:
        """Dataset, subject and sequence of a row of the index."""
        return self._names[row]

    def read(self, start: int, stop: int) -> Frames:
        """Rows ``start .. stop`` of all positions, in metres; `StoreError` if the file is damaged or was replaced."""
        frames = np.empty((stop - start, len(self.skeleton), 3), np.float32)
        self.read_into(start, frames)
        return frames

    def read_into(self, start: int, frames: Frames) -> None:
        """Fill the contiguous array `frames` with the rows from `start` on; raises as `read` does."""
        if start < 0 or start + len(frames) > self._num_frames:
            raise StoreError(f"has no rows {start} to {start + len(frames)}", self.shown_path)
        self._frames.read_into(start, frames)

    def read_runs(self, starts: Runs, frames: Frames, begins: Runs, ends: Runs, camera: str | None = None) -> None:
        """Fill ``frames[begin:end]``, contiguous, of each run with the rows from its start on; best if these ascend.

        With a `camera` these are a detector's joints in its images, in pixels.
        """
        if camera is not None and camera not in self._detections:
            known = first_names(self.cameras) or "none"
            raise UnknownKeyError(f"has no detections of a camera {camera!r}; it has {known}", self.shown_path)
        if len(starts) and (starts.min() < 0 or (starts + ends - begins).max() > self._num_frames):
            raise StoreError(f"has only {self._num_frames} rows", self.shown_path)
        reader = self._frames if camera is None else self._detections[camera]
        reader.read_runs(starts, frames, begins, ends)

    def read_detections(self, camera: str, start: int, stop: int) -> Frames:
        """Rows ``start .. stop`` of a detector's joints in the images of one of `cameras`, in pixels; as `read`."""
        frames = np.empty((stop - start, len(self.skeleton), 2), np.float32)
        self.read_runs(np.array([start]), frames, np.array([0]), np.array([len(frames)]), camera)
        return frames

    def _stored_name(self, name: object) -> str | None:
        if not isinstance(name, str) or name in self._items:
            return super()._stored_name(name)
        names = [stored for stored in self._items if same(stored) == same(name)]
        return names[0] if len(names) == 1 else None

    def _dataset(self, group: h5py.Group, name: str, num_axes: int) -> h5py.Dataset:
        """Frames of the joint set, which fit its skeleton."""
        frames = group[name]
        shape, dtype = (frames.shape, frames.dtype) if isinstance(frames, h5py.Dataset) else ((), None)
        if dtype is None or shape[1:] != (len(self.skeleton), num_axes):
            raise ValueError(f"{name} has shape {shape}")
        if dtype.kind != "f":
            raise ValueError(f"{name} holds {dtype}, not floating-point numbers")
        return in_this_file(frames)

    def _detection_readers(self, store: OpenStore) -> dict[str, FrameReader]:
        """Readers of the joint set's detections, by camera; their rows lie beside those of the positions."""
        parent = store.file.get("joint_sets", {}).get(self.joint_set.name, {})
        if DETECTIONS not in parent:
            return {}
        group = parent[DETECTIONS]
        readers = {}
        for camera in (name for name in group if not name.endswith("_extents")):
            detections = self._dataset(group, camera, 2)
            if group.file != store.file or len(detections) != self._num_frames:
                raise ValueError(f"its detections of {camera!r:.50} are not those of its frames")
            readers[camera] = _frame_reader(detections, store, self.path)
        return readers

    def _chosen(self, name: str | None) -> JointSet:
        for joint_set in self.header.joint_sets:
            if name in (None, joint_set.name):
                return joint_set
        raise UnknownKeyError(f"has no joint set {name!r}; it has {', '.join(self.joint_sets)}", self.shown_path)

    def close(self) -> None:
        """Close the file; it opens again when positions are read."""
        for reader in (self._frames, *self._detections.values()):
            reader.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _frame_reader(positions: h5py.Dataset, store: OpenStore, path: Location) -> FrameReader:
    """The fastest reader there is for positions or detections of an open store."""
    group, name = positions.parent, extents.name_for(positions.name.rpartition("/")[2])
    version, shape, listed = store.version, positions.shape[1:], None
    if extents.has(positions):
        # As the store says, unless another program wrote to it.
        is_known = store.footer is not None and name in group
        listed = extents.read(bounded(group[name])) if is_known else extents.of_chunks(readable(positions))
    if listed is not None:
        extents.check(listed, positions, version.size)
        if is_url(path):
            return UrlFrameReader(path, version, shape, listed)
        if hasattr(os, "preadv"):
            return RawFrameReader(path.absolute(), version, shape, listed)
    return Hdf5FrameReader(path if is_url(path) else path.absolute(), version, readable(positions).name)

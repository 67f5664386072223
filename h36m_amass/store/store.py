"""Reading a store: by dataset, subject and sequence, by row, by pattern and by split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

import h5py
import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.files.remote import Address, place
from h36m_amass.skeleton import Skeleton, joint_order, reorder
from h36m_amass.splits import datasets_of
from h36m_amass.store import data_files
from h36m_amass.store import index as store_index
from h36m_amass.store.format import JointSet, SequenceRecord
from h36m_amass.store.header import joint_set_group, opened, read_header, readable
from h36m_amass.store.index import DamagedIndexError, Index
from h36m_amass.store.rows import FileIdentity, FrameReader, StoreError, frame_reader
from h36m_amass.store.split_frames import SplitFrameReader

_V = TypeVar("_V")
Pattern = str | re.Pattern[str]
"""A regular expression that a name must match from its first to its last character."""


class UnknownKeyError(StoreError, KeyError):
    """A store has no dataset, subject or sequence of that name."""

    __str__ = ValueError.__str__  # a KeyError shows its message in quotes


class Sequence:
    """One sequence of a store.

    Attributes
    ----------
    store
        The store that it is in.
    row
        Its row in the store's index.
    """

    def __init__(self, store: Store, row: int) -> None:
        self.store = store
        self.row = row

    @property
    def record(self) -> SequenceRecord:
        """Its row of the index."""
        return self.store.index.record(self.row)

    @property
    def start(self) -> int:
        """Its first row in the store's positions."""
        return int(self.store.index.starts[self.row])

    @property
    def key(self) -> str:
        """``DATASET/SUBJECT/SEQUENCE``."""
        return self.record.key

    @property
    def frame_rate(self) -> float:
        """In hertz."""
        return float(self.store.index["frame_rate"][self.row])

    @property
    def gender(self) -> str:
        return self.record.gender

    @property
    def duration(self) -> float:
        """In seconds."""
        return len(self) / self.frame_rate

    @property
    def positions_3d(self) -> Positions:
        """Joint positions in metres, read when they are indexed: ``sequence.positions_3d[10:20]``."""
        return Positions(self.store, self.start, len(self))

    def __len__(self) -> int:
        return int(self.store.index.lengths[self.row])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and other.store is self.store and other.row == self.row

    def __hash__(self) -> int:
        return hash((id(self.store), self.row))

    def __repr__(self) -> str:
        return f"<Sequence {self.key}: {len(self):,} frames at {self.frame_rate:g} Hz>"


class Positions:
    """Rows of a store that are read when they are indexed, as from an `h5py.Dataset` or an array."""

    def __init__(self, store: Store, start: int, length: int) -> None:
        self._store = store
        self._start = start
        self.shape = (length, len(store.skeleton), 3)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        frames, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if frames is Ellipsis or (isinstance(index, tuple) and not index):
            return self._read(0, len(self))[index]
        if isinstance(frames, slice):
            wanted = range(len(self))[frames]
            first, last = (wanted[0], wanted[-1]) if len(wanted) else (0, -1)
            low, high = min(first, last), max(first, last) + 1
            rows = self._read(low, high)[:: wanted.step] if len(wanted) else self._read(0, 0)
            return rows[(slice(None), *rest)]
        if isinstance(frames, int | np.integer) and not isinstance(frames, bool):
            row = range(len(self))[int(frames)]
            return self._read(row, row + 1)[(0, *rest)]
        return self._read(0, len(self))[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("positions of a store are read from the file: an array of them is a copy")
        return self._read(0, len(self)).astype(dtype or self.dtype, copy=False)

    def _read(self, start: int, stop: int) -> np.ndarray:
        return self._store.read(self._start + start, self._start + stop)


class Selection(Collection[Sequence]):
    """Some sequences of a store, by number; slices, lists of numbers and boolean masks give a selection again.

    Attributes
    ----------
    store
        The store that they are in.
    rows
        Their rows in the store's index.
    """

    def __init__(self, store: Store, rows: Int[np.ndarray, "sequences"]) -> None:
        self.store = store
        self.rows = rows

    @property
    def index(self) -> Index:
        """The index of these sequences, in columns."""
        return self.store.index.take(self.rows)

    @property
    def num_frames(self) -> int:
        """Frames of all of them together."""
        return int(self.store.index.lengths[self.rows].sum())

    def select(
        self,
        triples: Iterable[tuple[Pattern, Pattern, Pattern]] | None = None,
        *,
        dataset: Pattern = ".*",
        subject: Pattern = ".*",
        sequence: Pattern = ".*",
    ) -> Selection:
        """Those whose names match, in the order they have here.

        Parameters
        ----------
        triples
            Patterns for dataset, subject and sequence; a sequence is taken if it matches any of the triples.
        dataset, subject, sequence
            Patterns that every sequence must match, too.

        Raises
        ------
        UnknownKeyError
            The keywords match nothing, or one of the triples does not.
        """
        wanted = _Wanted(dataset, subject, sequence)
        rows = [row for row in self.rows.tolist() if wanted.matches(self.store.names(row))]
        if not rows:
            raise UnknownKeyError(f"{self.store.path}: nothing matches {wanted}")
        if triples is not None:
            taken: set[int] = set()
            for triple in triples:
                if isinstance(triple, str) or len(triple) != 3:
                    raise StoreError(f"{triple!r} is no triple of patterns for dataset, subject and sequence")
                one = _Wanted(*triple)
                matching = [row for row in rows if one.matches(self.store.names(row))]
                if not matching:
                    raise UnknownKeyError(f"{self.store.path}: nothing matches {one}")
                taken.update(matching)
            rows = [row for row in rows if row in taken]
        return Selection(self.store, np.array(rows, dtype=np.int64))

    @overload
    def __getitem__(self, index: int) -> Sequence: ...

    @overload
    def __getitem__(self, index: slice | Iterable[int] | Iterable[bool]) -> Selection: ...

    def __getitem__(self, index: int | slice | Iterable[int] | Iterable[bool]) -> Sequence | Selection:
        if isinstance(index, slice):
            return Selection(self.store, self.rows[index])
        if isinstance(index, Iterable):
            chosen = np.asarray(list(index))
            return Selection(self.store, self.rows[chosen if len(chosen) else slice(0, 0)])
        return Sequence(self.store, int(self.rows[index]))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Sequence]:
        return (Sequence(self.store, row) for row in self.rows.tolist())

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Sequence) and item.store is self.store and item.row in self.rows

    def __repr__(self) -> str:
        return f"<{count(self, 'sequence')} of {self.store.path}>"


class _Level(Mapping[str, _V]):
    """Named things of one level of a store; a key with slashes goes through the levels below."""

    kind: str

    def __init__(self, store: Store, name: str, items: Mapping[str, Any]) -> None:
        self._store = store
        self.name = name
        self._items = items

    def __getitem__(self, key: str) -> Any:
        head, _, rest = key.partition("/") if isinstance(key, str) else (key, "", "")
        if head not in self._items:
            raise UnknownKeyError(f"{self.name} has no {self.kind} {head!r}; it has {_some(self._items)}")
        item = self._item(head)
        if not rest:
            return item
        if not isinstance(item, _Level):
            raise UnknownKeyError(f"{self.name}/{head} is a sequence, and has nothing called {rest!r}")
        return item[rest]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        try:
            self[key]
        except UnknownKeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    # A mapping would be compared by its contents.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.name}: {count(self, self.kind)} ({_some(self)})>"

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

    def _rows(self) -> Iterator[int]:
        for item in self._items.values():
            yield from item._rows()


class SubjectView(_Level[Sequence]):
    """The sequences of one subject, by name."""

    kind = "sequence"

    def _item(self, name: str) -> Sequence:
        return Sequence(self._store, self._items[name])

    def _rows(self) -> Iterator[int]:
        yield from self._items.values()


class DatasetView(_Level[SubjectView]):
    """The subjects of one dataset, by name."""

    kind = "subject"


class Store(_Level[DatasetView]):
    """A store, opened for reading.

    ``store["CMU"]["01"]["01_01_poses"]`` and ``store["CMU/01/01_01_poses"]`` are the same sequence, ``store[0]`` is
    the first one. A store can be pickled, forked and spawned, and read by many threads at once. When a `build`
    replaces a file, a store that has begun to read from it goes on with the old one, and any other says that it is
    gone; of a split store that holds for each of its files. At an address nothing stays open: what was replaced there
    is noticed within `h36m_amass.store.rows.SECONDS_UNCHECKED` seconds, and is an error then.

    Parameters
    ----------
    path
        A file that ``h36m-amass build`` wrote, or its fsspec address, ``"s3://bucket/amass.h5"`` say.
    joint_set
        Name of the joint set whose positions are read; None for the first of the store.

    Attributes
    ----------
    path, header
        Where it is and what it says of itself.
    joint_set
        The joint set whose positions are read; `index` has the checksums of these.
    index
        One row a sequence, in columns.
    num_bytes
        Of the file.
    data_files
        The files that the positions of a split store are in; none if they are in the store's own.

    Raises
    ------
    StoreError
        The file is missing, no store, damaged, or of a format version that this library does not know.
    UnknownKeyError
        It has no joint set of that name.
    h36m_amass.files.remote.RemoteError
        Its address cannot be reached, here or when positions are read.
    """

    kind = "dataset"

    def __init__(self, path: Path | str | Address, joint_set: str | None = None) -> None:
        self.path = place(path)
        with opened(self.path) as (file, identity):
            self.num_bytes = identity.size
            self.header = read_header(file, self.path)
            self.joint_set = self._chosen(joint_set)
            try:
                group = joint_set_group(file, self.joint_set.name, self.joint_sets)
                self.data_files = data_files.placed(self.path, data_files.read(file))
                if self.data_files:
                    self._frames: FrameReader = SplitFrameReader(
                        self.data_files, self.joint_set.name, self.joint_sets, len(self.skeleton)
                    )
                    self._num_frames = sum(own.record.frames for own in self.data_files)
                else:
                    self._frames = self._own_frames(group["positions_3d"], identity)
                self.index = store_index.read(file, group, self._num_frames, self.header.format_version)
            except DamagedIndexError as error:
                raise StoreError(f"{self.path}: its index is damaged ({error}); build it again") from error
        self._names = list(zip(*(self.index.texts(name) for name in ("dataset", "subject", "sequence")), strict=True))
        tree: dict[str, dict[str, dict[str, int]]] = {}
        for row, (dataset, subject, sequence) in enumerate(self._names):
            tree.setdefault(dataset, {}).setdefault(subject, {})[sequence] = row
        views = {
            dataset: DatasetView(
                self, dataset, {name: SubjectView(self, f"{dataset}/{name}", rows) for name, rows in subjects.items()}
            )
            for dataset, subjects in tree.items()
        }
        super().__init__(self, str(self.path if isinstance(self.path, Address) else path), views)

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        try:
            return self.sequences[key]
        except IndexError as error:
            raise UnknownKeyError(f"{self.path}: has no row {key}; it has {len(self.sequences)}") from error

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets."""
        return tuple(self)

    @property
    def sequences(self) -> Selection:
        """All sequences in index order."""
        return Selection(self, self.index.rows)

    @property
    def num_frames(self) -> int:
        """Frames of all sequences together."""
        return self._num_frames

    @property
    def joint_sets(self) -> tuple[str, ...]:
        """Names of the joint sets."""
        return tuple(own.name for own in self.header.joint_sets)

    def with_joint_set(self, name: str) -> Store:
        """The same store, read for the positions of another of its joint sets."""
        return Store(self.path, name)

    @property
    def skeleton(self) -> Skeleton:
        """What the joints are, in the order of the regressor's rows."""
        return self.joint_set.skeleton

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.skeleton.joint_names

    def skeleton_in(self, order: str) -> Skeleton:
        """What the joints are in one of the orders of `h36m_amass.skeleton.JOINT_ORDERS`.

        Raises
        ------
        h36m_amass.skeleton.SkeletonError
            The order does not fit the store's joints.
        """
        return reorder(self.skeleton, joint_order(order, self.skeleton))

    def select(
        self,
        triples: Iterable[tuple[Pattern, Pattern, Pattern]] | None = None,
        *,
        dataset: Pattern = ".*",
        subject: Pattern = ".*",
        sequence: Pattern = ".*",
    ) -> Selection:
        """The sequences whose names match: see `Selection.select`."""
        return self.sequences.select(triples, dataset=dataset, subject=subject, sequence=sequence)

    def split(self, name: str, part: str) -> Selection:
        """The sequences of one part of a named split that are in the store: see `h36m_amass.splits.SPLITS`.

        Raises
        ------
        h36m_amass.splits.SplitError
            The split or the part is unknown.
        UnknownKeyError
            The store has none of its datasets.
        """
        datasets = set(datasets_of(name, part, self.datasets))
        if not datasets:
            raise UnknownKeyError(f"{self.path}: has no dataset of {part!r} of {name!r}; it has {_some(self)}")
        rows = [row for row, names in enumerate(self._names) if names[0] in datasets]
        return Selection(self, np.array(rows, dtype=np.int64))

    def names(self, row: int) -> tuple[str, str, str]:
        """Dataset, subject and sequence of a row of the index."""
        return self._names[row]

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "frames joints 3"]:
        """Rows ``start .. stop`` of all positions, in metres.

        Raises
        ------
        StoreError
            The file is damaged or has been replaced.
        """
        frames = np.empty((stop - start, len(self.skeleton), 3), np.float32)
        self.read_into(start, frames)
        return frames

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        """Fill the contiguous array `frames` with the rows from `start` on; raises as `read` does."""
        if start < 0 or start + len(frames) > self._num_frames:
            raise StoreError(f"{self.path}: has no rows {start} to {start + len(frames)}")
        self._frames.read_into(start, frames)

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        """Fill ``frames[begin:end]`` of each run with the rows from its start on; raises as `read` does.

        `frames` is contiguous. It is fastest when the starts ascend.
        """
        if len(starts) and (starts.min() < 0 or (starts + ends - begins).max() > self._num_frames):
            raise StoreError(f"{self.path}: has only {self._num_frames} rows")
        self._frames.read_runs(starts, frames, begins, ends)

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        """Rows ``start .. stop`` of each run, one run after the other; raises as `read` does."""
        if len(starts) and (starts.min() < 0 or stops.max() > self._num_frames):
            raise StoreError(f"{self.path}: has only {self._num_frames} rows")
        return self._frames.read_each(starts, stops)

    def _own_frames(self, positions: object, identity: FileIdentity) -> FrameReader:
        """A reader of positions that are in the store's own file."""
        shape, dtype = (positions.shape, positions.dtype) if isinstance(positions, h5py.Dataset) else ((), None)
        if dtype is None or shape[1:] != (len(self.skeleton), 3):
            raise StoreError(f"{self.path}: is damaged (positions_3d has shape {shape}); build it again")
        if dtype.kind != "f":
            raise StoreError(f"{self.path}: is damaged (positions_3d holds no numbers); build it again")
        frames = readable(positions)
        self._num_frames = len(frames)
        return frame_reader(frames, self.path.absolute(), identity)

    def _chosen(self, name: str | None) -> JointSet:
        for own in self.header.joint_sets:
            if name in (None, own.name):
                return own
        raise UnknownKeyError(f"{self.path}: has no joint set {name!r}; it has {', '.join(self.joint_sets)}")

    def close(self) -> None:
        """Close the file; it opens again when positions are read."""
        self._frames.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Wanted:
    """Patterns for the three names of a sequence."""

    def __init__(self, dataset: Pattern, subject: Pattern, sequence: Pattern) -> None:
        try:
            self._patterns = tuple(re.compile(pattern) for pattern in (dataset, subject, sequence))
        except re.error as error:
            raise StoreError(f"{error.pattern!r} is no regular expression: {error}") from error

    def matches(self, names: tuple[str, str, str]) -> bool:
        return all(pattern.fullmatch(name) for pattern, name in zip(self._patterns, names, strict=True))

    def __str__(self) -> str:
        kinds = ("dataset", "subject", "sequence")
        return ", ".join(f"{kind} {p.pattern!r}" for kind, p in zip(kinds, self._patterns, strict=True))


def count(things: Sized, kind: str) -> str:
    """How many there are, with the word in the singular or plural."""
    return f"{len(things):,} {kind}{'' if len(things) == 1 else 's'}"


def _some(names: Iterable[str], limit: int = 5) -> str:
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more

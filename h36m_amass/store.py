"""Reading a store: by dataset, subject and sequence."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import h5py
import numpy as np
from jaxtyping import Float32

from h36m_amass.skeleton import Skeleton
from h36m_amass.store_format import FORMAT, FORMAT_VERSION, INDEX_COLUMNS, SequenceRecord, StoreHeader

_V = TypeVar("_V")


class StoreError(ValueError):
    """A store cannot be opened or does not hold what was asked for."""


class UnknownKeyError(StoreError, KeyError):
    """A store has no dataset, subject or sequence of that name."""

    __str__ = ValueError.__str__


class Sequence:
    """One sequence of a store.

    Attributes
    ----------
    record
        Its row of the index.
    start
        Its first row in the store's positions.
    """

    def __init__(self, store: Store, record: SequenceRecord, start: int) -> None:
        self._store = store
        self.record = record
        self.start = start

    @property
    def key(self) -> str:
        """``DATASET/SUBJECT/SEQUENCE``."""
        return self.record.key

    @property
    def frame_rate(self) -> float:
        """In hertz."""
        return self.record.frame_rate

    @property
    def gender(self) -> str:
        return self.record.gender

    @property
    def duration(self) -> float:
        """In seconds."""
        return len(self) / self.frame_rate

    @property
    def positions_3d(self) -> Positions:
        """Joint positions in metres, read when sliced: ``sequence.positions_3d[10:20]``."""
        return Positions(self._store, self.start, len(self))

    def __len__(self) -> int:
        return self.record.length

    def __repr__(self) -> str:
        return f"<Sequence {self.key}: {len(self)} frames at {self.frame_rate:g} Hz>"


class Positions:
    """Rows of a store that are read when they are indexed, as from an `h5py.Dataset` or an array."""

    def __init__(self, store: Store, start: int, length: int) -> None:
        self._store = store
        self._start = start
        self.shape = (length, len(store.header.skeleton), 3)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        frames, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if frames is Ellipsis or index == ():
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


class _Level(Mapping[str, _V]):
    """Named things of one level of a store; a key with slashes goes through the levels below."""

    def __init__(self, kind: str, name: str, items: Mapping[str, _V]) -> None:
        self._kind = kind
        self.name = name
        self._items = items

    def __getitem__(self, key: str) -> Any:
        head, _, rest = key.partition("/") if isinstance(key, str) else (key, "", "")
        if head not in self._items:
            raise UnknownKeyError(f"{self.name} has no {self._kind} {head!r}; it has {_some(self._items)}")
        item = self._items[head]
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

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.name}: {_count(self, self._kind)}>"


class SubjectView(_Level[Sequence]):
    """The sequences of one subject, by name."""


class DatasetView(_Level[SubjectView]):
    """The subjects of one dataset, by name."""


class Store(_Level[DatasetView]):
    """A store, opened for reading.

    ``store["CMU"]["01"]["01_01_poses"]`` and ``store["CMU/01/01_01_poses"]`` are the same sequence. The file is
    opened when the first positions are read, once a process, so that a store can be pickled, forked and spawned.

    Parameters
    ----------
    path
        A file that ``h36m-amass build`` wrote.

    Attributes
    ----------
    path, header
        Where it is and what it says of itself.
    sequences
        All sequences in index order.

    Raises
    ------
    StoreError
        The file is missing, no store, or of a format version that this library does not know.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        with _open(self.path) as file:
            self.header = _read_header(file, self.path)
            rows = _read_index(file, self.path)
        self.sequences = tuple(Sequence(self, record, start) for record, start in rows)
        tree: dict[str, dict[str, dict[str, Sequence]]] = {}
        for sequence in self.sequences:
            record = sequence.record
            tree.setdefault(record.dataset, {}).setdefault(record.subject, {})[record.sequence] = sequence
        datasets = {
            dataset: DatasetView(
                "subject",
                dataset,
                {name: SubjectView("sequence", f"{dataset}/{name}", items) for name, items in subjects.items()},
            )
            for dataset, subjects in tree.items()
        }
        super().__init__("dataset", str(path), datasets)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets."""
        return tuple(self)

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.header.skeleton.joint_names

    @property
    def num_frames(self) -> int:
        """Frames of all sequences together."""
        return sum(len(sequence) for sequence in self.sequences)

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "frames joints 3"]:
        """Rows ``start .. stop`` of all positions, in metres."""
        if self._file is None or self._process != os.getpid():
            self._file, self._process = _open(self.path), os.getpid()
        try:
            positions: np.ndarray = self._file["positions_3d"][start:stop]
        except (OSError, KeyError) as error:
            raise StoreError(f"{self.path}: is damaged ({error}); build it again") from error
        return positions

    def describe(self, key: str | None = None) -> list[str]:
        """Lines that tell a person what is in the store, or at `key`.

        Raises
        ------
        UnknownKeyError
            Nothing is at `key`.
        """
        if key is not None:
            return _describe(self[key.strip("/")])
        header, rate = self.header, self.header.frame_rate
        lines = [
            f"{self.path}: {_count(self, 'dataset')}, {_count(self.sequences, 'sequence')}, {self.num_frames:,} frames",
            "SYNTHETIC: made-up input went into it; it is not data to train on" if header.synthetic else "",
            f"frame rate    {'native' if np.isnan(rate) else f'{rate:g} Hz'}",
            f"joints        {len(header.skeleton)}: {', '.join(self.joint_names)}",
            f"written by    h36m-amass {header.software_version}, format version {FORMAT_VERSION}",
            f"options       {json.dumps(dict(header.options))}",
            f"regressor     sha256 {header.regressor_sha256}",
            *(f"{gender:<13} sha256 {digest}" for gender, digest in header.body_model_sha256.items()),
        ]
        return [line for line in lines if line] + [_summary(view) for view in self.values()]

    def close(self) -> None:
        """Close the file; it opens again when positions are read."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": 0}


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise StoreError(f"{path}: there is no such store; make one with h36m-amass build")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened as a store ({error}); build it again if it was cut short or damaged"
        ) from error


def _read_header(file: h5py.File, path: Path) -> StoreHeader:
    format_name = file.attrs.get("format")
    if not isinstance(format_name, str) or format_name != FORMAT:
        raise StoreError(f"{path}: is an HDF5 file, but no h36m-amass store")
    version = file.attrs.get("format_version")
    if not isinstance(version, np.integer) or version < 1:
        raise StoreError(f"{path}: is damaged (its format version is {version}); build it again")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{path}: is of format version {version}, and this h36m-amass reads up to {FORMAT_VERSION}; upgrade it"
        )
    try:
        group = file["skeleton"]
        skeleton = Skeleton(
            tuple(group["joint_names"].asstr()[:].tolist()),
            *(tuple(group[name][:].tolist()) for name in ("parents", "left", "right")),
        )
        return StoreHeader(
            software_version=str(file.attrs["software_version"]),
            frame_rate=float(file.attrs["frame_rate"]),
            regressor_sha256=str(file.attrs["regressor_sha256"]),
            body_model_sha256=json.loads(file.attrs["body_model_sha256"]),
            options=json.loads(file.attrs["options"]),
            synthetic=bool(file.attrs["synthetic"]),
            skeleton=skeleton,
        )
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: is damaged ({error}); build it again") from error


def _read_index(file: h5py.File, path: Path) -> list[tuple[SequenceRecord, int]]:
    try:
        index = file["index"]
        columns = {
            name: [value.decode("utf-8") for value in index[name][:].tolist()]
            if kind is str
            else index[name][:].tolist()
            for name, kind in INDEX_COLUMNS.items()
        }
    except (KeyError, OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: its index is damaged ({error}); build it again") from error
    starts = columns.pop("start")
    names = tuple(columns)
    rows = zip(*columns.values(), strict=True)
    return [
        (SequenceRecord(**dict(zip(names, row, strict=True))), start) for row, start in zip(rows, starts, strict=True)
    ]


def _sequences(item: DatasetView | SubjectView | Sequence) -> list[Sequence]:
    """All sequences at or below `item`."""
    if isinstance(item, Sequence):
        return [item]
    return [sequence for below in item.values() for sequence in _sequences(below)]


def _summary(item: DatasetView | SubjectView | Sequence) -> str:
    sequences = _sequences(item)
    frames, seconds = sum(map(len, sequences)), sum(s.duration for s in sequences)
    name = item.key if isinstance(item, Sequence) else item.name
    return f"{name}: {_count(sequences, 'sequence')}, {frames:,} frames, {_duration(seconds)}"


def _describe(item: DatasetView | SubjectView | Sequence) -> list[str]:
    if not isinstance(item, Sequence):
        return [_summary(item), *(f"  {_summary(below)}" for below in item.values())]
    record = item.record
    return [
        f"{item.key}: {len(item):,} frames at {item.frame_rate:g} Hz, {item.duration:.2f} s",
        f"rows          {item.start} to {item.start + len(item)}",
        f"gender        {item.gender}",
        f"soft tissue   {'yes' if record.has_dmpls else 'no'}",
        f"source        {record.source_path}, {record.source_size:,} bytes",
        f"source frames {record.source_frames:,} at {record.source_frame_rate:g} Hz",
        f"checksum      {record.checksum:08x}",
    ]


def _count(things: Sized, kind: str) -> str:
    return f"{len(things):,} {kind}{'' if len(things) == 1 else 's'}"


def _duration(seconds: float) -> str:
    """In the unit a person would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _some(names: Mapping[str, object], limit: int = 5) -> str:
    listed = list(names)[:limit]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(listed) + more

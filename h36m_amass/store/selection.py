"""Sequences of a store, one by one and as a selection."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.datasets import find, same
from h36m_amass.store.errors import StoreError, UnknownKeyError
from h36m_amass.store.format import SequenceRecord
from h36m_amass.store.index import Index
from h36m_amass.wording import counted

if TYPE_CHECKING:
    from h36m_amass.store.store import Store

Pattern = str | re.Pattern[str]
"""A regular expression that a name must match from its first to its last character."""


class StoredSequence:
    """One sequence of a store; `row` is its row in the store's index."""

    def __init__(self, store: Store, row: int) -> None:
        self.store, self.row = store, row

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
        return "/".join(self.store.names(self.row))

    @property
    def dataset(self) -> str:
        return self.store.names(self.row)[0]

    @property
    def subject(self) -> str:
        return self.store.names(self.row)[1]

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.store.joint_names

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

    def detections_2d(self, camera: str) -> Float32[np.ndarray, "frames joints 2"]:
        """What a detector found in the images of one of `Store.cameras`, in pixels."""
        return self.store.read_detections(camera, self.start, self.start + len(self))

    def __len__(self) -> int:
        return int(self.store.index.lengths[self.row])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredSequence) and other.store is self.store and other.row == self.row

    def __hash__(self) -> int:
        return hash((id(self.store), self.row))

    def __repr__(self) -> str:
        return f"<StoredSequence {self.key}: {len(self):,} frames at {self.frame_rate:g} Hz>"


class Positions:
    """Rows of a store that are read when they are indexed, as from an `h5py.Dataset` or an array."""

    def __init__(self, store: Store, start: int, length: int) -> None:
        self._store, self._start = store, start
        self.shape = (length, len(store.skeleton), 3)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        frames, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if isinstance(frames, slice):
            chosen = range(len(self))[frames]
            low, high = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1) if len(chosen) else (0, 0)
            return self._read(low, high)[(slice(None, None, chosen.step), *rest)]
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


class Selection(Collection[StoredSequence]):
    """Sequences at `rows` of a store's index, by number; slices, lists of numbers and masks give a selection again."""

    def __init__(self, store: Store, rows: Int[np.ndarray, "sequences"]) -> None:
        self.store, self.rows = store, rows

    @property
    def index(self) -> Index:
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

        Each sequence must match the patterns for `dataset`, `subject` and `sequence`, and any of the `triples` of such
        patterns. A known dataset is found by each of its names. Raises `UnknownKeyError` if the keywords match
        nothing, or one of the triples does not.
        """
        rows = self._matching(self.rows.tolist(), dataset, subject, sequence)
        if triples is not None:
            taken: set[int] = set()
            for triple in triples:
                if isinstance(triple, str) or len(triple) != 3:
                    raise StoreError(f"{triple!r} is not a triple of patterns for dataset, subject and sequence")
                taken.update(self._matching(rows, *triple))
            rows = [row for row in rows if row in taken]
        return Selection(self.store, np.array(rows, dtype=np.int64))

    def _matching(self, rows: list[int], *names: Pattern) -> list[int]:
        """Those of the rows whose dataset, subject and sequence match; at least one."""
        try:
            patterns = [re.compile(name) for name in names]
        except re.error as error:
            raise StoreError(f"{error.pattern!r} is not a regular expression: {error}") from error
        text = patterns[0].pattern
        # A pattern is not tried on other names than the stored one: then one could not exclude a dataset.
        known = None if find(text) is None else same(text)

        def fits(row: int) -> bool:
            stored = self.store.names(row)
            dataset, *others = (pattern.fullmatch(name) for pattern, name in zip(patterns, stored, strict=True))
            return all(others) and (dataset is not None or known == same(stored[0]))

        matching = [row for row in rows if fits(row)]
        if not matching:
            shown = zip(("dataset", "subject", "sequence"), patterns, strict=True)
            listed = ", ".join(f"{kind} {pattern.pattern!r}" for kind, pattern in shown)
            raise UnknownKeyError(f"nothing matches {listed}", self.store.shown_path)
        return matching

    @overload
    def __getitem__(self, index: int) -> StoredSequence: ...

    @overload
    def __getitem__(self, index: slice | Iterable[int] | Iterable[bool]) -> Selection: ...

    def __getitem__(self, index: int | slice | Iterable[int] | Iterable[bool]) -> StoredSequence | Selection:
        if isinstance(index, slice):
            return Selection(self.store, self.rows[index])
        if isinstance(index, Iterable):
            chosen = np.asarray(list(index))
            return Selection(self.store, self.rows[chosen if len(chosen) else slice(0, 0)])
        return StoredSequence(self.store, int(self.rows[index]))

    def __add__(self, other: Selection) -> Selection:
        """The sequences of both, each once, in index order; `StoreError` if they are of two stores."""
        if self.store is not other.store:
            raise StoreError("selections of two stores cannot be added; open both with Stores", self.store.shown_path)
        return Selection(self.store, np.union1d(self.rows, other.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[StoredSequence]:
        return (StoredSequence(self.store, row) for row in self.rows.tolist())

    def __contains__(self, item: object) -> bool:
        return isinstance(item, StoredSequence) and item.store is self.store and item.row in self.rows

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'sequences')} of {self.store.shown_path}>"

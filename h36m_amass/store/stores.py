"""Several stores, read as one: AMASS and Human3.6M in one dataset of windows, say."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from h36m_amass.store.errors import StoreError
from h36m_amass.store.index import joined
from h36m_amass.store.rows import Frames, Runs
from h36m_amass.store.store import Store

if TYPE_CHECKING:
    from upath import UPath


class Stores(Store):
    """Several stores as one: its sequences are those of the first, of the second, and so on.

    ``WindowDataset(Stores(["amass_h36m.h5", "h36m.h5"]), 81)`` has windows of both. Rows of the index and of the
    positions count on from one store to the next. Whatever reads a `Store` reads this, too, and it may be pickled,
    forked and spawned alike; it has no `path`. Where a store lacks the detections that another one has, they are NaN.

    `stores` are files, URLs or stores. Positions of `joint_set` are read, by default of the first set of each. Raises
    `StoreError` if the joints or the frame rates of two stores differ, or both have the same sequence.
    """

    def __init__(self, stores: Iterable[Store | Path | str | UPath], joint_set: str | None = None) -> None:
        opened = [store if isinstance(store, Store) else Store(store) for store in stores]
        if joint_set is not None:
            opened = [store.with_joint_set(joint_set) for store in opened]
        self.stores: tuple[Store, ...] = tuple(one for store in opened for one in getattr(store, "stores", (store,)))
        if not self.stores:
            raise StoreError("no stores are given to read as one; give at least one")
        self.shown_path = " + ".join(store.shown_path for store in self.stores)
        first = self.stores[0]
        for other in self.stores[1:]:
            _check_alike(first, other)
        self.joint_set, self.num_bytes = first.joint_set, sum(store.num_bytes for store in self.stores)
        self.header = replace(
            first.header,
            frame_rate=first.frame_rate if len({store.frame_rate for store in self.stores}) == 1 else math.nan,
            synthetic=any(store.header.synthetic for store in self.stores),
            joint_sets=(first.joint_set,),
        )
        counts = [store.num_frames for store in self.stores]
        self._ends = np.cumsum(counts)
        self._offsets, self._num_frames = self._ends - counts, sum(counts)
        self._first_rows = self._offsets.tolist()
        self.index = joined([store.index for store in self.stores], self._offsets)
        self._arrange()
        if len(set(self._names)) < len(self._names):
            twice = next(names for row, names in enumerate(self._names) if names in self._names[:row])
            raise StoreError(f"two of these stores have {'/'.join(twice)}; give each sequence once", self.shown_path)

    def __reduce__(self) -> tuple[type[Stores], tuple[tuple[Store, ...]]]:
        return Stores, (self.stores,)

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that any of the stores has detections of."""
        return tuple(dict.fromkeys(camera for store in self.stores for camera in store.cameras))

    def with_joint_set(self, name: str) -> Stores:
        """The same stores, with the positions of another joint set."""
        return Stores(self.stores, name)

    def read_into(self, start: int, frames: Frames) -> None:
        """Fill the contiguous array `frames` with the rows from `start` on, all in one store; raises as `read` does."""
        if not 0 <= start < self._num_frames:
            raise StoreError(f"has no rows {start} to {start + len(frames)}", self.shown_path)
        number = bisect_right(self._first_rows, start) - 1
        self.stores[number].read_into(start - self._first_rows[number], frames)

    def read_runs(self, starts: Runs, frames: Frames, begins: Runs, ends: Runs) -> None:
        self._each(lambda store, *runs: store.read_runs(runs[0], frames, *runs[1:]), starts, begins, ends)

    def read_detection_runs(self, camera: str, starts: Runs, frames: Frames, begins: Runs, ends: Runs) -> None:
        def read(store: Store, starts: Runs, begins: Runs, ends: Runs) -> None:
            if camera in store.cameras:
                store.read_detection_runs(camera, starts, frames, begins, ends)
                return
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                frames[begin:end] = np.nan

        self._each(read, starts, begins, ends)

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def _each(self, read: Callable[..., None], starts: Runs, begins: Runs, ends: Runs) -> None:
        """Let each store read the runs that begin in it."""
        if len(starts) and (starts.min() < 0 or starts.max() >= self._num_frames):
            raise StoreError(f"has only {self._num_frames} rows", self.shown_path)
        if (starts[1:] < starts[:-1]).any():
            order = np.argsort(starts, kind="stable")
            starts, begins, ends = starts[order], begins[order], ends[order]
        cuts = np.searchsorted(starts, self._ends)
        for store, offset, low, high in zip(self.stores, self._offsets, (0, *cuts[:-1]), cuts, strict=True):
            if low < high:
                read(store, starts[low:high] - offset, begins[low:high], ends[low:high])


def _check_alike(first: Store, other: Store) -> None:
    """Raise `StoreError` unless two stores can be read as one."""
    if first.joint_names != other.joint_names:
        reason = f"has other joints, or in another order, than {first.shown_path}"
        raise StoreError(
            f"{reason}; choose joint_set, or build one of them with the other's regressor", other.shown_path
        )
    rates = {rate for rate in (first.frame_rate, other.frame_rate) if not math.isnan(rate)}
    if len(rates) > 1:
        reason = f"is at {other.frame_rate:g} Hz, and {first.shown_path} at {first.frame_rate:g} Hz"
        raise StoreError(f"{reason}; build one of them at the other's frame rate", other.shown_path)

"""Several stores, read as one: AMASS and Human3.6M in one dataset of windows, say."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from h36m_amass.body.joint_sets import MOTION_CAPTURE
from h36m_amass.files.paths import Location
from h36m_amass.store.errors import StoreError
from h36m_amass.store.index import joined
from h36m_amass.store.rows import FrameReader, Frames, Runs
from h36m_amass.store.store import Store


class Stores(Store):
    """Several stores as one: its sequences are those of the first, of the second, and so on.

    ``WindowDataset(Stores(["amass_h36m.h5", "h36m.h5"]), 81)`` has windows of both. Rows of the index and of the
    positions count on from one store to the next. Choosing, splits, reading, windows and exports work as with a
    `Store`, and so do pickling, forking and spawning; what is of one file, such as `path` and `h36m_amass.verify`, does
    not. Where a store lacks the detections that another one has, they are NaN.

    `stores` are files, URLs or stores. Positions of `joint_set` are read, by default of the first set of each. Stores
    of native rates, whose `frame_rate` is NaN, go with any others, and then that of all is NaN. Raises `StoreError` if
    joints differ, or known frame rates; or if a sequence comes twice.
    """

    def __init__(self, stores: Iterable[Store | Path | str | Location], joint_set: str | None = None) -> None:
        if isinstance(stores, str | bytes | os.PathLike | Store):
            raise StoreError(f"Stores takes a list, not one {type(stores).__name__}; write Stores([...])")
        opened = [store if isinstance(store, Store) else Store(store) for store in stores]
        if joint_set is not None:
            opened = [store.with_joint_set(joint_set) for store in opened]
        self.stores: tuple[Store, ...] = tuple(one for store in opened for one in getattr(store, "stores", (store,)))
        if not self.stores:
            raise StoreError("no stores are given to read as one; give at least one")
        self.shown_path = " + ".join(store.shown_path for store in self.stores)
        first = self.stores[0]
        _check_alike(self.stores)
        self.joint_set, self.num_bytes = first.joint_set, sum(store.num_bytes for store in self.stores)
        self.header = replace(
            first.header,
            frame_rate=first.frame_rate if len({store.frame_rate for store in self.stores}) == 1 else math.nan,
            synthetic=any(store.header.synthetic for store in self.stores),
            joint_sets=(first.joint_set,),
        )
        ends = np.cumsum([store.num_frames for store in self.stores])
        self._num_frames = int(ends[-1])
        self._frames = _Readers([store._frames for store in self.stores], ends)
        cameras = dict.fromkeys(camera for store in self.stores for camera in store.cameras)
        self._detections = {
            camera: _Readers([store._detections.get(camera, _Nothing()) for store in self.stores], ends)
            for camera in cameras
        }
        self.index = joined([store.index for store in self.stores], np.append(0, ends[:-1]))
        self._arrange()
        if len(set(self._names)) < len(self._names):
            twice = next(names for row, names in enumerate(self._names) if names in self._names[:row])
            raise StoreError(f"two of these stores have {'/'.join(twice)}; give each sequence once", self.shown_path)

    @property
    def path(self) -> Location:  # type: ignore[override] # a store has one
        """Raises `StoreError`: each of `stores` has its own."""
        raise StoreError("has no path of its own; take those of its stores", self.shown_path)

    def with_joint_set(self, name: str) -> Stores:
        """The same stores, with the positions of another joint set."""
        return Stores(self.stores, name)


class _Readers(FrameReader):
    """Rows of several stores, one after another."""

    def __init__(self, readers: Sequence[FrameReader], ends: Runs) -> None:
        self._readers, self._ends, self._first_rows = readers, ends, [0, *ends[:-1].tolist()]

    def read_into(self, start: int, frames: Frames) -> None:
        while len(frames):
            number = bisect_right(self._first_rows, start) - 1
            count = min(len(frames), int(self._ends[number]) - start)
            self._readers[number].read_into(start - self._first_rows[number], frames[:count])
            start, frames = start + count, frames[count:]

    def read_runs(self, starts: Runs, frames: Frames, begins: Runs, ends: Runs) -> None:
        if not len(starts):
            return
        if (starts[1:] < starts[:-1]).any():
            order = np.argsort(starts, kind="stable")
            starts, begins, ends = starts[order], begins[order], ends[order]
        stops, cuts = starts + ends - begins, starts.searchsorted(self._ends).tolist()
        for number, (low, high) in enumerate(pairwise([0, *cuts])):
            part = slice(low, high)
            if low == high:
                continue
            if stops[part].max() > self._ends[number]:  # a run goes on in the next store
                super().read_runs(starts[part], frames, begins[part], ends[part])
            else:
                first_row = self._first_rows[number]
                self._readers[number].read_runs(starts[part] - first_row, frames, begins[part], ends[part])

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


class _Nothing(FrameReader):
    """Rows that a store does not have."""

    def __init__(self) -> None: ...

    def read_into(self, start: int, frames: Frames) -> None:
        frames[:] = np.nan


def _check_alike(stores: Sequence[Store]) -> None:
    """Raise `StoreError` unless stores can be read as one."""
    first = stores[0]
    for other in stores:
        if other.joint_names != first.joint_names:
            reason = f"has other joints, or in another order, than {first.shown_path}"
            raise StoreError(f"{reason}; choose joint_set, or build it with the other's regressor", other.shown_path)
    known = [store for store in stores if not math.isnan(store.frame_rate)]
    # Imported stores first: they have one rate, and the others can be built again.
    known.sort(key=lambda store: store.joint_set.regressor_sha256 != MOTION_CAPTURE)
    for other in known:
        if other.frame_rate != known[0].frame_rate:
            rate = f"{known[0].frame_rate:g}"
            reason = f"is at {other.frame_rate:g} Hz, and {known[0].shown_path} at {rate} Hz"
            raise StoreError(f"{reason}; build it again with --frame-rate {rate}", other.shown_path)

"""Rows of positions that are compressed, or that another program has laid out, read through HDF5."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from threading import Lock
from typing import Any
from weakref import WeakSet

import h5py
import numpy as np
from jaxtyping import Float32, Int

from h36m_amass.files.paths import FileVersion, Location, UrlError, is_url, shown
from h36m_amass.store.errors import StoreError
from h36m_amass.store.raw_rows import OpenFile
from h36m_amass.store.rows import read_in_turn
from h36m_amass.store.url_file import StoreUrlFile, check_same

CACHED_BYTES, CACHE_SLOTS = 2**25, 10007
"""Of decoded chunks, a process; HDF5 wants a prime number of slots, well above that of the chunks."""


class Hdf5FrameReader:
    """Reads rows through HDF5, which decodes compressed chunks and keeps `CACHED_BYTES` of them a process.

    Parameters
    ----------
    path, version
        The store.
    name
        Of the dataset.
    """

    def __init__(self, path: Location, version: FileVersion, name: str) -> None:
        self._path, self._version, self._name = path, version, name
        self._positions: h5py.Dataset | None = None
        self._process = 0
        self._opening = Lock()

    def read_into(self, start: int, frames: Float32[np.ndarray, "frames joints 3"]) -> None:
        try:
            positions = self._open().id
            rows, memory = positions.get_space(), h5py.h5s.create_simple(frames.shape)
            rows.select_hyperslab((start, 0, 0), frames.shape)
            positions.read(memory, rows, frames)
        except (StoreError, UrlError):
            raise
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise StoreError(f"is damaged ({error}); build it again", shown(self._path)) from error

    def read_runs(
        self,
        starts: Int[np.ndarray, "runs"],
        frames: Float32[np.ndarray, "frames joints 3"],
        begins: Int[np.ndarray, "runs"],
        ends: Int[np.ndarray, "runs"],
    ) -> None:
        for start, begin, end in zip(starts.tolist(), begins.tolist(), ends.tolist(), strict=True):
            self.read_into(start, frames[begin:end])

    def read_each(
        self, starts: Int[np.ndarray, "runs"], stops: Int[np.ndarray, "runs"]
    ) -> Iterator[Float32[np.ndarray, "frames joints 3"]]:
        return read_in_turn(self, self._open().shape[1:], starts, stops)

    def close(self) -> None:
        self._positions = None  # h5py closes the file when nobody reads from it any more

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("_path", "_version", "_name")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _positions=None, _process=0, _opening=Lock())

    def _open(self) -> h5py.Dataset:
        """The dataset, which is opened once a process: HDF5's handles do not survive a fork."""
        positions = self._positions
        if positions is None or self._process != os.getpid():
            with self._opening:
                positions = self._positions
                if positions is None or self._process != os.getpid():
                    self._positions = positions = self._open_file()[self._name]
                    self._process = os.getpid()
        return positions

    def _open_file(self) -> h5py.File:
        """The file, once it is clear that it is still the same."""
        cache = {"rdcc_nbytes": CACHED_BYTES, "rdcc_nslots": CACHE_SLOTS}
        if is_url(self._path):
            check_same(self._path, self._version)
            _readers_of_urls.add(self)
            return h5py.File(StoreUrlFile(self._path, self._version), "r", **cache)
        OpenFile(self._path, self._version)
        try:
            return h5py.File(self._path, "r", locking=False, **cache)
        except OSError as error:
            if "locking flag" not in str(error):
                raise
            return h5py.File(self._path, "r", **cache)  # as somebody in this process has opened it


_readers_of_urls: WeakSet[Hdf5FrameReader] = WeakSet()


@atexit.register
def _close_urls() -> None:
    """Close files at URLs while there still is a Python for HDF5 to call."""
    for reader in list(_readers_of_urls):
        reader.close()

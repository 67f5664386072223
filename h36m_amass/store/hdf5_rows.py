"""Rows of positions that are compressed, or that another program has laid out, read through HDF5."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import Lock
from typing import Any

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
                    file = h5py.File(
                        self._checked(), "r", rdcc_nbytes=CACHED_BYTES, rdcc_nslots=CACHE_SLOTS, locking=False
                    )
                    self._positions = positions = file[self._name]
                    self._process = os.getpid()
        return positions

    def _checked(self) -> Location | StoreUrlFile:
        """What h5py opens, once it is clear that it is still the same file."""
        if is_url(self._path):
            check_same(self._path, self._version)
            return StoreUrlFile(self._path, self._version)
        OpenFile(self._path, self._version)
        return self._path

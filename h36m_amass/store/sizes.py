"""How many bytes of a store's files its sequences take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int

from h36m_amass.files.remote import Address
from h36m_amass.store.header import joint_set_group, opened, readable
from h36m_amass.store.rows import StoreError
from h36m_amass.store.store import Store


def sequence_bytes(store: Store, joint_set: str | None = None) -> Int[np.ndarray, "sequences"]:
    """Bytes on the disk of each sequence's positions, in index order; they sum up to those of all.

    Sequences that share a compressed chunk of the file share its bytes, by the frames that each has in it.

    Parameters
    ----------
    joint_set
        Count the positions of this joint set alone; None counts all of them.

    Raises
    ------
    StoreError
        The file is damaged or has been replaced.
    """
    edges = np.append(0, store.index.starts + store.index.lengths)
    taken = np.zeros(len(store.sequences), np.int64)
    for path, first, end in _files(store):
        # Sequences of other files have no rows among these, and get nothing.
        own_edges = edges.clip(first, end) - first
        with opened(path) as (file, _):
            for name in store.joint_sets if joint_set is None else (joint_set,):
                positions = readable(joint_set_group(file, name, store.joint_sets)["positions_3d"])
                if len(positions) != end - first:
                    raise StoreError(f"{path}: has been replaced since it was opened; open it again")
                taken += np.diff(np.interp(own_edges, *_bytes_before(positions)).round().astype(np.int64))
    return taken


def _files(store: Store) -> Iterator[tuple[Path | Address, int, int]]:
    """The files that positions are in, and which rows, from the first to behind the last."""
    if not store.data_files:
        yield store.path, 0, store.num_frames
    first = 0
    for own in store.data_files:
        yield own.path, first, first + own.record.frames
        first += own.record.frames


def _bytes_before(positions: h5py.Dataset) -> tuple[Int[np.ndarray, "points"], Int[np.ndarray, "points"]]:
    """Some rows, and how many bytes those before them take: between two of the rows, all take the same."""
    total = len(positions)
    if not positions.compression or not hasattr(positions.id, "chunk_iter"):
        exact = total * positions.dtype.itemsize * int(np.prod(positions.shape[1:]))
        # The last chunk is there as a whole, and what is behind the last frame is no sequence's.
        return np.array([0, total]), np.array([0, min(exact, positions.id.get_storage_size())])
    chunks: list[tuple[int, int]] = []
    positions.id.chunk_iter(lambda chunk: chunks.append((chunk.chunk_offset[0], chunk.size)))
    chunks.sort()
    rows = np.append([first for first, _ in chunks], total)
    return rows, np.append(0, np.cumsum([size for _, size in chunks]))

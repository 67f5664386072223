"""Where the rows of uncompressed positions lie in their file.

An extent is a range of rows whose bytes follow one another. A store has few of them, and lists them in ``extents``,
beside the positions: to ask HDF5 for each chunk takes long, and at a URL many requests.
"""

from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Int

NEVER = 2**40  # a row that no store has


class Extents(NamedTuple):
    """The first row of each extent, ascending, and its first byte in the file."""

    first_rows: Int[np.ndarray, "extents"]
    offsets: Int[np.ndarray, "extents"]

    def pieces(
        self, row_bytes: int, starts: Int[np.ndarray, "runs"], begins: Int[np.ndarray, "runs"], ends: np.ndarray
    ) -> Iterator[tuple[Int[np.ndarray, "pieces"], Int[np.ndarray, "pieces"], Int[np.ndarray, "pieces"]]]:
        """Cut runs of rows, from `starts` on and to go to rows ``begins .. ends`` of some memory, at the extents' ends.

        Yields the first byte in the file, and the first and last in the memory: of the pieces that the runs begin
        with, then of what goes on in the next extent, which few runs do.
        """
        next_rows = np.append(self.first_rows[1:], NEVER)
        while len(starts):
            extent = self.first_rows.searchsorted(starts, side="right") - 1
            stops = np.minimum(ends, begins + next_rows[extent] - starts)
            offsets = self.offsets[extent] + (starts - self.first_rows[extent]) * row_bytes
            yield offsets, begins * row_bytes, stops * row_bytes
            more = (stops < ends).nonzero()[0]
            if not len(more):
                return
            starts, begins, ends = (starts + stops - begins)[more], stops[more], ends[more]


def name_for(name: str) -> str:
    """The name of the dataset that lists the extents of the dataset `name` beside it."""
    return "extents" if name == "positions_3d" else f"{name}_extents"


def has(positions: h5py.Dataset) -> bool:
    """Whether a file holds the rows of positions as they are, in chunks of whole rows."""
    chunks, filters = positions.chunks, positions.id.get_create_plist().get_nfilters()
    return (
        positions.dtype == np.dtype("<f4") and not filters and chunks is not None and chunks[1:] == positions.shape[1:]
    )


def read(values: np.ndarray) -> Extents:
    """The extents that a store lists; raises `ValueError` if they are not any."""
    if values.dtype != np.dtype("<i8") or values.ndim != 2 or len(values) != 2:
        raise ValueError(f"its extents are {values.dtype} of shape {values.shape}")
    return Extents(*values)


def of_chunks(positions: h5py.Dataset) -> Extents | None:
    """The extents of positions by their chunks, or `ValueError` if some are missing; None if HDF5 does not tell."""
    # HDF5 before 1.12.3 cannot, and behind a user block it counts bytes from there.
    if not has(positions) or not hasattr(positions.id, "chunk_iter") or positions.file.userblock_size:
        return None
    chunks = positions.chunks
    offsets = np.full(-(-len(positions) // chunks[0]), -1)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        if chunk.chunk_offset[0] < len(positions):
            offsets[chunk.chunk_offset[0] // chunks[0]] = chunk.byte_offset

    positions.id.chunk_iter(note)
    if (offsets < 0).any():
        raise ValueError("some of its frames are missing")
    chunk_bytes = int(np.prod(chunks)) * positions.dtype.itemsize
    begins = np.flatnonzero(np.diff(offsets, prepend=-chunk_bytes) != chunk_bytes)
    return Extents(begins * chunks[0], offsets[begins])


def check(extents: Extents, positions: h5py.Dataset, file_size: int) -> None:
    """Raise `ValueError` unless extents are of these positions, and within a file of that size."""
    first_rows, offsets = extents
    row_bytes = int(np.prod(positions.shape[1:])) * 4
    if len(positions) * row_bytes > file_size:
        raise ValueError(f"{positions.name} claims more than the file holds")
    num_rows = np.diff(first_rows, append=len(positions))
    begins_at_zero = first_rows[:1].tolist() == [0][: len(positions)]
    within = (offsets >= 0) & (offsets <= file_size - num_rows * row_bytes)
    if not begins_at_zero or (num_rows < 1).any() or not within.all():
        raise ValueError("some of its frames are not where it says")

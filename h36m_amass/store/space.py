"""How much room a store will take on its disk."""

from __future__ import annotations

from h36m_amass.store.format import CHUNK_FRAMES

BYTES_A_CHUNK = 128
"""Of HDF5's tree of chunks, rounded up."""
BYTES_A_SEQUENCE = 4096
"""Of a store's index and view of a sequence but its names, rounded up; of a part's record of it, too."""
COPIES_OF_NAMES = 4
"""The index has names once, and the views' groups in heaps that grow by doubling; in a part they may be escaped."""
BYTES_A_JOINT = 256
BYTES_A_FILE = 2**16
BYTES_A_DATA_FILE = 2**12
"""In the index of a split store: its name in a column, and in the positions of each joint set."""


def store_bytes(num_frames: int, num_joints: int, num_sequences: int, name_bytes: int = 0) -> int:
    """What a store, a part, or an npz file of that many frames has at most, if it is not compressed.

    Parameters
    ----------
    name_bytes
        Of the strings of a row of the index, each as long as the longest of its column.
    """
    chunks = -(-num_frames // CHUNK_FRAMES)  # the last is stored whole
    return (
        chunks * (CHUNK_FRAMES * num_joints * 12 + BYTES_A_CHUNK)
        + num_sequences * (BYTES_A_SEQUENCE + COPIES_OF_NAMES * name_bytes)
        + num_joints * BYTES_A_JOINT
        + BYTES_A_FILE
    )


def num_data_files(position_bytes: int, split_size: int, num_sequences: int) -> int:
    """How many data files a split store has at most: two that follow each other hold more than `split_size`."""
    return min(2 * position_bytes // split_size + 1, num_sequences)


def split_store_bytes(num_files: int, num_frames: int, num_joints: int, num_sequences: int, name_bytes: int = 0) -> int:
    """What a store of `num_files` data files and an index has at most; of none, what `store_bytes` says.

    Each data file is a store of some of the sequences, and the index a store of all of them, without positions.
    """
    whole = store_bytes(num_frames, num_joints, num_sequences, name_bytes)
    if not num_files:
        return whole
    each = store_bytes(1, num_joints, 0) + BYTES_A_DATA_FILE
    return whole + store_bytes(0, num_joints, num_sequences, name_bytes) + num_files * each

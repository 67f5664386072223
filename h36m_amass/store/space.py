"""How much room a store will take on its disk."""

from h36m_amass.store.format import CHUNK_FRAMES

BYTES_A_CHUNK = 128  # of HDF5's tree of chunks, rounded up
BYTES_A_SEQUENCE = 4096  # of its index and view but the names, rounded up; of a part's record of it, too
COPIES_OF_NAMES = 4
"""The index has names once, and the views' groups in heaps that grow by doubling; in a part they may be escaped."""
BYTES_A_JOINT = 256
BYTES_A_FILE = 2**16


def store_bytes(num_frames: int, num_joints: int, num_sequences: int, name_bytes: int = 0) -> int:
    """What a store, a part, or an npz file of that many frames has at most, if it is not compressed.

    `name_bytes` are those of the strings of a row of the index, each as long as the longest of its column.
    """
    chunks = -(-num_frames // CHUNK_FRAMES) * (CHUNK_FRAMES * num_joints * 12 + BYTES_A_CHUNK)  # the last one is whole
    sequences = num_sequences * (BYTES_A_SEQUENCE + COPIES_OF_NAMES * name_bytes)
    return chunks + sequences + num_joints * BYTES_A_JOINT + BYTES_A_FILE

"""Stores of a few sequences, written without a build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from h36m_amass.store.format import JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.writer import StoreWriter


def write_store(
    path: Path,
    joint_sets: Sequence[JointSet],
    sequences: Mapping[str, Sequence[np.ndarray]],
    frame_rate: float = 50.0,
    compression: str = "none",
) -> Path:
    """A store of the sequences under these keys, each with its positions in every joint set; returns `path`."""
    writer = StoreWriter(path, joint_sets, compression)
    for key, positions in sequences.items():
        length = len(positions[0])
        rates = length, frame_rate, length, frame_rate, frame_rate
        source = "smplh", "male", True, f"{key}.npz", 7, "0" * 64, 0
        block = tuple(np.asarray(array, np.float32) for array in positions)
        writer.append(SequenceRecord(*key.split("/"), *rates, *source), [block], (0,) * (len(joint_sets) - 1))
    writer.finish(StoreHeader("0", frame_rate, {"male": "m"}, {}, False, tuple(joint_sets)))
    writer.close()
    return path

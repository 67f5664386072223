"""A part gives back what was written into it, whatever the order, and each joint set apart."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.conversion import part as parts
from h36m_amass.conversion.part import Part, PartError, PartWriter, PlacedSequence, checksums_of
from h36m_amass.store.format import SequenceRecord

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def write_part(folder: Path, joint_counts: tuple[int, ...], lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    """A part of sequences of these lengths, written in any order; returns the positions of each joint set."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *lengths]).tolist()
    whole = [rng.normal(size=(starts[-1], count, 3)).astype("<f4") for count in joint_counts]
    placed: dict[int, PlacedSequence] = {}
    with PartWriter(folder / "a.part", joint_counts, starts[-1]) as part:
        for number in rng.permutation(len(lengths)).tolist():
            rows = slice(starts[number], starts[number + 1])
            own = tuple(positions[rows] for positions in whole)
            part.write(starts[number], own)
            checksum, *others = checksums_of(own, None)
            record = SequenceRecord(
                "D", "S", f"{number}", lengths[number], 50.0, 9, 50.0, "male", True, f"{number}.npz", 9, checksum, "D"
            )
            placed[number] = PlacedSequence(record, starts[number], tuple(others))
        part.finish("f", [placed[number] for number in sorted(placed)], []).rename(folder / "a.part")
    return whole


@given(joint_counts=st.lists(st.integers(1, 4), min_size=1, max_size=3), lengths=LENGTHS, block=st.integers(1, 12))
def test_a_part_gives_back_every_joint_set_in_blocks_of_any_length(
    joint_counts: list[int], lengths: list[int], block: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(parts, "BLOCK_ROWS", block):
        whole = write_part(Path(folder), tuple(joint_counts), lengths)
        part = Part(Path(folder) / "a.part", "f")
        assert [placed.record.length for placed in part.sequences] == lengths
        read = [[own.copy() for own in rows] for rows in part.blocks()]
    for number, positions in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([rows[number] for rows in read]), positions)


@pytest.mark.parametrize("joint_set", [0, 1])
def test_a_flipped_byte_of_any_joint_set_is_noticed(tmp_path: Path, joint_set: int) -> None:
    first, second = write_part(tmp_path, (2, 3), [4, 5])
    content = bytearray((tmp_path / "a.part").read_bytes())
    content[first.nbytes * joint_set + (first, second)[joint_set].nbytes // 2] ^= 1
    (tmp_path / "a.part").write_bytes(content)
    with pytest.raises(PartError, match="are damaged"):
        list(Part(tmp_path / "a.part", "f").blocks())

"""The room that a build requires beforehand is never less than it uses."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from h36m_amass import skeleton
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.part import PartWriter, Row
from h36m_amass.store.format import COMPRESSIONS, JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.space import store_bytes
from h36m_amass.store.writer import StoreWriter
from h36m_amass.system import disk
from h36m_amass.system.disk import SpaceError
from tests.scenes import write_dataset

HASH = "f" * 64
BLOCK = 8192


def named(number: int, length: int, letters: str, folders: int) -> SequenceRecord:
    """A sequence in one of so many datasets and subjects, whose names end in `letters`."""
    folder, sequence = f"{number % folders}{letters}", f"{number}{letters}"
    path = f"{folder}/{folder}/{folder}/{sequence}.npz"
    rates = length, 50.0, length, 50.0, 50.0
    return SequenceRecord(folder, folder, sequence, *rates, "smplh", "female", True, path, 2**40, HASH, 2**32 - 1)


def part_row(record: SequenceRecord) -> Row:
    """What a part has to know of a sequence."""
    shared = {name: value for name, value in vars(record).items() if name in Row.__annotations__}
    return Row(path=record.source_path, size=2**40, modified=2**62, body_sha256=HASH, synthetic=True, **shared)


@settings(max_examples=40, deadline=None)
@given(
    num_joints=st.sampled_from([1, 17, 200]),
    lengths=st.lists(st.integers(1, 600), min_size=1, max_size=60),
    letters=st.sampled_from(["", "a" * 40, "a" * 250, "走" * 83]),
    folders=st.integers(1, 60),
    compression=st.sampled_from(COMPRESSIONS),
)
@example(num_joints=1, lengths=[600_000], letters="", folders=1, compression="none")
@example(num_joints=200, lengths=[10], letters="", folders=1, compression="none")
@example(num_joints=1, lengths=[1] * 600, letters="a" * 250, folders=1, compression="none")
@example(num_joints=1, lengths=[1] * 600, letters="走" * 83, folders=600, compression="none")
def test_no_store_and_no_part_is_larger_than_foreseen(
    num_joints: int, lengths: list[int], letters: str, folders: int, compression: str
) -> None:
    records = [named(number, length, letters, folders) for number, length in enumerate(lengths)]
    columns = zip(*(vars(record).values() for record in records), strict=True)
    name_bytes = sum(max(len(value.encode()) for value in c) for c in columns if isinstance(c[0], str))
    foreseen = store_bytes(sum(lengths), num_joints, len(lengths), name_bytes)
    positions = np.random.default_rng(0).normal(size=(sum(lengths), num_joints, 3)).astype("<f4")
    with tempfile.TemporaryDirectory() as folder:
        joint_set = JointSet("one", HASH, skeleton.named(tuple(f"joint_{joint}" for joint in range(num_joints))))
        store, writer = Path(folder) / "s.h5", StoreWriter(Path(folder) / "s.h5", (joint_set,), compression)
        with PartWriter(Path(folder), HASH) as part:
            for record, end in zip(records, np.cumsum(lengths), strict=True):
                starts = range(end - record.length, end, BLOCK)
                blocks = [(positions[start : min(start + BLOCK, end)],) for start in starts]
                part.write(part_row(record), blocks)
                writer.append(record, blocks)
            part.finish()
            assert sum(path.stat().st_size for path in Path(folder).glob("*.part.npz")) <= foreseen
        writer.finish(StoreHeader("0", 50.0, {}, {}, True, (joint_set,)))
        writer.close()
        assert store.stat().st_size <= foreseen


def test_a_build_asks_for_the_room_of_its_names(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def none_left(needed: int, *_: object) -> None:
        asked.append(needed)
        raise SpaceError("none left")

    monkeypatch.setattr(disk, "require", none_left)
    for letters in (1, 201):
        write_dataset(tmp_path / f"{letters}", "D" * letters, 3, frames=10)
        with pytest.raises(SpaceError):
            build(tmp_path / f"{letters}", tmp_path / "s.h5", support_dir=support_dir)
    assert asked[1] - asked[0] > 2 * 3 * 2 * 200  # in the store and in parts: the dataset and the path

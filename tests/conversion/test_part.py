"""A part gives back what was written into it, each joint set by itself, or says that it is damaged."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.conversion import part as parts
from h36m_amass.conversion.part import Part, PartError, PartRow, PartWriter, Positions, Row, whole_rows

RECIPE = "0123456789abcdef" * 4
ROW = Row("D/S/a.npz", 9, 1, 0, 50.0, 9, 120.0, 120.0, "smplh", "male", True, "c" * 64, "b" * 64, False)
RECORDINGS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=5)


def made_up(blocks: list[int], joint_counts: tuple[int, ...], rng: np.random.Generator) -> list[Positions]:
    return [tuple(rng.normal(size=(rows, count, 3)).astype("<f4") for count in joint_counts) for rows in blocks]


def joined(blocks: list[Positions]) -> Positions:
    return tuple(np.concatenate(arrays) for arrays in zip(*blocks, strict=True))


def write_parts(
    folder: Path, recordings: list[list[int]], joint_counts: tuple[int, ...]
) -> tuple[list[Positions], list[PartRow]]:
    """Parts of recordings whose blocks have these lengths; gives all positions and all rows."""
    rng, positions = np.random.default_rng(0), []
    with PartWriter(folder, RECIPE) as writer:
        for number, lengths in enumerate(recordings):
            blocks = made_up(lengths, joint_counts, rng)
            writer.write(replace(ROW, path=f"D/S/{number}.npz", length=sum(lengths)), iter(blocks))
            positions.append(joined(blocks))
        writer.finish()
    return positions, writer.finished


@given(RECORDINGS, st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 500))
def test_parts_give_back_every_joint_set_of_every_recording(
    recordings: list[list[int]], joint_counts: list[int], max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as name, patch.object(parts, "MAX_BYTES", max_bytes):
        folder = Path(name)
        positions, rows = write_parts(folder, recordings, tuple(joint_counts))
        assert sorted(whole_rows(folder, RECIPE), key=lambda row: row.row.path) == rows
        assert [row.row.path for row in rows] == [f"D/S/{number}.npz" for number in range(len(recordings))]
        for expected, row in zip(positions, rows, strict=True):
            with Part(folder / row.file) as opened:
                for array, read in zip(expected, joined(list(opened.blocks(row))), strict=True):
                    np.testing.assert_array_equal(array, read)
        assert {path.name for path in folder.iterdir()} == {row.file for row in rows}


def test_a_recording_that_fails_half_way_leaves_no_row_and_harms_no_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = made_up([3, 2], (2,), rng)

    def failing() -> object:
        yield blocks[0]
        raise ValueError("damaged")

    with PartWriter(tmp_path, RECIPE) as writer:
        writer.write(replace(ROW, path="D/S/a.npz"), iter(blocks))
        with pytest.raises(ValueError, match="damaged"):
            writer.write(replace(ROW, path="D/S/b.npz"), failing())  # type: ignore[arg-type]
        writer.write(replace(ROW, path="D/S/c.npz"), iter(blocks[::-1]))
        writer.finish()
    rows = whole_rows(tmp_path, RECIPE)
    assert [row.row.path for row in rows] == ["D/S/a.npz", "D/S/c.npz"]
    with Part(tmp_path / rows[1].file) as part:
        np.testing.assert_array_equal(joined(list(part.blocks(rows[1])))[0], joined(blocks[::-1])[0])


def test_a_part_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    def write_some() -> None:
        with PartWriter(tmp_path, RECIPE) as writer:
            writer.write(ROW, iter(made_up([3], (2,), np.random.default_rng(0))))
            assert [path.suffix for path in tmp_path.iterdir()] == [parts.UNFINISHED_SUFFIX]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_some()
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_anywhere_costs_the_part(tmp_path: Path) -> None:
    """Or it still says the same: no flip changes a position or a row."""
    _, rows = write_parts(tmp_path, [[2], [1]], (2, 1))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    damaged = 0
    for offset in range(len(content)):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 4]) + content[offset + 1 :])
        whole = whole_rows(tmp_path, RECIPE)
        assert whole in ([], rows), offset
        damaged += not whole
    assert damaged > len(content) // 2


def test_a_part_of_another_recipe_is_neither_used_nor_removed(tmp_path: Path) -> None:
    write_parts(tmp_path, [[2]], (2,))
    other = RECIPE[:16] + "f" * 48  # whose parts have names like these
    assert whole_rows(tmp_path, other) == []
    assert len(whole_rows(tmp_path, RECIPE)) == 1


def test_positions_of_integers_cost_the_part(tmp_path: Path) -> None:
    _, (row,) = write_parts(tmp_path, [[2]], (3,))
    (path,) = tmp_path.iterdir()
    with np.load(path) as npz:
        arrays = {name: array if name == parts.ROWS else array.astype("<i4") for name, array in npz.items()}
    np.savez(path, **arrays)
    with Part(path) as part, pytest.raises(PartError, match=f"^{path}: its positions are int32, not float32$"):
        list(part.blocks(row))
    assert whole_rows(tmp_path, RECIPE) == list(tmp_path.iterdir()) == []


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rows=np.zeros(3))
    (tmp_path / "b.npz").write_bytes(b"spam")
    for name in ("a.npz", "b.npz"):
        with pytest.raises(PartError, match="is not a part of this version"):
            Part(tmp_path / name)

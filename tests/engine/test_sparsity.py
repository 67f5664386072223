"""Blocks of a matrix with exact zeros."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.engine.sparsity import MAX_CLASSES, equal_runs, partition, progressions, runs


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.floats(0, 1))
def test_the_classes_cover_the_support_and_are_few(seed: int, rows: int, columns: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    support = rng.random((rows, columns)) < density
    parts = partition(support, row_key=np.arange(rows))
    assert len(parts.classes) <= MAX_CLASSES
    assert sorted(parts.row_order.tolist()) == list(range(rows))
    ordered, covered = support[parts.row_order], np.zeros_like(support)
    for members, reached in zip(parts.classes, parts.class_rows, strict=True):
        covered[np.ix_(reached, members)] = True
    assert not (ordered & ~covered).any()
    members = np.concatenate([np.zeros(0, int), *parts.classes])
    assert sorted(members.tolist()) == np.flatnonzero(support.any(axis=0)).tolist()


def test_rows_that_a_class_reaches_lie_together() -> None:
    support = np.ones((9, 4), dtype=bool)
    support[[0, 2, 4, 5, 7], 3] = False
    parts = partition(support, row_key=np.arange(9))
    assert [members.tolist() for members in parts.classes] == [[0, 1, 2], [3]]
    assert all(len(runs(np.flatnonzero(reached))) == 1 for reached in parts.class_rows)


@given(st.sets(st.integers(0, 40)))
def test_runs_are_the_consecutive_stretches(numbers: set[int]) -> None:
    stretches = runs(np.array(sorted(numbers), dtype=int))
    assert {n for start, stop in stretches for n in range(start, stop)} == numbers
    assert all(b[0] > a[1] for a, b in pairwise(stretches))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_progressions_go_on_in_even_steps_as_long_as_they_can(pairs: list[tuple[int, int]]) -> None:
    sequences = np.array(pairs).T
    ranges = progressions(*sequences)
    assert [number for start, stop in ranges for number in range(start, stop)] == list(range(len(pairs)))
    for start, stop in ranges:
        steps = np.diff(sequences[:, start:stop])
        assert (steps >= 0).all()
        assert (steps == steps[:, :1]).all()
        if stop < len(pairs):
            following = np.diff(sequences[:, start : stop + 1])
            assert (following < 0).any() or (following != following[:, :1]).any()


@given(st.lists(st.integers(0, 2)))
def test_equal_runs_are_the_stretches_of_one_value(values: list[int]) -> None:
    ranges = equal_runs(np.array(values, dtype=int))
    assert [values[start] for start, stop in ranges for _ in range(start, stop)] == values
    assert all(values[start - 1] != values[start] for start, _ in ranges[1:])

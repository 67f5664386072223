"""Blocks of a matrix with exact zeros."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h36m_amass.engine.sparsity import MAX_CLASSES, partition, runs


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
    found = runs(np.array(sorted(numbers), dtype=int))
    assert {n for start, stop in found for n in range(start, stop)} == numbers
    assert all(b[0] > a[1] for a, b in pairwise(found))

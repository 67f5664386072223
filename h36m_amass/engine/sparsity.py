"""Cut a matrix with blocks of exact zeros into a few dense blocks.

In SMPL+H the correctives of the finger bones move hand vertices only: seen through a joint regressor, most of
their columns are zero in most rows. Columns with the same support form a class, rows that the same classes
reach lie together, and each class becomes one or a few dense blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from jaxtyping import Bool, Int

MAX_CLASSES = 8


@dataclass(frozen=True)
class Partition:
    """Order of the rows, and classes of columns."""

    row_order: Int[np.ndarray, "rows"]  # rows of one class lie together
    classes: tuple[Int[np.ndarray, "columns"], ...]
    """Ascending columns of each, the class that reaches the most rows first, without those that are zero everywhere."""
    class_rows: tuple[Bool[np.ndarray, "rows"], ...]  # which rows, in the new order, each class reaches


def partition(support: Bool[np.ndarray, "rows columns"], row_key: Int[np.ndarray, "rows"]) -> Partition:
    """Classes of columns with equal support, at most `MAX_CLASSES`: beyond that the most alike are joined.

    `support` says where the matrix is not zero. Rows of one and the same set of classes are sorted by `row_key`.
    """
    by_support: dict[bytes, list[int]] = {}
    for column in np.flatnonzero(support.any(axis=0)).tolist():
        by_support.setdefault(support[:, column].tobytes(), []).append(column)
    members = list(by_support.values())
    supports = [support[:, columns[0]] for columns in members]
    while len(supports) > MAX_CLASSES:
        i, j = _cheapest_to_join(supports, [len(columns) for columns in members])
        supports[i] = supports[i] | supports.pop(j)
        members[i] = sorted(members[i] + members.pop(j))
    by_size = sorted(range(len(supports)), key=lambda i: (-int(supports[i].sum()), members[i]))
    reached = [supports[i] for i in by_size]
    row_order = np.lexsort((row_key, *(~rows for rows in reversed(reached))))
    class_rows = tuple(rows[row_order] for rows in reached)
    return Partition(row_order, tuple(np.array(members[i]) for i in by_size), class_rows)


def runs(indices: Int[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Ascending `indices` as half-open ranges of consecutive numbers."""
    cuts = np.flatnonzero(np.diff(indices) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(indices, cuts) if len(run)]


def equal_runs(values: Int[np.ndarray, "n"] | Bool[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Ranges of equal consecutive values."""
    if len(values) == 0:
        return []
    return list(pairwise([0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]))


def progressions(*sequences: Int[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Ranges in which each of the sequences goes on in even steps, of zero or more: so a view with strides sees them.

    Each range is as long as it can be from where the one before it ends.
    """
    steps = np.diff(np.stack(sequences), axis=1).T.tolist()
    ranges, start, num_values = [], 0, len(sequences[0])
    while start < num_values:
        stop = start + 1
        if stop < num_values and min(steps[start]) >= 0:
            while stop < num_values and steps[stop - 1] == steps[start]:
                stop += 1
        ranges.append((start, stop))
        start = stop
    return ranges


def _cheapest_to_join(supports: list[np.ndarray], num_columns: list[int]) -> tuple[int, int]:
    """The two classes whose union multiplies the fewest zeros."""

    def cost(pair: tuple[int, int]) -> int:
        union = int(np.logical_or(*(supports[i] for i in pair)).sum())
        return sum((union - int(supports[i].sum())) * num_columns[i] for i in pair)

    return min(combinations(range(len(supports)), 2), key=cost)

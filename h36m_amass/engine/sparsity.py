"""Cut a matrix with blocks of exact zeros into a few dense blocks.

In SMPL+H the correctives of the finger bones move hand vertices only: seen through a joint regressor, most of
their columns are zero in most rows. Columns with the same support form a class, rows that the same classes
reach lie together, and each class becomes one or a few dense blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int

MAX_CLASSES = 8


@dataclass(frozen=True)
class Partition:
    """Order of the rows, and classes of columns.

    Attributes
    ----------
    row_order
        The rows, so sorted that rows of one class lie together.
    classes
        Columns of each class, ascending, the class that reaches the most rows first. Columns that are zero
        everywhere are in none.
    class_rows
        For each class, which rows (in the new order) it reaches.
    """

    row_order: Int[np.ndarray, "rows"]
    classes: tuple[Int[np.ndarray, "columns"], ...]
    class_rows: tuple[Bool[np.ndarray, "rows"], ...]


def partition(support: Bool[np.ndarray, "rows columns"], row_key: Int[np.ndarray, "rows"]) -> Partition:
    """Classes of columns with equal support, at most `MAX_CLASSES`: beyond that the most alike are joined.

    Parameters
    ----------
    support
        Where the matrix is not zero.
    row_key
        Rows of one and the same set of classes are sorted by this.
    """
    supports: list[np.ndarray] = []
    members: list[list[int]] = []
    for column in np.flatnonzero(support.any(axis=0)).tolist():
        for i, known in enumerate(supports):
            if np.array_equal(known, support[:, column]):
                members[i].append(column)
                break
        else:
            supports.append(support[:, column].copy())
            members.append([column])
    while len(supports) > MAX_CLASSES:
        i, j = _cheapest_to_join(supports, [len(columns) for columns in members])
        supports[i] = supports[i] | supports.pop(j)
        members[i] = sorted(members[i] + members.pop(j))
    by_size = sorted(range(len(supports)), key=lambda i: (-int(supports[i].sum()), members[i]))
    reached = [supports[i] for i in by_size]
    row_order = np.lexsort((row_key, *(~rows for rows in reversed(reached))))
    return Partition(
        row_order=row_order,
        classes=tuple(np.array(members[i]) for i in by_size),
        class_rows=tuple(rows[row_order] for rows in reached),
    )


def runs(indices: Int[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Ascending `indices` as half-open ranges of consecutive numbers."""
    if len(indices) == 0:
        return []
    cuts = np.flatnonzero(np.diff(indices) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(indices, cuts)]


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
    best, best_cost = (0, 1), np.inf
    for i in range(len(supports)):
        for j in range(i + 1, len(supports)):
            union = int((supports[i] | supports[j]).sum())
            separate = int(supports[i].sum()) * num_columns[i] + int(supports[j].sum()) * num_columns[j]
            cost = union * (num_columns[i] + num_columns[j]) - separate
            if cost < best_cost:
                best, best_cost = (i, j), cost
    return best

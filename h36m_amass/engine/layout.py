"""How a folded regressor is laid out for the skinner: which bones and pairs in which rows, in NumPy alone.

Rows are so ordered that each step of a batch works on few ranges of them. Rotations are those of the bones that have
no correctives, then those of one class of bones after the other. Vectors, which are turned by bones, are those of
the pairs, then the ways from a parent to its bone, and last the root's position, which nothing turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from h36m_amass.body.folding import FoldedRegressor
from h36m_amass.engine.sparsity import Partition, equal_runs, partition, progressions, runs


@dataclass(frozen=True)
class BoneClass:
    """Bones whose correctives reach the same pairs.

    When all of them are still over a run of frames, their rotations and their share are constants of that run, and
    the class is skipped.
    """

    bones: tuple[int, int]  # rows of the rotations, as (first, number)
    columns: slice | Int[np.ndarray, "3*bones"]
    """In ``poses``, three per bone; a slice where they are consecutive."""
    rows: Int[np.ndarray, "rows"]  # of the terms, three per pair
    correctives: Float[np.ndarray, "rows 9*bones"]


@dataclass(frozen=True)
class Span:
    """Rotations that are computed in one go: of consecutive bones, whose first column in ``poses`` is `column`."""

    bones: tuple[int, int]
    column: int


@dataclass(frozen=True)
class Plan:
    """How a run gets its rotations, when some classes of bones move and the others are still."""

    spans: tuple[Span, ...]  # computed for every frame
    held: Int[np.ndarray, "held"]
    """Rows of the rotations of those bones of the kinematic chain whose one rotation holds for all frames."""
    rotation_row: Int[np.ndarray, "bones"]
    """The first of the nine rows of each bone's rotation: among the features, or among the held ones."""
    is_held: Bool[np.ndarray, "bones"]
    branches: tuple[tuple[int, int], ...]
    """Ranges of kept bones of one depth, in which parents and rotations lie at even steps, from the root on."""


@dataclass(frozen=True)
class SumBlock:
    """The sum over vectors for some joints, of the vectors that any of them has, each as (first, number)."""

    joints: tuple[int, int]
    vectors: tuple[int, int]
    matrix: Float[np.ndarray, "joints vectors"]


class Layout:
    """Rows and ranges of a folded regressor."""

    def __init__(self, folded: FoldedRegressor) -> None:
        self.folded = folded
        support = (folded.pair_pose != 0).any(axis=(1, 3))
        # The vector of a joint that is a bone's position is zero.
        turned = np.flatnonzero(support.any(axis=1) | (folded.pair_shape != 0).any(axis=(1, 2)))
        parts = partition(support[turned], row_key=folded.pair_bone[turned])
        self._pairs = turned[parts.row_order]
        self.num_pairs = len(self._pairs)
        bones_of_classes = [folded.pose_bones[columns] for columns in parts.classes]
        free = np.setdiff1d(folded.bones, np.concatenate([np.zeros(0, int), *bones_of_classes]))
        # The bones of the body model whose rotations matter, in the order of the rotations.
        self.rotated = np.concatenate([free, *bones_of_classes])
        # By the pairs that correctives reach. The first class reaches the most, which are the first pairs; its
        # rotations lie right behind those without correctives: `lead` is where.
        self.lead = len(free), len(bones_of_classes[0]) if bones_of_classes else 0
        self.classes = self._bone_classes(parts)
        self.num_lead_rows = len(self.classes[0].rows) if self.classes else 0
        row_of = np.zeros(folded.num_body_bones, int)
        row_of[self.rotated] = np.arange(len(self.rotated))
        self._chain = row_of[folded.bones]
        self.num_vectors = self.num_pairs + len(folded.bones)
        self.num_slow = 1 + folded.num_dmpls  # features besides the rotations, which follow the lead class
        self.num_features, self.first_slow = 9 * len(self.rotated) + self.num_slow, 9 * sum(self.lead)
        # The bone that turns each vector but the last; ancestors first.
        self.vector_bone = np.concatenate([folded.pair_bone[self._pairs], folded.parents[1:]])
        # A linear form of (1, betas, dmpls), three rows per vector.
        shape = [folded.pair_shape[self._pairs], folded.rest_offsets[1:], folded.rest_offsets[:1]]
        self.shape = np.concatenate(shape).reshape(3 * self.num_vectors, -1)
        self._plans: dict[frozenset[int], Plan] = {}

    def feature_rows(self, bones: tuple[int, int]) -> tuple[int, int]:
        """Rows of the features for rows of the rotations that lie on one side of the slow features."""
        first, number = bones
        return 9 * first + (self.num_slow if first >= sum(self.lead) else 0), 9 * number

    def plan(self, moving: frozenset[int]) -> Plan:
        """How a run gets its rotations in which these of the `classes` move; kept, because every run asks."""
        if moving not in self._plans:
            self._plans[moving] = self._make_plan(moving)
        return self._plans[moving]

    def _make_plan(self, moving: frozenset[int]) -> Plan:
        is_still = np.zeros(len(self.rotated), dtype=bool)
        for number, bone_class in enumerate(self.classes):
            first, length = bone_class.bones
            is_still[first : first + length] = number not in moving
        is_held = is_still[self._chain]
        held = np.sort(self._chain[is_held])
        features = [self.feature_rows((row, 1))[0] for row in self._chain.tolist()]
        rotation_row = np.where(is_held, 9 * np.searchsorted(held, self._chain), features)
        branches: list[tuple[int, int]] = []
        for start, stop in equal_runs(2 * self.folded.depth + is_held)[1:]:
            even = progressions(self.folded.parents[start:stop], rotation_row[start:stop])
            branches += [(start + first, start + last) for first, last in even]
        return Plan(self._spans(np.flatnonzero(~is_still)), held, rotation_row, is_held, tuple(branches))

    def _spans(self, rows: Int[np.ndarray, "n"]) -> tuple[Span, ...]:
        """Ascending rows of the rotations in ranges that are neighbours in ``poses`` and among the features as well."""
        is_behind = (rows >= sum(self.lead)).astype(int)
        steps = np.diff(np.stack([rows, self.rotated[rows], is_behind]), axis=1)
        cuts = np.flatnonzero((steps != [[1], [1], [0]]).any(axis=0)) + 1
        ranges = [span for span in np.split(rows, cuts) if len(span)]
        return tuple(Span((int(span[0]), len(span)), 3 * int(self.rotated[span[0]])) for span in ranges)

    def sums(self) -> tuple[SumBlock, ...]:
        """The sum over pairs and bones in blocks: joints that are bones' positions have no pairs.

        A bone's position is the sum of the ways from the root to it, and is only ever needed here.
        """
        folded, pairs, bones = self.folded, self.num_pairs, len(self.folded.bones)
        sums = np.zeros((folded.num_joints, pairs + bones))
        sums[folded.pair_joint[self._pairs], np.arange(pairs)] = 1.0
        weights = np.zeros((folded.num_joints, bones))
        weights[folded.pair_joint, folded.pair_bone] = folded.pair_weight
        sums[:, pairs:] = np.roll(weights @ _paths(folded.parents), -1, axis=1)
        blocks = []
        for start, stop in equal_runs((sums[:, :pairs] != 0).any(axis=1)):
            first = 0 if (sums[start:stop, :pairs] != 0).any() else pairs
            extents = (start, stop - start), (first, sums.shape[1] - first)
            blocks.append(SumBlock(*extents, sums[start:stop, first:]))
        return tuple(blocks)

    def _bone_classes(self, parts: Partition) -> tuple[BoneClass, ...]:
        classes, first = [], self.lead[0]
        for columns, is_reached in zip(parts.classes, parts.class_rows, strict=True):
            reached, bones = np.flatnonzero(is_reached), self.folded.pose_bones[columns]
            # (pairs, 3, bones, 9) -> three rows per pair, nine columns per bone
            correctives = self.folded.pair_pose[self._pairs[reached]][:, :, columns]
            pose_columns = (3 * bones[:, None] + np.arange(3)).reshape(-1)
            spans = runs(pose_columns)
            chosen = slice(*spans[0]) if len(spans) == 1 else pose_columns
            rows = (3 * reached[:, None] + np.arange(3)).reshape(-1)
            matrix = correctives.reshape(3 * len(reached), 9 * len(columns))
            classes.append(BoneClass((first, len(bones)), chosen, rows, matrix))
            first += len(bones)
        return tuple(classes)


def _paths(parents: Int[np.ndarray, "bones"]) -> Float[np.ndarray, "bones bones"]:
    """One where the second bone lies on the way from the root to the first, that itself included."""
    paths = np.eye(len(parents))
    for bone, parent in enumerate(parents.tolist()):
        if parent >= 0:
            paths[bone] += paths[parent]
    return paths

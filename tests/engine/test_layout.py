"""Rows and ranges of a folded regressor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine.layout import Layout
from h36m_amass.engine.skinning import Skinner
from tests.engine.folded import pose
from tests.random_models import Case, cases


def test_fingers_are_a_class_that_reaches_few_pairs(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    everywhere, *hands = Layout(folded).classes
    assert len(everywhere.rows) == 3 * folded.num_pairs
    assert len(hands) == 2
    assert all(hand.bones[1] == 15 and len(hand.rows) < len(everywhere.rows) / 5 for hand in hands)


@pytest.mark.slow
@settings(max_examples=60)
@given(cases(), st.data())
def test_branches_hold_every_bone_once_at_even_steps(case: Case, data: st.DataObject) -> None:
    layout = Layout(folding.fold(case.body, case.regressor))
    for moving in data.draw(st.lists(st.sets(st.integers(0, 7)), min_size=4, max_size=4)):
        plan = layout.plan(frozenset(moving))
        ranges = plan.branches
        assert [bone for start, stop in ranges for bone in range(start, stop)] == list(range(1, len(plan.is_held)))
        for start, stop in ranges:
            assert len(set(plan.is_held[start:stop].tolist())) == 1
            assert len(set(layout.folded.depth[start:stop].tolist())) == 1
            for rows in (layout.folded.parents, plan.rotation_row):
                assert len(set(np.diff(rows[start:stop]).tolist())) <= 1


@settings(max_examples=60)
@given(cases())
def test_every_bone_that_matters_is_either_computed_or_held(case: Case) -> None:
    layout = Layout(folding.fold(case.body, case.regressor))
    for moving in (frozenset[int](), frozenset({0}), frozenset(range(len(layout.classes)))):
        plan = layout.plan(moving)
        computed = [first + row for first, number in (span.bones for span in plan.spans) for row in range(number)]
        assert not set(computed) & set(plan.held.tolist())
        bones = layout.rotated[[*computed, *plan.held.tolist()]]
        assert set(layout.folded.bones.tolist()) <= set(bones.tolist())
        for span in plan.spans:
            first, number = span.bones
            columns = span.column // 3 + np.arange(number)
            np.testing.assert_array_equal(layout.rotated[first : first + number], columns)


@settings(max_examples=30)
@given(cases(), st.sets(st.integers(0, 7)))
def test_a_still_class_may_be_computed_as_one_that_moves(case: Case, others: set[int]) -> None:
    folded = folding.fold(case.body, case.regressor)
    skinner, computing_more = (Skinner(folded, 16, dtype=torch.float64) for _ in range(2))
    every = frozenset(range(len(skinner.layout.classes)))
    recording = case.betas, case.poses, case.dmpls
    moving = skinner.moving_classes(case.poses)
    computing_more.moving_classes = lambda poses: moving | (every & others)  # type: ignore[method-assign]
    ours = pose(skinner, *recording)
    np.testing.assert_allclose(pose(computing_more, *recording), ours, atol=1e-11 * max(1.0, np.abs(ours).max()))

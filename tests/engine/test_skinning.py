"""Folding and skinning equal the full mesh: the algebra exactly, float32 to within what float32 holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from h36m_amass import synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine import batch, on_gpu, skinning
from h36m_amass.engine.reference import skeleton_joints
from h36m_amass.engine.run import Body
from h36m_amass.engine.skinning import Skinner
from tests.engine.folded import engine_float64, folded_float64, mesh, tiny_case
from tests.random_models import Case, cases


@settings(max_examples=80)
@given(cases())
def test_float64_engine_equals_the_full_mesh(case: Case) -> None:
    assert np.abs(engine_float64(case) - mesh(case)).max() <= 1e-10 * max(1.0, np.abs(mesh(case)).max())


@settings(max_examples=20)
@given(cases())
def test_float64_skeleton_equals_the_posed_joints_of_lbs(case: Case) -> None:
    ours = folded_float64(folding.fold_skeleton(case.body), case)
    exact = skeleton_joints(case.body, case.betas, case.poses, case.trans, case.dmpls)
    assert np.abs(ours - exact).max() <= 1e-10 * max(1.0, np.abs(exact).max())


@settings(max_examples=20)
@given(cases(), st.lists(st.sampled_from(["regressor", "half", "skeleton"]), min_size=1, max_size=4))
def test_joined_regressors_give_the_joints_of_each(case: Case, which: list[str]) -> None:
    half = replace(case.regressor, matrix=scipy.sparse.csr_array(case.regressor.matrix[::2]))
    choices = {
        "regressor": folding.fold(case.body, case.regressor),
        "half": folding.fold(case.body, half),
        "skeleton": folding.fold_skeleton(case.body),
    }
    together = folded_float64(folding.join([choices[name] for name in which]), case)
    apart = np.concatenate([folded_float64(choices[name], case) for name in which], axis=1)
    np.testing.assert_allclose(together, apart, atol=1e-11 * max(1.0, np.abs(apart).max()))


@settings(max_examples=15)
@given(cases(), st.integers(1, 20), st.integers(1, 20))
def test_any_batch_size_and_any_tile_give_the_same_joints(case: Case, batch_size: int, tile: int) -> None:
    scale = max(1.0, np.abs(mesh(case)).max())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skinning, "TILE_FRAMES", tile)
        tiled = engine_float64(case, batch_size)
    assert np.abs(tiled - engine_float64(case, 1)).max() <= 1e-12 * scale


@settings(max_examples=30)
@given(cases())
def test_vectors_turned_in_one_go_or_bone_by_bone_are_the_same_to_the_bit(case: Case) -> None:
    joints = []
    for gather_frames in (0, 16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "GATHER_FRAMES", gather_frames)
            joints.append(engine_float64(case))
    np.testing.assert_array_equal(*joints)


@settings(max_examples=15)
@given(cases(), st.integers(0, 2**32 - 1))
def test_vertices_may_be_numbered_anew(case: Case, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(case.body.num_vertices)
    body = replace(
        case.body,
        v_template=case.body.v_template[order],
        shapedirs=case.body.shapedirs[order],
        dmpldirs=case.body.dmpldirs[order],
        posedirs=case.body.posedirs[order],
        weights=case.body.weights[order],
        J_regressor=case.body.J_regressor[:, order],
    )
    shuffled = replace(case.regressor, matrix=scipy.sparse.csr_array(case.regressor.matrix[:, order]))
    ours = engine_float64(replace(case, body=body, regressor=shuffled))
    np.testing.assert_allclose(ours, engine_float64(case), atol=1e-11 * max(1.0, np.abs(ours).max()))


@settings(max_examples=15)
@given(cases())
def test_joints_are_linear_in_the_regressor(case: Case) -> None:
    doubled = replace(case.regressor, matrix=scipy.sparse.csr_array(2.5 * case.regressor.matrix))
    ours = engine_float64(replace(case, regressor=doubled))
    np.testing.assert_allclose(ours, 2.5 * engine_float64(case), atol=1e-11 * max(1.0, np.abs(ours).max()))


@settings(max_examples=50)
@given(cases())
def test_folding_keeps_only_pairs_bones_and_columns_that_are_needed(case: Case) -> None:
    folded = folding.fold(case.body, case.regressor)
    support = (case.regressor.matrix.toarray() != 0).astype(int) @ (case.body.weights != 0).astype(int)
    assert folded.num_pairs == (support > 0).sum()
    used = set(folded.bones[folded.pair_bone].tolist())
    ancestors = set()
    for bone in used | {0}:
        while bone >= 0:
            ancestors.add(bone)
            bone = int(case.body.parents[bone])
    assert set(folded.bones.tolist()) == ancestors
    assert (folded.pair_pose != 0).any(axis=(0, 1, 3)).all()
    assert parents_come_first(folded, case)


def parents_come_first(folded: folding.FoldedRegressor, case: Case) -> bool:
    """Every kept bone's parent is kept, comes before it, and is one level higher."""
    below = np.arange(1, len(folded.bones))
    parents = folded.parents[below]
    return bool(
        (folded.bones[parents] == case.body.parents[folded.bones[below]]).all()
        and (parents < below).all()
        and (folded.depth[below] == folded.depth[parents] + 1).all()
    )


@settings(max_examples=20)
@given(case=cases())
def test_a_folded_regressor_survives_being_written(tmp_path_factory: pytest.TempPathFactory, case: Case) -> None:
    folded = folding.fold(case.body, case.regressor)
    path = tmp_path_factory.mktemp("folded") / "folded.npz"
    path.write_bytes(folding.to_bytes(folded, "a note"))
    again, note = folding.read(path)
    assert note == "a note"
    for name in folding.FoldedRegressor.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(folded, name))


def test_a_pair_whose_weights_cancel_is_kept() -> None:
    # c_kj is zero and A_kj is not: two vertices of one bone, one taken from the other.
    case = tiny_case(np.eye(4, 3)[[1, 1, 2, 2]], [1.0, -1.0, 0.0, 0.0])
    assert folding.fold(case.body, case.regressor).num_pairs == 1
    np.testing.assert_allclose(engine_float64(case), mesh(case), atol=1e-12)
    assert np.abs(mesh(case)).max() > 0.1


def test_bones_that_come_back_to_where_they_began_have_moved() -> None:
    case = tiny_case(np.eye(4, 3)[[0, 1, 2, 2]], [0.3, 0.3, 0.2, 0.2])
    case.poses[-1] = case.poses[0]
    np.testing.assert_allclose(engine_float64(case), mesh(case), atol=1e-12)


def test_frames_of_every_run_and_tile_have_their_own_soft_tissue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skinning, "TILE_FRAMES", 3)
    rng, tiny = np.random.default_rng(2), tiny_case(np.eye(4, 3)[[0, 1, 2, 2]], [0.3, 0.3, 0.2, 0.2], frames=12)
    body = replace(tiny.body, dmpldirs=rng.normal(size=(4, 3, 2)))
    case = replace(tiny, body=body, dmpls=rng.normal(size=(12, 2)))
    np.testing.assert_allclose(engine_float64(case, batch_size=8), mesh(case), atol=1e-12)


def test_only_classes_that_move_are_computed_for_every_frame(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    skinner = Skinner(folding.fold(body, joints), 64)
    for fingers, moving in (("still", {0}), ("moving", {0, 1, 2})):
        poses = synthetic.motion("walk", 0.5, 100, gender="male", fingers=fingers, seed=1)["poses"]
        assert skinner.moving_classes(poses) == moving
        columns = [span.bones[1] for span in skinner.layout.plan(frozenset(moving)).spans]
        assert sum(columns) == (22 if fingers == "still" else 52)


def pose_once(skinner: Skinner) -> tuple[torch.Tensor, ...]:
    """One whole run with soft tissue: posed, interpolated and moved to where the body is."""
    program = on_gpu.Program(Body(skinner, np.zeros(0), (10, 7)), 8, 5, True)
    with torch.inference_mode():
        program.run()
    return tuple(program.output_memory.views(program.outputs).values())


@pytest.mark.parametrize("device", ["cuda:0", "cuda:3"])
def test_the_whole_path_runs_on_fake_cuda_tensors(
    body: body_model.BodyModel, joints: regressor.JointRegressor, device: str
) -> None:
    folded = folding.fold(body, joints)
    with FakeTensorMode(allow_non_fake_inputs=False):
        out = pose_once(Skinner(folded, 8, device))
    assert [(positions.device, positions.shape) for positions in out] == [
        (torch.device(device), (5, 30)),
        (torch.device(device), (5, 21)),
    ]


def test_a_tensor_left_on_the_cpu_is_noticed_on_fake_cuda(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    with FakeTensorMode(allow_non_fake_inputs=False):
        for left in ("constants", "row_sums"):
            skinner = Skinner(folded, 8, "cuda:0")
            setattr(skinner, left, getattr(skinner, left).cpu())
            with pytest.raises(RuntimeError, match="cpu"):
                pose_once(skinner)

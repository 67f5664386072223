"""Folding and skinning equal the full mesh: the algebra exactly, float32 to within what float32 holds."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_info, threadpool_limits
from torch._subclasses.fake_tensor import FakeTensorMode

from h36m_amass import skeleton, synthetic
from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine import skinning
from h36m_amass.engine.packing import PoseBlock, pose_joints, relative_joints, reproducible
from h36m_amass.engine.reference import mesh_joints, skeleton_joints
from h36m_amass.engine.skinning import MAX_RUNS, SIZES, Skinner, Workspace, rotation_minus_identity
from h36m_amass.recordings import recording as amass
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.system import devices
from tests.random_models import Case, cases


def engine_float64(case: Case, batch_size: int = 8) -> np.ndarray:
    return folded_float64(folding.fold(case.body, case.regressor), case, batch_size)


def folded_float64(folded: folding.FoldedRegressor, case: Case, batch_size: int = 8) -> np.ndarray:
    skinner = Skinner(folded, batch_size, dtype=torch.float64)
    ((_, relative),) = relative_joints(skinner, [(None, PoseBlock.whole(case.betas, case.poses, case.dmpls))])
    return relative + folded.row_sums[:, None] * case.trans[:, None]


def mesh(case: Case) -> np.ndarray:
    return mesh_joints(case.body, case.regressor, case.betas, case.poses, case.trans, case.dmpls)


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
@given(cases(), st.integers(1, 20))
def test_any_batch_size_gives_the_same_joints(case: Case, batch_size: int) -> None:
    scale = max(1.0, np.abs(mesh(case)).max())
    assert np.abs(engine_float64(case, batch_size) - engine_float64(case, 1)).max() <= 1e-12 * scale


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


def test_more_runs_than_a_batch_may_hold_are_spread_over_several(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    motion = synthetic.motion("walk", 2.0, 100, gender="male", fingers="still", seed=1)
    skinner = Skinner(folding.fold(body, joints), 512)
    blocks = [
        PoseBlock.whole(motion["betas"] * (frame % 5), motion["poses"][frame : frame + 2], None)
        for frame in range(2 * MAX_RUNS + 5)
    ]
    together = list(relative_joints(skinner, enumerate(blocks)))
    assert [number for number, _ in together] == list(range(len(blocks)))
    for number, ours in together[::13]:
        ((_, alone),) = relative_joints(skinner, [(None, blocks[number])])
        np.testing.assert_allclose(ours, alone, atol=1e-6)


def test_skinners_that_share_memory_give_what_each_gives_alone(
    body: body_model.BodyModel, joints: regressor.JointRegressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skinning, "_GRAIN", 1)
    motion = synthetic.motion("walk", 8.0, 100, gender="male", fingers="moving", seed=1)
    both = folding.fold_skeleton(body), folding.fold(body, joints)  # the second needs more room than the first
    workspace = Workspace()
    sharing = [Skinner(folded, 800, workspace=workspace) for folded in both]
    for length in (800, 3, 300, 800):
        blocks = [(None, PoseBlock.whole(motion["betas"], motion["poses"][:length], motion["dmpls"][:length]))]
        for skinner, folded in zip(sharing, both, strict=True):
            ((_, ours),), ((_, alone),) = (relative_joints(own, blocks) for own in (skinner, Skinner(folded, 800)))
            np.testing.assert_array_equal(ours, alone)


@given(st.integers(1, 10_000), st.data())
def test_a_batch_is_padded_by_less_than_an_eighth_of_a_full_one(batch_size: int, data: st.DataObject) -> None:
    skinner = object.__new__(Skinner)
    skinner.batch_size = batch_size
    num_frames = data.draw(st.integers(1, batch_size))
    size = skinner.size_of_batch(num_frames)
    assert num_frames <= size <= batch_size
    assert size - num_frames < batch_size / SIZES + 1


def test_only_the_wanted_frames_of_a_block_are_posed(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    motion = synthetic.motion("walk", 1.0, 100, gender="male", fingers="moving", seed=1)
    skinner, frames = Skinner(folding.fold(body, joints), 64), np.array([0, 3, 4, 50, 99])
    arguments = motion["betas"], motion["poses"].astype(np.float32), motion["dmpls"]
    ((_, some),) = relative_joints(skinner, [(None, PoseBlock(*arguments, frames))])
    ((_, every),) = relative_joints(skinner, [(None, PoseBlock.whole(*arguments))])
    np.testing.assert_allclose(some, every[frames], atol=1e-6)


@settings(max_examples=15)
@given(cases(), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_blocks_may_be_cut_anywhere_and_mixed_with_others(case: Case, cuts: list[int]) -> None:
    folded = folding.fold(case.body, case.regressor)
    skinner = Skinner(folded, 7, dtype=torch.float64)
    blocks, start = [], 0
    for cut in [*cuts, len(case.poses)]:
        stop = min(start + cut, len(case.poses))
        if stop > start:
            dmpls = None if case.dmpls is None else case.dmpls[start:stop]
            blocks.append(PoseBlock.whole(case.betas, case.poses[start:stop], dmpls))
            blocks.append(PoseBlock.whole(case.betas * 0.5, case.poses[start:stop] * 0.3, None))
        start = stop
    given_back = list(relative_joints(skinner, enumerate(blocks)))
    assert [(i, len(block)) for i, block in enumerate(blocks)] == [(i, len(joints)) for i, joints in given_back]
    ((_, whole),) = relative_joints(skinner, [(None, PoseBlock.whole(case.betas, case.poses, case.dmpls))])
    for number in range(1, len(blocks), 2):
        ((_, alone),) = relative_joints(skinner, [(None, blocks[number])])
        np.testing.assert_allclose(given_back[number][1], alone, atol=1e-11 * max(1.0, np.abs(alone).max()))
    ours = np.concatenate([joints for _, joints in given_back[::2]])
    np.testing.assert_allclose(ours, whole, atol=1e-11 * max(1.0, np.abs(whole).max()))


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
    path.write_bytes(folding.to_bytes(folded))
    again = folding.read(path)
    for name in folding.FoldedRegressor.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(folded, name))


def tiny_body(weights: np.ndarray) -> body_model.BodyModel:
    rng = np.random.default_rng(0)
    return body_model.BodyModel(
        v_template=rng.normal(size=(4, 3)),
        shapedirs=rng.normal(size=(4, 3, 2)),
        dmpldirs=np.zeros((4, 3, 0)),
        posedirs=rng.normal(size=(4, 3, 18)),
        weights=weights,
        J_regressor=rng.normal(size=(3, 4)),
        parents=np.array([-1, 0, 1]),
        sha256="",
        base_sha256="",
        synthetic=True,
    )


def tiny_case(weights: np.ndarray, row: list[float], frames: int = 5) -> Case:
    rng = np.random.default_rng(1)
    joints = regressor.JointRegressor(scipy.sparse.csr_array([row]), skeleton.custom(("x",)), "", True)
    poses = rng.normal(size=(frames, 9))
    return Case(tiny_body(weights), joints, np.ones(2), poses, rng.normal(size=(frames, 3)), None)


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


def test_translation_is_added_in_float64_and_rounded_once() -> None:
    rng = np.random.default_rng(2)
    relative, trans = rng.normal(size=(50, 4, 3)).astype(np.float32), 1000 * rng.normal(size=(50, 3))
    row_sums = rng.normal(size=4)
    exact = relative.astype(np.float64) + row_sums[:, None] * trans[:, None]
    np.testing.assert_array_equal(skinning.add_translation(relative, trans, row_sums), exact.astype(np.float32))


def test_a_mesh_without_any_weight_leaves_only_the_translation() -> None:
    case = tiny_case(np.zeros((4, 3)), [1.0, 1.0, 0.0, 0.0])
    ours = pose_joints(folding.fold(case.body, case.regressor), case.betas, case.poses, case.trans)
    np.testing.assert_allclose(ours[:, 0], 2 * case.trans, rtol=1e-6)


@given(st.lists(st.floats(-8, 8), min_size=3, max_size=3), st.sampled_from([1.0, 1e-4, 1e-9, 1e-200]))
def test_rotation_minus_identity_is_a_rotation_minus_identity(rotvec: list[float], scale: float) -> None:
    vector = np.array(rotvec) * scale
    out = torch.empty(1, 9, 1, dtype=torch.float64)
    rotation_minus_identity(
        torch.from_numpy(vector)[None, :, None],
        out,
        torch.empty(6, 1, 1, dtype=torch.float64),
    )
    ours = out.numpy().reshape(3, 3)
    np.testing.assert_allclose(ours + np.eye(3), Rotation.from_rotvec(vector).as_matrix(), atol=1e-14)
    # The skew part is sin(angle)/angle times the vector, with full relative precision however small the angle.
    skew = [ours[2, 1] - ours[1, 2], ours[0, 2] - ours[2, 0], ours[1, 0] - ours[0, 1]]
    angle = np.linalg.norm(vector)
    np.testing.assert_allclose(skew, 2 * np.sinc(angle / np.pi) * vector, rtol=1e-9, atol=1e-15 * angle + 1e-300)


@pytest.fixture(scope="module")
def body(support_dir: Path) -> body_model.BodyModel:
    return body_model.load(support_dir, "male")


@pytest.fixture(scope="module")
def joints(support_dir: Path) -> regressor.JointRegressor:
    return regressor.load(support_dir / "J_regressor_h36m.npy")


def within_ten_metres(trans: np.ndarray) -> np.ndarray:
    """The same path, moved so that the body is as far out as it may be and stay within 10 m of the origin."""
    centred = trans - trans.mean(axis=0)
    assert np.linalg.norm(centred, axis=1).max() < 3
    return centred + np.array([3.4, 3.4, 3.4])


@pytest.mark.parametrize("fingers", ["still", "moving"])
@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_float32_stays_within_two_micrometres_on_motions(
    body: body_model.BodyModel, joints: regressor.JointRegressor, kind: str, fingers: str
) -> None:
    motion = synthetic.motion(kind, 0.4, 60, gender="male", fingers=fingers, seed=3)
    trans = within_ten_metres(motion["trans"])
    arguments = (motion["betas"], motion["poses"], trans, motion["dmpls"])
    ours = pose_joints(folding.fold(body, joints), *arguments)
    assert ours.dtype == np.float32
    exact = mesh_joints(body, joints, *arguments)
    assert np.linalg.norm(exact, axis=2).max() < 10
    assert np.linalg.norm(ours - exact, axis=2).max() < 2e-6


def test_float32_stays_within_two_micrometres_on_the_real_recording(
    body: body_model.BodyModel, joints: regressor.JointRegressor, real_amass: Path
) -> None:
    (file,) = find_sequences(real_amass).sequences
    header = amass.read_header(real_amass / file.path)
    frames = next(amass.read_frames(real_amass / file.path, header, 1000, 8))
    every = slice(None, None, 5)
    betas = amass.fit_betas(header.betas, 16)
    assert frames.dmpls is not None
    arguments = (betas, frames.poses[every], frames.trans[every], frames.dmpls[every])
    exact = mesh_joints(body, joints, *arguments)
    assert np.linalg.norm(exact, axis=2).max() < 10
    assert np.linalg.norm(pose_joints(folding.fold(body, joints), *arguments) - exact, axis=2).max() < 2e-6


@pytest.mark.parametrize("batch_size", [1, 7, 256, 10000])
def test_any_batch_size_agrees_in_float32(
    body: body_model.BodyModel, joints: regressor.JointRegressor, batch_size: int
) -> None:
    motion = synthetic.motion("reach", 3.0, 100, gender="male", fingers="moving", seed=1)
    folded = folding.fold(body, joints)
    arguments = (folded, motion["betas"], motion["poses"], motion["trans"], motion["dmpls"])
    ours = pose_joints(*arguments, batch_size=batch_size)
    assert np.abs(ours - pose_joints(*arguments, batch_size=128)).max() < 1e-6


def test_fingers_are_a_class_that_reaches_few_pairs(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    skinner = Skinner(folded, 16)
    everywhere, *hands = skinner.classes
    assert len(everywhere.rows) == 3 * folded.num_pairs
    assert len(hands) == 2
    assert all(len(hand.bones) == 15 and len(hand.rows) < len(everywhere.rows) / 5 for hand in hands)


def skin_once(folded: folding.FoldedRegressor, device: str) -> torch.Tensor:
    """One whole pass through the engine."""
    skinner = Skinner(folded, 8, device)
    size, moving = 8, frozenset({0})  # the hands are still
    terms = skinner.slow_terms(np.zeros((1, folded.num_betas)), np.zeros((1, 156)), moving, has_dmpls=True)
    return skinner.skin(
        torch.zeros(3 * len(skinner.rotated), size, device=device),
        torch.as_tensor(terms, dtype=torch.float32).to(device),
        torch.ones(terms.shape[1], size, device=device),
        moving,
    )


@pytest.mark.parametrize("device", ["cuda:0", "cuda:3"])
def test_the_whole_path_runs_on_fake_cuda_tensors(
    body: body_model.BodyModel, joints: regressor.JointRegressor, device: str
) -> None:
    folded = folding.fold(body, joints)
    with FakeTensorMode(allow_non_fake_inputs=False):
        out = skin_once(folded, device)
    assert out.device == torch.device(device)
    assert out.shape == (8, 17, 3)


def test_a_tensor_left_on_the_cpu_is_noticed_on_fake_cuda(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    with FakeTensorMode(allow_non_fake_inputs=False):
        skinner = Skinner(folded, 8, "cuda:0")
        skinner._sums = tuple(replace(block, matrix=block.matrix.cpu()) for block in skinner._sums)
        terms = torch.zeros(skinner.num_shape_rows, 1, device="cuda:0")
        poses = torch.zeros(3 * len(skinner.rotated), 8, device="cuda:0")
        with pytest.raises(RuntimeError, match="cpu"):
            skinner.skin(poses, terms, torch.ones(1, 8, device="cuda:0"), frozenset({0, 1, 2}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(body: body_model.BodyModel, joints: regressor.JointRegressor) -> None:
    motion = synthetic.motion("walk", 2.0, 100, gender="male", fingers="moving", seed=1)
    arguments = (folding.fold(body, joints), motion["betas"], motion["poses"], motion["trans"], motion["dmpls"])
    assert np.abs(pose_joints(*arguments, device="cuda") - pose_joints(*arguments)).max() < 2e-6


def test_precision_and_threads_are_put_aside_and_back() -> None:
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before, threads = [product.fp32_precision for product in products], torch.get_num_threads()
    try:
        products[0].fp32_precision, products[1].fp32_precision = "tf32", "bf16"
        torch.set_num_threads(3)
        with reproducible():
            assert [product.fp32_precision for product in products] == ["ieee", "ieee"]
            assert torch.get_num_threads() == 1
        assert [product.fp32_precision for product in products] == ["tf32", "bf16"]
        assert torch.get_num_threads() == 3
    finally:
        products[0].fp32_precision, products[1].fp32_precision = before
        torch.set_num_threads(threads)


def test_numpys_products_too_have_one_thread_and_then_as_many_as_before() -> None:
    def num_threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(limits=3, user_api="blas"):
        with reproducible():
            assert num_threads() == {1}
        assert num_threads() == {3}


def test_threads_that_compute_at_once_leave_the_precision_as_it_was() -> None:
    def compute(delay: float) -> None:
        time.sleep(delay)
        with reproducible():
            time.sleep(0.2)
            assert product.fp32_precision == "ieee"

    product = torch.backends.mkldnn.matmul
    before = product.fp32_precision
    try:
        product.fp32_precision = "bf16"
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(compute, (0.0, 0.1)))  # the second begins while the first is at it, and ends later
        assert product.fp32_precision == "bf16"
    finally:
        product.fp32_precision = before


def test_pose_joints_refuses_what_does_not_fit(body: body_model.BodyModel, joints: regressor.JointRegressor) -> None:
    folded = folding.fold(body, joints)
    motion = synthetic.motion("walk", 0.1, 60, gender="male")
    good = {name: motion[name] for name in ("betas", "poses", "trans", "dmpls")}
    for name, wrong in (
        ("betas", good["betas"][:10]),
        ("poses", good["poses"][:, :66]),
        ("trans", good["trans"][:1]),
        ("dmpls", good["dmpls"][:, :4]),
    ):
        with pytest.raises(ValueError, match=name):
            pose_joints(folded, **{**good, name: wrong})
    nothing = {name: array if name == "betas" else array[:0] for name, array in good.items()}
    assert pose_joints(folded, **nothing).shape == (0, 17, 3)


def test_torch_decides_where_there_may_be_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(devices, "_GPU_DRIVERS", ("/",))
    assert devices.resolve_device("auto") == "cuda:1"
    monkeypatch.setattr(devices, "_GPU_DRIVERS", ())
    if sys.platform == "linux":
        assert devices.resolve_device("auto") == "cpu"
    assert devices.resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["mps", "cuda:99", "nonsense", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(devices.DeviceError, match="device"):
        devices.resolve_device(device)
